/**
 * Workers in the old syntax: `addEventListener("fetch", (event) => event.respondWith(…))` (Service Workers, sections 4.4 and 4.6;
 * Workers has "scheduled" in addition).
 */
import { INTERNAL, finishInterface, requireArguments, toDictionary } from "../internal/webidl.ts";
import { describe } from "../internal/report.ts";
import { dispatch, Event, type EventTarget, stopAtOnce, trusted } from "../dom/event.ts";
import { DOMException } from "../dom/exception.ts";
import { isRequest, type Request } from "../fetch/request.ts";
import { type ExecutionContext, type ScheduledController, scheduleOf, waitUntil } from "../worker/context.ts";
import * as ops from "../host.ts";

const target = globalThis as unknown as EventTarget;

function invalidState(message: string): DOMException {
  return new DOMException(message, "InvalidStateError");
}

let setContext: (event: ExtendableEvent, context: ExecutionContext) => void;

export class ExtendableEvent extends Event {
  #context: ExecutionContext | undefined = undefined;

  static {
    setContext = (event, context) => {
      event.#context = context;
    };
  }

  /** Keeps the event's work alive until the promise settles. */
  waitUntil(promise: unknown): void {
    const context = this.#context;
    requireArguments(arguments.length, 1, "waitUntil");
    if (context === undefined) throw invalidState("The event was not dispatched by the runtime; nothing waits for it.");
    waitUntil(context, promise);
  }
}
finishInterface(ExtendableEvent, "ExtendableEvent");

let answerOf: (event: FetchEvent) => { value: unknown } | undefined;
let close: (event: FetchEvent) => void;

export class FetchEvent extends ExtendableEvent {
  #request: Request;
  #clientId: string;
  #answer: { value: unknown } | undefined = undefined;
  #open = false;

  constructor(type: string, init: { request: Request; clientId?: string }) {
    requireArguments(arguments.length, 2, "FetchEvent constructor");
    super(type, init as object);
    const { clientId, request } = toDictionary<{ clientId: unknown; request: unknown }>(init, "FetchEvent options");
    if (typeof request !== "object" || request === null || !isRequest(request)) {
      throw new TypeError("FetchEvent takes options with a request.");
    }
    this.#request = request;
    this.#clientId = clientId === undefined ? "" : `${clientId as string}`;
    this.#open = arguments[2] === INTERNAL;
  }

  static {
    answerOf = (event) => event.#answer;
    close = (event) => {
      event.#open = false;
    };
  }

  get request(): Request {
    return this.#request;
  }
  get clientId(): string {
    return this.#clientId;
  }

  /** The response, or a promise of it. */
  respondWith(response: unknown): void {
    const answered = this.#answer !== undefined;
    requireArguments(arguments.length, 1, "respondWith");
    if (answered) throw invalidState("respondWith() was called before; an event has one answer.");
    if (!this.#open) throw invalidState("respondWith() must be called while the event is dispatched; give it a promise.");
    this.#answer = { value: response };
    stopAtOnce(this);
  }

  /** Without an origin behind the worker there is nothing to pass through to. */
  passThroughOnException(): void {
    void this.#open;
  }
}
finishInterface(FetchEvent, "FetchEvent");

export class ScheduledEvent extends ExtendableEvent {
  #cron: string;
  #scheduledTime: number;

  constructor(type: string, init: { cron?: string; scheduledTime?: number } | undefined = undefined) {
    super(type, init as object);
    const { cron, scheduledTime } = toDictionary<{ cron: unknown; scheduledTime: unknown }>(init, "ScheduledEvent options");
    this.#cron = cron === undefined ? "" : `${cron as string}`;
    this.#scheduledTime = scheduledTime === undefined ? 0 : Number(scheduledTime);
  }
  get cron(): string {
    return this.#cron;
  }
  get scheduledTime(): number {
    return this.#scheduledTime;
  }
  /** Nothing is tried again anyway. */
  noRetry(): void {
    void this.#cron;
  }
}
finishInterface(ScheduledEvent, "ScheduledEvent");

/** Calls the listeners; the first thing that one of them threw. */
function run(event: ExtendableEvent, context: ExecutionContext): { error: unknown } | undefined {
  setContext(event, context);
  let thrown: { error: unknown } | undefined;
  dispatch(target, trusted(event), (error) => {
    thrown ??= { error };
  });
  return thrown;
}

/** A request for the listeners of "fetch": what they answer. */
export function handleFetch(request: Request, context: ExecutionContext): unknown {
  // @ts-expect-error An argument that user code cannot give.
  const event = new FetchEvent("fetch", { __proto__: null, request, cancelable: true }, INTERNAL);
  const thrown = run(event, context);
  close(event);
  const answer = answerOf(event);
  if (answer === undefined) {
    if (thrown !== undefined) throw thrown.error;
    throw new TypeError("No listener of the event fetch called event.respondWith(), and there is no origin behind the worker to ask instead.");
  }
  if (thrown !== undefined) {
    const { message, stack } = describe(thrown.error);
    ops.exception(message, stack);
  }
  return answer.value;
}

/** A schedule for the listeners of "scheduled". */
export function handleScheduled(controller: ScheduledController, context: ExecutionContext): void {
  const [cron, scheduledTime] = scheduleOf(controller);
  const thrown = run(new ScheduledEvent("scheduled", { __proto__: null, cron, scheduledTime } as object), context);
  if (thrown !== undefined) throw thrown.error;
}
