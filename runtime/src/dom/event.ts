/** `Event`, `CustomEvent`, `ErrorEvent`, `PromiseRejectionEvent`, `MessageEvent`, `CloseEvent` and `EventTarget`. */
import {
  ArrayPrototypePush,
  ArrayPrototypeSlice,
  ArrayPrototypeSplice,
  NativeWeakMap,
  ObjectDefineProperty,
  ObjectFreeze,
  ObjectGetOwnPropertyDescriptor,
  ReflectApply,
  WeakMapPrototypeGet,
  WeakMapPrototypeSet,
} from "../internal/primordials.ts";
import { defineConstants, finishInterface, INTERNAL, requireArguments, takeSequence, toDictionary, toUSVString } from "../internal/webidl.ts";
import * as ops from "../host.ts";
import { DOMException } from "./exception.ts";
import { loadPart } from "../internal/parts.ts";
import { reportException } from "../internal/report.ts";

interface EventInit {
  bubbles: boolean;
  cancelable: boolean;
  composed: boolean;
}

let setTrusted: (event: Event, trusted: boolean) => void;
let typeOf: (event: Event) => string;
let isCanceled: (event: Event) => boolean;
let cancelEvent: (event: Event) => void;
let isErrorEvent: (event: Event) => event is ErrorEvent;
let beginDispatch: (event: Event, target: EventTarget) => void;
let endDispatch: (event: Event) => void;
let isDispatched: (event: Event) => boolean;
let isStopped: (event: Event, atOnce: boolean) => boolean;
let setPassive: (event: Event, passive: boolean) => void;
/** No listener hears of the event any more. */
let stopAtOnce: (event: Event) => void;

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
    setTrusted = (event, trusted) => {
      event.#trusted = trusted;
    };
    typeOf = (event) => event.#type;
    isCanceled = (event) => event.#canceled;
    cancelEvent = (event) => {
      if (event.#cancelable && !event.#passive) event.#canceled = true;
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
    isStopped = (event, atOnce) => (atOnce ? event.#stoppedImmediately : event.#stopped);
    stopAtOnce = (event) => {
      event.#stopped = true;
      event.#stoppedImmediately = true;
    };
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
    if (!value) cancelEvent(this);
  }
  preventDefault(): void {
    cancelEvent(this);
  }
  initEvent(type: string, bubbles: boolean = false, cancelable: boolean = false): void {
    requireArguments(arguments.length, 1, "Event.initEvent");
    const name = `${type}`;
    if (this.#dispatched) return;
    this.#stopped = false;
    this.#stoppedImmediately = false;
    this.#canceled = false;
    this.#trusted = false;
    this.#target = null;
    this.#type = name;
    this.#bubbles = !!bubbles;
    this.#cancelable = !!cancelable;
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
  setTrusted(event, true);
  return event;
}

const { initEvent } = Event.prototype;

export class CustomEvent extends Event {
  #detail: unknown;

  constructor(type: string, init: (Partial<EventInit> & { detail?: unknown }) | undefined = undefined) {
    super(type, init);
    const detail = init?.detail;
    this.#detail = detail === undefined ? null : detail;
  }
  get detail() {
    return this.#detail;
  }
  initCustomEvent(type: string, bubbles: boolean = false, cancelable: boolean = false, detail: unknown = null): void {
    requireArguments(arguments.length, 1, "CustomEvent.initCustomEvent");
    if (isDispatched(this)) return;
    ReflectApply(initEvent, this, [type, bubbles, cancelable]);
    this.#detail = detail;
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
  #message: string;
  #filename: string;
  #lineno: number;
  #colno: number;
  #error: unknown;

  constructor(type: string, init: Partial<ErrorEventInit> | undefined = undefined) {
    super(type, init);
    const { colno, error, filename, lineno, message } = toDictionary<ErrorEventInit>(init, "ErrorEvent options");
    this.#colno = (colno ?? 0) >>> 0;
    this.#error = error;
    this.#filename = filename === undefined ? "" : toUSVString(filename);
    this.#lineno = (lineno ?? 0) >>> 0;
    this.#message = message === undefined ? "" : `${message}`;
  }
  static {
    isErrorEvent = (event): event is ErrorEvent => #lineno in event;
  }
  get message() {
    return this.#message;
  }
  get filename() {
    return this.#filename;
  }
  get lineno() {
    return this.#lineno;
  }
  get colno() {
    return this.#colno;
  }
  get error() {
    return this.#error;
  }
}
finishInterface(ErrorEvent, "ErrorEvent");

export class PromiseRejectionEvent extends Event {
  #promise: unknown;
  #reason: unknown;

  constructor(type: string, init: Partial<EventInit> & { promise: unknown; reason?: unknown }) {
    requireArguments(arguments.length, 2, "PromiseRejectionEvent constructor");
    super(type, init);
    if (typeof init !== "object" || init === null || init.promise === undefined) {
      throw new TypeError("PromiseRejectionEvent takes options with a promise.");
    }
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
    // The runtime's own lists need no iterator, which the worker may have changed.
    const list: object[] = arguments[2] === INTERNAL ? (ports as object[]) : [];
    if (ports !== undefined && ports !== list) {
      takeSequence(ports, "The ports of a MessageEvent", (port) => {
        if (!loadPart<typeof import("../parts/messaging.ts")>("messaging").isMessagePort(port)) {
          throw new TypeError("The ports of a MessageEvent must be MessagePorts.");
        }
        ArrayPrototypePush(list, port);
      });
    }
    this.#ports = ObjectFreeze(list) as readonly object[];
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
}

let listenersOf: (target: EventTarget) => Listener[] | undefined;
/** The global object's, which is no `EventTarget` of its making. */
let globalListeners: Listener[] | undefined;

let setListeners: (target: EventTarget, listeners: Listener[]) => void;

/** What listeners need of signals, whose class is an `EventTarget` itself. */
let isSignal: (value: unknown) => boolean;
let onSignal: (signal: Signal, steps: () => void) => void;
/** A signal that somebody listens to must not be collected before those it depends on. */
let keepSignal: (signal: never) => void;

export function connectSignals(is: typeof isSignal, on: (signal: never, steps: () => void) => void, keep: typeof keepSignal): void {
  isSignal = is;
  onSignal = on as typeof onSignal;
  keepSignal = keep;
}

export class EventTarget {
  #listeners: Listener[] | undefined;

  static {
    listenersOf = (target) => (target === (globalThis as unknown) ? globalListeners : target.#listeners);
    setListeners = (target, listeners) => {
      if (target === (globalThis as unknown)) globalListeners = listeners;
      else target.#listeners = listeners;
    };
  }

  addEventListener(type: string, callback: Callback | null, options?: unknown): void {
    const self = (this ?? globalThis) as EventTarget;
    requireArguments(arguments.length, 2, "addEventListener");
    const name = `${type}`;
    const { capture, once, passive, signal } = listenerOptions(options);
    const existing = listenersOf(self);
    if (callback !== null && callback !== undefined && typeof callback !== "function" && typeof callback !== "object") {
      throw new TypeError("An event listener must be a function or an object.");
    }
    if (callback === null || callback === undefined || signal?.aborted) return;
    const listeners = existing ?? [];
    if (existing === undefined) setListeners(self, listeners);
    for (let i = 0; i < listeners.length; i++) {
      const other = listeners[i]!;
      if (other.type === name && other.callback === callback && other.capture === capture) return;
    }
    ArrayPrototypePush(listeners, { type: name, callback, capture, once, passive, removed: false });
    if (isSignal(self)) keepSignal(self as never);
    if (signal !== undefined) {
      onSignal(signal, () => removeListener(self, name, callback, capture));
    }
  }

  removeEventListener(type: string, callback: Callback | null, options?: unknown): void {
    const self = (this ?? globalThis) as EventTarget;
    requireArguments(arguments.length, 2, "removeEventListener");
    const name = `${type}`;
    const capture = typeof options === "object" && options !== null ? !!(options as { capture?: unknown }).capture : !!options;
    removeListener(self, name, callback, capture);
  }

  dispatchEvent(event: Event): boolean {
    const self = (this ?? globalThis) as EventTarget;
    requireArguments(arguments.length, 1, "dispatchEvent");
    if (isDispatched(event)) throw new DOMException("The event is being dispatched already.", "InvalidStateError");
    setTrusted(event, false);
    return dispatch(self, event);
  }
}
const addListener = EventTarget.prototype.addEventListener;
finishInterface(EventTarget, "EventTarget");

function removeListener(target: EventTarget, type: string, callback: Callback | null, capture: boolean): void {
  const listeners = listenersOf(target);
  for (let i = 0; listeners !== undefined && i < listeners.length; i++) {
    const listener = listeners[i]!;
    if (listener.type === type && listener.callback === callback && listener.capture === capture) {
      listener.removed = true;
      ArrayPrototypeSplice(listeners, i, 1);
      return;
    }
  }
}

function listenerOptions(options: unknown) {
  if (typeof options !== "object" || options === null) {
    return { capture: !!options, once: false, passive: false, signal: undefined };
  }
  const given = options as { capture?: unknown; once?: unknown; passive?: unknown; signal?: Signal };
  const capture = !!given.capture;
  const once = !!given.once;
  const passive = !!given.passive;
  const { signal } = given;
  if (signal !== undefined && !isSignal(signal)) throw new TypeError("The option signal must be an AbortSignal.");
  return { capture, once, passive, signal };
}

/**
 * Calls the target's listeners for the event; what they throw is reported, or given to `threw`, and stops nobody else. False
 * when one of them cancelled the event.
 */
export function dispatch(target: EventTarget, event: Event, threw: (error: unknown) => void = reportException): boolean {
  const all = listenersOf(target);
  beginDispatch(event, target);
  if (all !== undefined && all.length > 0 && !isStopped(event, false)) {
    const type = typeOf(event);
    const listeners = ArrayPrototypeSlice(all) as Listener[];
    for (let i = 0; i < listeners.length; i++) {
      const listener = listeners[i]!;
      if (listener.removed || listener.type !== type) continue;
      if (listener.once) removeListener(target, type, listener.callback, listener.capture);
      setPassive(event, listener.passive);
      try {
        const { callback } = listener;
        if (typeof callback === "function") ReflectApply(callback, target, [event]);
        else callback.handleEvent(event);
      } catch (error) {
        threw(error);
      }
      if (isStopped(event, true)) break;
    }
    setPassive(event, false);
  }
  endDispatch(event);
  return !isCanceled(event);
}

/** Whether anything listens. */
export function hasListeners(target: EventTarget, type: string): boolean {
  const listeners = listenersOf(target);
  if (listeners === undefined) return false;
  for (let i = 0; i < listeners.length; i++) if (listeners[i]!.type === type) return true;
  return false;
}

/** Event handlers by object; each stays in its place among the listeners. */
interface Handler {
  current: unknown;
}

/** Gives a class the attribute `on<type>`, an event listener that can be assigned. */
export function defineHandler(prototype: EventTarget, type: string, assigned?: (target: EventTarget) => void): void {
  const handlers = new NativeWeakMap<EventTarget, Handler>();
  const attribute = {
    get handler(): unknown {
      return (WeakMapPrototypeGet(handlers, this) as Handler | undefined)?.current ?? null;
    },
    set handler(value: unknown) {
      const target = this as unknown as EventTarget;
      const current = typeof value === "function" || (typeof value === "object" && value !== null) ? value : null;
      const handler = WeakMapPrototypeGet(handlers, target) as Handler | undefined;
      if (handler !== undefined) {
        handler.current = current;
      } else if (current !== null) {
        const fresh: Handler = { current };
        WeakMapPrototypeSet(handlers, target, fresh);
        listen(target, type, (event) => callHandler(fresh.current, target, event));
      }
      assigned?.(target);
    },
  };
  const { get, set } = ObjectGetOwnPropertyDescriptor(attribute, "handler")!;
  ObjectDefineProperty(get!, "name", { value: `get on${type}`, configurable: true });
  ObjectDefineProperty(set!, "name", { value: `set on${type}`, configurable: true });
  ObjectDefineProperty(prototype, `on${type}`, { get, set, enumerable: true, configurable: true });
}

/** HTML, section 8.1.8.1: what a handler returns may cancel the event. */
function callHandler(handler: unknown, target: EventTarget, event: Event): void {
  if (typeof handler !== "function") return;
  if (isErrorEvent(event) && event.type === "error" && target === (globalThis as unknown)) {
    const given = [event.message, event.filename, event.lineno, event.colno, event.error];
    if (ReflectApply(handler, target, given) === true) cancelEvent(event);
  } else if (ReflectApply(handler, target, [event]) === false) {
    cancelEvent(event);
  }
}

/** Adds a listener of the runtime's own. */
export function listen(target: EventTarget, type: string, callback: (event: Event) => unknown): void {
  ReflectApply(addListener, target, [type, callback]);
}

export { stopAtOnce };
