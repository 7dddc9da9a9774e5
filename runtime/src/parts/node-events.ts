/** `node:events`: the package `events`, with what came to Node later. */
import { AbortSignal } from "../dom/abort.ts";
import { EventTarget } from "../dom/event.ts";
import { ticks } from "../internal/node-ticks.ts";
import Emitters from "events/events.js";
import { builtin } from "../worker/builtins.ts";
import { checkFunction, coded, outOfRange, wrongType } from "../internal/node-errors.ts";

type Listener = (...args: unknown[]) => void;
interface Emitter {
  on(name: unknown, listener: Listener): Emitter;
  off(name: unknown, listener: Listener): Emitter;
  listeners(name: unknown): Listener[];
  listenerCount(name: unknown): number;
  getMaxListeners?(): number;
  setMaxListeners?(count: number): void;
  emit(name: unknown, ...args: unknown[]): boolean;
}

const errorMonitor = Symbol("events.errorMonitor");
const captureRejectionSymbol = Symbol.for("nodejs.rejection");
const captures = new WeakSet<object>();
let captureAll = false;

const { init } = Emitters;
const { emit } = Emitters.prototype;

interface EmitterOptions {
  captureRejections?: boolean;
}

/** The package's own takes no options. It is called with and without `new`. */
function EventEmitter(this: object, options?: EmitterOptions): void {
  EventEmitter.init.call(this, options);
}
EventEmitter.prototype = Emitters.prototype;
EventEmitter.prototype.constructor = EventEmitter;
for (const name of Object.getOwnPropertyNames(Emitters)) {
  if (name in EventEmitter) continue;
  Object.defineProperty(EventEmitter, name, Object.getOwnPropertyDescriptor(Emitters, name)!);
}
EventEmitter.init = function (this: object, options?: EmitterOptions) {
  init.call(this);
  const own = options?.captureRejections;
  if (own !== undefined && typeof own !== "boolean") throw wrongType("options.captureRejections", "of type boolean", own);
  if (own ?? captureAll) captures.add(this);
};

/** Puts Node's checks before a method. */
function checked(name: string, check: (...args: unknown[]) => void): unknown {
  const inner = Emitters.prototype[name] as (...args: unknown[]) => unknown;
  const { [name]: outer } = {
    [name](this: unknown, ...args: unknown[]) {
      check(...args);
      return inner.apply(this, args);
    },
  };
  return (EventEmitter.prototype[name] = outer);
}
const listens = (_name: unknown, listener: unknown) => checkFunction(listener, "listener");
EventEmitter.prototype.on = checked("addListener", listens);
EventEmitter.prototype.off = checked("removeListener", listens);
for (const name of ["once", "prependListener", "prependOnceListener"]) checked(name, listens);
checked("setMaxListeners", (count) => checkCount("setMaxListeners", count));

function checkCount(name: string, count: unknown): void {
  if (typeof count !== "number") throw wrongType(name, "of type number", count);
  if (!(count >= 0)) throw outOfRange(name, ">= 0", count);
}

/** What is thrown in place of an `error` that nobody listens for and that is none. */
function unhandled(what: unknown): Error {
  const { inspect } = (builtin("node:util") as { default: { inspect(value: unknown): string } }).default;
  return coded(Object.assign(new Error(`Unhandled error. (${inspect(what)})`), { context: what }), "ERR_UNHANDLED_ERROR");
}

EventEmitter.prototype.emit = function (this: Emitter, name: unknown, ...args: unknown[]): boolean {
  if (name === "error" && this.listenerCount(errorMonitor) > 0) emit.call(this, errorMonitor, ...args);
  if (name === "error" && !(args[0] instanceof Error) && this.listenerCount("error") === 0) throw unhandled(args[0]);
  if (!captures.has(this)) return emit.call(this, name, ...args);
  const listeners = (this as unknown as { rawListeners(name: unknown): Listener[] }).rawListeners(name);
  if (listeners.length === 0) return emit.call(this, name, ...args);
  for (const listener of listeners) {
    const result = Reflect.apply(listener, this, args) as unknown;
    if (result === undefined || result === null) continue;
    const failed = (error: unknown) => ticks().add(() => rejected(this, error, name, args), []);
    try {
      const then = (result as { then?: unknown }).then;
      if (typeof then === "function") then.call(result, undefined, failed);
    } catch (error) {
      this.emit("error", error);
    }
  }
  return true;
};

/** A listener's promise was rejected. */
function rejected(emitter: Emitter, error: unknown, name: unknown, args: unknown[]): void {
  const own = (emitter as unknown as Record<symbol, unknown>)[captureRejectionSymbol];
  if (typeof own === "function") return void own.call(emitter, error, name, ...args);
  // Listeners of `error` that fail themselves are not told of it again.
  captures.delete(emitter);
  try {
    emitter.emit("error", error);
  } finally {
    captures.add(emitter);
  }
}

const aborted = (signal: AbortSignal) =>
  Object.assign(new Error("The operation was aborted", { cause: signal.reason }), { name: "AbortError", code: "ABORT_ERR" });

function once(emitter: Emitter & EventTarget, name: string, options: { signal?: AbortSignal } = {}): Promise<unknown[]> {
  const { signal } = options;
  if (signal?.aborted) return Promise.reject(aborted(signal));
  return new Promise((resolve, reject) => {
    const isTarget = typeof emitter.addEventListener === "function" && typeof emitter.on !== "function";
    const add = (type: string, listener: Listener) => (isTarget ? emitter.addEventListener(type, listener) : emitter.on(type, listener));
    const remove = (type: string, listener: Listener) =>
      isTarget ? emitter.removeEventListener(type, listener) : emitter.off(type, listener);
    const finish = () => {
      remove(name, done);
      if (name !== "error") remove("error", failed);
      signal?.removeEventListener("abort", stop);
    };
    const done = (...args: unknown[]) => (finish(), resolve(args));
    const failed = (error: unknown) => (finish(), reject(error));
    const stop = () => (finish(), reject(aborted(signal!)));
    add(name, done);
    if (name !== "error" && !isTarget) add("error", failed);
    signal?.addEventListener("abort", stop);
  });
}

interface OnOptions {
  signal?: AbortSignal;
  close?: string[];
}

/** An endless iterator over an emitter's events. */
function on(emitter: Emitter, name: string, options: OnOptions = {}): AsyncIterableIterator<unknown[]> {
  const { signal } = options;
  if (signal?.aborted) throw aborted(signal);
  const events: unknown[][] = [];
  const waiting: { resolve(result: IteratorResult<unknown[]>): void; reject(error: unknown): void }[] = [];
  let error: { value: unknown } | undefined;
  let over = false;
  const take = (...args: unknown[]) => {
    const next = waiting.shift();
    if (next) next.resolve({ value: args, done: false });
    else events.push(args);
  };
  const finish = () => {
    over = true;
    emitter.off(name, take);
    if (name !== "error") emitter.off("error", fail);
    for (const close of options.close ?? []) emitter.off(close, end);
    signal?.removeEventListener("abort", stop);
  };
  const fail = (value: unknown) => {
    const next = waiting.shift();
    finish();
    if (next) next.reject(value);
    else error = { value };
    for (const rest of waiting.splice(0)) rest.resolve({ value: undefined, done: true });
  };
  const end = () => {
    finish();
    for (const rest of waiting.splice(0)) rest.resolve({ value: undefined, done: true });
  };
  const stop = () => fail(aborted(signal!));
  emitter.on(name, take);
  if (name !== "error") emitter.on("error", fail);
  for (const close of options.close ?? []) emitter.on(close, end);
  signal?.addEventListener("abort", stop, { once: true });
  return {
    next() {
      const ready = events.shift();
      if (ready) return Promise.resolve({ value: ready, done: false });
      if (error) {
        const { value } = error;
        error = undefined;
        return Promise.reject(value);
      }
      if (over) return Promise.resolve({ value: undefined, done: true });
      return new Promise((resolve, reject) => void waiting.push({ resolve, reject }));
    },
    return() {
      end();
      return Promise.resolve({ value: undefined, done: true });
    },
    throw(value: unknown) {
      fail(value);
      return Promise.resolve({ value: undefined, done: true });
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  } as AsyncIterableIterator<unknown[]>;
}

function addAbortListener(signal: AbortSignal, listener: () => void): Disposable {
  if (typeof listener !== "function") throw wrongType("listener", "of type function", listener);
  if (signal.aborted) ticks().add(listener, []);
  else signal.addEventListener("abort", listener, { once: true });
  return { [Symbol.dispose]: () => signal.removeEventListener("abort", listener) };
}

interface AsyncResource {
  runInAsyncScope<T>(callback: (...args: any[]) => T, self: unknown, ...args: unknown[]): T;
  asyncId(): number;
  triggerAsyncId(): number;
  emitDestroy(): void;
}

/** An emitter whose listeners run with the stores of `AsyncLocalStorage` of where it was made. */
class EventEmitterAsyncResource extends (EventEmitter as unknown as new (options?: object) => Emitter) {
  readonly #resource: AsyncResource;
  constructor(options: string | { name?: string } = {}) {
    super(typeof options === "string" ? undefined : options);
    const hooks = (builtin("node:async_hooks") as { default: { AsyncResource: new (name: string) => AsyncResource } }).default;
    this.#resource = new hooks.AsyncResource((typeof options === "string" ? options : options.name) ?? new.target.name);
  }
  get asyncResource(): AsyncResource {
    return this.#resource;
  }
  get asyncId(): number {
    return this.#resource.asyncId();
  }
  get triggerAsyncId(): number {
    return this.#resource.triggerAsyncId();
  }
  emitDestroy(): void {
    this.#resource.emitDestroy();
  }
  override emit(name: unknown, ...args: unknown[]): boolean {
    return this.#resource.runInAsyncScope(super.emit, this, name, ...args);
  }
}

function setMaxListeners(count = Emitters.defaultMaxListeners, ...emitters: Emitter[]): void {
  checkCount("setMaxListeners", count);
  if (emitters.length === 0) Emitters.defaultMaxListeners = count;
  for (const emitter of emitters) emitter.setMaxListeners?.(count);
}

Object.assign(EventEmitter, {
  EventEmitter,
  EventEmitterAsyncResource,
  once,
  on,
  addAbortListener,
  setMaxListeners,
  errorMonitor,
  captureRejectionSymbol,
  getEventListeners: (emitter: Emitter, name: unknown) => emitter.listeners?.(name) ?? [],
  getMaxListeners: (emitter: Emitter) => emitter.getMaxListeners?.() ?? 0,
  listenerCount: (emitter: Emitter, name: unknown) => emitter.listenerCount(name),
});
Object.defineProperty(EventEmitter, "captureRejections", {
  get: () => captureAll,
  set: (value: boolean) => {
    if (typeof value !== "boolean") throw wrongType("EventEmitter.captureRejections", "of type boolean", value);
    captureAll = value;
  },
  enumerable: true,
  configurable: true,
});

export const modules = { "node:events": EventEmitter };
