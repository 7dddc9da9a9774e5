/** `data:` URLs (Fetch Standard, section 6), as the only thing that `fetch` answers without the host. */
import {
  bytesOf,
  NativeUint8Array,
  RegExpPrototypeExec,
  StringPrototypeCharCodeAt,
  StringPrototypeIndexOf,
  StringPrototypeSlice,
  StringPrototypeStartsWith,
  StringPrototypeTrim,
  TypedArrayPrototypeSlice,
} from "../internal/primordials.ts";
import { atob } from "../encoding/base64.ts";
import { fromFetch, type Response } from "../fetch/response.ts";
import * as ops from "../host.ts";

const BASE64_END = /; *base64$/i;
const MIME_TYPE = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+\/[!#$%&'*+\-.^_`|~0-9A-Za-z]+[ \t]*(;|$)/;

/** Undoes percent encoding; the URL parser left nothing but ASCII. */
function percentDecode(text: string): Uint8Array<ArrayBuffer> {
  const out = new NativeUint8Array(text.length);
  let at = 0;
  for (let i = 0; i < text.length; i++) {
    const code = StringPrototypeCharCodeAt(text, i);
    const high = code === 37 ? hex(StringPrototypeCharCodeAt(text, i + 1)) : -1;
    const low = high < 0 ? -1 : hex(StringPrototypeCharCodeAt(text, i + 2));
    if (low < 0) {
      out[at++] = code;
    } else {
      out[at++] = high * 16 + low;
      i += 2;
    }
  }
  return TypedArrayPrototypeSlice(out, 0, at) as Uint8Array<ArrayBuffer>;
}

function hex(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const letter = code | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}

export function fetchDataUrl(url: string, method: string): Response {
  const fragment = StringPrototypeIndexOf(url, "#");
  const input = StringPrototypeSlice(url, 5, fragment < 0 ? url.length : fragment);
  const comma = StringPrototypeIndexOf(input, ",");
  if (comma < 0) throw new TypeError("A data URL needs a comma before its data.");
  let type = StringPrototypeTrim(StringPrototypeSlice(input, 0, comma));
  let bytes = percentDecode(StringPrototypeSlice(input, comma + 1));
  const base64 = RegExpPrototypeExec(BASE64_END, type);
  if (base64 !== null) {
    type = StringPrototypeTrim(StringPrototypeSlice(type, 0, (base64 as RegExpExecArray).index));
    let binary: string;
    try {
      binary = atob(ops.decodeLatin1(bytes));
    } catch {
      throw new TypeError("The data of the URL is not correctly encoded in base64.");
    }
    bytes = new NativeUint8Array(binary.length) as Uint8Array<ArrayBuffer>;
    for (let i = 0; i < binary.length; i++) bytes[i] = StringPrototypeCharCodeAt(binary, i);
  }
  if (StringPrototypeStartsWith(type, ";")) type = `text/plain${type}`;
  if (RegExpPrototypeExec(MIME_TYPE, type) === null) type = "text/plain;charset=US-ASCII";
  const body = method === "HEAD" ? null : (bytesOf(bytes) as Uint8Array<ArrayBuffer>);
  return fromFetch(200, `content-type\0${type}\0`, body, fragment < 0 ? url : StringPrototypeSlice(url, 0, fragment), false);
}
