/** Calls the worker's handlers and sends off what they give. */
import { ArrayIsArray } from "../internal/primordials.ts";
import { INTERNAL } from "../internal/webidl.ts";
import { loadPart } from "../internal/parts.ts";
import { describe } from "../internal/report.ts";
import { alreadyUsed, CONSUMED, isUnusable } from "../fetch/body.ts";
import { type Encoding, encodingIn } from "../fetch/encoding.ts";
import { withLength } from "../fetch/headers.ts";
import { newIncoming } from "../fetch/request.ts";
import { headOf, isEncoded, isResponse, markUsed, rawBodyOf, type Response, statusOf, webSocketOf } from "../fetch/response.ts";
import { IncomingBody } from "../streams/incoming.ts";
import { findBody } from "../streams/native.ts";
import { PumpStopped, pump } from "../streams/pump.ts";
import { knownLength } from "../streams/identity.ts";
import { readableOf } from "../streams/readable-stream.ts";
import { type ReadableStream, streamOf } from "../streams/streams.ts";
import type { Head, Key } from "../ops.d.ts";
import * as ops from "../host.ts";
import {
  abortContext,
  activeContext,
  ExecutionContext,
  failRequest,
  finishResponse,
  isOver,
  keyOf,
  respondWhole,
  ScheduledController,
} from "./context.ts";
import { environment, fetchEntrypoint, handlers, makeEntrypoint } from "./init.ts";

type WebSocketPart = typeof import("../parts/websocket.ts");

/** An HTTP request arrived. Everything on the way of a short answer is in this function and in `send`. */
export function dispatchFetch(
  key: Key,
  method: string,
  url: string,
  head: Head,
  hasBody: boolean,
  http2: boolean,
): void {
  const request = newIncoming(key, method, url, head, hasBody, http2);
  const context = new ExecutionContext(INTERNAL, key, request);
  let result: unknown;
  try {
    result = (handlers.fetch ?? noFetch)(request, environment, context);
  } catch (error) {
    threw(context, error);
    return;
  }
  if (isResponse(result)) send(context, result);
  else settle(context, result);
}

async function settle(context: ExecutionContext, result: unknown): Promise<void> {
  let response: unknown;
  try {
    response = await result;
  } catch (error) {
    threw(context, error);
    return;
  }
  if (isResponse(response)) send(context, response);
  else noResponse(context, response);
}

function send(context: ExecutionContext, response: Response): void {
  const raw = rawBodyOf(response);
  if (typeof raw === "string") {
    const head = headOf(response);
    if (encodingIn(head) !== undefined && raw !== "" && !isEncoded(response)) {
      markUsed(response);
      void stream(context, response, streamOf(ops.encodeUtf8(raw)));
      return;
    }
    markUsed(response);
    respondWhole(context, statusOf(response), head, raw);
  } else {
    sendOther(context, response);
  }
}

function sendOther(context: ExecutionContext, response: Response): void {
  const raw = rawBodyOf(response);
  const status = statusOf(response);
  const socket = webSocketOf(response);
  if (socket !== null) {
    try {
      loadPart<WebSocketPart>("websocket").answer(context, response, socket);
    } catch (error) {
      threw(context, error);
    }
  } else if (status === 0) {
    failRequest(context, "no_response", "The handler gave Response.error().", "");
  } else if (raw === CONSUMED || isUnusable(raw)) {
    threw(context, alreadyUsed());
  } else if (raw === null) {
    respondWhole(context, status, headOf(response), undefined);
  } else if (raw instanceof Uint8Array) {
    const head = headOf(response);
    const encoding = encodingIn(head);
    markUsed(response);
    if (encoding !== undefined && raw.length > 0 && !isEncoded(response) && !looksEncoded(raw, encoding)) {
      void stream(context, response, streamOf(raw as Uint8Array<ArrayBuffer>));
    } else {
      respondWhole(context, status, head, raw);
    }
  } else {
    void stream(context, response, raw as IncomingBody | ReadableStream<unknown>);
  }
}

/** Workers encode what a response's header says; other platforms' workers do it themselves, which gzip's first bytes show. */
function looksEncoded(bytes: Uint8Array, encoding: Encoding): boolean {
  return encoding === "gzip" && bytes[0] === 0x1f && bytes[1] === 0x8b;
}

/** The body as the response's head says that it is encoded. */
function encoded(source: IncomingBody | ReadableStream<unknown>, encoding: Encoding): IncomingBody | ReadableStream<unknown> {
  const body = source instanceof IncomingBody ? source : findBody(readableOf(source));
  if (body !== undefined && body.encoding === encoding && body.canMove(encoding)) return source;
  const plain = source instanceof IncomingBody ? source.toStream() : source;
  return loadPart<typeof import("../parts/encodings.ts")>("encodings").encode(plain, encoding);
}

async function stream(
  context: ExecutionContext,
  response: Response,
  source: IncomingBody | ReadableStream<unknown>,
): Promise<void> {
  const key = keyOf(context);
  if (isOver(context)) return;
  try {
    const head = headOf(response);
    const encoding = encodingIn(head);
    const asItIs = encoding === undefined || isEncoded(response);
    const length = asItIs && !(source instanceof IncomingBody) ? knownLength(readableOf(source)) : undefined;
    ops.respondStream(key, statusOf(response), length === undefined ? head : withLength(head, length));
    const body = asItIs ? source : encoded(source, encoding);
    const sent = pump(key, body, encoding);
    // A stream keeps its own account of being used.
    if (source instanceof IncomingBody) markUsed(response);
    await sent;
  } catch (error) {
    // When the client went away there is nobody to tell.
    if (!(error instanceof PumpStopped)) {
      const { message, stack } = describe(error);
      ops.exception(message, stack);
      ops.bodyAbort(key, message);
    }
  }
  finishResponse(context);
}

function threw(context: ExecutionContext, error: unknown): void {
  const { message, stack } = describe(error);
  failRequest(context, "exception", message, stack);
}

function noResponse(context: ExecutionContext, value: unknown): void {
  const what = value === null ? "null" : ArrayIsArray(value) ? "an array" : typeof value;
  failRequest(context, "no_response", `The handler must return a Response, but it returned ${what}.`, "");
}

function noFetch(): never {
  throw new TypeError("The default export has no fetch handler.");
}

/** Another worker calls; see `Entry.invoke`. */
export function invoke(
  key: Key,
  method: string,
  url: string,
  head: Head,
  hasBody: boolean,
  entrypoint: string,
  props: string,
): void {
  const isSession = method === "";
  const request = isSession ? undefined : newIncoming(key, method, url, head, hasBody, false);
  const context = new ExecutionContext(INTERNAL, key, request, props);
  let result: unknown;
  try {
    if (isSession) {
      const target = makeEntrypoint(entrypoint, context);
      loadPart<typeof import("../parts/rpc.ts")>("rpc").serveSession(key, target, environment, context);
      return;
    }
    result = fetchEntrypoint(entrypoint, request, context);
  } catch (error) {
    threw(context, error);
    return;
  }
  void settle(context, result);
}

/** A schedule is due. */
export function dispatchScheduled(key: Key, cron: string, time: number): void {
  const context = new ExecutionContext(INTERNAL, key, undefined);
  const handler = handlers.scheduled;
  if (handler === undefined) {
    failRequest(context, "no_response", "The worker has no scheduled handler.", "");
    return;
  }
  void runScheduled(context, handler, new ScheduledController(INTERNAL, cron, time));
}

async function runScheduled(context: ExecutionContext, handler: Function, controller: ScheduledController): Promise<void> {
  try {
    await handler(controller, environment, context);
  } catch (error) {
    threw(context, error);
    return;
  }
  finishResponse(context);
}

/** The client went away, or the request's time is up. */
export function aborted(key: Key, reason: string): void {
  const context = activeContext(key);
  if (context !== undefined) abortContext(context, reason);
}
