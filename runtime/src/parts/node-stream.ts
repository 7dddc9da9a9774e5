/** `node:stream`: the package `readable-stream`, which is Node's own, with the ways to and from Web streams. */
import { TextDecoder, TextEncoder } from "../encoding/text.ts";
import { Blob } from "../fetch/blob.ts";
import { ReadableStream } from "../streams/readable-stream.ts";
import { WritableStream } from "../streams/writable-stream.ts";
import { Buffer } from "node:buffer";
import Stream from "readable-stream/lib/stream.js";
import { ticks } from "../internal/node-ticks.ts";

interface Readable {
  on(name: string, listener: (...args: never[]) => void): Readable;
  pause(): void;
  resume(): void;
  push(chunk: unknown): boolean;
  destroy(error?: unknown): void;
  destroyed: boolean;
  readableObjectMode: boolean;
  readableHighWaterMark: number;
}
interface Writable {
  on(name: string, listener: (...args: never[]) => void): Writable;
  once(name: string, listener: (...args: never[]) => void): Writable;
  write(chunk: unknown): boolean;
  end(): void;
  destroy(error?: unknown): void;
  writableObjectMode: boolean;
  writableNeedDrain: boolean;
}

const abort = () => Object.assign(new Error("The operation was aborted"), { name: "AbortError", code: "ABORT_ERR" });

function readableToWeb(readable: Readable, options: { strategy?: QueuingStrategyLike } = {}): ReadableStream {
  let over = false;
  return new (ReadableStream as any)(
    {
      start(controller: any) {
        readable.pause();
        readable.on("data", (chunk: unknown) => {
          controller.enqueue(ArrayBuffer.isView(chunk) && !readable.readableObjectMode ? new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength) : chunk);
          if ((controller.desiredSize ?? 0) <= 0) readable.pause();
        });
        Stream.finished(readable, { writable: false }, (error: { code?: string } | undefined) => {
          if (over) return;
          over = true;
          if (error) controller.error(error.code === "ERR_STREAM_PREMATURE_CLOSE" ? abort() : error);
          else controller.close();
        });
        readable.pause();
      },
      pull() {
        readable.resume();
      },
      cancel(reason: unknown) {
        over = true;
        readable.destroy(reason);
      },
    },
    options.strategy ?? { highWaterMark: readable.readableObjectMode ? readable.readableHighWaterMark : 1 },
  );
}

function readableFromWeb(stream: ReadableStream, options: object = {}): Readable {
  const reader = (stream as any).getReader();
  let over = false;
  return new Stream.Readable({
    ...options,
    read(this: Readable) {
      reader.read().then(
        ({ done, value }: any) => {
          if (done) over = true;
          this.push(done ? null : value);
        },
        (error: unknown) => {
          over = true;
          this.destroy(error);
        },
      );
    },
    destroy(error: unknown, done: (error: unknown) => void) {
      if (over) return done(error);
      over = true;
      reader.cancel(error).then(() => done(error), () => done(error));
    },
  });
}

function writableToWeb(writable: Writable): WritableStream {
  let failure: unknown;
  let over = false;
  return new (WritableStream as any)({
    start(controller: any) {
      Stream.finished(writable, { readable: false }, (error: unknown) => {
        over = true;
        if (error) controller.error((failure = error));
      });
    },
    write(chunk: unknown) {
      if (over) throw failure ?? abort();
      if (writable.write(chunk) && !writable.writableNeedDrain) return;
      return new Promise<void>((resolve) => {
        writable.once("drain", resolve);
        writable.once("close", resolve);
      });
    },
    close() {
      return new Promise<void>((resolve, reject) => {
        Stream.finished(writable, { readable: false }, (error: unknown) => (error ? reject(error) : resolve()));
        writable.end();
      });
    },
    abort(reason: unknown) {
      writable.destroy(reason);
    },
  });
}

function writableFromWeb(stream: WritableStream, options: object = {}): Writable {
  const writer = (stream as any).getWriter();
  let over = false;
  const after = (promise: Promise<unknown>, done: (error?: unknown) => void) =>
    void promise.then(() => ticks().add(done, []), (error: unknown) => ticks().add(done, [error]));
  writer.closed.then(() => (over = true), () => (over = true));
  return new Stream.Writable({
    decodeStrings: false,
    ...options,
    write(chunk: unknown, _encoding: string, done: (error?: unknown) => void) {
      after(writer.ready.then(() => writer.write(chunk)), done);
    },
    final(done: (error?: unknown) => void) {
      after(writer.close(), done);
    },
    destroy(error: unknown, done: (error?: unknown) => void) {
      if (over || !error) return done(error);
      writer.abort(error).then(() => done(error), () => done(error));
    },
  });
}

interface QueuingStrategyLike {
  highWaterMark?: number;
  size?(chunk: unknown): number;
}
interface Pair {
  readable: ReadableStream;
  writable: WritableStream;
}

Stream.Readable.toWeb = readableToWeb;
Stream.Readable.fromWeb = readableFromWeb;
Stream.Writable.toWeb = writableToWeb;
Stream.Writable.fromWeb = writableFromWeb;
Stream.Duplex.toWeb = (duplex: Readable & Writable): Pair => ({ readable: readableToWeb(duplex), writable: writableToWeb(duplex) });
Stream.Duplex.fromWeb = (pair: Pair, options: object = {}) =>
  Stream.Duplex.from({ readable: readableFromWeb(pair.readable, options), writable: writableFromWeb(pair.writable, options) });
Stream.isErrored ??= (stream: { errored?: unknown }) => Boolean(stream.errored);
Stream.getDefaultHighWaterMark ??= (objectMode: boolean) => (objectMode ? 16 : 65536);

/** `node:stream/consumers`. */
async function buffer(stream: AsyncIterable<unknown>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(typeof chunk === "string" ? new TextEncoder().encode(chunk) : (chunk as Uint8Array));
  return Buffer.concat(chunks);
}
const text = async (stream: AsyncIterable<unknown>) => new TextDecoder().decode(await buffer(stream));
const consumers = {
  arrayBuffer: async (stream: AsyncIterable<unknown>) => {
    const bytes = await buffer(stream);
    return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  },
  blob: async (stream: AsyncIterable<unknown>) => new Blob([await buffer(stream)]),
  buffer,
  text,
  json: async (stream: AsyncIterable<unknown>) => JSON.parse(await text(stream)) as unknown,
};

export const modules = { "node:stream": Stream, "node:stream/promises": Stream.promises, "node:stream/consumers": consumers };
