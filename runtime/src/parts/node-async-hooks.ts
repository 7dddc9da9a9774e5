/**
 * `node:async_hooks`. What the stores hold is one immutable map, V8's continuation-preserved data: promise reactions
 * and microtasks find the map of the place that made them, timers restore it, every event begins with none.
 */
import {
  MapPrototypeDelete,
  MapPrototypeForEach,
  MapPrototypeGet,
  MapPrototypeHas,
  MapPrototypeSet,
  NativeMap,
  ReflectApply,
} from "../internal/primordials.ts";
import * as ops from "../host.ts";

type Frame = Map<object, unknown> | undefined;
type AnyFunction = (...args: unknown[]) => unknown;

const current = () => ops.asyncContext() as Frame;

/** Calls with another frame. */
function within(frame: Frame, fn: AnyFunction, self: unknown, args: unknown[]): unknown {
  const outer = current();
  ops.setAsyncContext(frame);
  try {
    return ReflectApply(fn, self, args);
  } finally {
    ops.setAsyncContext(outer);
  }
}

/** The frame with one store more, other, or less. */
function changed(storage: object, store: unknown, remove = false): Frame {
  const frame = new NativeMap<object, unknown>();
  const outer = current();
  if (outer !== undefined) MapPrototypeForEach(outer, (value: unknown, key: object) => void MapPrototypeSet(frame, key, value));
  if (remove) MapPrototypeDelete(frame, storage);
  else MapPrototypeSet(frame, storage, store);
  return frame as Frame;
}

function requireFunction(fn: unknown): asserts fn is AnyFunction {
  if (typeof fn === "function") return;
  const error = new TypeError('The "fn" argument must be of type function.') as TypeError & { code: string };
  error.code = "ERR_INVALID_ARG_TYPE";
  throw error;
}

class AsyncLocalStorage {
  #default: unknown;
  #name: string;

  constructor(options: { defaultValue?: unknown; name?: string } = {}) {
    this.#default = options.defaultValue;
    this.#name = options.name === undefined ? "" : `${options.name}`;
  }

  /** Binds a function to the stores as they are now. */
  static bind(fn: unknown): AnyFunction {
    requireFunction(fn);
    const frame = current();
    return function (this: unknown, ...args: unknown[]) {
      return within(frame, fn, this, args);
    };
  }

  /** A function that calls others with the stores as they are now. */
  static snapshot(): AnyFunction {
    const frame = current();
    return function (this: unknown, fn: unknown, ...args: unknown[]) {
      requireFunction(fn);
      return within(frame, fn, this, args);
    };
  }

  get name(): string {
    return this.#name;
  }

  run(store: unknown, fn: AnyFunction, ...args: unknown[]): unknown {
    requireFunction(fn);
    return within(changed(this, store), fn, undefined, args);
  }

  exit(fn: AnyFunction, ...args: unknown[]): unknown {
    requireFunction(fn);
    return within(changed(this, undefined, true), fn, undefined, args);
  }

  getStore(): unknown {
    const frame = current();
    return frame !== undefined && MapPrototypeHas(frame, this) ? MapPrototypeGet(frame, this) : this.#default;
  }

  enterWith(store: unknown): void {
    ops.setAsyncContext(changed(this, store));
  }

  disable(): void {
    ops.setAsyncContext(changed(this, undefined, true));
  }
}

let lastId = 1;

class AsyncResource {
  #frame: Frame = current();
  #id = ++lastId;
  #type: string;

  constructor(type: string, _options?: unknown) {
    if (typeof type !== "string") {
      const error = new TypeError('The "type" argument must be of type string.') as TypeError & { code: string };
      error.code = "ERR_INVALID_ARG_TYPE";
      throw error;
    }
    this.#type = type;
  }

  static bind(fn: AnyFunction, type?: string, self?: unknown): AnyFunction {
    return new AsyncResource(type ?? (typeof fn === "function" ? fn.name : "") ?? "bound").bind(fn, self);
  }

  get type(): string {
    return this.#type;
  }

  runInAsyncScope(fn: AnyFunction, self?: unknown, ...args: unknown[]): unknown {
    requireFunction(fn);
    return within(this.#frame, fn, self, args);
  }

  bind(fn: AnyFunction, self?: unknown): AnyFunction {
    requireFunction(fn);
    const frame = this.#frame;
    return function (this: unknown, ...args: unknown[]) {
      return within(frame, fn, self ?? this, args);
    };
  }

  emitDestroy(): this {
    return this;
  }

  asyncId(): number {
    return this.#id;
  }

  triggerAsyncId(): number {
    return 0;
  }
}

/** Hooks into every asynchronous step are not offered, as on other edge platforms; enabling one does nothing. */
function createHook(): object {
  const hook = { enable: () => hook, disable: () => hook };
  return hook;
}

const async_hooks = {
  AsyncLocalStorage,
  AsyncResource,
  createHook,
  executionAsyncId: () => 0,
  triggerAsyncId: () => 0,
  executionAsyncResource: () => ({}),
};

export const modules = { "node:async_hooks": async_hooks };
