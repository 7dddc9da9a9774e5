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
  TypedArrayPrototypeSlice,
  TypedArrayPrototypeSubarray,
} from "../internal/primordials.ts";
import * as ops from "../host.ts";
import { blobBytes, File } from "./blob.ts";
import { entriesOf, FormData } from "./form-data.ts";

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
      head += `; filename="${escapeName(value.name)}"\r\nContent-Type: ${value.type || "application/octet-stream"}\r\n\r\n`;
      ArrayPrototypePush(chunks, ops.encodeUtf8(head), blobBytes(value), ops.encodeUtf8("\r\n"));
    }
  }
  ArrayPrototypePush(chunks, ops.encodeUtf8(`--${boundary}--\r\n`));
  return { bytes: concatBytes(chunks), type: `multipart/form-data; boundary=${boundary}` };
}

const PARAMETER = /;[ \t]*([A-Za-z-]+)=(?:"((?:[^"\\\r\n]|\\.)*)"|([^;\s]*))/y;

/** A parameter of a header field, like the boundary of a content type. */
export function parameterOf(value: string, wanted: string): string | undefined {
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

/** Throws a `TypeError` for anything malformed or cut off. */
export function parseMultipart(bytes: Uint8Array<ArrayBuffer>, type: string): FormData {
  const boundary = parameterOf(type, "boundary");
  if (boundary === undefined || boundary === "") throw malformed("it has no boundary");
  // One character a byte, so that offsets are the same in both.
  const text = ops.decodeLatin1(bytes);
  const delimiter = `--${boundary}`;
  const form = new FormData();
  let at = StringPrototypeIndexOf(text, delimiter);
  if (at < 0) throw malformed("the boundary does not occur");
  if (at > 0 && StringPrototypeSlice(text, at - 2, at) !== "\r\n") throw malformed("the boundary does not begin a line");
  at += delimiter.length;
  for (;;) {
    if (StringPrototypeSlice(text, at, at + 2) === "--") return form;
    if (StringPrototypeSlice(text, at, at + 2) !== "\r\n") throw malformed("a boundary does not end its line");
    at += 2;
    const headEnd = StringPrototypeIndexOf(text, "\r\n\r\n", at);
    if (headEnd < 0) throw malformed("a part has no end of its header");
    const head = StringPrototypeSlice(text, at, headEnd);
    const start = headEnd + 4;
    const end = StringPrototypeIndexOf(text, `\r\n${delimiter}`, headEnd + 2);
    if (end < 0) throw malformed("it is cut off");
    addPart(form, head, bytes, start, end < start ? start : end);
    at = end + 2 + delimiter.length;
  }
}

function addPart(form: FormData, head: string, bytes: Uint8Array<ArrayBuffer>, start: number, end: number): void {
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
  if (filename === undefined) {
    form.append(key, ops.decodeUtf8(TypedArrayPrototypeSubarray(bytes, start, end), false, true));
  } else {
    const content = TypedArrayPrototypeSlice(bytes, start, end);
    form.append(key, new File([content], utf8Of(unescapeName(filename)), { type }));
  }
}
