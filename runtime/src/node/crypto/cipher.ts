/** `createCipheriv` and `createDecipheriv`: AES in the modes GCM, CBC and CTR. */
import { Buffer } from "node:buffer";
import { Transform } from "node:stream";
import { coded, wrongType } from "../../internal/node-errors.ts";
import type { Handle } from "../../ops.d.ts";
import * as ops from "../../host.ts";
import { KeyObject, createSecretKey, secretBytes } from "./keys.ts";
import { MESSAGE_MAX, bytesOf, done, encoded, failure, viewed } from "./values.ts";

const BLOCK = 16;
const NAMES = ["128", "192", "256"].flatMap((bits) => ["cbc", "ctr", "gcm"].map((mode) => `aes-${bits}-${mode}`));
export const getCiphers = () => [...NAMES];

interface Options {
  authTagLength?: number;
}
const state = (what: string) => coded(new Error(what), "ERR_CRYPTO_INVALID_STATE");
const wrongLength = () => coded(new Error("error:1C80006B:Provider routines::wrong final block length"), "ERR_OSSL_WRONG_FINAL_BLOCK_LENGTH");

/** Adds to a counter of 16 bytes; GCM's wraps in its last four (NIST SP 800-38D section 6.2). */
function advanced(counter: Uint8Array, blocks: number, width: number): Uint8Array {
  const next = counter.slice();
  let carry = blocks;
  for (let i = BLOCK - 1; i >= BLOCK - width && carry > 0; i--) {
    carry += next[i]!;
    next[i] = carry % 256;
    carry = Math.floor(carry / 256);
  }
  return next;
}

class Cipher extends (Transform as new (options?: object) => any) {
  #mode: string;
  #key: Handle;
  #encrypting: boolean;
  /** The iv of what comes next: CBC's last block, CTR's counter. */
  #iv: Uint8Array;
  #nonce: Uint8Array;
  /** What is no block yet. */
  #rest: Uint8Array = new Uint8Array(0);
  #padding = true;
  #finished = false;
  #started = false;
  #additional: Uint8Array[] = [];
  #tag: Uint8Array | undefined;
  #tagLength: number | undefined;
  /** GCM's message, which the host authenticates whole. */
  #whole: Uint8Array[] = [];
  #length = 0;

  constructor(encrypting: boolean, name: unknown, key: unknown, iv: unknown, options: Options = {}) {
    if (typeof name !== "string") throw wrongType("cipher", "of type string", name);
    const id = name.toLowerCase().replace(/^id-aes(\d+)-gcm$/, "aes-$1-gcm");
    const secret = KeyObject.is(key) ? new Uint8Array(secretBytes(key)) : bytesOf(key, "key");
    if (iv !== null && typeof iv !== "string" && viewed(iv) === undefined) throw wrongType("iv", "of type string or an instance of ArrayBuffer, Buffer, TypedArray, or DataView", iv);
    if (!NAMES.includes(id)) throw coded(new Error("Unknown cipher"), "ERR_CRYPTO_UNKNOWN_CIPHER");
    const nonce = iv === null ? new Uint8Array(0) : bytesOf(iv, "iv").slice();
    const mode = id.slice(8);
    if (secret.length * 8 !== Number(id.slice(4, 7))) throw coded(new RangeError("Invalid key length"), "ERR_CRYPTO_INVALID_KEYLEN");
    if (mode === "gcm" ? nonce.length === 0 : nonce.length !== BLOCK) throw coded(new TypeError("Invalid initialization vector"), "ERR_CRYPTO_INVALID_IV");
    super(options);
    this.#mode = mode;
    this.#encrypting = encrypting;
    this.#key = KeyObject.handle(createSecretKey(secret));
    this.#nonce = this.#iv = nonce;
    if (mode !== "gcm") return;
    if (options.authTagLength !== undefined) this.#checkTag(options.authTagLength);
    this.#tagLength = options.authTagLength;
    if (nonce.length !== 12) return;
    this.#iv = new Uint8Array(BLOCK);
    this.#iv.set(nonce);
    this.#iv[BLOCK - 1] = 2;
  }
  #checkTag(length: number): void {
    const fits = length === 4 || length === 8 || (length >= 12 && length <= 16 && Number.isInteger(length));
    if (!fits || (this.#tagLength !== undefined && this.#tagLength !== length)) {
      throw coded(new TypeError(`Invalid authentication tag length: ${length}`), "ERR_CRYPTO_INVALID_AUTH_TAG");
    }
  }
  #crypt(mode: string, iv: Uint8Array, data: Uint8Array, encrypting = this.#encrypting, third?: number): Uint8Array {
    return new Uint8Array(done(ops.keyCrypt(this.#key, encrypting, mode, iv, undefined, third, data, true), "ERR_OSSL_BAD_DECRYPT"));
  }
  /** Whole blocks, or the end, with a counter. */
  #count(data: Uint8Array, width: number): Uint8Array {
    // The key stream's bytes that the last chunk left of its block are made once more.
    const skip = this.#rest.length;
    const joined = skip === 0 ? data : Buffer.concat([this.#rest, data]);
    const out = this.#crypt("AES-CTR", this.#iv, joined, true, width * 8).subarray(skip);
    const blocks = Math.floor(joined.length / BLOCK);
    this.#iv = advanced(this.#iv, blocks, width);
    this.#rest = joined.slice(blocks * BLOCK);
    return out;
  }
  /** Whole blocks of CBC: the host pads every message, so a block of padding is added or cut off. */
  #chain(data: Uint8Array): Uint8Array {
    if (data.length === 0) return data;
    if (this.#encrypting) {
      const out = this.#crypt("AES-CBC", this.#iv, data).subarray(0, data.length);
      this.#iv = out.slice(-BLOCK);
      return out;
    }
    const last = data.slice(-BLOCK);
    const out = this.#crypt("AES-CBC", this.#iv, Buffer.concat([data, this.#crypt("AES-CBC", last, new Uint8Array(0), true)]));
    this.#iv = last;
    return out;
  }
  #run(data: Uint8Array): Uint8Array {
    if (this.#mode === "ctr") return this.#count(data, BLOCK);
    if (this.#mode === "gcm") {
      this.#length += data.length;
      if (this.#length > MESSAGE_MAX) throw coded(new RangeError(`AES-GCM takes at most ${MESSAGE_MAX} bytes`), "ERR_OUT_OF_RANGE");
      this.#whole.push(data.slice());
      // With another nonce only the host knows the first counter; all comes at the end then.
      return this.#nonce.length === 12 ? this.#count(data, 4) : new Uint8Array(0);
    }
    const joined = this.#rest.length === 0 ? data : Buffer.concat([this.#rest, data]);
    // The last block may be padding: it waits for more.
    const keep = !this.#encrypting && this.#padding && joined.length > 0 ? (joined.length - 1) % BLOCK + 1 : joined.length % BLOCK;
    this.#rest = joined.slice(joined.length - keep);
    return this.#chain(joined.subarray(0, joined.length - keep));
  }
  #end(): Uint8Array {
    if (this.#mode === "gcm") return this.#seal();
    if (this.#mode === "ctr") return new Uint8Array(0);
    if (!this.#padding) {
      if (this.#rest.length > 0) throw wrongLength();
      return this.#rest;
    }
    if (!this.#encrypting && this.#rest.length !== BLOCK) throw wrongLength();
    try {
      return this.#crypt("AES-CBC", this.#iv, this.#rest);
    } catch (error) {
      if (this.#encrypting) throw error;
      throw coded(new Error("error:1C800064:Provider routines::bad decrypt"), "ERR_OSSL_BAD_DECRYPT");
    }
  }
  #seal(): Uint8Array {
    const unable = () => new Error("Unsupported state or unable to authenticate data");
    if (!this.#encrypting && this.#tag === undefined) throw unable();
    const bits = (this.#tag?.length ?? this.#tagLength ?? BLOCK) * 8;
    const data = Buffer.concat(this.#encrypting ? this.#whole : [...this.#whole, this.#tag]);
    this.#whole = [];
    const answer = ops.keyCrypt(this.#key, this.#encrypting, "AES-GCM", this.#nonce, Buffer.concat(this.#additional), bits, data, true);
    if (typeof answer === "string") throw this.#encrypting ? failure(answer) : unable();
    const out = new Uint8Array(answer as ArrayBuffer);
    if (this.#encrypting) this.#tag = out.slice(-bits / 8);
    if (this.#nonce.length === 12) return new Uint8Array(0);
    return this.#encrypting ? out.subarray(0, out.length - bits / 8) : out;
  }
  update(data: unknown, inEncoding?: unknown, outEncoding?: unknown): unknown {
    if (this.#finished) throw state("Trying to add data in unsupported state");
    if (typeof data !== "string" && !ArrayBuffer.isView(data)) throw wrongType("data", "of type string or an instance of Buffer, TypedArray, or DataView", data);
    this.#started = true;
    return encoded(this.#run(bytesOf(data, "data", inEncoding)), outEncoding);
  }
  final(outEncoding?: unknown): unknown {
    if (this.#finished) throw state("Invalid state");
    this.#finished = true;
    return encoded(this.#end(), outEncoding);
  }
  setAutoPadding(on: unknown = true): this {
    if (this.#finished) throw state("Invalid state for operation setAutoPadding");
    this.#padding = !!on;
    return this;
  }
  setAAD(data: unknown, options?: { encoding?: string }): this {
    if (this.#mode !== "gcm" || this.#finished || this.#started) throw state("Invalid state for operation setAAD");
    this.#additional.push(bytesOf(data, "buffer", options?.encoding).slice());
    return this;
  }
  getAuthTag(): unknown {
    if (!this.#encrypting || !this.#finished || this.#tag === undefined) throw state("Invalid state for operation getAuthTag");
    return encoded(this.#tag, undefined);
  }
  setAuthTag(tag: unknown, encoding?: unknown): this {
    if (this.#encrypting || this.#mode !== "gcm" || this.#finished || this.#tag !== undefined) throw state("Invalid state for operation setAuthTag");
    const bytes = bytesOf(tag, "buffer", encoding).slice();
    this.#checkTag(bytes.length);
    this.#tag = bytes;
    return this;
  }
  _transform(chunk: unknown, encoding: string, callback: (error?: unknown, data?: unknown) => void): void {
    this.#step(() => this.update(chunk, encoding), callback);
  }
  _flush(callback: (error?: unknown, data?: unknown) => void): void {
    this.#step(() => this.final(), callback);
  }
  #step(make: () => unknown, callback: (error?: unknown, data?: unknown) => void): void {
    let out;
    try {
      out = make();
    } catch (error) {
      return callback(error);
    }
    callback(null, (out as Uint8Array).length > 0 ? out : undefined);
  }
}

export class Cipheriv extends Cipher {
  constructor(name: unknown, key: unknown, iv: unknown, options?: Options) {
    super(true, name, key, iv, options);
  }
}
export class Decipheriv extends Cipher {
  constructor(name: unknown, key: unknown, iv: unknown, options?: Options) {
    super(false, name, key, iv, options);
  }
}
export const createCipheriv = (name: unknown, key: unknown, iv: unknown, options?: Options) => new Cipheriv(name, key, iv, options);
export const createDecipheriv = (name: unknown, key: unknown, iv: unknown, options?: Options) => new Decipheriv(name, key, iv, options);
