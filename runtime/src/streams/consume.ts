/** Reading a stream's bytes to the end, on behalf of the runtime. */
import { ArrayPrototypePush, bytesOf, concatBytes, ObjectCreate, PromiseReject, TypedArrayPrototypeSlice } from "../internal/primordials.ts";
import { findBody, takeBody } from "./native.ts";
import { Deferred } from "./promises.ts";
import { cancelReadable, type ReadRequest } from "./readable.ts";
import { acquireReader, type DefaultReader, ignore } from "./readers.ts";
import { type ReadableStream, readableOf } from "./readable-stream.ts";

/** What a body stream may not give. */
export function badChunk(): TypeError {
  return new TypeError("A body stream gave a chunk that is no Uint8Array; strings can be piped through a TextEncoderStream.");
}

/** Makes of bytes what they are read for, before any promise sees them: to resolve with an object looks up its `then`. */
export type Convert<T> = (bytes: Uint8Array<ArrayBuffer>) => T;

class Collector<T> implements ReadRequest {
  next: ReadRequest | undefined = undefined;
  readonly #chunks: Uint8Array<ArrayBuffer>[] = [];
  readonly #reader: DefaultReader;
  readonly #convert: Convert<T>;
  readonly result = new Deferred<T>();
  #more = false;

  constructor(reader: DefaultReader, convert: Convert<T>) {
    this.#reader = reader;
    this.#convert = convert;
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
      const chunks = this.#chunks;
      // A lone chunk may be somebody else's memory.
      const bytes = chunks.length === 1 ? TypedArrayPrototypeSlice(chunks[0]!) : concatBytes(chunks);
      this.result.resolve(this.#convert(bytes));
    } catch (error) {
      this.result.reject(error);
    }
  }

  error(error: unknown): void {
    this.result.reject(error);
  }
}

/** Everything that the stream gives, which must be bytes. */
export function collectBytes<T>(stream: ReadableStream, convert: Convert<T>): Promise<T> {
  try {
    const readable = readableOf(stream);
    const taken = takeBody(readable, findBody(readable)?.encoding);
    if (taken !== undefined) return collectTaken(taken, convert);
    const collector = new Collector(acquireReader(readable), convert);
    collector.run();
    return collector.result.promise;
  } catch (error) {
    return PromiseReject(error);
  }
}

async function collectTaken<T>(taken: NonNullable<ReturnType<typeof takeBody>>, convert: Convert<T>): Promise<T> {
  try {
    const result = await taken.body.collect(keep);
    taken.finished();
    return convert(result.bytes);
  } catch (error) {
    taken.failed(error);
    throw error;
  }
}

/** In an object without a prototype, which has no `then`. */
function keep(bytes: Uint8Array<ArrayBuffer>): { readonly bytes: Uint8Array<ArrayBuffer> } {
  const kept = ObjectCreate(null) as { bytes: Uint8Array<ArrayBuffer> };
  kept.bytes = bytes;
  return kept;
}
