/** The multipart/form-data format, both ways. */
import {
  ArrayPrototypePush,
  concatBytes,
  NativeUint8Array,
  NumberPrototypeToString,
  RegExpPrototypeExec,
  StringPrototypeCharCodeAt,
  StringPrototypeIndexOf,
  StringPrototypeSlice,
  StringPrototypeToLowerCase,
  StringPrototypeTrim,
  TypedArrayPrototypeGetByteLength,
  TypedArrayPrototypeSubarray,
} from "../internal/primordials.ts";
import * as ops from "../host.ts";
import { blobBytes, blobType, fileName, newFile } from "./blob.ts";
import { appendEntry, entriesOf, FormData } from "./form-data.ts";

/** Parts of one form; each costs memory beyond its bytes. */
const PARTS_MAX = 20_000;
/** Header of one part, bytes. */
const PART_HEAD_MAX = 16 << 10;
/** RFC 2046 allows 70 characters. */
const BOUNDARY_MAX = 256;
/** Bytes that are looked through as text at a time. */
const WINDOW = 256 << 10;

/** Escapes a name for a quoted string, as browsers do. */
function escapeName(text: string): string {
  let out = "";
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!;
    out += char === "\n" ? "%0A" : char === "\r" ? "%0D" : char === '"' ? "%22" : char;
  }
  return out;
}

/** Line breaks in names and values become CRLF. */
function normalizeBreaks(text: string): string {
  if (StringPrototypeIndexOf(text, "\n") < 0 && StringPrototypeIndexOf(text, "\r") < 0) return text;
  let out = "";
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!;
    if (char === "\r") {
      out += "\r\n";
      if (text[i + 1] === "\n") i += 1;
    } else {
      out += char === "\n" ? "\r\n" : char;
    }
  }
  return out;
}

export function serializeMultipart(form: FormData): { bytes: Uint8Array<ArrayBuffer>; type: string } {
  const random = new NativeUint8Array(16);
  ops.random(random);
  let boundary = "----selvedge-form-";
  for (let i = 0; i < random.length; i++) boundary += StringPrototypeSlice(NumberPrototypeToString(random[i]! + 256, 16), 1);
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  const list = entriesOf(form);
  for (let i = 0; i < list.length; i += 2) {
    const name = escapeName(normalizeBreaks(list[i] as string));
    const value = list[i + 1]!;
    let head = `--${boundary}\r\nContent-Disposition: form-data; name="${name}"`;
    if (typeof value === "string") {
      ArrayPrototypePush(chunks, ops.encodeUtf8(`${head}\r\n\r\n${normalizeBreaks(value)}\r\n`));
    } else {
      head += `; filename="${escapeName(fileName(value))}"\r\nContent-Type: ${blobType(value) || "application/octet-stream"}\r\n\r\n`;
      ArrayPrototypePush(chunks, ops.encodeUtf8(head), blobBytes(value), ops.encodeUtf8("\r\n"));
    }
  }
  ArrayPrototypePush(chunks, ops.encodeUtf8(`--${boundary}--\r\n`));
  return { bytes: concatBytes(chunks), type: `multipart/form-data; boundary=${boundary}` };
}

const PARAMETER = /;[ \t]*([A-Za-z-]+)=(?:"((?:[^"\\\r\n]|\\.)*)"|([^;\s]*))/y;

/** A parameter of a header field, like the boundary of a content type. */
function parameterOf(value: string, wanted: string): string | undefined {
  const start = StringPrototypeIndexOf(value, ";");
  if (start < 0) return undefined;
  PARAMETER.lastIndex = start;
  for (;;) {
    const match = RegExpPrototypeExec(PARAMETER, value);
    if (match === null) return undefined;
    if (StringPrototypeToLowerCase(match[1]!) === wanted) return match[2] ?? match[3] ?? "";
    const next = StringPrototypeIndexOf(value, ";", PARAMETER.lastIndex);
    if (next < 0) return undefined;
    PARAMETER.lastIndex = next;
  }
}

/** Undoes `escapeName`. */
function unescapeName(text: string): string {
  let out = "";
  for (let i = 0; i < text.length; i++) {
    const three = StringPrototypeSlice(text, i, i + 3);
    if (three === "%0A" || three === "%0D" || three === "%22") {
      out += three === "%22" ? '"' : three === "%0A" ? "\n" : "\r";
      i += 2;
    } else if (text[i] === "\\" && text[i + 1] === '"') {
      out += '"';
      i += 1;
    } else {
      out += text[i];
    }
  }
  return out;
}

function utf8Of(latin1: string): string {
  const bytes = new NativeUint8Array(latin1.length);
  for (let i = 0; i < latin1.length; i++) bytes[i] = StringPrototypeCharCodeAt(latin1, i);
  return ops.decodeUtf8(bytes, false, true);
}

function malformed(why: string): TypeError {
  return new TypeError(`The body is not valid multipart/form-data: ${why}.`);
}

/** Finds patterns in bytes, as text of one character a byte, without ever making text of all of them. */
class Scanner {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #length: number;
  #text = "";
  #base = 0;

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.#bytes = bytes;
    this.#length = TypedArrayPrototypeGetByteLength(bytes);
  }

  /** Where the pattern begins, at `from` or behind and before `limit`; -1 when it does not. */
  find(pattern: string, from: number, limit = this.#length): number {
    for (let at = from; at < limit; ) {
      if (at < this.#base || at + pattern.length > this.#base + this.#text.length) this.#load(at);
      const found = StringPrototypeIndexOf(this.#text, pattern, at - this.#base);
      if (found >= 0) return this.#base + found < limit ? this.#base + found : -1;
      const end = this.#base + this.#text.length;
      if (end === this.#length) return -1;
      at = end - pattern.length + 1;
    }
    return -1;
  }

  /** So many characters, as many as there are. */
  slice(from: number, to: number): string {
    if (from >= this.#base && to <= this.#base + this.#text.length) {
      return StringPrototypeSlice(this.#text, from - this.#base, to - this.#base);
    }
    return ops.decodeLatin1(TypedArrayPrototypeSubarray(this.#bytes, from, to));
  }

  #load(from: number): void {
    this.#base = from;
    this.#text = ops.decodeLatin1(TypedArrayPrototypeSubarray(this.#bytes, from, from + WINDOW));
  }
}

/**
 * The form in a body (RFC 7578; Fetch Standard, "multipart/form-data parser"). Files share the memory of `bytes`, which
 * nobody may write to any more. Throws a `TypeError` for anything malformed or cut off.
 */
export function parseMultipart(bytes: Uint8Array<ArrayBuffer>, boundary: string | undefined): FormData {
  if (boundary === undefined || boundary === "") throw malformed("it has no boundary");
  if (boundary.length > BOUNDARY_MAX) throw malformed("its boundary is too long");
  const text = new Scanner(bytes);
  const delimiter = `--${boundary}`;
  const form = new FormData();
  let at = text.find(delimiter, 0);
  if (at < 0) throw malformed("the boundary does not occur");
  if (at > 0 && text.slice(at - 2, at) !== "\r\n") throw malformed("the boundary does not begin a line");
  at += delimiter.length;
  for (let parts = 0; ; parts++) {
    const end = text.slice(at, at + 2);
    if (end === "--") return form;
    if (end !== "\r\n") throw malformed("a boundary does not end its line");
    if (parts === PARTS_MAX) throw malformed(`it has more than ${PARTS_MAX} parts`);
    at += 2;
    const headEnd = text.find("\r\n\r\n", at, at + PART_HEAD_MAX);
    if (headEnd < 0) throw malformed("a part has no end of its header, or a very long one");
    const start = headEnd + 4;
    const next = text.find(`\r\n${delimiter}`, headEnd + 2);
    if (next < 0) throw malformed("it is cut off");
    addPart(form, text.slice(at, headEnd), TypedArrayPrototypeSubarray(bytes, start, next < start ? start : next));
    at = next + 2 + delimiter.length;
  }
}

function addPart(form: FormData, head: string, content: Uint8Array<ArrayBuffer>): void {
  let name: string | undefined;
  let filename: string | undefined;
  let type = "text/plain";
  let lineStart = 0;
  while (lineStart < head.length) {
    let lineEnd = StringPrototypeIndexOf(head, "\r\n", lineStart);
    if (lineEnd < 0) lineEnd = head.length;
    const line = StringPrototypeSlice(head, lineStart, lineEnd);
    const colon = StringPrototypeIndexOf(line, ":");
    if (colon < 0) throw malformed("a part's header line has no colon");
    const field = StringPrototypeToLowerCase(StringPrototypeTrim(StringPrototypeSlice(line, 0, colon)));
    const value = StringPrototypeTrim(StringPrototypeSlice(line, colon + 1));
    if (field === "content-disposition") {
      name = parameterOf(value, "name");
      filename = parameterOf(value, "filename");
    } else if (field === "content-type") {
      type = value;
    }
    lineStart = lineEnd + 2;
  }
  if (name === undefined) throw malformed("a part has no name");
  const key = utf8Of(unescapeName(name));
  if (filename === undefined) appendEntry(form, key, ops.decodeUtf8(content, false, true));
  else appendEntry(form, key, newFile(content, utf8Of(unescapeName(filename)), type, ops.now()));
}
