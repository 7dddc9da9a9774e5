/** `AbortController` and `AbortSignal`. */
import { ArrayPrototypeIndexOf, ArrayPrototypePush, NumberIsFinite } from "../internal/primordials.ts";
import { finishInterface, illegalConstructor, INTERNAL, requireArguments } from "../internal/webidl.ts";
import { reportException } from "../internal/report.ts";
import { startTimer } from "../time/timers.ts";
import { connectSignals, defineHandler, dispatch, Event, EventTarget, trusted } from "./event.ts";
import { abortError, DOMException } from "./exception.ts";

let abortSignal: (signal: AbortSignal, reason: unknown) => void;
let addSteps: (signal: AbortSignal, steps: () => void) => void;
/** A signal that aborts as soon as one of these does. */
let following: (signals: AbortSignal[]) => AbortSignal;
let isSignal: (value: unknown) => value is AbortSignal;
let keepAlive: (signal: AbortSignal) => void;
let removeSteps: (signal: AbortSignal, steps: () => void) => void;

export class AbortSignal extends EventTarget {
  #aborted = false;
  #reason: unknown;
  #steps: (() => void)[] | undefined;
  #dependents: WeakRef<AbortSignal>[] | undefined;
  /** Those among the dependents that somebody waits for. */
  #kept: AbortSignal[] | undefined;
  /** Held so that sources live as long as somebody holds what depends on them. */
  #sources: AbortSignal[] | undefined;

  constructor(token?: unknown) {
    illegalConstructor(token);
    super();
  }

  static {
    abortSignal = (signal, reason) => signal.#abort(reason);
    following = (signals) => AbortSignal.#following(signals);
    isSignal = (value): value is AbortSignal => typeof value === "object" && value !== null && #aborted in value;
    keepAlive = (signal) => {
      const sources = signal.#sources;
      if (sources === undefined || signal.#aborted) return;
      for (let i = 0; i < sources.length; i++) {
        const kept = (sources[i]!.#kept ??= []);
        if (ArrayPrototypeIndexOf(kept, signal) < 0) ArrayPrototypePush(kept, signal);
      }
    };
    addSteps = (signal, steps) => {
      keepAlive(signal);
      ArrayPrototypePush((signal.#steps ??= []), steps);
    };
    removeSteps = (signal, steps) => {
      const all = signal.#steps;
      if (all === undefined) return;
      const rest: (() => void)[] = [];
      for (let i = 0; i < all.length; i++) if (all[i] !== steps) ArrayPrototypePush(rest, all[i]);
      signal.#steps = rest;
    };
  }

  #abort(reason: unknown): void {
    if (this.#aborted) return;
    this.#aborted = true;
    this.#reason = reason === undefined ? abortError() : reason;
    const dependents = this.#dependents;
    this.#dependents = undefined;
    this.#kept = undefined;
    const reached: AbortSignal[] = [];
    for (let i = 0; dependents !== undefined && i < dependents.length; i++) {
      const dependent = dependents[i]!.deref();
      if (dependent === undefined || dependent.#aborted) continue;
      dependent.#aborted = true;
      dependent.#reason = this.#reason;
      ArrayPrototypePush(reached, dependent);
    }
    this.#tell();
    for (let i = 0; i < reached.length; i++) reached[i]!.#tell();
  }

  #tell(): void {
    const steps = this.#steps;
    this.#steps = undefined;
    this.#sources = undefined;
    for (let i = 0; steps !== undefined && i < steps.length; i++) {
      try {
        steps[i]!();
      } catch (error) {
        reportException(error);
      }
    }
    dispatch(this, trusted(new Event("abort")));
  }

  get aborted(): boolean {
    return this.#aborted;
  }

  get reason(): unknown {
    return this.#reason;
  }

  throwIfAborted(): void {
    if (this.#aborted) throw this.#reason;
  }

  static abort(reason?: unknown): AbortSignal {
    const signal = new AbortSignal(INTERNAL);
    signal.#abort(reason);
    return signal;
  }

  static timeout(milliseconds: number): AbortSignal {
    requireArguments(arguments.length, 1, "AbortSignal.timeout");
    const ms = Number(milliseconds);
    if (!NumberIsFinite(ms) || ms < 0) throw new TypeError("AbortSignal.timeout takes a number of milliseconds.");
    const signal = new AbortSignal(INTERNAL);
    startTimer(() => signal.#abort(new DOMException("The operation timed out.", "TimeoutError")), ms, false);
    return signal;
  }

  static any(signals: Iterable<AbortSignal>): AbortSignal {
    requireArguments(arguments.length, 1, "AbortSignal.any");
    const list: AbortSignal[] = [];
    for (const signal of signals) ArrayPrototypePush(list, signal);
    return following(list);
  }

  static #following(given: AbortSignal[]): AbortSignal {
    const result = new AbortSignal(INTERNAL);
    for (let i = 0; i < given.length; i++) {
      const signal = given[i];
      if (typeof signal !== "object" || signal === null || !(#aborted in signal)) {
        throw new TypeError("AbortSignal.any takes AbortSignals.");
      }
    }
    for (let i = 0; i < given.length; i++) {
      const signal = given[i]!;
      if (signal.#aborted) {
        result.#aborted = true;
        result.#reason = signal.#reason;
        return result;
      }
    }
    const sources: AbortSignal[] = [];
    for (let j = 0; j < given.length; j++) {
      const signal = given[j]!;
      // A signal that depends on others is replaced by them.
      const roots = signal.#sources ?? [signal];
      for (let i = 0; i < roots.length; i++) {
        const root = roots[i]!;
        ArrayPrototypePush(sources, root);
        ArrayPrototypePush((root.#dependents ??= []), new WeakRef(result));
      }
    }
    result.#sources = sources;
    return result;
  }

  declare onabort: ((event: Event) => unknown) | null;
}
finishInterface(AbortSignal, "AbortSignal");
defineHandler(AbortSignal.prototype, "abort");

export class AbortController {
  #signal = new AbortSignal(INTERNAL);

  get signal(): AbortSignal {
    return this.#signal;
  }
  abort(reason?: unknown): void {
    abortSignal(this.#signal, reason);
  }
}
finishInterface(AbortController, "AbortController");

/** A signal that only the runtime can abort. */
export function newSignal(): AbortSignal {
  return new AbortSignal(INTERNAL);
}

/** Whether the value is an `AbortSignal` of this runtime. */
export function isAbortSignal(value: unknown): value is AbortSignal {
  return isSignal(value);
}

/** Runs the steps when the signal aborts, before its event. */
export function onAbort(signal: AbortSignal, steps: () => void): void {
  addSteps(signal, steps);
}

/** Takes steps back. */
export function offAbort(signal: AbortSignal, steps: () => void): void {
  removeSteps(signal, steps);
}

connectSignals(isSignal, addSteps, keepAlive);

export { abortSignal, following };
