/** `fetch`: subrequests, carried out by the host on behalf of the current request. */
import {
  MapPrototypeDelete,
  MapPrototypeGet,
  MapPrototypeSet,
  NativeMap,
  NativePromise,
  ObjectDefineProperty,
  PromiseReject,
  StringPrototypeIndexOf,
  StringPrototypeSlice,
  StringPrototypeStartsWith,
} from "../internal/primordials.ts";
import { type AbortSignal, offAbort, onAbort } from "../dom/abort.ts";
import type { Head, Key } from "../ops.d.ts";
import * as ops from "../host.ts";
import { breakBody, IncomingBody } from "../streams/incoming.ts";
import { pump, stopPump } from "../streams/pump.ts";
import { ReadableStream } from "../streams/streams.ts";
import { parseHref } from "../url/url.ts";
import { alreadyUsed, isUnusable, type RawBody } from "./body.ts";
import { copyHeaders, fromHead, type Headers, peek, removeAll, toHead } from "./headers.ts";
import { markRequestUsed, partsOf, Request } from "./request.ts";
import { fromFetch, isNullBodyStatus, type Response } from "./response.ts";

const REDIRECTS_MAX = 20;
/** Left out when a redirection turns the request into one without a body. */
const BODY_HEADERS = ["content-type", "content-length", "content-encoding", "content-language", "content-location"];
/** Left out when a redirection leads to another origin. */
const SECRET_HEADERS = ["authorization", "cookie", "host", "proxy-authorization"];

/** The head of a response to a subrequest. */
interface Answer {
  key: Key;
  status: number;
  head: Head;
}

/** Subrequests whose response's head has not come. */
const waiting = new NativeMap<Key, { resolve(answer: Answer): void; reject(error: unknown): void }>();

/** The host says that the head of a response arrived. */
export function responded(key: Key, status: number, head: Head): void {
  const call = MapPrototypeGet(waiting, key);
  if (call === undefined) return;
  MapPrototypeDelete(waiting, key);
  call.resolve({ key, status, head });
}

/** The host says that there will be no response. */
export function failed(key: Key, code: string, message: string): void {
  const error = new TypeError(message === "" ? "The subrequest failed." : message);
  ObjectDefineProperty(error, "code", { value: code, writable: true, configurable: true });
  stopPump(key, error);
  const call = MapPrototypeGet(waiting, key);
  if (call === undefined) return;
  MapPrototypeDelete(waiting, key);
  call.reject(error);
}

function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}

/** One exchange; `body` is neither null nor used. */
function exchange(
  method: string,
  url: string,
  headers: Headers,
  body: RawBody,
  signal: AbortSignal | undefined,
): Promise<Answer> {
  const key = ops.fetchStart(method, url, toHead(headers), body !== null);
  if (typeof body === "string" || body instanceof Uint8Array) {
    ops.bodyWrite(key, body);
    ops.bodyEnd(key);
  } else if (body !== null) {
    upload(key, body as IncomingBody | ReadableStream<unknown>);
  }
  return new NativePromise((resolve, reject) => {
    if (signal === undefined) {
      MapPrototypeSet(waiting, key, { resolve, reject });
      return;
    }
    const stop = () => {
      const { reason } = signal;
      MapPrototypeDelete(waiting, key);
      stopPump(key, reason);
      breakBody(key, reason);
      ops.fetchCancel(key);
      reject(reason);
    };
    onAbort(signal, stop);
    aborters.set(key, () => offAbort(signal, stop));
    MapPrototypeSet(waiting, key, { resolve, reject });
  });
}

/** What takes the abort steps of a subrequest back. */
const aborters = {
  map: new NativeMap<Key, () => void>(),
  set(key: Key, release: () => void) {
    MapPrototypeSet(this.map, key, release);
  },
  release(key: Key) {
    const release = MapPrototypeGet(this.map, key) as (() => void) | undefined;
    if (release === undefined) return;
    MapPrototypeDelete(this.map, key);
    release();
  },
};

async function upload(key: Key, source: IncomingBody | ReadableStream<unknown>): Promise<void> {
  try {
    await pump(key, source);
  } catch (error) {
    const call = MapPrototypeGet(waiting, key);
    if (call === undefined) return;
    MapPrototypeDelete(waiting, key);
    ops.fetchCancel(key);
    call.reject(error);
  }
}

async function run(request: Request): Promise<Response> {
  const parts = partsOf(request);
  let { method, url } = request;
  let body = parts.raw;
  const signal = parts.signal;
  if (signal?.aborted) throw signal.reason;
  if (isUnusable(body)) throw alreadyUsed();
  if (!isHttp(url)) throw new TypeError(`fetch supports http and https only: ${url}`);
  markRequestUsed(request);
  let headers = parts.headers;
  let redirected = false;
  for (let hops = 0; ; hops++) {
    const answer = await exchange(method, url, headers, body, signal);
    const { key, status, head } = answer;
    const location = isRedirect(status) && request.redirect !== "manual" ? peek(fromHead(head, true), "location") : null;
    if (location === null) return toResponse(answer, method, url, redirected);

    aborters.release(key);
    ops.fetchCancel(key);
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

function toResponse({ key, status, head }: Answer, method: string, url: string, redirected: boolean): Response {
  if (method === "HEAD" || isNullBodyStatus(status)) {
    aborters.release(key);
    ops.bodyCancel(key);
    return fromFetch(status, head, null, url, redirected);
  }
  const body = new IncomingBody(key, () => aborters.release(key));
  const fragment = StringPrototypeIndexOf(url, "#");
  return fromFetch(status, head, body, fragment < 0 ? url : StringPrototypeSlice(url, 0, fragment), redirected);
}

export function fetch(input: unknown, init?: object): Promise<Response> {
  try {
    if (arguments.length === 0) throw new TypeError("fetch takes an argument.");
    return run(new Request(input, init));
  } catch (error) {
    return PromiseReject(error);
  }
}

