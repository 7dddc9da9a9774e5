/** The state of a writable stream, its controller's queue, and its writer (Streams, sections 5.5 to 5.7). */
import { MathMax, PromiseReject } from "../internal/primordials.ts";
import { type AbortSignal, abortSignal, newSignal } from "../dom/abort.ts";
import { List } from "./list.ts";
import { Deferred, Latch, type Outcome, type Result, upon } from "./promises.ts";
import { checkedSize, type SizeOf } from "./strategies.ts";
import type { WritableStream } from "./writable-stream.ts";

export const WRITABLE = 0;
export const ERRORING = 1;
export const ERRORED = 2;
export const CLOSED = 3;

/** Where chunks go. `PENDING` promises a later call of the controller's `written` or `failed`. */
export interface Sink {
  write(chunk: unknown): Result;
  close(): Outcome;
  abort(reason: unknown): Outcome;
}

const SILENT: Sink = {
  write: () => undefined,
  close: () => undefined,
  abort: () => undefined,
};

/** Who is told what became of a chunk. */
export interface WriteRequest {
  resolve(value: undefined): void;
  reject(error: unknown): void;
}

class PendingAbort extends Deferred<undefined> {
  constructor(
    readonly reason: unknown,
    readonly wasErroring: boolean,
  ) {
    super();
  }
}

export class Writable {
  state: typeof WRITABLE | typeof ERRORING | typeof ERRORED | typeof CLOSED = WRITABLE;
  stored: unknown = undefined;
  writer: Writer | undefined = undefined;
  controller!: WritableController;
  closeRequest: Deferred<undefined> | undefined = undefined;
  inFlightClose: Deferred<undefined> | undefined = undefined;
  pendingAbort: PendingAbort | undefined = undefined;
  backpressure = false;
  /** What user code sees, if it has seen it. */
  wrapper: WritableStream | undefined = undefined;

  get locked(): boolean {
    return this.writer !== undefined;
  }

  /** WritableStreamCloseQueuedOrInFlight. */
  get closing(): boolean {
    return this.closeRequest !== undefined || this.inFlightClose !== undefined;
  }

  /** Whether writing to it makes sense. */
  get isOpen(): boolean {
    return this.state === WRITABLE && !this.closing;
  }

  /** WritableStreamAbort. */
  abort(given: unknown): Outcome {
    if (this.state === CLOSED || this.state === ERRORED) return undefined;
    this.controller.signalAbort(given);
    // The signal's listeners are user code.
    const state = this.state as number;
    if (state === CLOSED || state === ERRORED) return undefined;
    if (this.pendingAbort !== undefined) return this.pendingAbort.promise;
    const wasErroring = state === ERRORING;
    const pending = new PendingAbort(wasErroring ? undefined : given, wasErroring);
    this.pendingAbort = pending;
    if (!wasErroring) this.startErroring(given);
    return pending.promise;
  }

  /** WritableStreamClose; the state must allow it. */
  close(): Promise<undefined> {
    const request = new Deferred<undefined>();
    this.closeRequest = request;
    if (this.writer !== undefined && this.backpressure && this.state === WRITABLE) this.writer.ready.resolve();
    this.controller.close();
    return request.promise;
  }

  startErroring(reason: unknown): void {
    this.state = ERRORING;
    this.stored = reason;
    this.writer?.ready.rejectAnew(reason);
    if (!this.controller.inFlight && this.inFlightClose === undefined && this.controller.started) this.finishErroring();
  }

  finishErroring(): void {
    this.state = ERRORED;
    this.controller.rejectAll(this.stored);
    const pending = this.pendingAbort;
    this.pendingAbort = undefined;
    if (pending === undefined) {
      this.#rejectClose();
    } else if (pending.wasErroring) {
      pending.reject(this.stored);
      this.#rejectClose();
    } else {
      upon(
        this.controller.abortSink(pending.reason),
        () => {
          pending.resolve(undefined);
          this.#rejectClose();
        },
        (error) => {
          pending.reject(error);
          this.#rejectClose();
        },
      );
    }
  }

  /** WritableStreamDealWithRejection. */
  dealWithRejection(error: unknown): void {
    if (this.state === WRITABLE) this.startErroring(error);
    else this.finishErroring();
  }

  finishClose(): void {
    this.inFlightClose!.resolve(undefined);
    this.inFlightClose = undefined;
    if (this.state === ERRORING) {
      this.stored = undefined;
      this.pendingAbort?.resolve(undefined);
      this.pendingAbort = undefined;
    }
    this.state = CLOSED;
    this.writer?.closed.resolve();
  }

  finishCloseWithError(error: unknown): void {
    this.inFlightClose!.reject(error);
    this.inFlightClose = undefined;
    this.pendingAbort?.reject(error);
    this.pendingAbort = undefined;
    this.dealWithRejection(error);
  }

  /** WritableStreamRejectCloseAndClosedPromiseIfNeeded. */
  #rejectClose(): void {
    this.closeRequest?.reject(this.stored);
    this.closeRequest = undefined;
    this.writer?.closed.reject(this.stored);
  }

  updateBackpressure(backpressure: boolean): void {
    const { writer } = this;
    if (writer !== undefined && backpressure !== this.backpressure) {
      if (backpressure) {
        writer.ready.wait();
      } else {
        writer.ready.resolve();
        writer.onReady?.();
      }
    }
    this.backpressure = backpressure;
  }
}

class Entry {
  next: Entry | undefined = undefined;
  constructor(
    readonly chunk: unknown,
    readonly size: number,
    readonly request: WriteRequest,
  ) {}
}

export class WritableController {
  readonly stream: Writable;
  readonly #queue = new List<Entry>();
  #total = 0;
  #sink: Sink;
  #sizeOf: SizeOf;
  readonly #mark: number;
  started = false;
  /** The first chunk of the queue is being written. */
  inFlight = false;
  #closing = false;
  #signal: AbortSignal | undefined = undefined;
  #aborted: { reason: unknown } | undefined = undefined;
  readonly #done = () => this.written();
  readonly #failed = (error: unknown) => this.failed(error);

  /** SetUpWritableStreamDefaultController, up to the sink's start. */
  constructor(stream: Writable, sink: Sink, mark: number, sizeOf: SizeOf) {
    this.stream = stream;
    this.#sink = sink;
    this.#mark = mark;
    this.#sizeOf = sizeOf;
    stream.controller = this;
    stream.updateBackpressure(mark <= 0);
  }

  start(result: Result): void {
    upon(
      result,
      () => {
        this.started = true;
        this.#advance();
      },
      (error) => {
        this.started = true;
        this.stream.dealWithRejection(error);
      },
    );
  }

  get sink(): Sink {
    return this.#sink;
  }

  /** Whether chunks wait in its queue. */
  isBusy(): boolean {
    return this.#queue.length > 0;
  }

  get desiredSize(): number {
    return this.#mark - this.#total;
  }

  /** A signal that aborts with the stream; made when somebody asks. */
  get signal(): AbortSignal {
    if (this.#signal === undefined) {
      this.#signal = newSignal();
      if (this.#aborted !== undefined) abortSignal(this.#signal, this.#aborted.reason);
    }
    return this.#signal;
  }

  signalAbort(reason: unknown): void {
    if (this.#aborted !== undefined) return;
    this.#aborted = { reason };
    if (this.#signal !== undefined) abortSignal(this.#signal, reason);
  }

  /** WritableStreamDefaultControllerGetChunkSize. */
  sizeOf(chunk: unknown): number {
    if (this.#sizeOf === undefined) return 1;
    try {
      return this.#sizeOf(chunk) as number;
    } catch (error) {
      this.errorIfNeeded(error);
      return 1;
    }
  }

  write(chunk: unknown, given: number, request: WriteRequest): void {
    let size: number;
    try {
      size = checkedSize(given);
    } catch (error) {
      this.#queue.push(new Entry(undefined, 0, request));
      this.errorIfNeeded(error);
      return;
    }
    this.#queue.push(new Entry(chunk, size, request));
    this.#total += size;
    const { stream } = this;
    if (!stream.closing && stream.state === WRITABLE) stream.updateBackpressure(this.desiredSize <= 0);
    this.#advance();
  }

  close(): void {
    this.#closing = true;
    this.#advance();
  }

  errorIfNeeded(error: unknown): void {
    if (this.stream.state === WRITABLE) this.error(error);
  }

  error(error: unknown): void {
    this.#forget();
    this.stream.startErroring(error);
  }

  /** WritableStreamDefaultControllerAdvanceQueueIfNeeded. */
  #advance(): void {
    const { stream } = this;
    if (!this.started || this.inFlight || stream.inFlightClose !== undefined) return;
    if (stream.state === ERRORING) {
      stream.finishErroring();
      return;
    }
    const first = this.#queue.head;
    if (first !== undefined) {
      this.inFlight = true;
      upon(this.#sink.write(first.chunk), this.#done, this.#failed);
    } else if (this.#closing && stream.state === WRITABLE) {
      this.#processClose();
    }
  }

  /** The sink has written the chunk. */
  written(): void {
    const { stream } = this;
    const { size, request } = this.#dequeue();
    request.resolve(undefined);
    this.#total = MathMax(this.#total - size, 0);
    if (!stream.closing && stream.state === WRITABLE) stream.updateBackpressure(this.desiredSize <= 0);
    this.#advance();
  }

  /** The sink could not write the chunk. */
  failed(error: unknown): void {
    if (this.stream.state === WRITABLE) this.#forget();
    this.#dequeue().request.reject(error);
    this.stream.dealWithRejection(error);
  }

  #dequeue(): Entry {
    this.inFlight = false;
    return this.#queue.shift();
  }

  #processClose(): void {
    const { stream } = this;
    stream.inFlightClose = stream.closeRequest;
    stream.closeRequest = undefined;
    this.#closing = false;
    const outcome = this.#sink.close();
    this.#forget();
    upon(
      outcome,
      () => stream.finishClose(),
      (error) => stream.finishCloseWithError(error),
    );
  }

  rejectAll(error: unknown): void {
    this.#total = 0;
    this.#closing = false;
    while (this.#queue.length > 0) this.#queue.shift().request.reject(error);
  }

  abortSink(reason: unknown): Outcome {
    const outcome = this.#sink.abort(reason);
    this.#forget();
    return outcome;
  }

  /** Lets go of user code; aborting still reaches it while the stream is on its way to be aborted. */
  #forget(): void {
    this.#sink = SILENT;
    this.#sizeOf = undefined;
  }
}

function released(): TypeError {
  return new TypeError("The writer has been released; it writes no more.");
}

export class Writer {
  stream: Writable | undefined;
  readonly closed = new Latch();
  readonly ready = new Latch();
  /** Told when there is room again, if somebody inside wants to know. */
  onReady: (() => void) | undefined = undefined;

  /** SetUpWritableStreamDefaultWriter. */
  constructor(stream: Writable) {
    if (stream.writer !== undefined) throw new TypeError("The stream is locked: it has a writer already.");
    this.stream = stream;
    stream.writer = this;
    if (stream.state === WRITABLE) {
      if (stream.closing || !stream.backpressure) this.ready.resolve();
    } else if (stream.state === ERRORING) {
      this.ready.reject(stream.stored);
    } else if (stream.state === CLOSED) {
      this.ready.resolve();
      this.closed.resolve();
    } else {
      this.ready.reject(stream.stored);
      this.closed.reject(stream.stored);
    }
  }

  desiredSize(): number | null {
    const stream = this.stream!;
    if (stream.state === ERRORED || stream.state === ERRORING) return null;
    return stream.state === CLOSED ? 0 : stream.controller.desiredSize;
  }

  /** WritableStreamDefaultWriterWrite. Throws where that would reject. */
  write(chunk: unknown, request: WriteRequest): void {
    const stream = this.stream!;
    const { controller } = stream;
    const size = controller.sizeOf(chunk);
    if (stream !== this.stream) throw released();
    if (stream.state === ERRORED) throw stream.stored;
    if (stream.closing || stream.state === CLOSED) throw new TypeError("The stream is closing or closed; nothing can be written.");
    if (stream.state === ERRORING) throw stream.stored;
    controller.write(chunk, size, request);
  }

  close(): Promise<undefined> {
    return closeWritable(this.stream!);
  }

  /** WritableStreamDefaultWriterCloseWithErrorPropagation. */
  closeForPipe(): Outcome {
    const stream = this.stream!;
    if (stream.closing || stream.state === CLOSED) return undefined;
    if (stream.state === ERRORED) return PromiseReject(stream.stored);
    return closeWritable(stream);
  }

  release(): void {
    const { stream } = this;
    if (stream === undefined) return;
    const error = released();
    this.ready.rejectAnew(error);
    this.closed.rejectAnew(error);
    stream.writer = undefined;
    this.stream = undefined;
  }
}

/** Closes the stream if its state allows, on behalf of whoever holds the lock. */
export function closeWritable(stream: Writable): Promise<undefined> {
  if (stream.state === CLOSED || stream.state === ERRORED) {
    return PromiseReject(new TypeError("The stream is closed already, or it failed."));
  }
  if (stream.closing) return PromiseReject(new TypeError("The stream is closing already."));
  return stream.close();
}
