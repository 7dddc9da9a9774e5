/** Promises that were rejected and have no handler, reported when nobody has taken care of them by the turn's end. */
import { ArrayPrototypePush, ArrayPrototypeSplice, PromisePrototypeThen, PromiseResolve } from "../internal/primordials.ts";
import { tellHandled, tellRejection } from "../dom/global-events.ts";
import { describe } from "../internal/report.ts";
import { startTimer } from "../time/timers.ts";
import * as ops from "../host.ts";

interface Rejection {
  promise: unknown;
  reason: unknown;
  /** On whose behalf it happened. */
  request: number;
}

/** More than these in one turn are counted, not kept. */
const PENDING_MAX = 64;

let pending: Rejection[] = [];
let dropped = 0;
let scheduled = false;

export function unhandledRejection(reason: unknown, promise: unknown): void {
  if (pending.length >= PENDING_MAX) {
    dropped += 1;
    return;
  }
  ArrayPrototypePush(pending, { promise, reason, request: ops.currentRequest() });
  if (scheduled) return;
  scheduled = true;
  // An async function that throws at once gets its handler right after: most are gone by the next microtask.
  PromisePrototypeThen(PromiseResolve(undefined), settle);
}

export function rejectionHandled(_reason: unknown, promise: unknown): void {
  for (let i = 0; i < pending.length; i++) {
    if (pending[i]!.promise === promise) {
      ArrayPrototypeSplice(pending, i, 1);
      return;
    }
  }
  tellHandled(promise);
}

/** Waits for the end of the turn, that is for the next one, whatever request the turn belongs to. */
function settle(): void {
  if (pending.length === 0) {
    scheduled = false;
    return;
  }
  const current = ops.currentRequest();
  ops.setCurrentRequest(0);
  try {
    startTimer(report, 0, false);
  } catch {
    // No timer to be had: better early than never.
    report();
  }
  ops.setCurrentRequest(current);
}

function report(): void {
  const rejections = pending;
  const more = dropped;
  pending = [];
  dropped = 0;
  scheduled = false;
  const current = ops.currentRequest();
  for (let i = 0; i < rejections.length; i++) {
    const { promise, reason, request } = rejections[i]!;
    ops.setCurrentRequest(request);
    if (tellRejection(promise, reason)) continue;
    const { message, stack } = describe(reason);
    ops.exception(message, stack);
  }
  ops.setCurrentRequest(current);
  if (more > 0) ops.exception(`${more} more unhandled rejections`, "");
}
