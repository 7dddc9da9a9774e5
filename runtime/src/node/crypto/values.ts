/** What goes into the functions of `node:crypto`, what comes out, and their errors. */
import { Buffer } from "node:buffer";
import { checkFunction, coded, outOfRange, wrongType } from "../../internal/node-errors.ts";
import { jobResult } from "../../internal/jobs.ts";
import { ticks } from "../../internal/node-ticks.ts";
import type { Answer } from "../../ops.d.ts";

export type Callback = (error: Error | null, ...results: any[]) => void;

/** Most that is kept where an operation needs its whole message, bytes. */
export const MESSAGE_MAX = 64 << 20;

/** The bytes of a view or buffer; undefined for anything else. */
export function viewed(value: unknown): Uint8Array | undefined {
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  return value instanceof ArrayBuffer ? new Uint8Array(value) : undefined;
}

/** The bytes of a string or of anything that has bytes. */
export function bytesOf(value: unknown, name: string, encoding?: unknown): Uint8Array {
  if (typeof value === "string") return Buffer.from(value, encoding === "buffer" ? undefined : encoding);
  const bytes = viewed(value);
  if (bytes === undefined) {
    const expected = name === "data" ? "of type string or an instance of Buffer, TypedArray, or DataView" : "of type string or an instance of ArrayBuffer, Buffer, TypedArray, or DataView";
    throw wrongType(name, expected, value);
  }
  return bytes;
}

/** Bytes as a `Buffer`, or as text when there is an encoding. */
export function encoded(bytes: ArrayBuffer | Uint8Array, encoding: unknown): any {
  const view = viewed(bytes)!;
  const buffer = Buffer.from(view.buffer, view.byteOffset, view.byteLength);
  return encoding === undefined || encoding === null || encoding === "buffer" ? buffer : buffer.toString(encoding);
}

/** What an op that failed said, as an error with a code. */
export function failure(text: string, code = "ERR_CRYPTO_OPERATION_FAILED"): Error {
  const [name, sentence] = [text.slice(0, text.indexOf(": ")), text.slice(text.indexOf(": ") + 2)];
  const type = !code.startsWith("ERR_OSSL") && (name === "DataError" || name === "InvalidAccessError");
  return coded(type ? new TypeError(sentence) : new Error(sentence), code);
}

/** The result of an op that was done at once; throws what it failed with. */
export function done<T>(answer: Answer<T>, code?: string): T {
  if (typeof answer === "string") throw failure(answer, code);
  return answer as T;
}

/** Calls back with the result of an op, whenever there is one. */
export function later<T>(answer: Answer<T>, callback: Callback, map: (result: T) => unknown[] = (result) => [result]): void {
  const tell = (result: T | string) => {
    let args: unknown[];
    try {
      args = [null, ...map(done(result as Answer<T>))];
    } catch (error) {
      args = [error];
    }
    ticks().add(callback, args);
  };
  if (typeof answer === "number") void jobResult<T | string>(answer).then(({ value }) => tell(value));
  else tell(answer);
}

/** Does what gives a result at once, and calls back with it. */
export function soon(callback: unknown, make: () => unknown[]): void {
  checkFunction(callback, "callback");
  ticks().add(callback, [null, ...make()]);
}

/** A whole number from `low` to `high`. */
export function whole(value: unknown, name: string, low: number, high: number): number {
  if (typeof value !== "number") throw wrongType(name, "of type number", value);
  if (!Number.isInteger(value)) throw outOfRange(name, "an integer", value);
  if (value < low || value > high) throw outOfRange(name, `>= ${low} && <= ${high}`, value);
  return value;
}

/** Node's names of digests, with the length of each in bytes. */
export const DIGESTS: Record<string, number> = {
  "RSA-MD5": 16, "RSA-SHA1": 20, "RSA-SHA224": 28, "RSA-SHA256": 32, "RSA-SHA384": 48, "RSA-SHA512": 64, "RSA-SHA512/256": 32,
  md5: 16, sha1: 20, sha224: 28, sha256: 32, sha384: 48, sha512: 64, "sha512-256": 32,
};

/** The host's name of a digest; undefined when there is none. */
export function digestName(name: string): string | undefined {
  const plain = name.toLowerCase().replace(/^rsa-/, "").replace("/", "-").replace(/^sha-/, "sha").replace(/^sha2-/, "sha");
  return plain in DIGESTS ? plain : undefined;
}

export function checkDigest(value: unknown, name = "digest"): string {
  if (typeof value !== "string") throw wrongType(name, "of type string", value);
  const digest = digestName(value);
  if (digest === undefined) throw coded(new TypeError(`Invalid digest: ${value}`), "ERR_CRYPTO_INVALID_DIGEST");
  return digest;
}
