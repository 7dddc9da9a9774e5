/** `URLSearchParams` and the application/x-www-form-urlencoded format. */
import {
  ArrayPrototypePush,
  ArrayPrototypeSort,
  NativeUint8Array,
  NumberPrototypeToString,
  ObjectGetOwnPropertyDescriptor,
  ReflectOwnKeys,
  RegExpPrototypeExec,
  StringFromCharCode,
  StringPrototypeCharCodeAt,
  StringPrototypeIndexOf,
  StringPrototypeSlice,
  StringPrototypeToUpperCase,
  TypedArrayPrototypeSubarray,
} from "../internal/primordials.ts";
import { finishInterface, requireArguments, toUSVString } from "../internal/webidl.ts";
import { defineIteration } from "../internal/iterable.ts";
import * as ops from "../host.ts";

const decodeComponent = decodeURIComponent;
const encodeComponent = encodeURIComponent;

/** Replaces every occurrence of one character. */
function replaceAll(text: string, from: string, to: string): string {
  let at = StringPrototypeIndexOf(text, from);
  if (at < 0) return text;
  let out = "";
  let start = 0;
  while (at >= 0) {
    out += StringPrototypeSlice(text, start, at) + to;
    start = at + 1;
    at = StringPrototypeIndexOf(text, from, start);
  }
  return out + StringPrototypeSlice(text, start);
}

function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const letter = code | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}

/** Percent-decodes what is not valid as a whole: stray percent signs stay, malformed UTF-8 becomes U+FFFD. */
function decodeLeniently(text: string): string {
  const bytes = ops.encodeUtf8(text);
  const out = new NativeUint8Array(bytes.length);
  let length = 0;
  for (let i = 0; i < bytes.length; i++) {
    let byte = bytes[i]!;
    if (byte === 37 && i + 2 < bytes.length) {
      const high = hexDigit(bytes[i + 1]!);
      const low = hexDigit(bytes[i + 2]!);
      if (high >= 0 && low >= 0) {
        byte = high * 16 + low;
        i += 2;
      }
    }
    out[length++] = byte;
  }
  return ops.decodeUtf8(TypedArrayPrototypeSubarray(out, 0, length), false, true);
}

function decodePart(text: string): string {
  const spaced = replaceAll(text, "+", " ");
  if (StringPrototypeIndexOf(spaced, "%") < 0) return spaced;
  try {
    return decodeComponent(spaced);
  } catch {
    return decodeLeniently(spaced);
  }
}

/** Parses a query without its `?` into a flat list: name, value, name, value, … */
export function parseUrlEncoded(text: string): string[] {
  const list: string[] = [];
  let start = 0;
  while (start <= text.length) {
    let end = StringPrototypeIndexOf(text, "&", start);
    if (end < 0) end = text.length;
    if (end > start) {
      const part = StringPrototypeSlice(text, start, end);
      const equals = StringPrototypeIndexOf(part, "=");
      const name = equals < 0 ? part : StringPrototypeSlice(part, 0, equals);
      ArrayPrototypePush(list, decodePart(name), equals < 0 ? "" : decodePart(StringPrototypeSlice(part, equals + 1)));
    }
    start = end + 1;
  }
  return list;
}

const PLAIN = /^[A-Za-z0-9*\-._]*$/;
const LEFT_ALONE = /[!'()~]/;

function encodePart(text: string): string {
  if (RegExpPrototypeExec(PLAIN, text) !== null) return text;
  let encoded = encodeComponent(text);
  if (RegExpPrototypeExec(LEFT_ALONE, encoded) !== null) {
    let out = "";
    for (let i = 0; i < encoded.length; i++) {
      const code = StringPrototypeCharCodeAt(encoded, i);
      if (code === 33 || (code >= 39 && code <= 41) || code === 126) {
        out += `%${StringPrototypeToUpperCase(NumberPrototypeToString(code, 16))}`;
      } else {
        out += StringFromCharCode(code);
      }
    }
    encoded = out;
  }
  let at = StringPrototypeIndexOf(encoded, "%20");
  let start = 0;
  let out = "";
  while (at >= 0) {
    out += `${StringPrototypeSlice(encoded, start, at)}+`;
    start = at + 3;
    at = StringPrototypeIndexOf(encoded, "%20", start);
  }
  return out + StringPrototypeSlice(encoded, start);
}

/** The inverse of `parseUrlEncoded`. */
export function serializeUrlEncoded(list: readonly string[]): string {
  let out = "";
  for (let i = 0; i < list.length; i += 2) {
    out += `${i === 0 ? "" : "&"}${encodePart(list[i]!)}=${encodePart(list[i + 1]!)}`;
  }
  return out;
}

/** What a `URLSearchParams` tells the `URL` that it belongs to. */
export type OnChange = (query: string) => void;

let linkParams: (params: URLSearchParams, onChange: OnChange) => void;
let resetParams: (params: URLSearchParams, query: string) => void;
let isParams: (value: unknown) => value is URLSearchParams;

export class URLSearchParams {
  #list: string[];
  #onChange: OnChange | undefined;

  constructor(init: unknown = "") {
    if (typeof init === "object" || typeof init === "function") {
      this.#list = init === null ? parseUrlEncoded("null") : fromObject(init);
    } else {
      const text = toUSVString(init);
      this.#list = parseUrlEncoded(StringPrototypeCharCodeAt(text, 0) === 63 ? StringPrototypeSlice(text, 1) : text);
    }
  }

  static {
    linkParams = (params, onChange) => {
      params.#onChange = onChange;
    };
    resetParams = (params, query) => {
      params.#list = parseUrlEncoded(query);
    };
    isParams = (value): value is URLSearchParams => typeof value === "object" && value !== null && #list in value;
    defineIteration(URLSearchParams.prototype, "URLSearchParams", (params) => params.#list);
  }

  #changed(): void {
    this.#onChange?.(serializeUrlEncoded(this.#list));
  }

  get size(): number {
    return this.#list.length / 2;
  }

  append(name: string, value: string): void {
    requireArguments(arguments.length, 2, "URLSearchParams.append");
    ArrayPrototypePush(this.#list, toUSVString(name), toUSVString(value));
    this.#changed();
  }

  delete(name: string, value: string | undefined = undefined): void {
    requireArguments(arguments.length, 1, "URLSearchParams.delete");
    const key = toUSVString(name);
    const wanted = value === undefined ? undefined : toUSVString(value);
    const rest: string[] = [];
    const list = this.#list;
    for (let i = 0; i < list.length; i += 2) {
      if (list[i] !== key || (wanted !== undefined && list[i + 1] !== wanted)) {
        ArrayPrototypePush(rest, list[i], list[i + 1]);
      }
    }
    this.#list = rest;
    this.#changed();
  }

  get(name: string): string | null {
    requireArguments(arguments.length, 1, "URLSearchParams.get");
    const key = toUSVString(name);
    const list = this.#list;
    for (let i = 0; i < list.length; i += 2) if (list[i] === key) return list[i + 1]!;
    return null;
  }

  getAll(name: string): string[] {
    requireArguments(arguments.length, 1, "URLSearchParams.getAll");
    const key = toUSVString(name);
    const values: string[] = [];
    const list = this.#list;
    for (let i = 0; i < list.length; i += 2) if (list[i] === key) ArrayPrototypePush(values, list[i + 1]);
    return values;
  }

  has(name: string, value: string | undefined = undefined): boolean {
    requireArguments(arguments.length, 1, "URLSearchParams.has");
    const key = toUSVString(name);
    const wanted = value === undefined ? undefined : toUSVString(value);
    const list = this.#list;
    for (let i = 0; i < list.length; i += 2) {
      if (list[i] === key && (wanted === undefined || list[i + 1] === wanted)) return true;
    }
    return false;
  }

  set(name: string, value: string): void {
    requireArguments(arguments.length, 2, "URLSearchParams.set");
    const key = toUSVString(name);
    const text = toUSVString(value);
    const rest: string[] = [];
    const list = this.#list;
    let done = false;
    for (let i = 0; i < list.length; i += 2) {
      if (list[i] !== key) {
        ArrayPrototypePush(rest, list[i], list[i + 1]);
      } else if (!done) {
        ArrayPrototypePush(rest, key, text);
        done = true;
      }
    }
    if (!done) ArrayPrototypePush(rest, key, text);
    this.#list = rest;
    this.#changed();
  }

  sort(): void {
    const list = this.#list;
    const pairs: [string, string][] = [];
    for (let i = 0; i < list.length; i += 2) ArrayPrototypePush(pairs, [list[i]!, list[i + 1]!]);
    // By UTF-16 code units; the sort is stable.
    ArrayPrototypeSort(pairs, (a: [string, string], b: [string, string]) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
    const sorted: string[] = [];
    for (let i = 0; i < pairs.length; i++) ArrayPrototypePush(sorted, pairs[i]![0], pairs[i]![1]);
    this.#list = sorted;
    this.#changed();
  }

  toString(): string {
    return serializeUrlEncoded(this.#list);
  }
}
finishInterface(URLSearchParams, "URLSearchParams");

/** From a sequence of pairs or a record. */
function fromObject(init: object): string[] {
  const list: string[] = [];
  const iterator = (init as Partial<Iterable<unknown>>)[Symbol.iterator];
  if (iterator !== undefined && iterator !== null) {
    for (const entry of init as Iterable<Iterable<unknown>>) {
      if (typeof entry !== "object" || entry === null) throw new TypeError("URLSearchParams takes pairs.");
      const pair = [...entry];
      if (pair.length !== 2) throw new TypeError("Each pair of URLSearchParams must have two items.");
      ArrayPrototypePush(list, toUSVString(pair[0]), toUSVString(pair[1]));
    }
  } else {
    const keys = ReflectOwnKeys(init);
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i]!;
      if (!ObjectGetOwnPropertyDescriptor(init, key)?.enumerable) continue;
      const name = toUSVString(key);
      const value = toUSVString((init as Record<string, unknown>)[key as string]);
      // Names may become the same only now.
      let at = 0;
      while (at < list.length && list[at] !== name) at += 2;
      if (at < list.length) list[at + 1] = value;
      else ArrayPrototypePush(list, name, value);
    }
  }
  return list;
}

export { isParams, linkParams, resetParams };
