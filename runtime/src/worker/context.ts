/** What handlers are given beside the request: `ExecutionContext` and `ScheduledController`; it keeps the request's state. */
import {
  JSONParse,
  ObjectSetPrototypeOf,
  PromisePrototypeThen,
  PromiseResolve,
  uncurryThis,
} from "../internal/primordials.ts";
import { finishInterface, illegalConstructor, requireArguments } from "../internal/webidl.ts";
import { describe } from "../internal/report.ts";
import { dropSubrequests } from "../fetch/subrequest.ts";
import { abortRequest, type Request } from "../fetch/request.ts";
import { breakBody, endBody } from "../streams/incoming.ts";
import { stopPump } from "../streams/pump.ts";
import { loopback } from "./service.ts";
import { dropTimers } from "../time/timers.ts";
import { dropSockets } from "./sockets.ts";
import type { FailKind, Head, Key } from "../ops.d.ts";
import * as ops from "../host.ts";

/** Requests by the lower half of their key. Without a prototype, so that no setter can be planted. */
const active: (ExecutionContext | undefined)[] = ObjectSetPrototypeOf([], null);

const INDEX_MASK = 0xffff;

let keyOf: (context: ExecutionContext) => Key;
let isOver: (context: ExecutionContext) => boolean;
let respondWhole: (context: ExecutionContext, status: number, head: Head, body: string | Uint8Array | undefined) => void;
let finishResponse: (context: ExecutionContext) => void;
let failRequest: (context: ExecutionContext, kind: FailKind, message: string, stack: string) => void;
let hold: (key: Key) => ExecutionContext | undefined;
let letGoOf: (context: ExecutionContext) => void;
let abortContext: (context: ExecutionContext, reason: string) => void;

export class ExecutionContext {
  #key: Key;
  #request: Request | undefined;
  /** What the end waits for: the response, and the promises of `waitUntil`. */
  #open = 1;
  #answered = false;
  /** JSON, until somebody asks for it. */
  #props: string | object;

  constructor(token: unknown, key: Key, request: Request | undefined, props = "") {
    illegalConstructor(token);
    this.#props = props;
    this.#key = key;
    this.#request = request;
    active[key & INDEX_MASK] = this;
  }

  static {
    keyOf = (context) => context.#key;
    isOver = (context) => context.#answered;
    respondWhole = (context, status, head, body) => {
      if (context.#answered) return;
      context.#answered = true;
      if (context.#open === 1) {
        context.#open = 0;
        ops.respond(context.#key, status, head, body, true);
        context.#release();
      } else {
        context.#open -= 1;
        ops.respond(context.#key, status, head, body, false);
      }
    };
    finishResponse = (context) => {
      if (context.#answered) return;
      context.#answered = true;
      context.#settled();
    };
    failRequest = (context, kind, message, stack) => {
      if (context.#answered) return;
      context.#answered = true;
      // Nothing that still settles counts any more.
      context.#open = Number.NEGATIVE_INFINITY;
      ops.fail(context.#key, kind, message, stack);
      context.#release();
    };
    abortContext = (context, reason) => {
      if (context.#request !== undefined) abortRequest(context.#request, undefined);
      const error = new TypeError(reason);
      breakBody(context.#key, error);
      stopPump(context.#key, error);
    };
  }

  /** Keeps the request going until `letGoOf`; undefined when it is over. */
  static {
    hold = (key) => {
      const context = activeContext(key);
      if (context === undefined || context.#open <= 0) return undefined;
      context.#open += 1;
      return context;
    };
    letGoOf = (context) => context.#settled();
  }

  #settled(): void {
    this.#open -= 1;
    if (this.#open !== 0) return;
    ops.requestDone(this.#key);
    this.#release();
  }

  #release(): void {
    const index = this.#key & INDEX_MASK;
    if (active[index] === this) active[index] = undefined;
    dropTimers(this.#key);
    dropSubrequests(this.#key);
    dropSockets(this.#key);
    endBody(this.#key);
  }

  /** Keeps the request's work alive after its response, until the promise settles. */
  waitUntil(promise: unknown): void {
    requireArguments(arguments.length, 1, "waitUntil");
    if (this.#open <= 0) return;
    this.#open += 1;
    PromisePrototypeThen(
      PromiseResolve(promise),
      () => this.#settled(),
      (error) => {
        const { message, stack } = describe(error);
        ops.exception(message, stack);
        this.#settled();
      },
    );
  }

  /** Without an origin behind the worker there is nothing to pass through to. */
  passThroughOnException(): void {
    void this.#key;
  }

  /** What the caller's binding says about the caller. */
  get props(): object {
    if (typeof this.#props === "string") this.#props = this.#props === "" ? {} : (JSONParse(this.#props) as object);
    return this.#props;
  }

  /** The worker's own exports, each as a binding to it. */
  get exports(): object {
    void this.#key;
    return loopback();
  }
}
/** As users call it, whatever they make of the class. */
export const waitUntil = uncurryThis(ExecutionContext.prototype.waitUntil);
finishInterface(ExecutionContext, "ExecutionContext");

/** The request or schedule with this key, if it is not over. */
export function activeContext(key: Key): ExecutionContext | undefined {
  const context = active[key & INDEX_MASK];
  return context !== undefined && keyOf(context) === key ? context : undefined;
}

let scheduleOf: (controller: ScheduledController) => [cron: string, time: number];

export class ScheduledController {
  #cron: string;
  #time: number;

  constructor(token: unknown, cron: string, time: number) {
    illegalConstructor(token);
    this.#cron = cron;
    this.#time = time;
  }
  static {
    scheduleOf = (controller) => [controller.#cron, controller.#time];
  }
  get cron(): string {
    return this.#cron;
  }
  get scheduledTime(): number {
    return this.#time;
  }
  get type(): string {
    return "scheduled";
  }
  noRetry(): void {
    void this.#time;
  }
}
finishInterface(ScheduledController, "ScheduledController");

export { abortContext, failRequest, finishResponse, hold, isOver, keyOf, letGoOf, respondWhole, scheduleOf };
