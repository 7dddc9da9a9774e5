/** `WritableStream`, its writer and its controller (Streams, sections 5.2 to 5.4). */
import { PromiseReject, PromiseResolve, ReflectApply } from "../internal/primordials.ts";
import { finishInterface, illegalConstructor, INTERNAL, requireArguments, toDictionary } from "../internal/webidl.ts";
import type { AbortSignal } from "../dom/abort.ts";
import { Deferred, invoke, type Outcome, outcomeOf } from "./promises.ts";
import { toCallback } from "./source.ts";
import { markOf, readStrategy } from "./strategies.ts";
import { closeWritable, type Sink, WRITABLE, Writable, WritableController, Writer } from "./writable.ts";

/** Aborting twice gives the same promise. */
function settled(outcome: Outcome): Promise<undefined> {
  return outcome === undefined ? PromiseResolve(undefined) : (outcome as Promise<undefined>);
}

let writableOf: (stream: WritableStream) => Writable;
let isWritableStream: (value: unknown) => value is WritableStream;
let shownWritable: (writable: Writable) => WritableStream;
let newController: (controller: WritableController) => WritableStreamDefaultController;

interface SinkMembers {
  abort: unknown;
  close: unknown;
  start: unknown;
  type: unknown;
  write: unknown;
}

/** A sink that user code wrote. */
class UserSink implements Sink {
  controller: object | undefined = undefined;

  constructor(
    readonly object: unknown,
    readonly writeTo: Function | undefined,
    readonly closeIt: Function | undefined,
    readonly abortIt: Function | undefined,
  ) {}

  write(chunk: unknown): Outcome {
    return this.writeTo === undefined ? undefined : invoke(this.writeTo, this.object, [chunk, this.controller]);
  }
  close(): Outcome {
    return this.closeIt === undefined ? undefined : invoke(this.closeIt, this.object, []);
  }
  abort(reason: unknown): Outcome {
    return this.abortIt === undefined ? undefined : invoke(this.abortIt, this.object, [reason]);
  }
}

export interface UnderlyingSink {
  start?(controller: any): unknown;
  write?(chunk: any, controller: any): unknown;
  close?(): unknown;
  abort?(reason: unknown): unknown;
}

export class WritableStream<_Chunk = unknown> {
  #writable: Writable;

  constructor(underlyingSink: UnderlyingSink | typeof INTERNAL | undefined = undefined, strategy: unknown = undefined) {
    if (underlyingSink === INTERNAL) {
      this.#writable = strategy as Writable;
      this.#writable.wrapper = this;
      return;
    }
    this.#writable = new Writable();
    this.#writable.wrapper = this;
    if (underlyingSink === null || (underlyingSink !== undefined && typeof underlyingSink !== "object" && typeof underlyingSink !== "function")) {
      throw new TypeError("WritableStream takes an object as its underlying sink.");
    }
    const known = readStrategy(strategy);
    const given = toDictionary<SinkMembers>(underlyingSink, "An underlying sink");
    const abort = toCallback(given.abort, "abort");
    const close = toCallback(given.close, "close");
    const start = toCallback(given.start, "start");
    const { type } = given;
    const write = toCallback(given.write, "write");
    if (type !== undefined) throw new RangeError("An underlying sink must not have a type.");
    const sink = new UserSink(underlyingSink, write, close, abort);
    const controller = new WritableController(this.#writable, sink, markOf(known, 1), known.size);
    if (start !== undefined || write !== undefined) sink.controller = newController(controller);
    const started = start === undefined ? undefined : ReflectApply(start, underlyingSink, [sink.controller]);
    controller.start(outcomeOf(started));
  }

  static {
    isWritableStream = (value): value is WritableStream => typeof value === "object" && value !== null && #writable in value;
    writableOf = (stream) => {
      if (!isWritableStream(stream)) throw new TypeError("Not a WritableStream.");
      return stream.#writable;
    };
    shownWritable = (writable) => writable.wrapper ?? new WritableStream(INTERNAL, writable);
  }

  get locked(): boolean {
    return this.#writable.writer !== undefined;
  }

  abort(reason: unknown = undefined): Promise<undefined> {
    try {
      const writable = this.#writable;
      if (writable.writer !== undefined) throw new TypeError("The stream is locked; abort it by its writer.");
      return settled(writable.abort(reason));
    } catch (error) {
      return PromiseReject(error);
    }
  }

  close(): Promise<undefined> {
    try {
      const writable = this.#writable;
      if (writable.writer !== undefined) throw new TypeError("The stream is locked; close it by its writer.");
      return closeWritable(writable);
    } catch (error) {
      return PromiseReject(error);
    }
  }

  getWriter(): WritableStreamDefaultWriter {
    return new WritableStreamDefaultWriter(this);
  }
}
finishInterface(WritableStream, "WritableStream");

function noStream(): TypeError {
  return new TypeError("The writer has been released; it writes no more.");
}

export class WritableStreamDefaultWriter {
  #writer: Writer;

  constructor(stream: WritableStream) {
    requireArguments(arguments.length, 1, "WritableStreamDefaultWriter");
    this.#writer = new Writer(writableOf(stream));
  }

  get closed(): Promise<undefined> {
    try {
      return this.#writer.closed.promise;
    } catch (error) {
      return PromiseReject(error);
    }
  }

  get desiredSize(): number | null {
    const writer = this.#writer;
    if (writer.stream === undefined) throw noStream();
    return writer.desiredSize();
  }

  get ready(): Promise<undefined> {
    try {
      return this.#writer.ready.promise;
    } catch (error) {
      return PromiseReject(error);
    }
  }

  abort(reason: unknown = undefined): Promise<undefined> {
    try {
      const { stream } = this.#writer;
      if (stream === undefined) throw noStream();
      return settled(stream.abort(reason));
    } catch (error) {
      return PromiseReject(error);
    }
  }

  close(): Promise<undefined> {
    try {
      const { stream } = this.#writer;
      if (stream === undefined) throw noStream();
      return closeWritable(stream);
    } catch (error) {
      return PromiseReject(error);
    }
  }

  releaseLock(): void {
    this.#writer.release();
  }

  write(chunk: unknown = undefined): Promise<undefined> {
    try {
      const writer = this.#writer;
      if (writer.stream === undefined) throw noStream();
      const request = new Deferred<undefined>();
      writer.write(chunk, request);
      return request.promise;
    } catch (error) {
      return PromiseReject(error);
    }
  }
}
finishInterface(WritableStreamDefaultWriter, "WritableStreamDefaultWriter");

export class WritableStreamDefaultController {
  #controller: WritableController;

  constructor() {
    illegalConstructor(arguments[0]);
    this.#controller = arguments[1];
  }

  static {
    const make = WritableStreamDefaultController as unknown as new (...given: unknown[]) => WritableStreamDefaultController;
    newController = (controller) => new make(INTERNAL, controller);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  error(error: unknown = undefined): void {
    const controller = this.#controller;
    if (controller.stream.state === WRITABLE) controller.error(error);
  }
}
finishInterface(WritableStreamDefaultController, "WritableStreamDefaultController");

/** A stream whose chunks the runtime itself takes. */
export function newWritable(sink: Sink, mark: number, sizeOf?: (chunk: unknown) => unknown): WritableController {
  return new WritableController(new Writable(), sink, mark, sizeOf);
}

export { isWritableStream, shownWritable, writableOf };
