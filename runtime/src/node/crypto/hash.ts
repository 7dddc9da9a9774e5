/** `Hash` and `Hmac`: digests over data that comes in pieces, as functions and as streams. */
import { Transform } from "node:stream";
import { coded, wrongType } from "../../internal/node-errors.ts";
import type { Handle } from "../../ops.d.ts";
import * as ops from "../../host.ts";
import { KeyObject, secretBytes } from "./keys.ts";
import { DIGESTS, bytesOf, checkDigest, digestName, done, encoded, viewed } from "./values.ts";

const finalized = () => coded(new Error("Digest already called"), "ERR_CRYPTO_HASH_FINALIZED");

/** Adds to a digest; text in other encodings than UTF-8 becomes bytes first. */
function add(state: Handle, data: unknown, encoding: unknown): void {
  const utf8 = typeof data === "string" && (encoding === undefined || encoding === "utf8" || encoding === "utf-8" || encoding === "buffer");
  if (!ops.hashUpdate(state, utf8 ? (data as string) : bytesOf(data, "data", encoding))) throw finalized();
}

type Done = (error?: unknown) => void;

abstract class Digest extends (Transform as new (options?: object) => any) {
  protected state: Handle | undefined;

  constructor(state: Handle, options?: object) {
    super(options);
    Object.defineProperty(this, "state", { value: state, writable: true, enumerable: false });
  }
  _transform(chunk: unknown, encoding: string, callback: Done): void {
    try {
      this.update(chunk, encoding);
      callback();
    } catch (error) {
      callback(error);
    }
  }
  _flush(callback: Done): void {
    try {
      this.push(this.digest());
      callback();
    } catch (error) {
      callback(error);
    }
  }
  update(data: unknown, encoding?: unknown): this {
    if (this.state === undefined) throw finalized();
    if (typeof data !== "string" && !ArrayBuffer.isView(data)) {
      throw wrongType("data", "of type string or an instance of Buffer, TypedArray, or DataView", data);
    }
    add(this.state, data, encoding);
    return this;
  }
  protected end_(): ArrayBuffer | undefined {
    const state = this.state;
    this.state = undefined;
    return state === undefined ? undefined : ops.hashEnd(state);
  }
}

/** Refuses lengths other than the digest's own: there are no extendable digests. */
function checkLength(options: { outputLength?: number } | undefined, digest: string): void {
  const length = options?.outputLength;
  if (length !== undefined && length !== DIGESTS[digest]) {
    throw coded(new Error(`Unsupported output length: ${digest} has ${DIGESTS[digest]} bytes`), "ERR_OSSL_EVP_NOT_XOF_OR_INVALID_LENGTH");
  }
}

export class Hash extends Digest {
  /** The result that went out as a stream's, which may be asked for once more. */
  #streamed: ArrayBuffer | undefined;

  constructor(algorithm: unknown, options?: { outputLength?: number }, state?: Handle) {
    if (state === undefined) {
      if (typeof algorithm !== "string") throw wrongType("algorithm", "of type string", algorithm);
      const digest = digestName(algorithm);
      if (digest === undefined) throw new Error("Digest method not supported");
      checkLength(options, digest);
      state = done(ops.hashStart(digest, undefined)) as Handle;
    }
    super(state, options);
  }
  copy(options?: object): Hash {
    const state = this.state === undefined ? undefined : ops.hashCopy(this.state);
    if (state === undefined) throw finalized();
    return new Hash(undefined, options, done(state) as Handle);
  }
  override _flush(callback: Done): void {
    this.#streamed = this.end_();
    if (this.#streamed === undefined) return callback(finalized());
    this.push(encoded(this.#streamed.slice(0), undefined));
    callback();
  }
  digest(encoding?: unknown): unknown {
    const result = this.end_() ?? this.#streamed;
    this.#streamed = undefined;
    if (result === undefined) throw finalized();
    return encoded(result, encoding);
  }
}

export class Hmac extends Digest {
  constructor(algorithm: unknown, key: unknown, options?: { encoding?: string }) {
    if (typeof algorithm !== "string") throw wrongType("hmac", "of type string", algorithm);
    const bytes = KeyObject.is(key) ? secretBytes(key) : typeof key === "string" || viewed(key) ? bytesOf(key, "key", options?.encoding) : undefined;
    if (bytes === undefined) {
      throw wrongType("key", "of type string or an instance of ArrayBuffer, Buffer, TypedArray, DataView, KeyObject, or CryptoKey", key);
    }
    super(done(ops.hashStart(checkDigest(algorithm), bytes)) as Handle, options);
  }
  /** A second call gives nothing, as in Node. */
  digest(encoding?: unknown): unknown {
    return encoded(this.end_() ?? new ArrayBuffer(0), encoding);
  }
}

export const createHash = (algorithm: unknown, options?: object) => new Hash(algorithm, options);
export const createHmac = (algorithm: unknown, key: unknown, options?: object) => new Hmac(algorithm, key, options);
export const getHashes = () => Object.keys(DIGESTS);

/** A digest in one go. */
export function hash(algorithm: unknown, data: unknown, encoding: unknown = "hex"): unknown {
  return new Hash(algorithm).update(data).digest(encoding);
}
