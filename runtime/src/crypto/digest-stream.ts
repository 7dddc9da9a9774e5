/** `crypto.DigestStream`, Cloudflare's addition: a stream that takes bytes and promises their digest. */
import { NativeBigInt, NativePromise, PromisePrototypeThen, TypedArrayPrototypeGetByteLength } from "../internal/primordials.ts";
import { finishInterface } from "../internal/webidl.ts";
import { WritableStream } from "../streams/streams.ts";
import * as ops from "../host.ts";
import type { Handle } from "../ops.d.ts";
import { normalize } from "./algorithms.ts";
import { copyBytes, isBufferSource } from "./convert.ts";
import { check, operationError } from "./errors.ts";

/** What belongs to one stream; made before the stream is. */
class Digesting {
  bytes = 0;
  readonly state: Handle;
  readonly result: Promise<ArrayBuffer>;
  resolve!: (digest: ArrayBuffer) => void;
  reject!: (reason: unknown) => void;

  constructor(algorithm: unknown) {
    this.state = check(ops.hashStart(normalize(algorithm, "digest").name, undefined));
    this.result = new NativePromise<ArrayBuffer>((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // Who aborts the stream is told by the abort; nobody has to look at the digest, too.
    PromisePrototypeThen(this.result, undefined, () => {});
  }

  write(chunk: unknown): void {
    const data = typeof chunk === "string" ? ops.encodeUtf8(chunk) : isBufferSource(chunk) ? copyBytes(chunk) : undefined;
    if (data === undefined) {
      const error = new TypeError("A DigestStream takes strings, ArrayBuffers and views of them.");
      this.reject(error);
      throw error;
    }
    this.bytes += TypedArrayPrototypeGetByteLength(data);
    ops.hashUpdate(this.state, data);
  }

  close(): void {
    const digest = ops.hashEnd(this.state);
    if (digest === undefined) this.reject(operationError("The digest could not be computed."));
    else this.resolve(digest);
  }
}

export class DigestStream extends WritableStream<unknown> {
  readonly #digesting: Digesting;

  constructor(algorithm: unknown) {
    const digesting = new Digesting(algorithm);
    super({
      write: (chunk) => digesting.write(chunk),
      close: () => digesting.close(),
      abort: (reason) => digesting.reject(reason),
    });
    this.#digesting = digesting;
  }

  /** The digest of everything written, once the stream is closed. */
  get digest(): Promise<ArrayBuffer> {
    return this.#digesting.result;
  }

  /** How many bytes were written so far. */
  get bytesWritten(): bigint {
    return NativeBigInt(this.#digesting.bytes);
  }
}
finishInterface(DigestStream, "DigestStream");
