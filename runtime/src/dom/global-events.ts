/**
 * The global object as an event target: what nobody caught becomes the events "error", "unhandledrejection" and
 * "rejectionhandled" (HTML, sections 8.1.4.6 and 8.1.4.7) before it is reported.
 */
import {
  NativeWeakMap,
  RegExpPrototypeExec,
  StringPrototypeStartsWith,
  WeakMapPrototypeDelete,
  WeakMapPrototypeGet,
  WeakMapPrototypeSet,
} from "../internal/primordials.ts";
import { exposeFunction } from "../internal/webidl.ts";
import { describe, setErrorFilter } from "../internal/report.ts";
import { startTimer } from "../time/timers.ts";
import { defineHandler, dispatch, ErrorEvent, EventTarget, hasListeners, PromiseRejectionEvent, trusted } from "./event.ts";

const target = globalThis as unknown as EventTarget;
/** Where a stack's first frame says it is. */
const FRAME = /\n\s+at (?:.*? \()?(.*?):(\d+):(\d+)\)?(?:\n|$)/;

let reporting = false;

/** Whether a listener took care of what was thrown. What listeners throw themselves is only reported. */
function tellError(error: unknown): boolean {
  if (reporting || !hasListeners(target, "error")) return false;
  reporting = true;
  const { message, stack } = describe(error);
  const at = RegExpPrototypeExec(FRAME, stack);
  const event = new ErrorEvent("error", {
    cancelable: true,
    message: StringPrototypeStartsWith(message, "Uncaught ") ? message : `Uncaught ${message}`,
    filename: at === null ? "" : at[1]!,
    lineno: at === null ? 0 : +at[2]!,
    colno: at === null ? 0 : +at[3]!,
    error,
  });
  const goesOn = dispatch(target, trusted(event));
  reporting = false;
  return !goesOn;
}

/** Promises of which "unhandledrejection" told. */
const told = new NativeWeakMap<object, { reason: unknown }>();

/** Whether a listener took care of the rejection. */
export function tellRejection(promise: unknown, reason: unknown): boolean {
  WeakMapPrototypeSet(told, promise as object, { reason });
  if (!hasListeners(target, "unhandledrejection")) return false;
  const event = new PromiseRejectionEvent("unhandledrejection", { cancelable: true, promise, reason });
  return !dispatch(target, trusted(event));
}

/** A promise has a handler now; if it was told of before, so is this, in a task of its own. */
export function tellHandled(promise: unknown): void {
  const before = WeakMapPrototypeGet(told, promise as object) as { reason: unknown } | undefined;
  if (before === undefined) return;
  const { reason } = before;
  WeakMapPrototypeDelete(told, promise as object);
  if (!hasListeners(target, "rejectionhandled")) return;
  try {
    startTimer(() => dispatch(target, trusted(new PromiseRejectionEvent("rejectionhandled", { promise, reason }))), 0, false);
  } catch {
    // No timer to be had.
  }
}

export function installGlobalEvents(): void {
  const { addEventListener, removeEventListener, dispatchEvent } = EventTarget.prototype;
  exposeFunction("addEventListener", addEventListener);
  exposeFunction("removeEventListener", removeEventListener);
  exposeFunction("dispatchEvent", dispatchEvent);
  defineHandler(target, "error");
  defineHandler(target, "unhandledrejection");
  defineHandler(target, "rejectionhandled");
  setErrorFilter(tellError);
}
