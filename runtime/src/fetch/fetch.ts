/** `fetch`: subrequests, carried out by the host on behalf of the current request. */
import {
  PromiseReject,
  StringPrototypeIndexOf,
  StringPrototypeSlice,
  StringPrototypeStartsWith,
} from "../internal/primordials.ts";
import type { AbortSignal } from "../dom/abort.ts";
import type { Head, Key } from "../ops.d.ts";
import * as ops from "../host.ts";
import { loadPart } from "../internal/parts.ts";
import { IncomingBody } from "../streams/incoming.ts";
import { PumpStopped, pump, stopPump } from "../streams/pump.ts";
import type { ReadableStream } from "../streams/streams.ts";
import { parseHref } from "../url/url.ts";
import { alreadyUsed, isUnusable, type RawBody } from "./body.ts";
import { copyHeaders, fromHead, type Headers, peek, removeAll, toHead } from "./headers.ts";
import { markRequestUsed, partsOf, Request } from "./request.ts";
import { fromFetch, isNullBodyStatus, type Response } from "./response.ts";
import { type Answer, leavePlace, Subrequest, takePlace } from "./subrequest.ts";

/** See the Fetch Standard, "HTTP-redirect fetch". */
const REDIRECTS_MAX = 20;
/** Left out when a redirection turns the request into one without a body. */
const BODY_HEADERS = ["content-type", "content-length", "content-encoding", "content-language", "content-location"];
/** Left out when a redirection leads to another origin. */
const SECRET_HEADERS = ["authorization", "cookie", "host", "proxy-authorization"];
<<<<<<< HEAD
const LENGTH = ["content-length"];
=======

/** The head of a response to a subrequest. */
interface Answer {
  call: Subrequest;
  status: number;
  head: Head;
}

/** Subrequests that are not over: until their response has been read, given up or failed. */
const calls = new NativeMap<Key, Subrequest>();
const owned = new Owned();

class Subrequest {
  readonly key: Key;
  readonly owner: Key = ops.currentRequest();
  readonly signal: AbortSignal | undefined;
  readonly answer: Promise<Answer>;
  #resolve!: (answer: Answer) => void;
  #reject!: (error: unknown) => void;
  readonly #stop = () => this.cancel(this.signal!.reason);

  constructor(key: Key, signal: AbortSignal | undefined) {
    this.key = key;
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
    this.#resolve({ call: this, status, head });
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
  }
}

function callOf(key: Key): Subrequest | undefined {
  return MapPrototypeGet(calls, key) as Subrequest | undefined;
}

/** The host says that the head of a response arrived. */
export function responded(key: Key, status: number, head: Head): void {
  callOf(key)?.responded(status, head);
}

/** The host says that there will be no response. */
export function failed(key: Key, code: string, message: string): void {
  const call = callOf(key);
  if (call === undefined) return;
  const error = new TypeError(message === "" ? "The subrequest failed." : message);
  ObjectDefineProperty(error, "code", { value: code, writable: true, configurable: true });
  call.failed(error);
}

/** The request is over; the host has broken its subrequests off. Who still waits for one waits for ever. */
export function dropSubrequests(owner: Key): void {
  const keys = owned.take(owner);
  for (let i = 0; keys !== undefined && i < keys.length; i++) {
    const call = callOf(keys[i]!);
    call?.over();
    stopPump(keys[i]!, undefined);
    endBody(keys[i]!);
  }
}
>>>>>>> 7a8e2aa (Own the stream classes, and move bodies that only pass through without JavaScript)

function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}

/** The header list as it is sent: what the runtime decodes is asked for, and the length of what is known is told. */
function outgoing(headers: Headers, body: RawBody): Head {
  let more = "";
  if (peek(headers, "accept-encoding") === null) {
    // Parts of an encoded body cannot be decoded.
    more = peek(headers, "range") === null ? "accept-encoding\0gzip, br\0" : "accept-encoding\0identity\0";
  }
  if (typeof body === "string" || body instanceof Uint8Array) {
    if (peek(headers, "content-length") !== null) removeAll((headers = copyHeaders(headers)), LENGTH);
    const length = typeof body === "string" ? ops.utf8Length(body) : body.length;
    more += `content-length\0${length}\0`;
  }
  return toHead(headers) + more;
}

/** Begins a subrequest; `body` is not used. */
function begin(
  owner: Key,
  method: string,
  url: string,
  headers: Headers,
  body: RawBody,
  signal: AbortSignal | undefined,
): Subrequest {
  // Who waited may have been called on another request's behalf.
  if (ops.currentRequest() !== owner) ops.setCurrentRequest(owner);
  let key: Key;
  try {
    key = ops.fetchStart(method, url, outgoing(headers, body), body !== null);
  } catch (error) {
    leavePlace(owner);
    throw error;
  }
  const call = new Subrequest(key, owner, signal);
  if (typeof body === "string" || body instanceof Uint8Array) {
    ops.bodyWrite(key, body);
    ops.bodyEnd(key);
  } else if (body !== null) {
    void upload(call, body as IncomingBody | ReadableStream<unknown>);
  }
  return call;
}

async function upload(call: Subrequest, source: IncomingBody | ReadableStream<unknown>): Promise<void> {
  try {
    await pump(call.key, source);
  } catch (error) {
    // Stopped pumps were stopped by what has told the caller already.
    if (!(error instanceof PumpStopped)) call.cancel(error);
  }
}

async function run(request: Request): Promise<Response> {
  const parts = partsOf(request);
  let { method, url } = request;
  let body = parts.raw;
  const signal = parts.signal;
  if (signal?.aborted) throw signal.reason;
  if (isUnusable(body)) throw alreadyUsed();
  if (StringPrototypeStartsWith(url, "data:")) {
    return loadPart<typeof import("../parts/data-url.ts")>("data-url").fetchDataUrl(url, method);
  }
  if (!isHttp(url)) throw new TypeError(`fetch supports http, https and data URLs only: ${url}`);
  markRequestUsed(request);
  let headers = parts.headers;
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
    const answer = await begin(owner, method, url, headers, body, signal).answer;
    const { call, status, head } = answer;
    const location = isRedirect(status) && request.redirect !== "manual" ? peek(fromHead(head, true), "location") : null;
    if (location === null) return toResponse(answer, method, url, redirected);

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
  return fromFetch(status, head, body, url, redirected);
}

export function fetch(input: unknown, init?: object): Promise<Response> {
  try {
    if (arguments.length === 0) throw new TypeError("fetch takes an argument.");
    return run(new Request(input, init));
  } catch (error) {
    return PromiseReject(error);
  }
}
