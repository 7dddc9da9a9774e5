/**
 * How streams wait. Inside, nothing is awaited: an algorithm answers `undefined` when it is done, a promise when user
 * code gave one, or `PENDING` when it will say so itself. Promises are made where user code can see them, not before.
 */
import { NativePromise, PromisePrototypeThen, PromiseReject, PromiseResolve, ReflectApply } from "../internal/primordials.ts";

/** The algorithm tells its controller itself when it is done. */
export const PENDING: unique symbol = Symbol("pending");

export type Result = undefined | Promise<unknown> | typeof PENDING;
/** The same without `PENDING`. */
export type Outcome = undefined | Promise<unknown>;

const RESOLVED = PromiseResolve(undefined);

function nothing(): void {}

/** Runs as a microtask. */
export function soon(callback: () => void): void {
  PromisePrototypeThen(RESOLVED, callback);
}

/** Continues when the algorithm is done, never at once. */
export function upon(result: Result, done: () => void, failed: (error: unknown) => void): void {
  if (result === undefined) PromisePrototypeThen(RESOLVED, done);
  else if (result !== PENDING) PromisePrototypeThen(result, done, failed);
}

/** A promise that user code may be shown. */
export function visible(outcome: Outcome): Promise<undefined> {
  return outcome === undefined ? PromiseResolve(undefined) : PromisePrototypeThen(outcome, () => undefined);
}

/** Nobody need handle its rejection. */
export function handled<T>(promise: Promise<T>): Promise<T> {
  PromisePrototypeThen(promise, undefined, nothing);
  return promise;
}

export function isObject(value: unknown): value is object {
  return (typeof value === "object" && value !== null) || typeof value === "function";
}

/** What user code gave back, to be waited for. */
export function outcomeOf(value: unknown): Outcome {
  if (!isObject(value)) return undefined;
  try {
    return PromiseResolve(value);
  } catch (error) {
    return PromiseReject(error);
  }
}

/** Calls user code; what it throws becomes a rejection. */
export function invoke(callback: Function, self: unknown, list: unknown[]): Outcome {
  let value: unknown;
  try {
    value = ReflectApply(callback, self, list);
  } catch (error) {
    return PromiseReject(error);
  }
  return isObject(value) ? outcomeOf(value) : undefined;
}

/** Both are done; fails as soon as one does. */
export function both(first: Outcome, second: Outcome): Outcome {
  if (first === undefined) return second;
  if (second === undefined) return first;
  const result = new Deferred<undefined>();
  let left = 2;
  const done = () => {
    left -= 1;
    if (left === 0) result.resolve(undefined);
  };
  PromisePrototypeThen(first, done, result.reject);
  PromisePrototypeThen(second, done, result.reject);
  return result.promise;
}

type Resolve = (value: never) => void;
type Reject = (reason: unknown) => void;
let takenResolve: Resolve;
let takenReject: Reject;

function take(resolve: Resolve, reject: Reject): void {
  takenResolve = resolve;
  takenReject = reject;
}

/** A promise and how to settle it. */
export class Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: Reject;

  constructor() {
    this.promise = new NativePromise<T>(take as never);
    this.resolve = takenResolve as (value: T) => void;
    this.reject = takenReject;
  }
}

/** The state of an attribute that is a promise; the promise itself is made when somebody looks. */
export class Latch {
  #state: 0 | 1 | 2 = 0;
  #error: unknown = undefined;
  #deferred: Deferred<undefined> | undefined = undefined;
  #settled: Promise<undefined> | undefined = undefined;

  /** A new promise that waits. */
  wait(): void {
    if (this.#state === 0) return;
    this.#state = 0;
    this.#error = undefined;
    this.#deferred = undefined;
    this.#settled = undefined;
  }

  resolve(): void {
    if (this.#state !== 0) return;
    this.#state = 1;
    this.#deferred?.resolve(undefined);
  }

  reject(error: unknown): void {
    if (this.#state !== 0) return;
    this.#state = 2;
    this.#error = error;
    this.#deferred?.reject(error);
  }

  /** Rejected, and a new promise if the old one was settled. */
  rejectAnew(error: unknown): void {
    this.wait();
    this.reject(error);
  }

  get promise(): Promise<undefined> {
    if (this.#deferred !== undefined) return this.#deferred.promise;
    if (this.#settled !== undefined) return this.#settled;
    if (this.#state === 0) {
      this.#deferred = new Deferred<undefined>();
      return handled(this.#deferred.promise);
    }
    this.#settled = this.#state === 1 ? PromiseResolve(undefined) : handled(PromiseReject(this.#error) as Promise<never>);
    return this.#settled;
  }
}
