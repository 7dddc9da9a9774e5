/** `TransformStream` (Streams, section 6). */
import { PromisePrototypeThen, PromiseReject, ReflectApply } from "../internal/primordials.ts";
import { finishInterface, illegalConstructor, INTERNAL, toDictionary } from "../internal/webidl.ts";
import type { DefaultController } from "./default-controller.ts";
import { Deferred, invoke, type Outcome, outcomeOf, PENDING, type Result, soon, upon } from "./promises.ts";
import { ERRORED } from "./readable.ts";
import { newReadable, type ReadableStream, shown } from "./readable-stream.ts";
import { type Source, toCallback } from "./source.ts";
import { markOf, readStrategy, type SizeOf } from "./strategies.ts";
import { ERRORED as WRITABLE_ERRORED, ERRORING, type Sink, type WritableController } from "./writable.ts";
import { newWritable, shownWritable, type WritableStream } from "./writable-stream.ts";

/** What is done with the chunks. What `transform` and `flush` throw fails the stream. */
export interface Transformer {
  transform(chunk: unknown, transform: Transform): Outcome;
  flush(transform: Transform): Outcome;
  cancel(reason: unknown): Outcome;
}

/** Passes chunks on as they are. */
export const IDENTITY: Transformer = {
  transform(chunk, transform) {
    transform.enqueue(chunk);
    return undefined;
  },
  flush: () => undefined,
  cancel: () => undefined,
};

/** Those that hand bytes on as they are, so that JavaScript need not see them. */
let bytesIdentity: Transformer = IDENTITY;

export function handsOn(transformer: Transformer): void {
  bytesIdentity = transformer;
}

const OVER: Transformer = { transform: () => undefined, flush: () => undefined, cancel: () => undefined };

export interface Sizes {
  writableMark: number;
  writableSize: SizeOf;
  readableMark: number;
  readableSize: SizeOf;
}

/** What a transform stream has that was given no strategies. */
export const DEFAULT_SIZES: Sizes = { writableMark: 1, writableSize: undefined, readableMark: 0, readableSize: undefined };

/** The state of a transform stream: the sink of its writable side, and the source of its readable side. */
export class Transform implements Sink, Source {
  readonly readable: DefaultController;
  readonly writable: WritableController;
  #transformer: Transformer;
  /** No strategy of user code's looks at the chunks. */
  readonly #unseen: boolean;
  #backpressure = true;
  /** The readable side's pull is answered when it has what it asked for. */
  #pulled = false;
  /** A chunk that waits for the readable side to want something. */
  #chunk: unknown = undefined;
  #hasChunk = false;
  #finish: Deferred<undefined> | undefined = undefined;
  readonly #resume = () => this.#goOn();
  readonly #answerPull = () => this.readable.pulled();
  readonly #failed = (error: unknown): never => {
    this.error(error);
    throw error;
  };

  constructor(transformer: Transformer, sizes: Sizes) {
    this.#transformer = transformer;
    this.#unseen = sizes.writableSize === undefined && sizes.readableSize === undefined;
    this.writable = newWritable(this, sizes.writableMark, sizes.writableSize);
    this.readable = newReadable(this, sizes.readableMark, sizes.readableSize);
  }

  /** Whether it hands on what it is given, unseen, and has been given nothing. */
  get isUntouchedIdentity(): boolean {
    if (this.#transformer !== IDENTITY && this.#transformer !== bytesIdentity) return false;
    if (this.#hasChunk || this.#finish !== undefined || !this.#unseen) return false;
    return !this.readable.isBusy() && !this.readable.stream.disturbed && !this.writable.isBusy();
  }

  start(result: Result): void {
    this.writable.start(result);
    this.readable.start(result);
  }

  // The sink of the writable side.

  write(chunk: unknown): Result {
    if (this.#backpressure) {
      this.#chunk = chunk;
      this.#hasChunk = true;
      return PENDING;
    }
    return this.#perform(chunk);
  }

  /** TransformStreamDefaultControllerPerformTransform. */
  #perform(chunk: unknown): Outcome {
    let outcome: Outcome;
    try {
      outcome = this.#transformer.transform(chunk, this);
    } catch (error) {
      this.error(error);
      return PromiseReject(error);
    }
    return outcome === undefined ? undefined : PromisePrototypeThen(outcome, undefined, this.#failed);
  }

  /** The readable side wants something: the chunk that waited is next. */
  #goOn(): void {
    if (!this.#hasChunk) return;
    const chunk = this.#chunk;
    this.#hasChunk = false;
    this.#chunk = undefined;
    const { stream } = this.writable;
    if (stream.state === ERRORING) {
      this.writable.failed(stream.stored);
      return;
    }
    const outcome = this.#perform(chunk);
    if (outcome === undefined) soon(this.#written);
    else PromisePrototypeThen(outcome, this.#written, this.#notWritten);
  }

  readonly #written = () => this.writable.written();
  readonly #notWritten = (error: unknown) => this.writable.failed(error);

  close(): Outcome {
    if (this.#finish !== undefined) return this.#finish.promise;
    const readable = this.readable.stream;
    return this.#end(
      this.#flush(),
      () => {
        if (readable.state === ERRORED) throw readable.stored;
        this.readable.close();
      },
      (error) => this.readable.error(error),
    );
  }

  abort(reason: unknown): Outcome {
    if (this.#finish !== undefined) return this.#finish.promise;
    const readable = this.readable.stream;
    return this.#end(
      this.#takeTransformer().cancel(reason),
      () => {
        if (readable.state === ERRORED) throw readable.stored;
        this.readable.error(reason);
      },
      (error) => this.readable.error(error),
    );
  }

  // The source of the readable side.

  pull(): Result {
    this.#pulled = true;
    this.#setBackpressure(false);
    return PENDING;
  }

  cancel(reason: unknown): Outcome {
    if (this.#finish !== undefined) return this.#finish.promise;
    const writable = this.writable.stream;
    return this.#end(
      this.#takeTransformer().cancel(reason),
      () => {
        if (writable.state === WRITABLE_ERRORED) throw writable.stored;
        this.writable.errorIfNeeded(reason);
        this.#unblock();
      },
      (error) => {
        this.writable.errorIfNeeded(error);
        this.#unblock();
      },
    );
  }

  #flush(): Outcome {
    try {
      return this.#takeTransformer().flush(this);
    } catch (error) {
      return PromiseReject(error);
    }
  }

  /** The transformer is used for the last time, so that only one of close, abort and cancel reaches it. */
  #takeTransformer(): Transformer {
    this.#finish = new Deferred<undefined>();
    return this.#transformer;
  }

  #end(outcome: Outcome, succeed: () => void, fail: (error: unknown) => void): Promise<undefined> {
    const finish = this.#finish!;
    this.#transformer = OVER;
    upon(
      outcome,
      () => {
        try {
          succeed();
        } catch (error) {
          finish.reject(error);
          return;
        }
        finish.resolve(undefined);
      },
      (error) => {
        fail(error);
        finish.reject(error);
      },
    );
    return finish.promise;
  }

  #setBackpressure(backpressure: boolean): void {
    if (this.#pulled && backpressure) {
      this.#pulled = false;
      soon(this.#answerPull);
    }
    if (backpressure === this.#backpressure) return;
    this.#backpressure = backpressure;
    if (!backpressure && this.#hasChunk) soon(this.#resume);
  }

  // The transformer's controller.

  /** TransformStreamDefaultControllerEnqueue. */
  enqueue(chunk: unknown): void {
    const { readable } = this;
    if (!readable.canEnqueue()) throw new TypeError("The readable side is closed, or it failed; nothing can be enqueued.");
    try {
      readable.enqueue(chunk);
    } catch (error) {
      this.#errorWritable(error);
      throw readable.stream.stored;
    }
    if (!readable.wantsMore()) this.#setBackpressure(true);
  }

  /** TransformStreamError. */
  error(error: unknown): void {
    this.readable.error(error);
    this.#errorWritable(error);
  }

  #errorWritable(error: unknown): void {
    this.#transformer = OVER;
    this.writable.errorIfNeeded(error);
    this.#unblock();
  }

  /** A write that waits for the readable side shall see that there is none any more. */
  #unblock(): void {
    if (this.#backpressure) this.#setBackpressure(false);
  }

  terminate(): void {
    this.readable.close();
    this.#errorWritable(new TypeError("The transform has been terminated."));
  }
}

/** A transformer that user code wrote. */
class UserTransformer implements Transformer {
  #object: unknown;
  #transform: Function | undefined;
  #flush: Function | undefined;
  #cancel: Function | undefined;
  controller: object | undefined = undefined;

  constructor(object: unknown, transform: Function | undefined, flush: Function | undefined, cancel: Function | undefined) {
    this.#object = object;
    this.#transform = transform;
    this.#flush = flush;
    this.#cancel = cancel;
  }
  transform(chunk: unknown, transform: Transform): Outcome {
    if (this.#transform === undefined) {
      transform.enqueue(chunk);
      return undefined;
    }
    return invoke(this.#transform, this.#object, [chunk, this.controller]);
  }
  flush(): Outcome {
    return this.#flush === undefined ? undefined : invoke(this.#flush, this.#object, [this.controller]);
  }
  cancel(reason: unknown): Outcome {
    return this.#cancel === undefined ? undefined : invoke(this.#cancel, this.#object, [reason]);
  }
}

/** A transform stream of the runtime's own: what `readable` and `writable` of its class give. */
export class TransformPair {
  readonly #transform: Transform;

  constructor(transformer: Transformer) {
    this.#transform = new Transform(transformer, DEFAULT_SIZES);
    this.#transform.start(undefined);
  }
  get readable(): ReadableStream {
    return shown(this.#transform.readable.stream);
  }
  get writable(): WritableStream {
    return shownWritable(this.#transform.writable.stream);
  }
}

let newTransformController: (transform: Transform) => TransformStreamDefaultController;
/** The two sides, which need not be those of one transform: a stream that was transferred has others. */
interface Sides {
  readonly readable: DefaultController;
  readonly writable: WritableController;
}
let sidesOf: (stream: TransformStream) => Sides;
let isTransformStream: (value: unknown) => value is TransformStream;

interface TransformerMembers {
  cancel: unknown;
  flush: unknown;
  readableType: unknown;
  start: unknown;
  transform: unknown;
  writableType: unknown;
}

export class TransformStream {
  #transform: Sides;

  constructor(transformer: unknown = undefined, writableStrategy: unknown = undefined, readableStrategy: unknown = undefined) {
    if (transformer === INTERNAL) {
      this.#transform = writableStrategy as Sides;
      return;
    }
    if (transformer === null || (transformer !== undefined && typeof transformer !== "object" && typeof transformer !== "function")) {
      throw new TypeError("TransformStream takes an object as its transformer.");
    }
    const forWritable = readStrategy(writableStrategy);
    const forReadable = readStrategy(readableStrategy);
    const given = toDictionary<TransformerMembers>(transformer, "A transformer");
    const cancel = toCallback(given.cancel, "cancel");
    const flush = toCallback(given.flush, "flush");
    const { readableType } = given;
    const start = toCallback(given.start, "start");
    const transform = toCallback(given.transform, "transform");
    const { writableType } = given;
    if (readableType !== undefined) throw new RangeError("A transformer must not have a readableType.");
    if (writableType !== undefined) throw new RangeError("A transformer must not have a writableType.");
    const sizes: Sizes = {
      readableMark: markOf(forReadable, 0),
      readableSize: forReadable.size,
      writableMark: markOf(forWritable, 1),
      writableSize: forWritable.size,
    };
    const plain = cancel === undefined && flush === undefined && start === undefined && transform === undefined;
    if (plain) {
      const state = new Transform(IDENTITY, sizes);
      this.#transform = state;
      state.start(undefined);
      return;
    }
    const user = new UserTransformer(transformer, transform, flush, cancel);
    const state = new Transform(user, sizes);
    this.#transform = state;
    user.controller = newTransformController(state);
    if (start === undefined) {
      state.start(undefined);
    } else {
      // Nothing happens before start has returned, and nothing at all if it throws.
      state.start(outcomeOf(ReflectApply(start, transformer, [user.controller])));
    }
  }

  static {
    sidesOf = (stream) => stream.#transform;
    isTransformStream = (value): value is TransformStream => typeof value === "object" && value !== null && #transform in value;
  }

  get readable(): ReadableStream {
    return shown(this.#transform.readable.stream);
  }

  get writable(): WritableStream {
    return shownWritable(this.#transform.writable.stream);
  }
}
finishInterface(TransformStream, "TransformStream");

export class TransformStreamDefaultController {
  #transform: Transform;

  constructor() {
    illegalConstructor(arguments[0]);
    this.#transform = arguments[1];
  }

  static {
    const make = TransformStreamDefaultController as unknown as new (...given: unknown[]) => TransformStreamDefaultController;
    newTransformController = (transform) => new make(INTERNAL, transform);
  }

  get desiredSize(): number | null {
    return this.#transform.readable.desiredSize();
  }

  enqueue(chunk: unknown = undefined): void {
    this.#transform.enqueue(chunk);
  }

  error(reason: unknown = undefined): void {
    this.#transform.error(reason);
  }

  terminate(): void {
    this.#transform.terminate();
  }
}
finishInterface(TransformStreamDefaultController, "TransformStreamDefaultController");

export { isTransformStream, sidesOf };
