/** The stream classes, and what the rest of the runtime does with streams. */
import {
  NativeUint8Array,
  TypedArrayPrototypeGetBuffer,
  TypedArrayPrototypeGetByteLength,
  TypedArrayPrototypeGetByteOffset,
} from "../internal/primordials.ts";
import { ByteController } from "./byte-controller.ts";
import { ReadableByteStreamController, ReadableStreamBYOBRequest } from "./byob-request.ts";
import { ReadableStreamDefaultController } from "./default-controller.ts";
import { FixedLengthStream, IdentityTransformStream } from "./identity.ts";
import { Deferred } from "./promises.ts";
import { cancelReadable, Readable, type ReadRequest } from "./readable.ts";
import { branches, isReadableStream, moveReadable, ReadableStream, readableOf, shown } from "./readable-stream.ts";
import { acquireReader, type DefaultReader, ignore, ReadableStreamBYOBReader, ReadableStreamDefaultReader } from "./readers.ts";
import { SILENT } from "./source.ts";
import { ByteLengthQueuingStrategy, CountQueuingStrategy } from "./strategies.ts";
import { TransformStream, TransformStreamDefaultController } from "./transform.ts";
import { WritableStream, WritableStreamDefaultController, WritableStreamDefaultWriter } from "./writable-stream.ts";

export const streamInterfaces = {
  ByteLengthQueuingStrategy,
  CountQueuingStrategy,
  FixedLengthStream,
  IdentityTransformStream,
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

export function isLocked(stream: ReadableStream): boolean {
  return readableOf(stream).reader !== undefined;
}

/** Whether anybody ever read from the stream or cancelled it. */
export function isDisturbed(stream: ReadableStream): boolean {
  return readableOf(stream).disturbed;
}

/** A reader of the runtime's own, which user code cannot reach. */
export type Reader = DefaultReader;

export function openReader(stream: ReadableStream): Reader {
  return acquireReader(readableOf(stream));
}

class ChunkRequest implements ReadRequest {
  next = undefined;
  readonly deferred = new Deferred<{ done: boolean; value: unknown }>();

  chunk(value: unknown): void {
    this.deferred.resolve({ done: false, value });
  }
  close(): void {
    this.deferred.resolve({ done: true, value: undefined });
  }
  error(error: unknown): void {
    this.deferred.reject(error);
  }
}

export function readChunk(reader: Reader): Promise<{ done: boolean; value: unknown }> {
  const request = new ChunkRequest();
  reader.read(request);
  return request.deferred.promise;
}

/** Cancels; what the source's own cancel throws is of no interest. */
export function cancelQuietly(reader: Reader, reason: unknown): void {
  if (reader.stream !== undefined) ignore(cancelReadable(reader.stream, reason));
}

/** Two streams out of one, for a body and its clone. */
export function tee(stream: ReadableStream): [ReadableStream, ReadableStream] {
  const { first, second } = branches().teeReadable(readableOf(stream), true);
  return [shown(first), shown(second)];
}

/** A byte stream of one chunk, which nobody else holds. */
export function streamOf(bytes: Uint8Array<ArrayBuffer>): ReadableStream {
  const controller = new ByteController(new Readable(), SILENT, 0, undefined);
  const length = TypedArrayPrototypeGetByteLength(bytes);
  if (length > 0) controller.enqueueOwned(TypedArrayPrototypeGetBuffer(bytes), TypedArrayPrototypeGetByteOffset(bytes), length);
  controller.close();
  controller.start(undefined);
  return shown(controller.stream);
}

function usedReadable(): Readable {
  const readable = readableOf(streamOf(new NativeUint8Array(0)));
  acquireReader(readable);
  readable.disturbed = true;
  return readable;
}

/** A stream that was read to its end. */
export function usedStream(): ReadableStream {
  return shown(usedReadable());
}

/** Another stream that gives what this one would; this one is used up. */
export function moveStream(stream: ReadableStream): ReadableStream {
  return moveReadable(stream, usedReadable());
}

export { type Transform, type Transformer, TransformPair } from "./transform.ts";
export { collectBytes } from "./consume.ts";
export { isReadableStream, ReadableStream, TransformStream, WritableStream };
