/** What `CompressionStream` and `DecompressionStream` do with their chunks (Compression Standard, section 5). */
import { bytesOf, NativeUint8Array, PromiseReject, TypedArrayPrototypeGetByteLength } from "../internal/primordials.ts";
import type { DefaultController } from "../streams/default-controller.ts";
import { type Outcome, PENDING, type Result, soon } from "../streams/promises.ts";
import { newReadable } from "../streams/readable-stream.ts";
import type { Source } from "../streams/source.ts";
import type { Sink, WritableController } from "../streams/writable.ts";
import { newWritable } from "../streams/writable-stream.ts";
import type { Codec, CodecFormat, CodecStep } from "../ops.d.ts";
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
  readonly #format: CodecFormat;
  /** Made when there is something to do. */
  #codec: Codec | undefined = undefined;
  readonly #decodes: boolean;
  #ended = false;
  /** What is being worked on, and how far. */
  #chunk: Uint8Array | undefined = undefined;
  #at = 0;
  #wanted = false;
  readonly #written = () => this.writable.written();
  readonly #pulled = () => this.readable.pulled();

  constructor(format: CodecFormat, decodes: boolean) {
    this.#format = format;
    this.#decodes = decodes;
    this.writable = newWritable(this, 1);
    this.readable = newReadable(this, 0);
    this.writable.start(undefined);
    this.readable.start(undefined);
  }

  #run(input: Uint8Array, flush: 0 | 4): CodecStep {
    // Brotli's best quality, its default, is made for files that are packed once.
    this.#codec ??= ops.codecNew(this.#format, this.#format === "brotliCompress" ? 5 : undefined);
    return ops.codecRun(this.#codec, input, this.#at, flush, CHUNK);
  }

  #free(): void {
    if (this.#codec !== undefined) ops.codecEnd(this.#codec);
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
        const step = this.#run(chunk, 0);
        const output = step[0];
        this.#at += step[1];
        const status = step[2];
        if (output !== undefined) this.readable.enqueue(output);
        if (status === END) {
          this.#ended = true;
          if (this.#at < TypedArrayPrototypeGetByteLength(chunk)) {
            throw new TypeError("There is something behind the end of the compressed data.");
          }
        }
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
    this.#free();
    this.readable.close();
    if (this.#wanted) soon(this.#pulled);
    return undefined;
  }

  /** True at the end. */
  #finish(): boolean {
    this.#at = 0;
    const step = this.#run(EMPTY, FINISH);
    if (step[0] !== undefined) this.readable.enqueue(step[0]);
    if (step[2] === HUNGRY) throw new TypeError("The compressed data ends too early.");
    return step[2] === END;
  }

  abort(reason: unknown): Outcome {
    this.#free();
    this.readable.error(reason);
    return undefined;
  }

  cancel(reason: unknown): Outcome {
    this.#free();
    const busy = this.#chunk !== undefined;
    this.#chunk = undefined;
    this.writable.errorIfNeeded(reason);
    if (busy) this.writable.failed(reason);
    return undefined;
  }

  #end(error: unknown): void {
    this.#free();
    this.readable.error(error);
    this.writable.errorIfNeeded(error);
  }

  #fail(error: unknown): Promise<never> {
    this.#end(error);
    return PromiseReject(error);
  }
}

const EMPTY = new NativeUint8Array(0);
