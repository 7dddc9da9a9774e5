/** Readers: the right to read from a stream, with and without buffers of one's own (Streams, sections 4.3 to 4.5). */
import { MathMax, MathTrunc, PromisePrototypeThen, PromiseReject } from "../internal/primordials.ts";
import { finishInterface, INTERNAL, requireArguments, toDictionary } from "../internal/webidl.ts";
import { ByteController } from "./byte-controller.ts";
import { List } from "./list.ts";
import { Deferred, Latch, type Outcome, visible } from "./promises.ts";
import {
  cancelReadable,
  CLOSED,
  ERRORED,
  READABLE,
  type Readable,
  type ReadIntoRequest,
  type ReadRequest,
} from "./readable.ts";
import { type ReadableStream, readableOf } from "./readable-stream.ts";
import { toSize } from "./source.ts";
import { isDetached, isView, type View, viewOf } from "./views.ts";

function released(): TypeError {
  return new TypeError("The reader has been released; it reads no more.");
}

abstract class AnyReader {
  stream: Readable | undefined;
  readonly closed = new Latch();

  /** ReadableStreamReaderGenericInitialize; the stream must not be locked. */
  constructor(stream: Readable) {
    this.stream = stream;
    stream.feeder?.wake();
    if (stream.state === CLOSED) this.closed.resolve();
    else if (stream.state === ERRORED) this.closed.reject(stream.stored);
  }

  abstract failRequests(error: unknown): void;

  cancel(reason: unknown): Outcome {
    return cancelReadable(this.stream!, reason);
  }

  release(): void {
    const stream = this.stream;
    if (stream === undefined) return;
    if (stream.state === READABLE) this.closed.reject(released());
    else this.closed.rejectAnew(released());
    stream.controller.releaseSteps();
    stream.reader = undefined;
    this.stream = undefined;
    this.failRequests(released());
  }
}

export class DefaultReader extends AnyReader {
  readonly byob = false;
  readonly requests = new List<ReadRequest>();

  constructor(stream: Readable) {
    super(stream);
    stream.reader = this;
  }

  /** ReadableStreamDefaultReaderRead. */
  read(request: ReadRequest): void {
    const stream = this.stream!;
    stream.disturbed = true;
    if (stream.state === READABLE) stream.controller.pullSteps(request);
    else if (stream.state === CLOSED) request.close();
    else request.error(stream.stored);
  }

  failRequests(error: unknown): void {
    const { requests } = this;
    while (requests.length > 0) requests.shift().error(error);
  }
}

export class ByobReader extends AnyReader {
  readonly byob = true;
  readonly requests = new List<ReadIntoRequest>();

  constructor(stream: Readable) {
    super(stream);
    stream.reader = this;
  }

  /** ReadableStreamBYOBReaderRead. */
  read(view: View, min: number, request: ReadIntoRequest): void {
    const stream = this.stream!;
    stream.disturbed = true;
    if (stream.state === ERRORED) request.error(stream.stored);
    else (stream.controller as ByteController).pullInto(view, min, request);
  }

  failRequests(error: unknown): void {
    const { requests } = this;
    while (requests.length > 0) requests.shift().error(error);
  }
}

/** AcquireReadableStreamDefaultReader. */
export function acquireReader(stream: Readable): DefaultReader {
  if (stream.reader !== undefined) throw new TypeError("The stream is locked: it has a reader already.");
  return new DefaultReader(stream);
}

/** AcquireReadableStreamBYOBReader. */
export function acquireByobReader(stream: Readable): ByobReader {
  if (stream.reader !== undefined) throw new TypeError("The stream is locked: it has a reader already.");
  if (!(stream.controller instanceof ByteController)) {
    throw new TypeError("The stream's source is not of type \"bytes\"; use getReader() without a mode.");
  }
  return new ByobReader(stream);
}

interface ReadResult<T> {
  done: boolean;
  value: T;
}

/** A read that user code asked for. */
class PromiseRequest implements ReadRequest, ReadIntoRequest {
  next = undefined;
  readonly deferred = new Deferred<ReadResult<unknown>>();

  chunk(value: unknown): void {
    this.deferred.resolve({ value, done: false });
  }
  close(value?: unknown): void {
    this.deferred.resolve({ value, done: true });
  }
  error(error: unknown): void {
    this.deferred.reject(error);
  }
}

export class ReadableStreamDefaultReader {
  #reader: DefaultReader;

  constructor(stream: ReadableStream) {
    requireArguments(arguments.length, 1, "ReadableStreamDefaultReader");
    this.#reader = (stream as unknown) === INTERNAL ? arguments[1] : acquireReader(readableOf(stream));
  }

  get closed(): Promise<undefined> {
    try {
      return this.#reader.closed.promise;
    } catch (error) {
      return PromiseReject(error);
    }
  }

  cancel(reason: unknown = undefined): Promise<undefined> {
    try {
      const reader = this.#reader;
      if (reader.stream === undefined) throw released();
      return visible(reader.cancel(reason));
    } catch (error) {
      return PromiseReject(error);
    }
  }

  read(): Promise<ReadResult<unknown>> {
    try {
      const reader = this.#reader;
      if (reader.stream === undefined) throw released();
      const request = new PromiseRequest();
      reader.read(request);
      return request.deferred.promise;
    } catch (error) {
      return PromiseReject(error);
    }
  }

  releaseLock(): void {
    this.#reader.release();
  }
}
finishInterface(ReadableStreamDefaultReader, "ReadableStreamDefaultReader");

/** WebIDL's view of the arguments of `read(view, options)`. */
function checkRead(given: unknown, options: unknown): { view: View; min: number } {
  if (!isView(given)) throw new TypeError("A BYOB reader's read takes an ArrayBufferView.");
  const asked = toDictionary<{ min: unknown }>(options, "read options").min;
  const min = asked === undefined ? 1 : toSize(asked, "min");
  const view = viewOf(given);
  if (isDetached(view.buffer)) throw new TypeError("The view's buffer is detached.");
  if (view.byteLength === 0) throw new TypeError("The view has no room: its length is 0.");
  if (min === 0) throw new TypeError("min must be at least 1.");
  if (min > view.byteLength / view.elementSize) throw new RangeError("min is larger than the view.");
  return { view, min };
}

export class ReadableStreamBYOBReader {
  #reader: ByobReader;

  constructor(stream: ReadableStream) {
    requireArguments(arguments.length, 1, "ReadableStreamBYOBReader");
    this.#reader = (stream as unknown) === INTERNAL ? arguments[1] : acquireByobReader(readableOf(stream));
  }

  get closed(): Promise<undefined> {
    try {
      return this.#reader.closed.promise;
    } catch (error) {
      return PromiseReject(error);
    }
  }

  cancel(reason: unknown = undefined): Promise<undefined> {
    try {
      const reader = this.#reader;
      if (reader.stream === undefined) throw released();
      return visible(reader.cancel(reason));
    } catch (error) {
      return PromiseReject(error);
    }
  }

  read(view: ArrayBufferView, options: { min?: number } | undefined = undefined): Promise<ReadResult<unknown>> {
    try {
      const reader = this.#reader;
      requireArguments(arguments.length, 1, "read");
      const checked = checkRead(view, options);
      if (reader.stream === undefined) throw released();
      const request = new PromiseRequest();
      reader.read(checked.view, checked.min, request);
      return request.deferred.promise;
    } catch (error) {
      return PromiseReject(error);
    }
  }

  /** The name under which Workers had it before `min` was standard. */
  readAtLeast(min: number, view: ArrayBufferView): Promise<ReadResult<unknown>> {
    try {
      void this.#reader;
      requireArguments(arguments.length, 2, "readAtLeast");
      return this.#readMin(view, min);
    } catch (error) {
      return PromiseReject(error);
    }
  }

  /** There, `min` counts bytes. */
  #readMin(given: ArrayBufferView, bytes: number): Promise<ReadResult<unknown>> {
    const reader = this.#reader;
    const { view } = checkRead(given, undefined);
    const min = toSize(bytes, "The number of bytes");
    if (min === 0 || min > view.byteLength) throw new RangeError("readAtLeast wants a number of bytes that fits in the view.");
    if (reader.stream === undefined) throw released();
    const request = new PromiseRequest();
    reader.read(view, MathMax(1, MathTrunc((min + view.elementSize - 1) / view.elementSize)), request);
    return request.deferred.promise;
  }

  releaseLock(): void {
    this.#reader.release();
  }
}
finishInterface(ReadableStreamBYOBReader, "ReadableStreamBYOBReader");

/** What is left after a read that ended a stream: nobody waits for the promise. */
export function ignore(outcome: Outcome): void {
  if (outcome !== undefined) PromisePrototypeThen(outcome, undefined, () => {});
}
