/** What callers hold: stubs of things elsewhere, and promises that can be called before they are settled. */
import {
  ArrayPrototypeSlice,
  ArrayPrototypePush,
  NativeProxy,
  NativeWeakMap,
  ObjectSetPrototypeOf,
  PromisePrototypeThen,
  WeakMapPrototypeGet,
  WeakMapPrototypeSet,
} from "../internal/primordials.ts";

/** Where calls go to. */
export interface Base {
  /** Calls what the path leads to, or reads it where there are no arguments. */
  send(path: string[], args: unknown[] | undefined): Answer;
  /** The same thing, held once more. */
  dup(): Base;
  /** It is not needed any more. */
  dispose(): void;
  onBroken(callback: (error: unknown) => void): void;
}

/** What will come of a call; calls of it go where it is made. */
export interface Answer extends Base {
  readonly promise: Promise<unknown>;
}

interface State {
  readonly base: Base;
  readonly path: string[];
  /** Undefined for a stub; of a member, that of its value, once somebody asked. */
  promise: Promise<unknown> | undefined;
  readonly isStub: boolean;
}

const states = new NativeWeakMap<object, State>();
const stateOf = (value: unknown): State | undefined =>
  typeof value === "function" ? (WeakMapPrototypeGet(states, value) as State | undefined) : undefined;

/** Whether the value is a stub, or a promise or member of one. */
export function isStub(value: unknown): boolean {
  return stateOf(value) !== undefined;
}

/** The base of a stub; undefined for anything else. */
export function baseOf(value: unknown): Base | undefined {
  const state = stateOf(value);
  return state?.isStub ? state.base : undefined;
}

/** What a promise or member of a stub will be; undefined for anything else. */
export function pendingOf(value: unknown): Promise<unknown> | undefined {
  const state = stateOf(value);
  if (state === undefined || state.isStub) return undefined;
  return (state.promise ??= state.base.send(state.path, undefined).promise);
}

export function makeStub(base: Base): object {
  return make({ base, path: [], promise: undefined, isStub: true });
}

export function makePromise(answer: Answer): object {
  return make({ base: answer, path: [], promise: answer.promise, isStub: false });
}

export function makeMember(base: Base, path: string[]): object {
  return make({ base, path, promise: undefined, isStub: false });
}

/** A member of a stub or promise, not yet asked for. */
export function memberOf(value: unknown, name: string): unknown {
  const { base, path } = stateOf(value)!;
  return makeMember(base, longer(path, name));
}

function longer(path: string[], name: string): string[] {
  const copy = ArrayPrototypeSlice(path) as string[];
  ArrayPrototypePush(copy, name);
  return copy;
}

function make(state: State): object {
  const base = function () {};
  // Nothing is to be found in it but what is elsewhere.
  ObjectSetPrototypeOf(base, null);
  const proxy = new NativeProxy(base, {
    get: (_, name) => get(state, name),
    apply: (_, __, args: unknown[]) => makePromise(state.base.send(state.path, args)),
    has: () => false,
    set: () => false,
    defineProperty: () => false,
    deleteProperty: () => false,
    setPrototypeOf: () => false,
    getPrototypeOf: () => null,
  });
  WeakMapPrototypeSet(states, proxy, state);
  return proxy;
}

function get(state: State, name: string | symbol): unknown {
  if (name === Symbol.dispose) return () => state.base.dispose();
  if (name === Symbol.toStringTag) return state.isStub ? "RpcStub" : "RpcPromise";
  if (typeof name === "symbol") return undefined;
  if (state.isStub) {
    if (name === "then" || name === "constructor") return undefined;
    if (name === "dup") return () => makeStub(state.base.dup());
    if (name === "onRpcBroken") return (callback: (error: unknown) => void) => state.base.onBroken(callback);
  } else if (name === "then" || name === "catch" || name === "finally") {
    const promise = (state.promise ??= state.base.send(state.path, undefined).promise);
    if (name === "then") return (ok: never, no: never) => PromisePrototypeThen(promise, ok, no);
    if (name === "catch") return (no: never) => PromisePrototypeThen(promise, undefined, no);
    return (last: never) => finallyOf(promise, last);
  }
  return makeMember(state.base, longer(state.path, name));
}

async function finallyOf(promise: Promise<unknown>, last: unknown): Promise<unknown> {
  try {
    return await promise;
  } finally {
    if (typeof last === "function") await last();
  }
}
