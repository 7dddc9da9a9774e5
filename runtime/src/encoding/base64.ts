/** `atob` and `btoa`. */
import {
  MathTrunc,
  NativeUint8Array,
  StringPrototypeCharCodeAt,
} from "../internal/primordials.ts";
import { requireArguments } from "../internal/webidl.ts";
import { DOMException } from "../dom/exception.ts";
import * as ops from "../host.ts";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const ENCODE = new NativeUint8Array(64);
const DECODE = new NativeUint8Array(256);
DECODE.fill(255);
for (let i = 0; i < 64; i++) {
  ENCODE[i] = StringPrototypeCharCodeAt(ALPHABET, i);
  DECODE[ENCODE[i]!] = i;
}

export function btoa(data: string): string {
  requireArguments(arguments.length, 1, "btoa");
  const text = `${data}`;
  const out = new NativeUint8Array(MathTrunc((text.length + 2) / 3) * 4);
  let at = 0;
  for (let i = 0; i < text.length; i += 3) {
    const a = byteAt(text, i);
    const b = i + 1 < text.length ? byteAt(text, i + 1) : 0;
    const c = i + 2 < text.length ? byteAt(text, i + 2) : 0;
    out[at++] = ENCODE[a >> 2]!;
    out[at++] = ENCODE[((a & 3) << 4) | (b >> 4)]!;
    out[at++] = i + 1 < text.length ? ENCODE[((b & 15) << 2) | (c >> 6)]! : 61;
    out[at++] = i + 2 < text.length ? ENCODE[c & 63]! : 61;
  }
  return ops.decodeLatin1(out);
}

function byteAt(text: string, index: number): number {
  const code = StringPrototypeCharCodeAt(text, index);
  if (code > 255) {
    throw new DOMException("The string to be encoded contains characters outside of the Latin1 range.", "InvalidCharacterError");
  }
  return code;
}

function isSpace(code: number): boolean {
  return code === 32 || code === 9 || code === 10 || code === 12 || code === 13;
}

export function atob(data: string): string {
  requireArguments(arguments.length, 1, "atob");
  const text = `${data}`;
  const codes = new NativeUint8Array(text.length);
  let length = 0;
  let padding = 0;
  for (let i = 0; i < text.length; i++) {
    const code = StringPrototypeCharCodeAt(text, i);
    if (isSpace(code)) continue;
    if (code === 61) {
      padding += 1;
      continue;
    }
    const value = code < 256 ? DECODE[code]! : 255;
    if (value === 255 || padding > 0) throw malformed();
    codes[length++] = value;
  }
  if (length % 4 === 1 || (padding > 0 && (padding > 2 || (length + padding) % 4 !== 0))) throw malformed();
  const size = (length * 3) >> 2;
  const out = new NativeUint8Array(size);
  let at = 0;
  for (let i = 0; i < length; i += 4) {
    const bits = (codes[i]! << 18) | (codes[i + 1]! << 12) | ((codes[i + 2] ?? 0) << 6) | (codes[i + 3] ?? 0);
    if (at < size) out[at++] = bits >> 16;
    if (at < size && i + 2 < length) out[at++] = (bits >> 8) & 255;
    if (at < size && i + 3 < length) out[at++] = bits & 255;
  }
  return ops.decodeLatin1(out);
}

function malformed(): DOMException {
  return new DOMException("The string to be decoded is not correctly encoded.", "InvalidCharacterError");
}
