/** `setTimeout`, `setInterval` and their kin. A timer belongs to the request that started it and ends with it. */
import {
  ArrayPrototypeSlice,
  MapPrototypeDelete,
  MapPrototypeGet,
  MapPrototypeSet,
  NativeMap,
  ReflectApply,
} from "../internal/primordials.ts";
import { Owned } from "../internal/owned.ts";
import { requireArguments } from "../internal/webidl.ts";
import { reportException } from "../internal/report.ts";
import type { Key } from "../ops.d.ts";
import * as ops from "../host.ts";

interface Timer {
  callback: Function;
  args: unknown[];
  repeat: boolean;
  owner: Key;
  /** What `AsyncLocalStorage` kept where the timer was started. */
  context: unknown;
}

const timers = new NativeMap<number, Timer>();
const owned = new Owned();

/** Starts a timer on behalf of the current request. */
export function startTimer(callback: Function, ms: number, repeat: boolean, args: unknown[] = []): number {
  const token = ops.timerStart(ms, repeat);
  const owner = ops.currentRequest();
  MapPrototypeSet(timers, token, { callback, args, repeat, owner, context: ops.asyncContext() });
  owned.add(owner, token);
  return token;
}

function forget(token: number, owner: Key): void {
  MapPrototypeDelete(timers, token);
  owned.remove(owner, token);
}

export function cancelTimer(token: number): void {
  const timer = MapPrototypeGet(timers, token) as Timer | undefined;
  if (timer === undefined) return;
  forget(token, timer.owner);
  ops.timerCancel(token);
}

/** The request is over; the host has dropped its timers. */
export function dropTimers(owner: Key): void {
  const tokens = owned.take(owner);
  for (let i = 0; tokens !== undefined && i < tokens.length; i++) MapPrototypeDelete(timers, tokens[i]);
}

/** The host says that a timer is due. */
export function timerDue(token: number): void {
  const timer = MapPrototypeGet(timers, token) as Timer | undefined;
  if (timer === undefined) return;
  if (!timer.repeat) forget(token, timer.owner);
  if (timer.context !== undefined) ops.setAsyncContext(timer.context);
  try {
    ReflectApply(timer.callback, globalThis, timer.args);
  } catch (error) {
    reportException(error);
  }
}

function start(what: string, repeat: boolean, given: IArguments): number {
  requireArguments(given.length, 1, what);
  const callback = given[0] as unknown;
  // A string would have to be compiled, which is not possible here.
  if (typeof callback !== "function") throw new TypeError(`${what} takes a function.`);
  // WebIDL's `long`: modulo 2 to the 32nd.
  const ms = Number(given[1] ?? 0) | 0;
  const args = given.length > 2 ? (ArrayPrototypeSlice(given, 2) as unknown[]) : undefined;
  return startTimer(callback, ms >= 0 ? ms : 0, repeat, args);
}

export function setTimeout(_callback: Function, _ms?: number): number {
  return start("setTimeout", false, arguments);
}

export function setInterval(_callback: Function, _ms?: number): number {
  return start("setInterval", true, arguments);
}

export function clearTimeout(token?: number): void {
  if (token !== undefined && token !== null) cancelTimer(Number(token));
}

export function clearInterval(token?: number): void {
  if (token !== undefined && token !== null) cancelTimer(Number(token));
}
