/** `node:events`: the package `events`, with what came to Node later. */
import { AbortSignal } from "../dom/abort.ts";
import { EventTarget } from "../dom/event.ts";
import { ticks } from "../internal/node-ticks.ts";
import EventEmitter from "events/events.js";
import { wrongType } from "../internal/node-errors.ts";

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

const { emit, init } = { emit: EventEmitter.prototype.emit, init: EventEmitter.init };
EventEmitter.init = function (this: object, options?: { captureRejections?: boolean }) {
  init.call(this);
  if (options?.captureRejections ?? captureAll) captures.add(this);
};

EventEmitter.prototype.emit = function (this: Emitter, name: unknown, ...args: unknown[]): boolean {
  if (name === "error" && this.listenerCount(errorMonitor) > 0) emit.call(this, errorMonitor, ...args);
  if (!captures.has(this)) return emit.call(this, name, ...args);
  const listeners = (this as unknown as { rawListeners(name: unknown): Listener[] }).rawListeners(name);
  if (listeners.length === 0) return emit.call(this, name, ...args);
  for (const listener of listeners) {
    const result = Reflect.apply(listener, this, args) as unknown;
    if (result === undefined || result === null) continue;
    const then = (result as { then?: unknown }).then;
    if (typeof then !== "function") continue;
    then.call(result, undefined, (error: unknown) => {
      ticks().add(() => {
        const own = (this as unknown as Record<symbol, unknown>)[captureRejectionSymbol];
        if (typeof own === "function") own.call(this, error, name, ...args);
        else this.emit("error", error);
      }, []);
    });
  }
  return true;
};

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

function setMaxListeners(count = EventEmitter.defaultMaxListeners, ...emitters: Emitter[]): void {
  if (emitters.length === 0) EventEmitter.defaultMaxListeners = count;
  for (const emitter of emitters) emitter.setMaxListeners?.(count);
}

Object.assign(EventEmitter, {
  EventEmitter,
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
  set: (value: boolean) => void (captureAll = value),
  enumerable: true,
  configurable: true,
});

export const modules = { "node:events": EventEmitter };
