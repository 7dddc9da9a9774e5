/** What `CompressionStream` and `DecompressionStream` do with their chunks (Compression Standard, section 5). */
import { bytesOf, NativeUint8Array, PromiseReject, TypedArrayPrototypeGetByteLength } from "../internal/primordials.ts";
import type { DefaultController } from "../streams/default-controller.ts";
import { type Outcome, PENDING, type Result, soon } from "../streams/promises.ts";
import { newReadable } from "../streams/readable-stream.ts";
import type { Source } from "../streams/source.ts";
import type { Sink, WritableController } from "../streams/writable.ts";
import { newWritable } from "../streams/writable-stream.ts";
import type { Codec, CodecFormat } from "../ops.d.ts";
import * as ops from "../host.ts";

/** Most bytes of one chunk of output. */
const CHUNK = 64 * 1024;
const HUNGRY = 0;
const END = 2;
const FINISH = 4;

/**
 * Both sides of one stream. It goes one step for each chunk that is asked for, rather than through all of its input at
 * once: what is packed a thousandfold costs memory only as it is read.
 */
export class Coding implements Sink, Source {
  readonly readable: DefaultController;
  readonly writable: WritableController;
  #codec: Codec;
  readonly #decodes: boolean;
  #ended = false;
  /** What is being worked on, and how far. */
  #chunk: Uint8Array | undefined = undefined;
  #at = 0;
  #wanted = false;
  readonly #written = () => this.writable.written();
  readonly #pulled = () => this.readable.pulled();

  constructor(format: CodecFormat, decodes: boolean) {
    // Brotli's best quality, its default, is made for files that are packed once.
    this.#codec = ops.codecNew(format, format === "brotliCompress" ? 5 : undefined);
    this.#decodes = decodes;
    this.writable = newWritable(this, 1);
    this.readable = newReadable(this, 0);
    this.writable.start(undefined);
    this.readable.start(undefined);
  }

  write(chunk: unknown): Result {
    const bytes = bytesOf(chunk);
    if (bytes === undefined) return this.#fail(new TypeError("A chunk must be an ArrayBuffer or a view of one."));
    this.#chunk = bytes;
    this.#at = 0;
    if (this.#wanted) this.#goOn();
    return PENDING;
  }

  pull(): Result {
    this.#wanted = true;
    if (this.#chunk !== undefined) this.#goOn();
    return PENDING;
  }

  /** Until there is a chunk of output, or the input is used up. */
  #goOn(): void {
    const chunk = this.#chunk!;
    try {
      for (;;) {
        const step = ops.codecRun(this.#codec, chunk, this.#at, 0, CHUNK);
        const output = step[0];
        this.#at += step[1];
        const status = step[2];
        if (status === END) {
          this.#ended = true;
          if (this.#at < TypedArrayPrototypeGetByteLength(chunk)) {
            throw new TypeError("There is something behind the end of the compressed data.");
          }
        }
        if (output !== undefined) this.readable.enqueue(output);
        if (status === HUNGRY || status === END) {
          this.#chunk = undefined;
          soon(this.#written);
        }
        if (output !== undefined) {
          this.#wanted = false;
          soon(this.#pulled);
          return;
        }
        if (this.#chunk === undefined) return;
      }
    } catch (error) {
      this.#chunk = undefined;
      this.#end(error);
      this.writable.failed(error);
    }
  }

  close(): Outcome {
    try {
      if (this.#decodes) {
        if (!this.#ended) this.#finish();
      } else {
        while (!this.#finish());
      }
    } catch (error) {
      return this.#fail(error);
    }
    ops.codecEnd(this.#codec);
    this.readable.close();
    if (this.#wanted) soon(this.#pulled);
    return undefined;
  }

  /** True at the end. */
  #finish(): boolean {
    const step = ops.codecRun(this.#codec, EMPTY, 0, FINISH, CHUNK);
    if (step[0] !== undefined) this.readable.enqueue(step[0]);
    if (step[2] === HUNGRY) throw new TypeError("The compressed data ends too early.");
    return step[2] === END;
  }

  abort(reason: unknown): Outcome {
    ops.codecEnd(this.#codec);
    this.readable.error(reason);
    return undefined;
  }

  cancel(reason: unknown): Outcome {
    ops.codecEnd(this.#codec);
    const busy = this.#chunk !== undefined;
    this.#chunk = undefined;
    this.writable.errorIfNeeded(reason);
    if (busy) this.writable.failed(reason);
    return undefined;
  }

  #end(error: unknown): void {
    ops.codecEnd(this.#codec);
    this.readable.error(error);
    this.writable.errorIfNeeded(error);
  }

  #fail(error: unknown): Promise<never> {
    this.#end(error);
    return PromiseReject(error);
  }
}

const EMPTY = new NativeUint8Array(0);
