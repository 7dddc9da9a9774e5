/** Reading a stream's bytes to the end, on behalf of the runtime. */
import { ArrayPrototypePush, bytesOf, concatBytes, PromiseReject } from "../internal/primordials.ts";
import { takeBody } from "./native.ts";
import { Deferred } from "./promises.ts";
import { cancelReadable, type ReadRequest } from "./readable.ts";
import { acquireReader, type DefaultReader, ignore } from "./readers.ts";
import { type ReadableStream, readableOf } from "./readable-stream.ts";

/** What a body stream may not give. */
export function badChunk(): TypeError {
  return new TypeError("A body stream gave a chunk that is no Uint8Array; strings can be piped through a TextEncoderStream.");
}

class Collector implements ReadRequest {
  next: ReadRequest | undefined = undefined;
  readonly #chunks: Uint8Array<ArrayBuffer>[] = [];
  readonly #reader: DefaultReader;
  readonly result = new Deferred<Uint8Array<ArrayBuffer>>();
  #more = false;

  constructor(reader: DefaultReader) {
    this.#reader = reader;
  }

  /** Reads until it has to wait, without a call within a call for each chunk. */
  run(): void {
    do {
      this.#more = false;
      this.#waiting = true;
      this.#reader.read(this);
      this.#waiting = false;
    } while (this.#more);
  }
  #waiting = false;

  chunk(value: unknown): void {
    const bytes = bytesOf(value);
    if (bytes === undefined) {
      const error = badChunk();
      ignore(cancelReadable(this.#reader.stream!, error));
      this.result.reject(error);
      return;
    }
    ArrayPrototypePush(this.#chunks, bytes);
    this.#more = true;
    if (!this.#waiting) this.run();
  }

  close(): void {
    try {
      this.result.resolve(concatBytes(this.#chunks));
    } catch (error) {
      this.result.reject(error);
    }
  }

  error(error: unknown): void {
    this.result.reject(error);
  }
}

/** Everything that the stream gives, which must be bytes. */
export function collectBytes(stream: ReadableStream): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const readable = readableOf(stream);
    const taken = takeBody(readable);
    if (taken !== undefined) return collectTaken(taken);
    const collector = new Collector(acquireReader(readable));
    collector.run();
    return collector.result.promise;
  } catch (error) {
    return PromiseReject(error);
  }
}

async function collectTaken(taken: NonNullable<ReturnType<typeof takeBody>>): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const bytes = await taken.body.collect();
    taken.finished();
    return bytes;
  } catch (error) {
    taken.failed(error);
    throw error;
  }
}
