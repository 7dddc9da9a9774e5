/** Modules of Node that give the classes of the Web: `node:stream/web`, and what there is of `node:worker_threads`. */
const names = [
  "ReadableStream", "ReadableStreamDefaultReader", "ReadableStreamBYOBReader", "ReadableStreamBYOBRequest",
  "ReadableByteStreamController", "ReadableStreamDefaultController", "TransformStream", "TransformStreamDefaultController",
  "WritableStream", "WritableStreamDefaultWriter", "WritableStreamDefaultController", "ByteLengthQueuingStrategy",
  "CountQueuingStrategy", "TextEncoderStream", "TextDecoderStream", "CompressionStream", "DecompressionStream",
];
const web: Record<string, unknown> = {};
for (const name of names) {
  const value = (globalThis as unknown as Record<string, unknown>)[name];
  if (value !== undefined) web[name] = value;
}

const worker_threads = {
  isMainThread: true,
  threadId: 0,
  parentPort: null,
  workerData: null,
  resourceLimits: {},
  SHARE_ENV: Symbol.for("nodejs.worker_threads.SHARE_ENV"),
  Worker: class Worker {
    constructor() {
      throw new Error("new Worker() is not available in workers: call another worker with fetch().");
    }
  },
};

export const modules = { "node:stream/web": web, "node:worker_threads": worker_threads };
