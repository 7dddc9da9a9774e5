/** `Event`, `CustomEvent`, `ErrorEvent`, `PromiseRejectionEvent`, `MessageEvent`, `CloseEvent` and `EventTarget`. */
import {
  ArrayPrototypePush,
  ArrayPrototypeSlice,
  ArrayPrototypeSplice,
  ObjectFreeze,
  ReflectApply,
} from "../internal/primordials.ts";
import { defineConstants, finishInterface, requireArguments, toDictionary, toUSVString } from "../internal/webidl.ts";
import * as ops from "../host.ts";
import { DOMException } from "./exception.ts";
import { reportException } from "../internal/report.ts";

interface EventInit {
  bubbles: boolean;
  cancelable: boolean;
  composed: boolean;
}

let setTrusted: (event: Event) => void;
let beginDispatch: (event: Event, target: EventTarget) => void;
let endDispatch: (event: Event) => void;
let isDispatched: (event: Event) => boolean;
let isStopped: (event: Event) => boolean;
let setPassive: (event: Event, passive: boolean) => void;

export class Event {
  #type: string;
  #bubbles: boolean;
  #cancelable: boolean;
  #composed: boolean;
  #target: EventTarget | null = null;
  #phase = 0;
  #stopped = false;
  #stoppedImmediately = false;
  #canceled = false;
  #passive = false;
  #dispatched = false;
  #trusted = false;
  #time = ops.now();

  constructor(type: string, init: Partial<EventInit> | undefined = undefined) {
    requireArguments(arguments.length, 1, "Event constructor");
    const options = toDictionary<EventInit>(init, "Event options");
    this.#type = `${type}`;
    this.#bubbles = !!options.bubbles;
    this.#cancelable = !!options.cancelable;
    this.#composed = !!options.composed;
  }

  static {
    setTrusted = (event) => {
      event.#trusted = true;
    };
    beginDispatch = (event, target) => {
      event.#target = target;
      event.#phase = 2;
      event.#dispatched = true;
    };
    endDispatch = (event) => {
      event.#phase = 0;
      event.#dispatched = false;
      event.#stopped = false;
      event.#stoppedImmediately = false;
    };
    isDispatched = (event) => event.#dispatched;
    isStopped = (event) => event.#stoppedImmediately;
    setPassive = (event, passive) => {
      event.#passive = passive;
    };
  }

  get type() {
    return this.#type;
  }
  get target() {
    return this.#target;
  }
  get srcElement() {
    return this.#target;
  }
  get currentTarget() {
    return this.#dispatched ? this.#target : null;
  }
  composedPath(): EventTarget[] {
    return this.#dispatched && this.#target !== null ? [this.#target] : [];
  }
  get eventPhase() {
    return this.#phase;
  }
  stopPropagation(): void {
    this.#stopped = true;
  }
  stopImmediatePropagation(): void {
    this.#stopped = true;
    this.#stoppedImmediately = true;
  }
  get cancelBubble() {
    return this.#stopped;
  }
  set cancelBubble(value) {
    if (value) this.#stopped = true;
  }
  get bubbles() {
    return this.#bubbles;
  }
  get cancelable() {
    return this.#cancelable;
  }
  get returnValue() {
    return !this.#canceled;
  }
  set returnValue(value) {
    if (!value) this.preventDefault();
  }
  preventDefault(): void {
    if (this.#cancelable && !this.#passive) this.#canceled = true;
  }
  get defaultPrevented() {
    return this.#canceled;
  }
  get composed() {
    return this.#composed;
  }
  get isTrusted() {
    return this.#trusted;
  }
  get timeStamp() {
    return this.#time;
  }
}
finishInterface(Event, "Event");
defineConstants(Event, { NONE: 0, CAPTURING_PHASE: 1, AT_TARGET: 2, BUBBLING_PHASE: 3 });

/** Makes an event that the runtime itself dispatches. */
export function trusted<E extends Event>(event: E): E {
  setTrusted(event);
  return event;
}

export class CustomEvent extends Event {
  #detail: unknown;

  constructor(type: string, init: (Partial<EventInit> & { detail?: unknown }) | undefined = undefined) {
    super(type, init);
    this.#detail = init?.detail ?? null;
  }
  get detail() {
    return this.#detail;
  }
}
finishInterface(CustomEvent, "CustomEvent");

interface ErrorEventInit extends EventInit {
  message: string;
  filename: string;
  lineno: number;
  colno: number;
  error: unknown;
}

export class ErrorEvent extends Event {
  #init: Partial<ErrorEventInit>;

  constructor(type: string, init: Partial<ErrorEventInit> | undefined = undefined) {
    super(type, init);
    const { message, filename, lineno, colno, error } = toDictionary<ErrorEventInit>(init, "ErrorEvent options");
    this.#init = { message, filename, lineno, colno, error };
  }
  get message() {
    return `${this.#init.message ?? ""}`;
  }
  get filename() {
    return `${this.#init.filename ?? ""}`;
  }
  get lineno() {
    return (this.#init.lineno ?? 0) >>> 0;
  }
  get colno() {
    return (this.#init.colno ?? 0) >>> 0;
  }
  get error() {
    return this.#init.error;
  }
}
finishInterface(ErrorEvent, "ErrorEvent");

export class PromiseRejectionEvent extends Event {
  #promise: unknown;
  #reason: unknown;

  constructor(type: string, init: Partial<EventInit> & { promise: unknown; reason?: unknown }) {
    requireArguments(arguments.length, 2, "PromiseRejectionEvent constructor");
    super(type, init);
    this.#promise = init.promise;
    this.#reason = init.reason;
  }
  get promise() {
    return this.#promise;
  }
  get reason() {
    return this.#reason;
  }
}
finishInterface(PromiseRejectionEvent, "PromiseRejectionEvent");

interface MessageEventInit extends EventInit {
  data: unknown;
  origin: string;
  lastEventId: string;
  source: object | null;
  ports: readonly object[];
}

export class MessageEvent extends Event {
  #data: unknown;
  #origin: string;
  #lastEventId: string;
  #source: object | null;
  #ports: readonly object[];

  constructor(type: string, init: Partial<MessageEventInit> | undefined = undefined) {
    super(type, init);
    const { data = null, origin, lastEventId, source = null, ports } = toDictionary<MessageEventInit>(init, "MessageEvent options");
    this.#data = data;
    this.#origin = origin === undefined ? "" : `${origin}`;
    this.#lastEventId = lastEventId === undefined ? "" : `${lastEventId}`;
    this.#source = source;
    this.#ports = ObjectFreeze(ports === undefined ? [] : ArrayPrototypeSlice(ports)) as readonly object[];
  }
  get data() {
    return this.#data;
  }
  get origin() {
    return this.#origin;
  }
  get lastEventId() {
    return this.#lastEventId;
  }
  get source() {
    return this.#source;
  }
  get ports() {
    return this.#ports;
  }
}
finishInterface(MessageEvent, "MessageEvent");

interface CloseEventInit extends EventInit {
  wasClean: boolean;
  code: number;
  reason: string;
}

export class CloseEvent extends Event {
  #wasClean: boolean;
  #code: number;
  #reason: string;

  constructor(type: string, init: Partial<CloseEventInit> | undefined = undefined) {
    super(type, init);
    const { wasClean, code, reason } = toDictionary<CloseEventInit>(init, "CloseEvent options");
    this.#wasClean = !!wasClean;
    this.#code = Number(code ?? 0) & 0xffff;
    this.#reason = reason === undefined ? "" : toUSVString(reason);
  }
  get wasClean() {
    return this.#wasClean;
  }
  get code() {
    return this.#code;
  }
  get reason() {
    return this.#reason;
  }
}
finishInterface(CloseEvent, "CloseEvent");

type Callback = ((event: Event) => unknown) | { handleEvent(event: Event): unknown };

interface Listener {
  type: string;
  callback: Callback;
  capture: boolean;
  once: boolean;
  passive: boolean;
  removed: boolean;
}

/** What `addEventListener` needs of an `AbortSignal`, which is an `EventTarget` itself. */
interface Signal {
  readonly aborted: boolean;
  addEventListener(type: string, callback: Callback, options?: object): void;
}

let listenersOf: (target: EventTarget) => Listener[] | undefined;

export class EventTarget {
  #listeners: Listener[] | undefined;

  static {
    listenersOf = (target) => target.#listeners;
  }

  addEventListener(type: string, callback: Callback | null, options?: unknown): void {
    const self = (this ?? globalThis) as EventTarget;
    requireArguments(arguments.length, 2, "addEventListener");
    const name = `${type}`;
    const { capture, once, passive, signal } = listenerOptions(options);
    const existing = self.#listeners;
    if (callback === null || callback === undefined || signal?.aborted) return;
    if (typeof callback !== "function" && typeof callback !== "object") {
      throw new TypeError("An event listener must be a function or an object.");
    }
    const listeners = existing ?? (self.#listeners = []);
    for (let i = 0; i < listeners.length; i++) {
      const other = listeners[i]!;
      if (other.type === name && other.callback === callback && other.capture === capture) return;
    }
    ArrayPrototypePush(listeners, { type: name, callback, capture, once, passive, removed: false });
    if (signal !== undefined) {
      signal.addEventListener("abort", () => self.removeEventListener(name, callback, { capture }), { once: true });
    }
  }

  removeEventListener(type: string, callback: Callback | null, options?: unknown): void {
    const self = (this ?? globalThis) as EventTarget;
    requireArguments(arguments.length, 2, "removeEventListener");
    const name = `${type}`;
    const capture = typeof options === "object" && options !== null ? !!(options as { capture?: unknown }).capture : !!options;
    const listeners = self.#listeners;
    if (listeners === undefined) return;
    for (let i = 0; i < listeners.length; i++) {
      const listener = listeners[i]!;
      if (listener.type === name && listener.callback === callback && listener.capture === capture) {
        listener.removed = true;
        ArrayPrototypeSplice(listeners, i, 1);
        return;
      }
    }
  }

  dispatchEvent(event: Event): boolean {
    const self = (this ?? globalThis) as EventTarget;
    requireArguments(arguments.length, 1, "dispatchEvent");
    if (isDispatched(event)) throw new DOMException("The event is being dispatched already.", "InvalidStateError");
    dispatch(self, event);
    return !event.defaultPrevented;
  }
}
finishInterface(EventTarget, "EventTarget");

function listenerOptions(options: unknown) {
  if (typeof options !== "object" || options === null) {
    return { capture: !!options, once: false, passive: false, signal: undefined };
  }
  const given = options as { capture?: unknown; once?: unknown; passive?: unknown; signal?: Signal };
  if (given.signal !== undefined && typeof given.signal?.aborted !== "boolean") {
    throw new TypeError("The option signal must be an AbortSignal.");
  }
  return { capture: !!given.capture, once: !!given.once, passive: !!given.passive, signal: given.signal };
}

/** Calls the target's listeners for the event; what they throw is reported and stops nobody else. */
export function dispatch(target: EventTarget, event: Event): void {
  const all = listenersOf(target);
  beginDispatch(event, target);
  if (all !== undefined && all.length > 0) {
    const type = event.type;
    const listeners = ArrayPrototypeSlice(all) as Listener[];
    for (let i = 0; i < listeners.length; i++) {
      const listener = listeners[i]!;
      if (listener.removed || listener.type !== type) continue;
      if (listener.once) target.removeEventListener(type, listener.callback, { capture: listener.capture });
      setPassive(event, listener.passive);
      try {
        const { callback } = listener;
        if (typeof callback === "function") ReflectApply(callback, target, [event]);
        else callback.handleEvent(event);
      } catch (error) {
        reportException(error);
      }
      if (isStopped(event)) break;
    }
    setPassive(event, false);
  }
  endDispatch(event);
}

/** Whether anything listens. */
export function hasListeners(target: EventTarget, type: string): boolean {
  const listeners = listenersOf(target);
  if (listeners === undefined) return false;
  for (let i = 0; i < listeners.length; i++) if (listeners[i]!.type === type) return true;
  return false;
}

/** Gives a class the attribute `on<type>`, an event listener that can be assigned. */
export function defineHandler(prototype: EventTarget, type: string): void {
  const handlers = new WeakMap<EventTarget, { current: unknown }>();
  const { get, set } = WeakMap.prototype;
  Object.defineProperty(prototype, `on${type}`, {
    get(this: EventTarget) {
      return (ReflectApply(get, handlers, [this]) as { current: unknown } | undefined)?.current ?? null;
    },
    set(this: EventTarget, value: unknown) {
      const current = typeof value === "function" ? value : null;
      const slot = ReflectApply(get, handlers, [this]) as { current: unknown } | undefined;
      if (slot !== undefined) {
        slot.current = current;
      } else if (current !== null) {
        const fresh = { current: current as unknown };
        ReflectApply(set, handlers, [this, fresh]);
        this.addEventListener(type, (event) => {
          if (typeof fresh.current === "function") ReflectApply(fresh.current, this, [event]);
        });
      }
    },
    enumerable: true,
    configurable: true,
  });
}
