/** One request to the outside, from the op that begins it until its response has been read. */
import {
  ArrayPrototypePush,
  ArrayPrototypeShift,
  MapPrototypeDelete,
  MapPrototypeGet,
  MapPrototypeSet,
  NativeMap,
  NativePromise,
  ObjectDefineProperty,
} from "../internal/primordials.ts";
import { Owned } from "../internal/owned.ts";
import { type AbortSignal, offAbort, onAbort } from "../dom/abort.ts";
import type { Head, Key } from "../ops.d.ts";
import * as ops from "../host.ts";
import { breakBody, endBody } from "../streams/incoming.ts";
import { stopPump } from "../streams/pump.ts";

/** Subrequests of one request that may wait for their response's head at a time; further ones queue. */
const WAITING_MAX = 16;

/** The head of a response to a subrequest. */
export interface Answer {
  call: Subrequest;
  status: number;
  head: Head;
}

/** Subrequests that are not over: until their response has been read, given up or failed. */
const calls = new NativeMap<Key, Subrequest>();
const owned = new Owned();

/** Those of one request that wait for an answer, and those that wait for their turn. */
interface Line {
  waiting: number;
  queue: Array<() => void>;
}

const lines = new NativeMap<Key, Line>();

/** Undefined when a subrequest may begin at once, else a promise of that. Either way a place is taken. */
export function takePlace(owner: Key): Promise<void> | undefined {
  let line = MapPrototypeGet(lines, owner) as Line | undefined;
  if (line === undefined) MapPrototypeSet(lines, owner, (line = { waiting: 0, queue: [] }));
  if (line.waiting < WAITING_MAX) {
    line.waiting += 1;
    return undefined;
  }
  const { queue } = line;
  return new NativePromise((resolve) => {
    ArrayPrototypePush(queue, resolve);
  });
}

/** Gives a place to whoever waits longest. */
export function leavePlace(owner: Key): void {
  const line = MapPrototypeGet(lines, owner) as Line | undefined;
  if (line === undefined) return;
  const next = ArrayPrototypeShift(line.queue) as (() => void) | undefined;
  if (next !== undefined) {
    next();
  } else if ((line.waiting -= 1) === 0) {
    MapPrototypeDelete(lines, owner);
  }
}

export class Subrequest {
  readonly key: Key;
  readonly owner: Key;
  readonly signal: AbortSignal | undefined;
  readonly answer: Promise<Answer>;
  #resolve!: (answer: Answer) => void;
  #reject!: (error: unknown) => void;
  #placed: boolean;
  readonly #stop = () => this.cancel(this.signal!.reason);

  /** Takes over the place that was taken for it, if it was. */
  constructor(key: Key, owner: Key, signal: AbortSignal | undefined, placed = true) {
    this.#placed = placed;
    this.key = key;
    this.owner = owner;
    this.signal = signal;
    this.answer = new NativePromise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    MapPrototypeSet(calls, key, this);
    owned.add(this.owner, key);
    if (signal !== undefined) onAbort(signal, this.#stop);
  }

  responded(status: number, head: Head): void {
    this.#leave();
    this.#resolve({ call: this, status, head });
  }

  #leave(): void {
    if (!this.#placed) return;
    this.#placed = false;
    leavePlace(this.owner);
  }

  /** Once answered, the promise takes no notice. */
  failed(error: unknown): void {
    this.over();
    stopPump(this.key, error);
    this.#reject(error);
  }

  /** Gives up on it, whatever state it is in. */
  cancel(reason: unknown): void {
    this.failed(reason);
    breakBody(this.key, reason);
    ops.fetchCancel(this.key);
  }

  /** Nothing happens on it any more. */
  over(): void {
    if (!MapPrototypeDelete(calls, this.key)) return;
    owned.remove(this.owner, this.key);
    if (this.signal !== undefined) offAbort(this.signal, this.#stop);
    this.#leave();
  }
}

function callOf(key: Key): Subrequest | undefined {
  return MapPrototypeGet(calls, key) as Subrequest | undefined;
}

/** The host says that the head of a response arrived. */
export function responded(key: Key, status: number, head: Head): void {
  callOf(key)?.responded(status, head);
}

/** An error of the host's with a code that stays the same. */
export function failure(code: string, message: string): Error {
  // What another worker threw is told in its own words.
  const error = new (code === "exception" ? Error : TypeError)(message === "" ? "The subrequest failed." : message);
  ObjectDefineProperty(error, "code", { value: code, writable: true, configurable: true });
  return error;
}

/** The host says that there will be no response. */
export function failed(key: Key, code: string, message: string): void {
  callOf(key)?.failed(failure(code, message));
}

/** The request is over; the host has broken its subrequests off. Who still waits for one waits for ever. */
export function dropSubrequests(owner: Key): void {
  MapPrototypeDelete(lines, owner);
  const keys = owned.take(owner);
  for (let i = 0; keys !== undefined && i < keys.length; i++) {
    const call = callOf(keys[i]!);
    call?.over();
    stopPump(keys[i]!, undefined);
    endBody(keys[i]!);
  }
}
