/** `Headers`. Kept as a flat list, name, value, name, value, …, names in lower case; made from a head on first use. */
import {
  ArrayPrototypePush,
  ArrayPrototypeSlice,
  ArrayPrototypeSort,
  ObjectCreate,
  ObjectGetOwnPropertyDescriptor,
  ReflectOwnKeys,
  StringPrototypeCharCodeAt,
  StringPrototypeIndexOf,
  StringPrototypeSlice,
  StringPrototypeToLowerCase,
} from "../internal/primordials.ts";
import { finishInterface, INTERNAL, requireArguments, takeSequence, toByteString } from "../internal/webidl.ts";
import { defineIteration } from "../internal/iterable.ts";
import type { Head } from "../ops.d.ts";

/** Characters that a field name may have. */
const TOKEN: boolean[] = [];
for (let i = 0; i < 256; i++) {
  TOKEN[i] = StringPrototypeIndexOf("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", String.fromCharCode(i)) >= 0;
}

/** Names as people write them, to their normal form: most need no checking. */
const known: Record<string, string> = ObjectCreate(null);
for (const name of [
  "Accept", "Accept-Encoding", "Accept-Language", "Access-Control-Allow-Headers", "Access-Control-Allow-Methods",
  "Access-Control-Allow-Origin", "Authorization", "Cache-Control", "Content-Encoding", "Content-Length",
  "Content-Type", "Cookie", "Date", "ETag", "Etag", "Expires", "Host", "If-Match", "If-Modified-Since", "If-None-Match",
  "Last-Modified", "Link", "Location", "Origin", "Range", "Referer", "Retry-After", "Server", "Set-Cookie",
  "Transfer-Encoding", "Upgrade", "User-Agent", "Vary", "X-Forwarded-For", "X-Request-Id", "X-Powered-By",
]) {
  const lower = name.toLowerCase();
  known[name] = lower;
  known[lower] = lower;
}

function normalizeName(given: unknown): string {
  const name = typeof given === "string" ? given : `${given as string}`;
  const found = known[name];
  if (found !== undefined) return found;
  for (let i = 0; i < name.length; i++) {
    if (TOKEN[StringPrototypeCharCodeAt(name, i)] !== true) throw new TypeError(`Invalid header name: ${name}`);
  }
  if (name === "") throw new TypeError("A header name must not be empty.");
  return StringPrototypeToLowerCase(name);
}

function isSpace(code: number): boolean {
  return code === 32 || code === 9 || code === 10 || code === 13;
}

function normalizeValue(given: unknown): string {
  let value = typeof given === "string" ? given : `${given as string}`;
  let { length } = value;
  if (length === 0) return value;
  if (isSpace(StringPrototypeCharCodeAt(value, 0)) || isSpace(StringPrototypeCharCodeAt(value, length - 1))) {
    let start = 0;
    while (start < length && isSpace(StringPrototypeCharCodeAt(value, start))) start += 1;
    while (length > start && isSpace(StringPrototypeCharCodeAt(value, length - 1))) length -= 1;
    value = StringPrototypeSlice(value, start, length);
    length -= start;
  }
  for (let i = 0; i < length; i++) {
    const code = StringPrototypeCharCodeAt(value, i);
    if (code < 32 ? code === 0 || code === 10 || code === 13 : code > 255) {
      if (code > 255) toByteString(value, "A header value");
      throw new TypeError("A header value must not contain NUL, CR or LF.");
    }
  }
  return value;
}

/** Cuts a head into its list. */
function parseHead(head: Head): string[] {
  const list: string[] = [];
  let start = 0;
  for (;;) {
    const end = StringPrototypeIndexOf(head, "\0", start);
    if (end < 0) return list;
    ArrayPrototypePush(list, StringPrototypeSlice(head, start, end));
    start = end + 1;
  }
}

export type HeadersInit = Headers | Iterable<Iterable<unknown>> | Record<string, unknown>;

let fromHead: (head: Head, immutable: boolean) => Headers;
let toHead: (headers: Headers) => Head;
let peek: (headers: Headers, name: string) => string | null;
let addDefault: (headers: Headers, name: string, value: string) => void;
let copyHeaders: (headers: Headers) => Headers;
let removeAll: (headers: Headers, names: readonly string[]) => void;
let fill: (headers: Headers, init: unknown) => void;
let freeze: (headers: Headers) => void;
let isHeaders: (value: unknown) => value is Headers;

export class Headers {
  /** The host's form, until somebody looks. */
  #head: Head | undefined;
  #list: string[];
  #immutable = false;
  /** The list sorted and combined, for iteration; dropped by every change. */
  #sorted: string[] | undefined;

  constructor(init: HeadersInit | undefined = undefined) {
    this.#list = [];
    if (init !== undefined && (init as unknown) !== INTERNAL) fill(this, init);
  }

  static {
    fromHead = (head, immutable) => {
      const headers = new Headers(INTERNAL as never);
      headers.#head = head;
      headers.#immutable = immutable;
      return headers;
    };
    toHead = (headers) => {
      if (headers.#head !== undefined) return headers.#head;
      const list = headers.#list;
      let head = "";
      for (let i = 0; i < list.length; i++) head += `${list[i]}\0`;
      return head;
    };
    peek = (headers, name) => headers.#get(name);
    addDefault = (headers, name, value) => {
      if (headers.#find(name) < 0) ArrayPrototypePush(headers.#list, name, value);
    };
    copyHeaders = (headers) => {
      const copy = new Headers(INTERNAL as never);
      if (headers.#head !== undefined) copy.#head = headers.#head;
      else copy.#list = ArrayPrototypeSlice(headers.#list) as string[];
      return copy;
    };
    removeAll = (headers, names) => {
      for (let i = 0; i < names.length; i++) headers.#remove(names[i]!);
    };
    fill = (headers, init) => headers.#fill(init);
    freeze = (headers) => {
      headers.#immutable = true;
    };
    isHeaders = (value): value is Headers => typeof value === "object" && value !== null && #list in value;
    defineIteration(Headers.prototype, "Headers", (headers) => headers.#combined());
  }

  #fill(init: unknown): void {
    if (typeof init !== "object" && typeof init !== "function") {
      throw new TypeError("Headers take an object, pairs or other Headers.");
    }
    if (init === null) throw new TypeError("Headers take an object, pairs or other Headers.");
    const list = this.#materialize();
    const iterator = (init as Partial<Iterable<unknown>>)[Symbol.iterator];
    if (iterator === ITERATOR && isHeaders(init)) {
      const other = init.#materialize();
      for (let i = 0; i < other.length; i++) ArrayPrototypePush(list, other[i]);
      return;
    }
    if (iterator !== undefined && iterator !== null) {
      takeSequence(init, "Headers", (entry) => {
        const pair: unknown[] = [];
        takeSequence(entry, "An entry of Headers", (item) => ArrayPrototypePush(pair, item));
        if (pair.length !== 2) throw new TypeError("Each pair of Headers must have two items.");
        ArrayPrototypePush(list, normalizeName(pair[0]), normalizeValue(pair[1]));
      });
      return;
    }
    const keys = ReflectOwnKeys(init);
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i] as string;
      if (!ObjectGetOwnPropertyDescriptor(init, key)?.enumerable) continue;
      ArrayPrototypePush(list, normalizeName(key), normalizeValue((init as Record<string, unknown>)[key]));
    }
  }

  #materialize(): string[] {
    const head = this.#head;
    if (head !== undefined) {
      this.#list = parseHead(head);
      this.#head = undefined;
    }
    return this.#list;
  }

  /** Where the first field of this name stands, or -1. */
  #find(name: string): number {
    const list = this.#materialize();
    for (let i = 0; i < list.length; i += 2) if (list[i] === name) return i;
    return -1;
  }

  #get(name: string): string | null {
    const list = this.#materialize();
    let value: string | null = null;
    for (let i = 0; i < list.length; i += 2) {
      if (list[i] === name) value = value === null ? list[i + 1]! : `${value}, ${list[i + 1]}`;
    }
    return value;
  }

  #combined(): string[] {
    if (this.#sorted !== undefined) return this.#sorted;
    const list = this.#materialize();
    const names: string[] = [];
    const seen: Record<string, true> = ObjectCreate(null);
    for (let i = 0; i < list.length; i += 2) {
      if (seen[list[i]!] === undefined) {
        seen[list[i]!] = true;
        ArrayPrototypePush(names, list[i]);
      }
    }
    ArrayPrototypeSort(names);
    const sorted: string[] = [];
    for (let i = 0; i < names.length; i++) {
      const name = names[i]!;
      if (name !== "set-cookie") {
        ArrayPrototypePush(sorted, name, this.#get(name));
        continue;
      }
      for (let j = 0; j < list.length; j += 2) if (list[j] === name) ArrayPrototypePush(sorted, name, list[j + 1]);
    }
    return (this.#sorted = sorted);
  }

  #change(): string[] {
    if (this.#immutable) throw new TypeError("These headers are immutable.");
    this.#sorted = undefined;
    return this.#materialize();
  }

  #remove(name: string): void {
    const list = this.#change();
    if (this.#find(name) < 0) return;
    const rest: string[] = [];
    for (let i = 0; i < list.length; i += 2) if (list[i] !== name) ArrayPrototypePush(rest, list[i], list[i + 1]);
    this.#list = rest;
  }

  append(name: string, value: string): void {
    requireArguments(arguments.length, 2, "Headers.append");
    const key = normalizeName(name);
    const text = normalizeValue(value);
    ArrayPrototypePush(this.#change(), key, text);
  }

  delete(name: string): void {
    requireArguments(arguments.length, 1, "Headers.delete");
    this.#remove(normalizeName(name));
  }

  get(name: string): string | null {
    requireArguments(arguments.length, 1, "Headers.get");
    return this.#get(normalizeName(name));
  }

  getSetCookie(): string[] {
    const list = this.#materialize();
    const values: string[] = [];
    for (let i = 0; i < list.length; i += 2) if (list[i] === "set-cookie") ArrayPrototypePush(values, list[i + 1]);
    return values;
  }

  has(name: string): boolean {
    requireArguments(arguments.length, 1, "Headers.has");
    return this.#find(normalizeName(name)) >= 0;
  }

  set(name: string, value: string): void {
    requireArguments(arguments.length, 2, "Headers.set");
    const key = normalizeName(name);
    const text = normalizeValue(value);
    const list = this.#change();
    const first = this.#find(key);
    if (first < 0) {
      ArrayPrototypePush(list, key, text);
      return;
    }
    list[first + 1] = text;
    let others = false;
    for (let i = first + 2; i < list.length; i += 2) others ||= list[i] === key;
    if (!others) return;
    const rest: string[] = [];
    for (let i = 0; i < list.length; i += 2) {
      if (i === first || list[i] !== key) ArrayPrototypePush(rest, list[i], list[i + 1]);
    }
    this.#list = rest;
  }
}
finishInterface(Headers, "Headers");
/** As long as it was not replaced, the list can be copied without it. */
const ITERATOR = Headers.prototype[Symbol.iterator as never] as unknown;

const LENGTH = ["content-length"];

/** A head that tells this length, whatever it told before. */
export function withLength(head: Head, length: number): Head {
  const headers = fromHead(head, false);
  removeAll(headers, LENGTH);
  return `${toHead(headers)}content-length\0${length}\0`;
}

export { addDefault, copyHeaders, fill, freeze, fromHead, isHeaders, peek, removeAll, toHead };
