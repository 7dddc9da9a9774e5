/** `fetch`: subrequests, carried out by the host on behalf of the current request. */
import {
  PromiseReject,
  StringPrototypeIndexOf,
  StringPrototypeSlice,
  StringPrototypeStartsWith,
  StringPrototypeToLowerCase,
} from "../internal/primordials.ts";
import type { AbortSignal } from "../dom/abort.ts";
import type { Head, Key } from "../ops.d.ts";
import * as ops from "../host.ts";
import { loadPart } from "../internal/parts.ts";
import { IncomingBody } from "../streams/incoming.ts";
import { knownLength } from "../streams/identity.ts";
import { PumpStopped, pump, stopPump } from "../streams/pump.ts";
import { readableOf } from "../streams/readable-stream.ts";
import { cancelQuietly, isReadableStream, openReader, type ReadableStream } from "../streams/streams.ts";
import { parseHref } from "../url/url.ts";
import { type Encoding, encodingIn } from "./encoding.ts";
import { alreadyUsed, isUnusable, type RawBody } from "./body.ts";
import { copyHeaders, fromHead, type Headers, peek, removeAll, toHead, withLength } from "./headers.ts";
import { markRequestUsed, partsOf, Request } from "./request.ts";
import { fromFetch, isNullBodyStatus, type Response, setWebSocket } from "./response.ts";
import { type Answer, leavePlace, Subrequest, takePlace } from "./subrequest.ts";

/** See the Fetch Standard, "HTTP-redirect fetch". */
const REDIRECTS_MAX = 20;
/** Left out when a redirection turns the request into one without a body. */
const BODY_HEADERS = ["content-type", "content-length", "content-encoding", "content-language", "content-location"];
/** Left out when a redirection leads to another origin. */
const SECRET_HEADERS = ["authorization", "cookie", "host", "proxy-authorization"];

function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}

/** The header list as it is sent: what the runtime decodes is asked for, and the length of what is known is told. */
function outgoing(headers: Headers, body: RawBody): Head {
  let more = peek(headers, "accept") === null ? "accept\0*/*\0" : "";
  if (peek(headers, "accept-encoding") === null) {
    // Parts of an encoded body cannot be decoded.
    more += peek(headers, "range") === null ? "accept-encoding\0gzip, br\0" : "accept-encoding\0identity\0";
  }
  return lengthTold(toHead(headers) + more, headers, body);
}

/** The head with the body's length, where that is known. */
function lengthTold(head: Head, headers: Headers, body: RawBody): Head {
  let length: number | undefined;
  if (typeof body === "string") length = ops.utf8Length(body);
  else if (body instanceof Uint8Array) length = body.length;
  else if (isReadableStream(body)) length = knownLength(readableOf(body));
  if (length === undefined) return head;
  return peek(headers, "content-length") === null ? `${head}content-length\0${length}\0` : withLength(head, length);
}

/** Begins a subrequest; `body` is not used. */
function begin(
  owner: Key,
  method: string,
  url: string,
  headers: Headers,
  body: RawBody,
  signal: AbortSignal | undefined,
  target: Target | undefined,
): Subrequest {
  // Who waited may have been called on another request's behalf.
  if (ops.currentRequest() !== owner) ops.setCurrentRequest(owner);
  let key: Key;
  try {
    key =
      target === undefined
        ? ops.fetchStart(method, url, outgoing(headers, body), body !== null)
        : ops.bindingCall(target.binding, target.props, method, url, lengthTold(toHead(headers), headers, body), body !== null);
  } catch (error) {
    leavePlace(owner);
    throw error;
  }
  const call = new Subrequest(key, owner, signal);
  if (typeof body === "string" || body instanceof Uint8Array) {
    ops.bodyWrite(key, body);
    ops.bodyEnd(key);
  } else if (body !== null) {
    void upload(call, body as IncomingBody | ReadableStream<unknown>, encodingIn(toHead(headers)));
  }
  return call;
}

async function upload(
  call: Subrequest,
  source: IncomingBody | ReadableStream<unknown>,
  encoding: Encoding | undefined,
): Promise<void> {
  try {
    await pump(call.key, source, encoding);
  } catch (error) {
    // Stopped pumps were stopped by what has told the caller already.
    if (!(error instanceof PumpStopped)) call.cancel(error);
  }
}

async function run(request: Request, to?: Target): Promise<Response> {
  const parts = partsOf(request);
  let { method, url } = request;
  let body = parts.raw;
  const signal = parts.signal;
  if (signal?.aborted) {
    const { reason } = signal;
    if (isReadableStream(body) && !isUnusable(body)) cancelQuietly(openReader(body), reason);
    throw reason;
  }
  if (isUnusable(body)) throw alreadyUsed();
  if (to === undefined && StringPrototypeStartsWith(url, "data:")) {
    return loadPart<typeof import("../parts/data-url.ts")>("data-url").fetchDataUrl(url, method);
  }
  if (!isHttp(url)) throw new TypeError(`fetch supports http, https and data URLs only: ${url}`);
  markRequestUsed(request);
  let headers = parts.headers;
  if (StringPrototypeToLowerCase(peek(headers, "upgrade") ?? "") === "websocket") {
    return fetchSocket(method, url, headers, signal, to);
  }
  let redirected = false;
  const owner = ops.currentRequest();
  for (let hops = 0; ; hops++) {
    const turn = takePlace(owner);
    if (turn !== undefined) {
      await turn;
      if (signal?.aborted) {
        leavePlace(owner);
        throw signal.reason;
      }
    }
    const answer = await begin(owner, method, url, headers, body, signal, to).answer;
    const { call, status, head } = answer;
    const location = isRedirect(status) && request.redirect !== "manual" ? peek(fromHead(head, true), "location") : null;
    if (location === null) {
      const response = toResponse(answer, method, url, redirected);
      const { integrity } = parts;
      if (integrity === "") return response;
      const { checked } = loadPart<typeof import("../parts/integrity.ts")>("integrity");
      return checked(response, integrity, (bytes) => fromFetch(status, head, bytes, response.url, redirected));
    }

    call.over();
    stopPump(call.key, undefined);
    ops.fetchCancel(call.key);
    if (request.redirect === "error") throw new TypeError(`The response from ${url} is a redirection.`);
    if (hops >= REDIRECTS_MAX) throw new TypeError("Too many redirections.");
    const target = parseHref(location, url);
    if (target === undefined || !isHttp(target)) throw new TypeError(`Invalid redirection: ${location}`);
    const changesMethod =
      status === 303 ? method !== "GET" && method !== "HEAD" : (status === 301 || status === 302) && method === "POST";
    headers = copyHeaders(headers);
    if (changesMethod) {
      method = "GET";
      body = null;
      removeAll(headers, BODY_HEADERS);
    } else if (body !== null && typeof body !== "string" && !(body instanceof Uint8Array)) {
      throw new TypeError("A redirection asks for the body again, but it was a stream.");
    }
    if (originOf(target) !== originOf(url)) {
      removeAll(headers, SECRET_HEADERS);
    }
    url = target;
    redirected = true;
  }
}

/** Asks for a WebSocket; its answer may be another one. */
async function fetchSocket(
  method: string,
  url: string,
  headers: Headers,
  signal: AbortSignal | undefined,
  to: Target | undefined,
): Promise<Response> {
  if (method !== "GET") throw new TypeError("A request for a WebSocket must be a GET.");
  const answer = await socketAnswer(url, toHead(headers), signal, () => {}, to);
  const { call, status, head } = answer;
  if (status !== 101) return toResponse(answer, method, url, false);
  call.over();
  const response = fromFetch(status, head, null, url, false);
  setWebSocket(response, loadPart<typeof import("../parts/websocket.ts")>("websocket").ofStream(call.key, call.owner));
  return response;
}

/** The answer to a subrequest for a WebSocket, outside or to what a binding stands for; `began` gets it before. */
export async function socketAnswer(
  url: string,
  head: Head,
  signal: AbortSignal | undefined,
  began: (call: Subrequest) => void,
  to?: Target,
): Promise<Answer> {
  const owner = ops.currentRequest();
  const turn = takePlace(owner);
  if (turn !== undefined) await turn;
  if (ops.currentRequest() !== owner) ops.setCurrentRequest(owner);
  let key: Key;
  try {
    if (signal?.aborted) throw signal.reason;
    key =
      to === undefined
        ? ops.socketOpen(url, head)
        : ops.bindingCall(to.binding, to.props, "GET", url, head, true, true);
  } catch (error) {
    leavePlace(owner);
    throw error;
  }
  const call = new Subrequest(key, owner, signal);
  began(call);
  return await call.answer;
}

function isHttp(url: string): boolean {
  return StringPrototypeStartsWith(url, "http:") || StringPrototypeStartsWith(url, "https:");
}

/** Of a serialised http or https URL. */
function originOf(url: string): string {
  const end = StringPrototypeIndexOf(url, "/", 8);
  return end < 0 ? url : StringPrototypeSlice(url, 0, end);
}

function toResponse({ call, status, head }: Answer, method: string, url: string, redirected: boolean): Response {
  const fragment = StringPrototypeIndexOf(url, "#");
  if (fragment >= 0) url = StringPrototypeSlice(url, 0, fragment);
  if (method === "HEAD" || isNullBodyStatus(status)) {
    call.over();
    ops.bodyCancel(call.key);
    return fromFetch(status, head, null, url, redirected);
  }
  const body = new IncomingBody(call.key, () => call.over());
  body.encoding = encodingIn(head);
  return fromFetch(status, head, body, url, redirected);
}

/** What stands behind a name in `env`: see `Ops.bindingCall`. */
export interface Target {
  binding: string;
  props: string;
}

/** `fetch` of a binding. */
export function fetchFrom(target: Target, input: unknown, init?: object): Promise<Response> {
  try {
    return run(new Request(input, init), target);
  } catch (error) {
    return PromiseReject(error);
  }
}

export function fetch(input: unknown, init?: object): Promise<Response> {
  try {
    if (arguments.length === 0) throw new TypeError("fetch takes an argument.");
    return run(new Request(input, init));
  } catch (error) {
    return PromiseReject(error);
  }
}
