/** The Cache API as Workers has it: `caches.default` and `caches.open(name)`. The engine keeps what is stored. */
import {
  JSONStringify,
  MapPrototypeGet,
  MapPrototypeSet,
  NativeMap,
  StringPrototypeStartsWith,
  uncurryGetter,
} from "../internal/primordials.ts";
import { finishInterface, illegalConstructor, INTERNAL, requireArguments, toUSVString } from "../internal/webidl.ts";
import { alreadyUsed, isUnusable } from "../fetch/body.ts";
import { fetchFrom } from "../fetch/fetch.ts";
import { type Headers, peek, toHead } from "../fetch/headers.ts";
import { isRequest, Request } from "../fetch/request.ts";
import { isResponse, rawBodyOf, Response, statusOf } from "../fetch/response.ts";

interface QueryOptions {
  ignoreMethod?: boolean;
}

/** In front of a cache's name where it is called like a binding. */
const CACHE = "!";
const MISS = "x-selvedge-cache-miss";

const headersOf = uncurryGetter<Headers>(Response.prototype, "headers");
const bodyOf = uncurryGetter<object | null>(Response.prototype, "body");
const requestHeadersOf = uncurryGetter<Headers>(Request.prototype, "headers");
const urlOf = uncurryGetter<string>(Request.prototype, "url");
const methodOf = uncurryGetter<string>(Request.prototype, "method");

function toRequest(input: unknown): Request {
  const request = isRequest(input) ? input : new Request(toUSVString(input));
  if (!StringPrototypeStartsWith(urlOf(request), "http")) throw new TypeError("A cache stores answers to http and https addresses only.");
  return request;
}

export class Cache {
  readonly #binding: string;

  constructor(token: unknown, name: string) {
    illegalConstructor(token);
    this.#binding = CACHE + name;
  }

  /** The stored response that answers the request, if it is fresh. */
  async match(input: unknown, options?: QueryOptions): Promise<Response | undefined> {
    requireArguments(arguments.length, 1, "match");
    const request = toRequest(input);
    if (methodOf(request) !== "GET" && !options?.ignoreMethod) return undefined;
    const answer = await this.#call("GET", request, {});
    if (peek(headersOf(answer), MISS) !== null) return undefined;
    return answer;
  }

  /** Stores a response for as long as its fields say. */
  async put(input: unknown, response: Response): Promise<void> {
    requireArguments(arguments.length, 2, "put");
    const request = toRequest(input);
    if (methodOf(request) !== "GET") throw new TypeError("A cache stores answers to GET only.");
    if (!isResponse(response)) throw new TypeError("put takes a Response.");
    if (isUnusable(rawBodyOf(response))) throw alreadyUsed();
    const body = bodyOf(response);
    const status = statusOf(response);
    if (status === 206) throw new TypeError("A response with status 206 cannot be cached.");
    await this.#call("PUT", request, { method: "PUT", headers: headersOf(response), body, duplex: "half" }, status);
  }

  /** Whether something was stored and is not any more. */
  async delete(input: unknown, options?: QueryOptions): Promise<boolean> {
    requireArguments(arguments.length, 1, "delete");
    const request = toRequest(input);
    if (methodOf(request) !== "GET" && !options?.ignoreMethod) return false;
    return statusOf(await this.#call("DELETE", request, { method: "DELETE" })) === 204;
  }

  async #call(method: string, request: Request, init: object, status = 0): Promise<Response> {
    const props = JSONStringify({ status, request: toHead(requestHeadersOf(request)) });
    return await fetchFrom({ binding: this.#binding, props }, urlOf(request), { method, redirect: "manual", ...init });
  }
}
finishInterface(Cache, "Cache");

const named = new NativeMap<string, Cache>();

export class CacheStorage {
  readonly #default = new Cache(INTERNAL, "default");

  constructor(token: unknown) {
    illegalConstructor(token);
  }

  /** The cache that needs no name. */
  get default(): Cache {
    return this.#default;
  }

  /** A cache by name. */
  async open(name: string): Promise<Cache> {
    requireArguments(arguments.length, 1, "open");
    const key = `:${name}`;
    let cache = MapPrototypeGet(named, key) as Cache | undefined;
    if (cache === undefined) {
      cache = new Cache(INTERNAL, key);
      MapPrototypeSet(named, key, cache);
    }
    return cache;
  }
}
finishInterface(CacheStorage, "CacheStorage");

export const caches = new CacheStorage(INTERNAL);
