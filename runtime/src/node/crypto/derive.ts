/** Secrets out of passwords and other secrets: PBKDF2, scrypt, HKDF. */
import { checkFunction, coded } from "../../internal/node-errors.ts";
import type { Answer, Bytes } from "../../ops.d.ts";
import * as ops from "../../host.ts";
import { KeyObject, secretBytes } from "./keys.ts";
import { type Callback, DIGESTS, bytesOf, checkDigest, done, encoded, later, soon, whole } from "./values.ts";

const LONGEST = 2 ** 31 - 1;
const buffer = (bytes: ArrayBuffer) => encoded(bytes, undefined);

function startPbkdf2(password: unknown, salt: unknown, iterations: unknown, length: unknown, digest: unknown, sync: boolean): Answer<ArrayBuffer> {
  const secret = bytesOf(password, "password");
  const salted = bytesOf(salt, "salt");
  const rounds = whole(iterations, "iterations", 1, LONGEST);
  const size = whole(length, "keylen", 0, LONGEST);
  return ops.pbkdf2(checkDigest(digest), secret, salted, rounds, size, sync);
}

export function pbkdf2Sync(password: unknown, salt: unknown, iterations: unknown, length: unknown, digest: unknown): unknown {
  return buffer(done(startPbkdf2(password, salt, iterations, length, digest, true)));
}

export function pbkdf2(password: unknown, salt: unknown, iterations: unknown, length: unknown, digest: unknown, callback: Callback): void {
  checkFunction(callback, "callback");
  later(startPbkdf2(password, salt, iterations, length, digest, false), callback, (bytes) => [buffer(bytes)]);
}

interface ScryptOptions {
  N?: number; cost?: number; r?: number; blockSize?: number; p?: number; parallelization?: number; maxmem?: number;
}

function startScrypt(password: unknown, salt: unknown, length: unknown, options: ScryptOptions, sync: boolean): Answer<ArrayBuffer> {
  const secret = bytesOf(password, "password");
  const salted = bytesOf(salt, "salt");
  const size = whole(length, "keylen", 0, LONGEST);
  const cost = whole(options.N ?? options.cost ?? 16384, "N", 0, 2 ** 32 - 1);
  const block = whole(options.r ?? options.blockSize ?? 8, "r", 0, 2 ** 32 - 1);
  const parallel = whole(options.p ?? options.parallelization ?? 1, "p", 0, 2 ** 32 - 1);
  const memory = whole(options.maxmem ?? 32 << 20, "maxmem", 0, Number.MAX_SAFE_INTEGER);
  const invalid = cost < 2 || (cost & (cost - 1)) !== 0 || block < 1 || parallel < 1 || 128 * cost * block > memory;
  if (invalid) throw coded(new RangeError("Invalid scrypt params"), "ERR_CRYPTO_INVALID_SCRYPT_PARAMS");
  return ops.scrypt(secret, salted, cost, block, parallel, memory, size, sync);
}

export function scryptSync(password: unknown, salt: unknown, length: unknown, options?: ScryptOptions): unknown {
  return buffer(done(startScrypt(password, salt, length, options ?? {}, true), "ERR_CRYPTO_INVALID_SCRYPT_PARAMS"));
}

export function scrypt(password: unknown, salt: unknown, length: unknown, options: ScryptOptions | Callback, callback?: Callback): void {
  const tell = typeof options === "function" ? options : callback;
  checkFunction(tell, "callback");
  later(startScrypt(password, salt, length, typeof options === "function" ? {} : options ?? {}, false), tell, (bytes) => [buffer(bytes)]);
}

export function hkdfSync(digest: unknown, secret: unknown, salt: unknown, info: unknown, length: unknown): ArrayBuffer {
  const hash = checkDigest(digest);
  const key: Bytes = KeyObject.is(secret) ? secretBytes(secret) : bytesOf(secret, "ikm");
  const size = whole(length, "length", 0, LONGEST);
  const [salted, about] = [bytesOf(salt, "salt"), bytesOf(info, "info")];
  if (size > 255 * DIGESTS[hash]!) throw coded(new RangeError("Invalid key length"), "ERR_CRYPTO_INVALID_KEYLEN");
  return done(ops.hkdf(hash, key, salted, about, size) as Answer<ArrayBuffer>);
}

export function hkdf(digest: unknown, secret: unknown, salt: unknown, info: unknown, length: unknown, callback: Callback): void {
  checkFunction(callback, "callback");
  soon(callback, () => [hkdfSync(digest, secret, salt, info, length)]);
}
