/** `ReadableStream` (Streams, section 4.2). */
import { ObjectDefineProperty, PromiseReject, ReflectApply } from "../internal/primordials.ts";
import { finishInterface, INTERNAL, requireArguments, toDictionary } from "../internal/webidl.ts";
import { loadPart } from "../internal/parts.ts";
import { ByteController } from "./byte-controller.ts";
import { newByteController } from "./byob-request.ts";
import { DefaultController, newDefaultController } from "./default-controller.ts";
import { iterate } from "./iterator.ts";
import { outcomeOf, visible } from "./promises.ts";
import { pipe, readPipeOptions } from "./pipe.ts";
import { cancelReadable, Readable } from "./readable.ts";
import { acquireByobReader, acquireReader, ReadableStreamBYOBReader, ReadableStreamDefaultReader } from "./readers.ts";
import { readSource, type Source, UserSource } from "./source.ts";
import { markOf, readStrategy, type SizeOf } from "./strategies.ts";
import { isWritableStream, type WritableStream, writableOf } from "./writable-stream.ts";

/** Throws a `TypeError` for anything that is no stream of this realm. */
let readableOf: (stream: ReadableStream) => Readable;
let isReadableStream: (value: unknown) => value is ReadableStream;
/** What few workers need. */
export const branches = () => loadPart<typeof import("../parts/branches.ts")>("branches");

/** Gives a new object what a stream is; the stream's own object is `used` from now on. */
let moveReadable: (stream: ReadableStream, used: Readable) => ReadableStream;
/** The object that user code sees. */
let shown: (readable: Readable) => ReadableStream;

export interface PipeOptions {
  preventAbort?: boolean;
  preventCancel?: boolean;
  preventClose?: boolean;
  signal?: unknown;
}

export interface UnderlyingSource {
  type?: string;
  autoAllocateChunkSize?: number;
  start?(controller: any): unknown;
  pull?(controller: any): unknown;
  cancel?(reason: unknown): unknown;
}

export class ReadableStream<_Chunk = unknown> {
  #readable: Readable;

  constructor(underlyingSource: UnderlyingSource | typeof INTERNAL | undefined = undefined, strategy: unknown = undefined) {
    if (underlyingSource === INTERNAL) {
      this.#readable = strategy as Readable;
      this.#readable.wrapper = this;
      return;
    }
    const readable = new Readable();
    readable.wrapper = this;
    this.#readable = readable;
    if (underlyingSource === null || (underlyingSource !== undefined && !isAnyObject(underlyingSource))) {
      throw new TypeError("ReadableStream takes an object as its underlying source.");
    }
    const known = readStrategy(strategy);
    const members = readSource(underlyingSource);
    const source = new UserSource(underlyingSource, members);
    let controller: DefaultController | ByteController;
    let show: () => object;
    if (members.bytes) {
      if (known.size !== undefined || isSized(strategy)) throw new RangeError("The strategy of a byte stream must not have a size.");
      const mark = markOf(known, 0);
      if (members.autoAllocateChunkSize === 0) throw new TypeError("autoAllocateChunkSize must not be 0.");
      const bytes = new ByteController(readable, source, mark, members.autoAllocateChunkSize);
      controller = bytes;
      show = () => newByteController(bytes);
    } else {
      const chunks = new DefaultController(readable, source, markOf(known, 1), known.size);
      controller = chunks;
      show = () => newDefaultController(chunks);
    }
    if (members.start !== undefined || members.pull !== undefined) source.controller = show();
    const started =
      members.start === undefined ? undefined : ReflectApply(members.start, underlyingSource, [source.controller]);
    controller.start(outcomeOf(started));
  }

  static {
    readableOf = (stream) => {
      if (!isReadableStream(stream)) throw new TypeError("Not a ReadableStream.");
      return stream.#readable;
    };
    isReadableStream = (value): value is ReadableStream =>
      typeof value === "object" && value !== null && #readable in value;
    moveReadable = (stream, used) => {
      const readable = stream.#readable;
      stream.#readable = used;
      used.wrapper = stream;
      return new ReadableStream(INTERNAL, readable);
    };
    shown = (readable) => readable.wrapper ?? new ReadableStream(INTERNAL, readable);
  }

  static from(asyncIterable: unknown): ReadableStream {
    requireArguments(arguments.length, 1, "ReadableStream.from");
    return shown(branches().streamFrom(asyncIterable));
  }

  get locked(): boolean {
    return this.#readable.reader !== undefined;
  }

  cancel(reason: unknown = undefined): Promise<undefined> {
    try {
      const readable = this.#readable;
      if (readable.reader !== undefined) throw new TypeError("The stream is locked; cancel it by its reader.");
      return visible(cancelReadable(readable, reason));
    } catch (error) {
      return PromiseReject(error);
    }
  }

  getReader(options: { mode?: string } | undefined = undefined): ReadableStreamDefaultReader | ReadableStreamBYOBReader {
    const readable = this.#readable;
    const { mode } = toDictionary<{ mode: unknown }>(options, "getReader options");
    if (mode === undefined) return newReader(ReadableStreamDefaultReader, acquireReader(readable));
    if (`${mode as string}` !== "byob") throw new TypeError('A reader\'s mode can only be "byob".');
    return newReader(ReadableStreamBYOBReader, acquireByobReader(readable));
  }

  pipeThrough(transform: { readable: ReadableStream; writable: WritableStream }, options: PipeOptions | undefined = undefined): ReadableStream {
    const readable = this.#readable;
    requireArguments(arguments.length, 1, "pipeThrough");
    if (!isAnyObject(transform)) throw new TypeError("pipeThrough takes an object with readable and writable.");
    // Each member is checked before the next is read, as dictionaries are converted.
    const { readable: to } = transform;
    if (!isReadableStream(to)) throw new TypeError("pipeThrough needs a readable that is a ReadableStream.");
    const { writable } = transform;
    if (!isWritableStream(writable)) throw new TypeError("pipeThrough needs a writable that is a WritableStream.");
    const known = readPipeOptions(options);
    if (readable.reader !== undefined) throw new TypeError("The stream is locked; it cannot be piped.");
    const target = writableOf(writable);
    if (target.writer !== undefined) throw new TypeError("The writable is locked; nothing can be piped to it.");
    pipe(readable, target, known, false);
    return to;
  }

  pipeTo(destination: WritableStream, options: PipeOptions | undefined = undefined): Promise<undefined> {
    try {
      const readable = this.#readable;
      requireArguments(arguments.length, 1, "pipeTo");
      if (!isWritableStream(destination)) throw new TypeError("pipeTo takes a WritableStream.");
      const known = readPipeOptions(options);
      if (readable.reader !== undefined) throw new TypeError("The stream is locked; it cannot be piped.");
      const target = writableOf(destination);
      if (target.writer !== undefined) throw new TypeError("The destination is locked; nothing can be piped to it.");
      return pipe(readable, target, known, true)!;
    } catch (error) {
      return PromiseReject(error);
    }
  }

  tee(): [ReadableStream, ReadableStream] {
    const { first, second } = branches().teeReadable(this.#readable);
    return [shown(first), shown(second)];
  }

  values(options: { preventCancel?: boolean } | undefined = undefined): object {
    const readable = this.#readable;
    const preventCancel = !!toDictionary<{ preventCancel: unknown }>(options, "values options").preventCancel;
    return iterate(readable, preventCancel);
  }
}
finishInterface(ReadableStream, "ReadableStream");
ObjectDefineProperty(ReadableStream.prototype, Symbol.asyncIterator, {
  value: ReadableStream.prototype.values,
  writable: true,
  enumerable: false,
  configurable: true,
});

function isAnyObject(value: unknown): value is object {
  return (typeof value === "object" && value !== null) || typeof value === "function";
}

/** Even the size that counts 1 for each chunk is one. */
function isSized(strategy: unknown): boolean {
  return isAnyObject(strategy) && (strategy as { size?: unknown }).size !== undefined;
}

function newReader<T>(constructor: new (stream: ReadableStream) => T, reader: unknown): T {
  return new (constructor as unknown as new (...given: unknown[]) => T)(INTERNAL, reader);
}

/** A stream of chunks that the runtime itself supplies. */
export function newReadable(source: Source, mark: number, sizeOf?: SizeOf): DefaultController {
  return new DefaultController(new Readable(), source, mark, sizeOf);
}

/** A stream of bytes that the runtime itself supplies. */
export function newByteReadable(source: Source, mark = 0): ByteController {
  return new ByteController(new Readable(), source, mark, undefined);
}

export { isReadableStream, moveReadable, readableOf, shown };
