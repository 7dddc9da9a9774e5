/** `node:buffer`: the package `buffer`, with the host's codecs, `base64url`, and what came to Node later. */
import base from "buffer/index.js";
import { coded, wrongType } from "../internal/node-errors.ts";
import * as ops from "../host.ts";

const Buffer = base.Buffer;
const proto = Buffer.prototype;
const utf8 = (encoding: unknown) => encoding === undefined || encoding === "utf8" || encoding === "utf-8" || encoding === "";

/** The package's base64 reads both alphabets, so `base64url` matters where it writes. */
const plain = (encoding: unknown) =>
  typeof encoding === "string" && encoding.toLowerCase() === "base64url" ? "base64" : encoding;

const { from, byteLength, isEncoding } = Buffer;
const { toString, write, fill, indexOf, lastIndexOf, includes } = proto;

function fromString(text: string): object {
  const bytes = ops.encodeUtf8(text);
  return Object.setPrototypeOf(bytes, proto);
}

Buffer.from = function (value: unknown, encoding?: unknown, length?: unknown) {
  if (typeof value === "string") {
    if (utf8(encoding)) return fromString(value);
    return from(value, plain(encoding), length);
  }
  return from(value, encoding, length);
};
Buffer.byteLength = (value: unknown, encoding?: unknown) =>
  typeof value === "string" && utf8(encoding) ? ops.utf8Length(value) : byteLength(value, plain(encoding));
Buffer.isEncoding = (encoding: unknown) => isEncoding(plain(encoding));
Buffer.copyBytesFrom = (view: unknown, offset = 0, length?: number) => {
  if (!ArrayBuffer.isView(view)) throw wrongType("view", "an instance of TypedArray", view);
  const array = (view as Uint8Array).slice(offset, length === undefined ? undefined : offset + length);
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength);
};
Buffer.prototype.toString = function (this: Uint8Array, encoding?: string, start = 0, end = this.length) {
  if (encoding === undefined || utf8(encoding) || encoding === "latin1" || encoding === "binary") {
    const length = this.length;
    start = Math.min(Math.max(Math.trunc(start) || 0, 0), length);
    end = Math.min(end === undefined ? length : Math.trunc(end) || 0, length);
    if (end <= start) return "";
    const part = start === 0 && end === length ? this : new Uint8Array(this.buffer, this.byteOffset + start, end - start);
    return utf8(encoding) ? ops.decodeUtf8(part, false, true) : ops.decodeLatin1(part);
  }
  const name = String(encoding).toLowerCase();
  if (name !== "base64url") {
    if (!isEncoding(name)) throw coded(new TypeError(`Unknown encoding: ${encoding}`), "ERR_UNKNOWN_ENCODING");
    return toString.call(this, name, start, end);
  }
  return toString.call(this, "base64", start, end).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
};
const last = (args: unknown[]) => {
  const mapped = args.slice();
  for (let i = 1; i < mapped.length; i++) mapped[i] = plain(mapped[i]);
  return mapped;
};
for (const [name, original] of Object.entries({ write, fill, indexOf, lastIndexOf, includes })) {
  Object.defineProperty(proto, name, {
    value: { [name](this: unknown, ...args: unknown[]) { return (original as Function).apply(this, last(args)); } }[name],
    writable: true,
    configurable: true,
    enumerable: true,
  });
}
// Names of methods that Node has had in a second spelling for long.
for (const name of ["readUInt8", "readUInt16LE", "readUInt16BE", "readUInt32LE", "readUInt32BE", "readUIntLE", "readUIntBE", "writeUInt8", "writeUInt16LE", "writeUInt16BE", "writeUInt32LE", "writeUInt32BE", "writeUIntLE", "writeUIntBE"]) {
  proto[name.replace("UInt", "Uint")] = proto[name];
}
for (const kind of ["utf8", "latin1", "ascii", "hex", "base64", "base64url", "ucs2"]) {
  proto[`${kind}Slice`] = function (this: { toString(...args: unknown[]): string }, start?: number, end?: number) {
    return this.toString(kind, start ?? 0, end);
  };
  proto[`${kind}Write`] = function (this: { write(...args: unknown[]): number }, text: string, offset = 0, length?: number) {
    return length === undefined ? this.write(text, offset, kind) : this.write(text, offset, length, kind);
  };
}

const bytesOf = (value: unknown): Uint8Array => {
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  throw wrongType("input", "an instance of ArrayBuffer, Buffer, or TypedArray", value);
};

function isUtf8(input: unknown): boolean {
  try {
    ops.decodeUtf8(bytesOf(input), true, true);
    return true;
  } catch (error) {
    if ((error as { code?: string }).code !== undefined) throw error;
    return false;
  }
}

const isAscii = (input: unknown) => bytesOf(input).every((byte) => byte < 128);

function transcode(source: Uint8Array, from: string, to: string): object {
  const known = ["ascii", "latin1", "binary", "utf8", "utf-8", "utf16le", "utf-16le", "ucs2", "ucs-2"];
  if (!known.includes(from.toLowerCase()) || !known.includes(to.toLowerCase())) {
    throw coded(new Error("Unable to transcode Buffer [U_ILLEGAL_ARGUMENT_ERROR]"), "U_ILLEGAL_ARGUMENT_ERROR");
  }
  let text = Buffer.from(bytesOf(source)).toString(from);
  const max = to === "ascii" ? 127 : to === "latin1" || to === "binary" ? 255 : Infinity;
  if (max !== Infinity) text = Array.from(text as string, (c) => (c.codePointAt(0)! > max ? "?" : c)).join("");
  return Buffer.from(text, to);
}

const { atob, btoa, Blob, File } = globalThis as unknown as Record<string, object>;
const buffer = {
  Buffer,
  SlowBuffer: base.SlowBuffer,
  kMaxLength: 2 ** 32,
  kStringMaxLength: 2 ** 29 - 24,
  constants: { MAX_LENGTH: 2 ** 32, MAX_STRING_LENGTH: 2 ** 29 - 24 },
  INSPECT_MAX_BYTES: 50,
  atob,
  btoa,
  Blob,
  File,
  isUtf8,
  isAscii,
  transcode,
  resolveObjectURL: () => undefined,
};

export const modules = { "node:buffer": buffer };
