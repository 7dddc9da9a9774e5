/** Subresource Integrity: a response is given only if its body has one of the digests that the request names. */
import {
  ArrayPrototypePush,
  NativeUint8Array,
  RegExpPrototypeExec,
  StringFromCharCode,
  StringPrototypeCharCodeAt,
  StringPrototypeIndexOf,
  StringPrototypeSlice,
} from "../internal/primordials.ts";
import { atob } from "../encoding/base64.ts";
import { readBytes, type Response } from "../fetch/response.ts";
import * as ops from "../host.ts";

/** One expression of the metadata (section 3.4); what else it says behind `?` means nothing. */
const EXPRESSION = /^sha(256|384|512)-([A-Za-z0-9+/_-]+={0,2})(?:\?.*)?$/i;

/** The strongest hash that is named and its digests; no digests when none is known, which asks for nothing. */
function strongest(metadata: string): { bits: number; digests: string[] } {
  let bits = 0;
  let digests: string[] = [];
  let start = 0;
  for (let i = 0; i <= metadata.length; i++) {
    if (i < metadata.length && StringPrototypeIndexOf(" \t\n\f\r", metadata[i]!) < 0) continue;
    const match = RegExpPrototypeExec(EXPRESSION, StringPrototypeSlice(metadata, start, i)) as RegExpExecArray | null;
    start = i + 1;
    if (match === null) continue;
    const size = +match[1]!;
    if (size > bits) {
      bits = size;
      digests = [];
    }
    if (size === bits) ArrayPrototypePush(digests, match[2]);
  }
  return { bits, digests };
}

/** The binary form of a digest, one character a byte; either alphabet of base64, with padding or without. */
function decode(digest: string): string | undefined {
  let text = "";
  for (let i = 0; i < digest.length; i++) {
    const code = StringPrototypeCharCodeAt(digest, i);
    text += code === 45 ? "+" : code === 95 ? "/" : StringFromCharCode(code);
  }
  try {
    return atob(text);
  } catch {
    return undefined;
  }
}

/** The response once more, when its body is what was asked for. `remake` makes it of the bytes, since reading takes the body away. */
export async function checked(
  response: Response,
  integrity: string,
  remake: (bytes: Uint8Array<ArrayBuffer>) => Response,
): Promise<Response> {
  const { bits, digests } = strongest(integrity);
  if (digests.length === 0) return response;
  const bytes = new NativeUint8Array(await readBytes(response)) as Uint8Array<ArrayBuffer>;
  const digest = ops.digest(`SHA-${bits}`, bytes, true);
  if (typeof digest !== "object") throw new TypeError(`The integrity of the response cannot be checked: ${digest}`);
  const actual = ops.decodeLatin1(new NativeUint8Array(digest) as Uint8Array<ArrayBuffer>);
  for (let i = 0; i < digests.length; i++) if (decode(digests[i]!) === actual) return remake(bytes);
  throw new TypeError("The body of the response does not have the digest that the request's integrity asks for.");
}
