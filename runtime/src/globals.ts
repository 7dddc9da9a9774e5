/** What a worker finds in its global object. */
import { expose, exposeFunction, requireArguments } from "./internal/webidl.ts";
import { ObjectDefineProperty, ObjectFreeze, PromisePrototypeThen, PromiseResolve } from "./internal/primordials.ts";
import { exposeLazy } from "./internal/parts.ts";
import { jobDone } from "./internal/jobs.ts";
import { reportException } from "./internal/report.ts";
import { AbortController, AbortSignal } from "./dom/abort.ts";
import { CloseEvent, CustomEvent, ErrorEvent, Event, EventTarget, MessageEvent, PromiseRejectionEvent } from "./dom/event.ts";
import { installGlobalEvents } from "./dom/global-events.ts";
import { DOMException, QuotaExceededError } from "./dom/exception.ts";
import { atob, btoa } from "./encoding/base64.ts";
import { TextDecoderStream, TextEncoderStream } from "./encoding/streams.ts";
import { TextDecoder, TextEncoder } from "./encoding/text.ts";
import { Blob, File } from "./fetch/blob.ts";
import { fetch } from "./fetch/fetch.ts";
import { failed, responded } from "./fetch/subrequest.ts";
import { FormData } from "./fetch/form-data.ts";
import { Headers } from "./fetch/headers.ts";
import { Request } from "./fetch/request.ts";
import { Response } from "./fetch/response.ts";
import { streamInterfaces } from "./streams/streams.ts";
import { readable } from "./streams/incoming.ts";
import { piped, writable } from "./streams/pump.ts";
import { beginTime, installClock, installTemporal } from "./time/clock.ts";
import { installScheduler } from "./time/scheduler.ts";
import { clearInterval, clearTimeout, setInterval, setTimeout, timerDue } from "./time/timers.ts";
import { URLSearchParams } from "./url/search-params.ts";
import { URL } from "./url/url.ts";
import { installWasm } from "./wasm.ts";
import { createConsole, setInspected } from "./console/console.ts";
import { installCrypto } from "./crypto.ts";
import { installNode } from "./worker/node-globals.ts";
import { installNavigator } from "./navigator.ts";
import { structuredClone } from "./structured-clone.ts";
import { builtin } from "./worker/builtins.ts";
import { aborted, dispatchFetch, dispatchScheduled, invoke } from "./worker/dispatch.ts";
import { ExecutionContext, ScheduledController } from "./worker/context.ts";
import { classic, init, startEnvironment } from "./worker/init.ts";
import { installScope } from "./worker/scope.ts";
import { socketClosed, socketMessage, socketWritable } from "./worker/sockets.ts";
import { rejectionHandled, unhandledRejection } from "./worker/rejections.ts";
import { warmUp } from "./worker/warm-up.ts";
import type { Entry } from "./ops.d.ts";

/** `Promise.resolve` would look at what user code makes of `constructor`. */
const RESOLVED = PromiseResolve(undefined);

function queueMicrotask(callback: () => void): void {
  requireArguments(arguments.length, 1, "queueMicrotask");
  if (typeof callback !== "function") throw new TypeError("queueMicrotask takes a function.");
  PromisePrototypeThen(RESOLVED, () => {
    try {
      callback();
    } catch (error) {
      reportException(error);
    }
  });
}

function reportError(error: unknown): void {
  requireArguments(arguments.length, 1, "reportError");
  reportException(error);
}

export function installGlobals(): void {
  const interfaces: Record<string, object> = {
    AbortController,
    AbortSignal,
    Blob,
    CloseEvent,
    CustomEvent,
    DOMException,
    ErrorEvent,
    Event,
    EventTarget,
    ExecutionContext,
    File,
    FormData,
    Headers,
    MessageEvent,
    PromiseRejectionEvent,
    QuotaExceededError,
    Request,
    Response,
    ScheduledController,
    TextDecoder,
    TextDecoderStream,
    TextEncoder,
    TextEncoderStream,
    URL,
    URLSearchParams,
    ...streamInterfaces,
  };
  for (const name in interfaces) {
    // The bundle's own identifiers are short.
    ObjectDefineProperty(interfaces[name]!, "name", { value: name, configurable: true });
    expose(name, interfaces[name]);
  }
  const functions: Record<string, Function> = {
    atob,
    btoa,
    clearInterval,
    clearTimeout,
    fetch,
    queueMicrotask,
    reportError,
    setInterval,
    setTimeout,
    structuredClone,
  };
  for (const name in functions) exposeFunction(name, functions[name]!);
  installScope();
  installGlobalEvents();
  installScheduler();
  installClock();
  installCrypto();
  installNavigator();
  expose("console", createConsole());
  exposeLazy("HTMLRewriter", "html-rewriter");
  exposeLazy("Cache", "cache");
  exposeLazy("CacheStorage", "cache");
  exposeLazy("caches", "cache");
  exposeLazy("EventSource", "eventsource");
  exposeLazy("ExtendableEvent", "service-worker");
  exposeLazy("FetchEvent", "service-worker");
  exposeLazy("ScheduledEvent", "service-worker");
  exposeLazy("WebSocket", "websocket");
  exposeLazy("WebSocketPair", "websocket");
  exposeLazy("CompressionStream", "compression");
  exposeLazy("DecompressionStream", "compression");
  exposeLazy("MessageChannel", "messaging");
  exposeLazy("MessagePort", "messaging");
  exposeLazy("URLPattern", "url-pattern");
  ObjectDefineProperty(globalThis, "self", { value: globalThis, writable: true, enumerable: true, configurable: true });
  // `SharedArrayBuffer` and `Atomics` go when a context is made: V8 looks for them while it reads the snapshot.
}

/** Leaves the entry points where the host takes them from. */
export function deliverEntry(): void {
  const entry: Entry = {
    start: (env, switches) => {
      installTemporal();
      installWasm();
      beginTime();
      startEnvironment(env);
      installNode(switches ?? 0, env ?? "[]");
    },
    init,
    classic,
    builtin,
    fetch: dispatchFetch,
    invoke,
    scheduled: dispatchScheduled,
    timer: timerDue,
    readable,
    writable: (key) => {
      writable(key);
      socketWritable(key);
    },
    piped,
    aborted,
    response: (key, status, _statusText, head) => responded(key, status, head),
    failed,
    jobDone,
    socketMessage,
    socketClosed,
    inspected: setInspected,
    warmUp,
    unhandledRejection,
    rejectionHandled,
  };
  ObjectDefineProperty(globalThis, "__selvedge", { value: ObjectFreeze(entry), configurable: true });
}
