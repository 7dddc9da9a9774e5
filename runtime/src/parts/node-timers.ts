/** `node:timers` and `node:timers/promises`. */
import { AbortSignal } from "../dom/abort.ts";
import { cancelTimer, startTimer, clearInterval, clearTimeout, setInterval, setTimeout } from "../time/timers.ts";
import { checkFunction } from "../internal/node-errors.ts";

/** What `setImmediate` gives. */
class Immediate {
  #token: number;
  #done = false;
  constructor(callback: Function, args: unknown[]) {
    this.#token = startTimer((...given: unknown[]) => {
      this.#done = true;
      Reflect.apply(callback, this, given);
    }, 0, false, args);
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
  hasRef(): boolean {
    return !this.#done;
  }
  [Symbol.dispose](): void {
    cancelTimer(this.#token);
  }
  static stop(value: unknown): void {
    if (typeof value === "object" && value !== null && #token in value) cancelTimer(value.#token);
  }
}

function setImmediate(callback: unknown, ...args: unknown[]): Immediate {
  checkFunction(callback, "callback");
  return new Immediate(callback, args);
}
const stop = Immediate.stop;
function clearImmediate(immediate: unknown): void {
  stop(immediate);
}

interface WaitOptions {
  signal?: AbortSignal;
}

const aborted = (signal: AbortSignal) =>
  Object.assign(new Error("The operation was aborted", { cause: signal.reason }), { name: "AbortError", code: "ABORT_ERR" });

function wait<T>(ms: number, value: T, { signal }: WaitOptions = {}): Promise<T> {
  if (signal?.aborted) return Promise.reject(aborted(signal));
  return new Promise((resolve, reject) => {
    const cancel = () => {
      cancelTimer(token);
      reject(aborted(signal!));
    };
    const token = startTimer(() => {
      signal?.removeEventListener("abort", cancel);
      resolve(value);
    }, ms, false);
    signal?.addEventListener("abort", cancel, { once: true });
  });
}

async function* interval<T>(ms: number, value: T, options: WaitOptions = {}): AsyncGenerator<T> {
  for (;;) {
    await wait(ms, undefined, options);
    yield value;
  }
}

const promises = {
  setTimeout: <T>(ms = 1, value?: T, options?: WaitOptions) => wait(ms, value, options),
  setImmediate: <T>(value?: T, options?: WaitOptions) => wait(0, value, options),
  setInterval: <T>(ms = 1, value?: T, options?: WaitOptions) => interval(ms, value, options),
  scheduler: { wait: (ms: number, options?: WaitOptions) => wait(ms, undefined, options), yield: () => wait(0, undefined) },
};

const custom = Symbol.for("nodejs.util.promisify.custom");
Object.defineProperty(setImmediate, custom, { value: promises.setImmediate });
/** As the global, with the promise form that `util.promisify` looks for. */
const withPromise = Object.defineProperty(
  function (this: unknown, ...args: unknown[]) {
    return Reflect.apply(setTimeout, undefined, args);
  },
  custom,
  { value: promises.setTimeout },
);
Object.defineProperty(withPromise, "name", { value: "setTimeout" });
if (!(custom in setTimeout)) Object.defineProperty(setTimeout, custom, { value: promises.setTimeout });

const timers = { setTimeout: withPromise, clearTimeout, setInterval, clearInterval, setImmediate, clearImmediate, promises };

export const modules = { "node:timers": timers, "node:timers/promises": promises };
