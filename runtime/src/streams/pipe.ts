/**
 * Pipes (Streams, ReadableStreamPipeTo).
 *
 * A pipe out of a body of the host's into an identity transform sleeps until somebody reads from the transform. When
 * that is the host again, it moves the bytes itself; see native.ts.
 */
import { PromisePrototypeThen } from "../internal/primordials.ts";
import { toDictionary } from "../internal/webidl.ts";
import { type AbortSignal, isAbortSignal, offAbort, onAbort } from "../dom/abort.ts";
import { canSleep } from "./native.ts";
import { both, Deferred, type Outcome, soon, upon, visible } from "./promises.ts";
import { cancelReadable, CLOSED, ERRORED, READABLE, type Readable, type ReadRequest, type Sleeping } from "./readable.ts";
import { acquireReader, type DefaultReader } from "./readers.ts";
import {
  CLOSED as WRITABLE_CLOSED,
  ERRORED as WRITABLE_ERRORED,
  WRITABLE,
  type Writable,
  type WriteRequest,
  Writer,
} from "./writable.ts";

export interface KnownPipeOptions {
  preventAbort: boolean;
  preventCancel: boolean;
  preventClose: boolean;
  signal: AbortSignal | undefined;
}

/** Reads `StreamPipeOptions`, in WebIDL's order. */
export function readPipeOptions(given: unknown): KnownPipeOptions {
  const options = toDictionary<Record<keyof KnownPipeOptions, unknown>>(given, "Pipe options");
  const preventAbort = !!options.preventAbort;
  const preventCancel = !!options.preventCancel;
  const preventClose = !!options.preventClose;
  const { signal } = options;
  if (signal !== undefined && !isAbortSignal(signal)) throw new TypeError("A pipe's signal must be an AbortSignal.");
  return { preventAbort, preventCancel, preventClose, signal };
}

/** Why a pipe ended that did not end well. */
interface Failure {
  error: unknown;
}

/** Begins a pipe; neither end may be locked. `tell`: somebody wants to know how it ended. */
export function pipe(source: Readable, target: Writable, options: KnownPipeOptions, tell: boolean): Promise<undefined> | undefined {
  const pipe = new Pipe(source, target, options, tell);
  return tell ? pipe.promise : undefined;
}

export class Pipe implements ReadRequest, WriteRequest, Sleeping {
  next: ReadRequest | undefined = undefined;
  readonly #reader: DefaultReader;
  readonly #writer: Writer;
  readonly #result: Deferred<undefined> | undefined;
  #asleep = false;
  #reading = false;
  /** A read is being asked for; its chunk may come at once. */
  #asking = false;
  #chunk: unknown = undefined;
  #hasChunk = false;
  #unwritten = 0;
  #shuttingDown = false;
  /** Runs when all that was read has been written. */
  #whenWritten: (() => void) | undefined = undefined;
  readonly #step = () => this.#run();
  readonly #deliver = () => {
    this.#writeChunk();
    this.#run();
  };
  readonly #abort = () => this.#aborted();

  constructor(
    readonly source: Readable,
    readonly target: Writable,
    readonly options: KnownPipeOptions,
    tell: boolean,
  ) {
    this.#result = tell ? new Deferred<undefined>() : undefined;
    const { signal } = options;
    const transform = signal === undefined ? canSleep(source, target, options) : undefined;
    if (transform !== undefined) {
      this.#asleep = true;
      transform.readable.stream.feeder = this;
    }
    // Taking a reader would wake what feeds the source.
    const { feeder } = source;
    if (this.#asleep) source.feeder = undefined;
    this.#reader = acquireReader(source);
    source.feeder = feeder;
    this.#writer = new Writer(target);
    source.disturbed = true;
    if (this.#asleep) return;
    if (signal !== undefined) {
      if (signal.aborted) {
        this.#aborted();
        return;
      }
      onAbort(signal, this.#abort);
    }
    this.#begin();
  }

  /** Nobody need handle its rejection: `pipeThrough` hides it. */
  get promise(): Promise<undefined> {
    return this.#result!.promise;
  }

  /** Somebody wants the chunks in JavaScript. */
  wake(): void {
    if (!this.#asleep) return;
    this.#asleep = false;
    this.source.feeder?.wake();
    this.#begin();
  }

  /** Whether it has moved nothing so far. */
  get isAsleep(): boolean {
    return this.#asleep;
  }

  /** The host takes over: from now on this pipe only holds the locks. */
  surrender(): void {
    this.#asleep = false;
  }

  #begin(): void {
    const { source, target, options } = this;
    if (source.state === ERRORED) this.#sourceFailed(source.stored);
    else if (target.state === WRITABLE_ERRORED) this.#targetFailed(target.stored);
    else if (source.state === CLOSED) this.#sourceClosed();
    else if (target.closing || target.state === WRITABLE_CLOSED) {
      const error = new TypeError("The destination of the pipe is closed.");
      const action = options.preventCancel ? undefined : () => cancelReadable(source, error);
      this.#shutDown(action, { error });
    }
    if (this.#shuttingDown) return;
    PromisePrototypeThen(
      this.#reader.closed.promise,
      () => this.#sourceClosed(),
      (error) => this.#sourceFailed(error),
    );
    PromisePrototypeThen(this.#writer.closed.promise, undefined, (error) => this.#targetFailed(error));
    this.#writer.onReady = () => soon(this.#step);
    soon(this.#step);
  }

  /** Moves chunks as long as the target wants some. */
  #run(): void {
    while (!this.#shuttingDown && !this.#reading && !this.#hasChunk && this.#wanted()) {
      this.#reading = true;
      this.#asking = true;
      this.#reader.read(this);
      this.#asking = false;
      if (this.#hasChunk) this.#writeChunk();
    }
  }

  #wanted(): boolean {
    const { target } = this;
    return target.state === WRITABLE && !target.closing && !target.backpressure && this.source.state === READABLE;
  }

  chunk(value: unknown): void {
    this.#reading = false;
    this.#chunk = value;
    this.#hasChunk = true;
    // Whoever enqueues must not find itself in the sink.
    if (!this.#asking) soon(this.#deliver);
  }

  close(): void {
    this.#reading = false;
  }

  error(): void {
    this.#reading = false;
  }

  #writeChunk(): void {
    if (!this.#hasChunk) return;
    const chunk = this.#chunk;
    this.#hasChunk = false;
    this.#chunk = undefined;
    this.#unwritten += 1;
    try {
      this.#writer.write(chunk, this);
    } catch {
      this.#settled();
    }
  }

  /** A chunk has been written. */
  resolve(): void {
    this.#settled();
  }

  /** A chunk could not be written; the target's state says the rest. */
  reject(): void {
    this.#settled();
  }

  #settled(): void {
    this.#unwritten -= 1;
    if (this.#unwritten !== 0 || this.#whenWritten === undefined) return;
    const then = this.#whenWritten;
    this.#whenWritten = undefined;
    soon(then);
  }

  #sourceFailed(error: unknown): void {
    const { target } = this;
    this.#shutDown(this.options.preventAbort ? undefined : () => target.abort(error), { error });
  }

  #targetFailed(error: unknown): void {
    const { source } = this;
    this.#shutDown(this.options.preventCancel ? undefined : () => cancelReadable(source, error), { error });
  }

  #sourceClosed(): void {
    this.#shutDown(this.options.preventClose ? undefined : () => this.#writer.closeForPipe(), undefined);
  }

  #aborted(): void {
    const { source, target, options } = this;
    const error = options.signal!.reason;
    this.#shutDown(
      () => {
        const abort = !options.preventAbort && target.state === WRITABLE ? target.abort(error) : undefined;
        const cancel = !options.preventCancel && source.state === READABLE ? cancelReadable(source, error) : undefined;
        return both(abort, cancel === undefined ? undefined : visible(cancel));
      },
      { error },
    );
  }

  /** "Shutdown", with or without an action. */
  #shutDown(action: (() => Outcome) | undefined, failure: Failure | undefined): void {
    if (this.#shuttingDown) return;
    this.#shuttingDown = true;
    const act = () => {
      if (action === undefined) {
        this.#finalize(failure);
        return;
      }
      upon(
        action(),
        () => this.#finalize(failure),
        (error) => this.#finalize({ error }),
      );
    };
    if (this.target.state === WRITABLE && !this.target.closing) {
      this.#writeChunk();
      if (this.#unwritten > 0) {
        this.#whenWritten = act;
        return;
      }
    }
    act();
  }

  #finalize(failure: Failure | undefined): void {
    this.#writer.onReady = undefined;
    this.#writer.release();
    this.#reader.release();
    const { signal } = this.options;
    if (signal !== undefined) offAbort(signal, this.#abort);
    if (failure === undefined) this.#result?.resolve(undefined);
    else this.#result?.reject(failure.error);
  }

  /** The host has moved everything, or could not. Ends both streams as the pipe would have. */
  surrendered(failure: Failure | undefined): void {
    this.#shuttingDown = true;
    this.#finalize(failure);
  }
}

