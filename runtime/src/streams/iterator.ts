/** Asynchronous iteration over a stream (Streams, section 4.2.5; WebIDL's default asynchronous iterator objects). */
import {
  ObjectCreate,
  ObjectDefineProperty,
  ObjectGetPrototypeOf,
  PromisePrototypeThen,
  PromiseReject,
  PromiseResolve,
} from "../internal/primordials.ts";
import { Deferred, type Outcome } from "./promises.ts";
import type { Readable, ReadRequest } from "./readable.ts";
import { acquireReader, type DefaultReader } from "./readers.ts";

const AsyncIteratorPrototype = ObjectGetPrototypeOf(ObjectGetPrototypeOf(async function* () {}).prototype) as object;

/** One call of `next`. */
class Step implements ReadRequest {
  next = undefined;
  readonly deferred = new Deferred<IteratorResult<unknown>>();
  constructor(readonly iteration: Iteration) {}

  chunk(value: unknown): void {
    this.iteration.ended(this);
    this.deferred.resolve({ value, done: false });
  }
  close(): void {
    this.iteration.finish(this);
    this.deferred.resolve({ value: undefined, done: true });
  }
  error(error: unknown): void {
    this.iteration.finish(this);
    this.deferred.reject(error);
  }
}

class Iteration {
  /** What the next call has to wait for. */
  ongoing: Promise<unknown> | undefined = undefined;
  finished = false;

  constructor(
    readonly reader: DefaultReader,
    readonly preventCancel: boolean,
  ) {}

  read(): Promise<IteratorResult<unknown>> {
    if (this.finished) return PromiseResolve({ value: undefined, done: true });
    const step = new Step(this);
    const { promise } = step.deferred;
    this.ongoing = promise;
    this.reader.read(step);
    return promise;
  }

  ended(step: Step): void {
    if (this.ongoing === step.deferred.promise) this.ongoing = undefined;
  }

  finish(step: Step): void {
    this.ended(step);
    this.finished = true;
    this.reader.release();
  }

  next(): Promise<unknown> {
    const before = this.ongoing;
    if (before === undefined) return this.read();
    const step = () => this.read();
    return (this.ongoing = PromisePrototypeThen(before, step, step));
  }

  return(value: unknown): Promise<unknown> {
    const before = this.ongoing;
    const step = () => this.#return(value);
    return (this.ongoing = before === undefined ? step() : PromisePrototypeThen(before, step, step));
  }

  #return(value: unknown): Promise<unknown> {
    const result = { value, done: true };
    if (this.finished) return PromiseResolve(result);
    this.finished = true;
    let outcome: Outcome;
    if (!this.preventCancel) outcome = this.reader.cancel(value);
    this.reader.release();
    return outcome === undefined ? PromiseResolve(result) : PromisePrototypeThen(outcome, () => result);
  }
}

/** What user code sees has no constructor: the class below only adds its field to an object of this prototype. */
const prototype = ObjectCreate(AsyncIteratorPrototype) as object;

class Bare {
  constructor() {
    return ObjectCreate(prototype) as Bare;
  }
}

class AsyncIterator extends Bare {
  #iteration: Iteration;

  constructor(iteration: Iteration) {
    super();
    this.#iteration = iteration;
  }

  next(): Promise<unknown> {
    try {
      return this.#iteration.next();
    } catch (error) {
      return PromiseReject(error);
    }
  }

  return(value: unknown): Promise<unknown> {
    try {
      return this.#iteration.return(value);
    } catch (error) {
      return PromiseReject(error);
    }
  }
}

for (const name of ["next", "return"] as const) {
  const value = AsyncIterator.prototype[name];
  ObjectDefineProperty(prototype, name, { value, writable: true, enumerable: true, configurable: true });
}
ObjectDefineProperty(prototype, Symbol.toStringTag, { value: "ReadableStream AsyncIterator", configurable: true });

export function iterate(stream: Readable, preventCancel: boolean): object {
  return new AsyncIterator(new Iteration(acquireReader(stream), preventCancel));
}
