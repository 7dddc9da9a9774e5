/** The stream classes, and what the runtime itself does with streams. */
import {
  ByteLengthQueuingStrategy,
  CountQueuingStrategy,
  ReadableByteStreamController,
  ReadableStream,
  ReadableStreamBYOBReader,
  ReadableStreamBYOBRequest,
  ReadableStreamDefaultController,
  ReadableStreamDefaultReader,
  TransformStream,
  TransformStreamDefaultController,
  WritableStream,
  WritableStreamDefaultController,
  WritableStreamDefaultWriter,
} from "web-streams-polyfill";
import { uncurryGetter, uncurryThis } from "../internal/primordials.ts";

export const streamInterfaces = {
  ByteLengthQueuingStrategy,
  CountQueuingStrategy,
  ReadableByteStreamController,
  ReadableStream,
  ReadableStreamBYOBReader,
  ReadableStreamBYOBRequest,
  ReadableStreamDefaultController,
  ReadableStreamDefaultReader,
  TransformStream,
  TransformStreamDefaultController,
  WritableStream,
  WritableStreamDefaultController,
  WritableStreamDefaultWriter,
};

type AnyStream = ReadableStream<unknown>;
export type Reader = ReadableStreamDefaultReader<unknown>;

const getLocked = uncurryGetter<boolean>(ReadableStream.prototype, "locked");
const getReader = uncurryThis(ReadableStream.prototype.getReader);
const readFrom = uncurryThis(ReadableStreamDefaultReader.prototype.read);
const cancelReader = uncurryThis(ReadableStreamDefaultReader.prototype.cancel);
const teeStream = uncurryThis(ReadableStream.prototype.tee);

export function isReadableStream(value: unknown): value is AnyStream {
  if (typeof value !== "object" || value === null) return false;
  try {
    getLocked(value);
    return true;
  } catch {
    return false;
  }
}

export function isLocked(stream: AnyStream): boolean {
  return getLocked(stream);
}

/** Whether anybody ever read from the stream or cancelled it. */
export function isDisturbed(stream: AnyStream): boolean {
  return (stream as unknown as { _disturbed: boolean })._disturbed;
}

export function openReader(stream: AnyStream): Reader {
  return getReader(stream) as Reader;
}

export function readChunk(reader: Reader): Promise<{ done: boolean; value: unknown }> {
  return readFrom(reader) as Promise<{ done: boolean; value: unknown }>;
}

/** Cancels; what the source's own cancel throws is of no interest. */
export function cancelQuietly(reader: Reader, reason: unknown): void {
  ignore(cancelReader(reader, reason) as Promise<unknown>);
}

async function ignore(promise: Promise<unknown>): Promise<void> {
  try {
    await promise;
  } catch {
    // Nobody is left to be told.
  }
}

export function tee(stream: AnyStream): [AnyStream, AnyStream] {
  return teeStream(stream) as [AnyStream, AnyStream];
}

/** A byte stream of one chunk. */
export function streamOf(bytes: Uint8Array<ArrayBuffer>): AnyStream {
  return new ReadableStream({
    type: "bytes",
    start(controller) {
      if (bytes.length > 0) controller.enqueue(bytes);
      controller.close();
    },
  }) as AnyStream;
}

export { ReadableStream, TransformStream, WritableStream };
