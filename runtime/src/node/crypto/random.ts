/** Random bytes and numbers. */
import { Buffer } from "node:buffer";
import { checkFunction, coded, outOfRange, wrongType } from "../../internal/node-errors.ts";
import * as ops from "../../host.ts";
import { type Callback, soon, viewed, whole } from "./values.ts";

const SIZE_MAX = 2 ** 31 - 1;

export function randomBytes(size: unknown, callback?: Callback): unknown {
  const bytes = Buffer.alloc(whole(size, "size", 0, SIZE_MAX));
  ops.random(bytes);
  return callback === undefined ? bytes : soon(callback, () => [bytes]);
}

/** The bytes of a view from an offset on. */
function part(value: unknown, offset: unknown, size: unknown): Uint8Array {
  const view = viewed(value);
  if (view === undefined) throw wrongType("buf", "an instance of ArrayBuffer, Buffer, TypedArray, or DataView", value);
  const unit = (value as { BYTES_PER_ELEMENT?: number }).BYTES_PER_ELEMENT ?? 1;
  const from = offset === undefined ? 0 : whole(offset, "offset", 0, view.length / unit) * unit;
  const length = size === undefined ? view.length - from : whole(size, "size", 0, SIZE_MAX) * unit;
  if (from + length > view.length) throw outOfRange("size + offset", `<= ${view.length}`, from + length);
  return view.subarray(from, from + length);
}

export function randomFillSync<T>(buffer: T, offset?: unknown, size?: unknown): T {
  ops.random(part(buffer, offset, size));
  return buffer;
}

export function randomFill(buffer: unknown, ...rest: unknown[]): void {
  const callback = rest.pop();
  checkFunction(callback, "callback");
  randomFillSync(buffer, rest[0], rest[1]);
  soon(callback, () => [buffer]);
}

const SPAN = 2 ** 48;

export function randomInt(min: unknown, max?: unknown, callback?: unknown): number | void {
  if (max === undefined || typeof max === "function") [min, max, callback] = [0, min, max];
  if (!Number.isSafeInteger(min)) throw wrongType("min", "a safe integer", min);
  if (!Number.isSafeInteger(max)) throw wrongType("max", "a safe integer", max);
  const low = min as number;
  const range = (max as number) - low;
  if (range <= 0) throw outOfRange("max", `greater than the value of "min" (${low})`, max);
  if (range >= SPAN) throw outOfRange(low === 0 ? "max" : "max - min", `<= ${SPAN - 1}`, low === 0 ? max : range);
  const fair = SPAN - (SPAN % range);
  const bytes = Buffer.alloc(6);
  let number;
  // Those of the last, incomplete range would make its numbers likelier.
  do {
    ops.random(bytes);
    number = bytes.readUIntBE(0, 6) as number;
  } while (number >= fair);
  const result = low + (number % range);
  return callback === undefined ? result : soon(callback, () => [result]);
}

/** Compares in a time that depends on the lengths only. */
export function timingSafeEqual(a: unknown, b: unknown): boolean {
  const [one, two] = [viewed(a), viewed(b)];
  if (one === undefined) throw wrongType("buf1", "an instance of ArrayBuffer, Buffer, TypedArray, or DataView", a);
  if (two === undefined) throw wrongType("buf2", "an instance of ArrayBuffer, Buffer, TypedArray, or DataView", b);
  if (one.length !== two.length) {
    throw coded(new RangeError("Input buffers must have the same byte length"), "ERR_CRYPTO_TIMING_SAFE_EQUAL_LENGTH");
  }
  return ops.bytesEqual(one, two);
}
