/** `Request`: those that arrive, made to cost little until they are looked into, and those that a worker makes. */
import { ArrayPrototypeIndexOf, ObjectAssign, RegExpPrototypeExec, StringPrototypeToUpperCase } from "../internal/primordials.ts";
import { finishInterface, INTERNAL, requireArguments, toDictionary, toUSVString } from "../internal/webidl.ts";
import { abortSignal, type AbortSignal, following, isAbortSignal, newSignal } from "../dom/abort.ts";
import { IncomingBody } from "../streams/incoming.ts";
import { isReadableStream, moveStream } from "../streams/streams.ts";
import { hrefOf, parseHref, URL } from "../url/url.ts";
import { isPlainUrl } from "../url/plain.ts";
import type { Head, Key } from "../ops.d.ts";
import { alreadyUsed, cloneBody, CONSUMED, extractBody, extractedType, installBody, isUnusable, type RawBody } from "./body.ts";
import { addDefault, copyHeaders, fill, fromHead, Headers, peek } from "./headers.ts";

export interface RequestInit {
  method: string;
  headers: unknown;
  body: unknown;
  redirect: string;
  signal: AbortSignal | null;
  cache: string;
  credentials: string;
  integrity: string;
  keepalive: boolean;
  mode: string;
  referrer: string;
  referrerPolicy: string;
  duplex: string;
  priority: string;
  window: null;
  cf: object;
}

/** The parts that mean nothing here but can be asked for. */
interface Extra {
  redirect: string;
  cache: string;
  credentials: string;
  integrity: string;
  keepalive: boolean;
  mode: string;
  referrer: string;
  referrerPolicy: string;
}

const DEFAULTS: Extra = {
  redirect: "follow",
  cache: "default",
  credentials: "same-origin",
  integrity: "",
  keepalive: false,
  mode: "cors",
  referrer: "about:client",
  referrerPolicy: "",
};
/** Of requests that arrive: what they are answered with goes back as it is. */
const INCOMING: Extra = { ...DEFAULTS, redirect: "manual" };

const NORMALIZED = ["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"];
const TOKEN_ONLY = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

function toMethod(value: unknown): string {
  const method = `${value as string}`;
  const upper = StringPrototypeToUpperCase(method);
  for (let i = 0; i < NORMALIZED.length; i++) if (NORMALIZED[i] === upper) return upper;
  if (RegExpPrototypeExec(TOKEN_ONLY, method) === null) throw new TypeError(`Invalid method: ${method}`);
  if (upper === "CONNECT" || upper === "TRACE" || upper === "TRACK") throw new TypeError(`The method ${upper} is forbidden.`);
  return method;
}

let newIncoming: (
  key: Key,
  method: string,
  url: string,
  head: Head,
  hasBody: boolean,
  http2: boolean,
) => Request;
let abortRequest: (request: Request, reason: unknown) => void;
let partsOf: (request: Request) => { raw: RawBody; headers: Headers; integrity: string; signal: AbortSignal | undefined };
let markRequestUsed: (request: Request) => void;
let isRequest: (value: unknown) => value is Request;

export class Request {
  #method: string;
  #url: string;
  /** Of an arriving request, as long as nobody looked at the headers. */
  #head: Head;
  #raw: RawBody;
  #headers: Headers | undefined;
  #signal: AbortSignal | undefined;
  #extra: Extra;
  /** The URL is serialised as the standard wants it. */
  #normalized: boolean;
  /** What Workers tell of the connection; of an arriving request, until somebody asks, whether it is HTTP/2. */
  #cf: object | boolean | undefined;

  constructor(
    input: unknown,
    init: Partial<RequestInit> | undefined = undefined,
    method?: string,
    url?: string,
    head?: Head,
    key?: Key,
  ) {
    if (input === INTERNAL) {
      this.#method = method!;
      this.#url = url!;
      this.#head = head!;
      this.#raw = key === 0 ? null : new IncomingBody(key!);
      this.#extra = INCOMING;
      this.#normalized = false;
      return;
    }
    requireArguments(arguments.length, 1, "Request constructor");
    this.#head = "";
    this.#normalized = true;
    let inherited: Request | undefined;
    if (isRequest(input)) {
      inherited = input;
      this.#url = input.url;
      this.#method = input.#method;
      this.#extra = input.#extra === INCOMING ? DEFAULTS : input.#extra;
      this.#signal = input.#signal;
    } else {
      const parsed = new URL(typeof input === "string" ? input : toUSVString(input));
      if (parsed.username !== "" || parsed.password !== "") {
        throw new TypeError("The URL of a request must not have credentials.");
      }
      this.#url = hrefOf(parsed);
      this.#method = "GET";
      this.#extra = DEFAULTS;
    }
    this.#raw = null;
    const given = toDictionary<RequestInit>(init, "Request options");
    this.#initialize(given, inherited);
  }

  static {
    newIncoming = (key, method, url, head, hasBody, http2) => {
      const request = new Request(INTERNAL, undefined, method, url, head, hasBody ? key : 0);
      request.#cf = http2;
      return request;
    };
    abortRequest = (request, reason) => abortSignal((request.#signal ??= newSignal()), reason);
    partsOf = (request) => ({ raw: request.#raw, headers: request.headers, integrity: request.#extra.integrity, signal: request.#signal });
    markRequestUsed = (request) => {
      if (request.#raw !== null) request.#raw = CONSUMED;
    };
    isRequest = (value): value is Request => typeof value === "object" && value !== null && #method in value;
    installBody(Request.prototype, {
      get: (request) => request.#raw,
      set: (request, raw) => {
        request.#raw = raw;
      },
      contentType: (request) => peek(request.headers, "content-type"),
    });
  }

  #initialize(given: Partial<RequestInit>, inherited: Request | undefined): void {
    this.#extra = withOptions(this.#extra, given);
    const { cf } = given;
    if (typeof cf === "object" && cf !== null) this.#cf = cf;
    else if (inherited !== undefined) this.#cf = copyCf(inherited.cf);
    if (given.method !== undefined) this.#method = toMethod(given.method);
    const { signal } = given;
    if (signal !== undefined) {
      if (signal !== null && !isAbortSignal(signal)) throw new TypeError("The option signal must be an AbortSignal.");
      this.#signal = signal ?? undefined;
    }
    // The request's own signal follows the one that was given.
    if (this.#signal !== undefined) this.#signal = following([this.#signal]);

    const headers = new Headers();
    if (given.headers !== undefined) fill(headers, given.headers);
    this.#headers = given.headers === undefined && inherited !== undefined ? copyHeaders(inherited.headers) : headers;

    if (given.body !== undefined && given.body !== null) {
      if (this.#method === "GET" || this.#method === "HEAD") {
        throw new TypeError(`A request with method ${this.#method} cannot have a body.`);
      }
      this.#raw = extractBody(given.body);
      if (extractedType !== undefined) addDefault(this.#headers, "content-type", extractedType);
    } else if (inherited !== undefined && given.body !== null) {
      if (isUnusable(inherited.#raw)) throw alreadyUsed();
      if (inherited.#raw !== null && (this.#method === "GET" || this.#method === "HEAD")) {
        throw new TypeError(`A request with method ${this.#method} cannot have a body.`);
      }
      const raw = inherited.#raw;
      if (raw !== null && isReadableStream(raw)) {
        // The other keeps its stream, which is used up from now on.
        this.#raw = moveStream(raw);
      } else {
        this.#raw = raw;
        markRequestUsed(inherited);
      }
    }
  }

  get method(): string {
    return this.#method;
  }
  get url(): string {
    if (!this.#normalized) {
      if (!isPlainUrl(this.#url)) this.#url = URL.parse(this.#url)?.href ?? this.#url;
      this.#normalized = true;
    }
    return this.#url;
  }
  get headers(): Headers {
    return (this.#headers ??= fromHead(this.#head, true));
  }
  /** What the edge knows of the client's connection (Workers). */
  get cf(): object | undefined {
    if (typeof this.#cf === "boolean") this.#cf = makeCf(this.#cf, peek(this.headers, "accept-encoding"));
    return this.#cf;
  }
  get signal(): AbortSignal {
    return (this.#signal ??= newSignal());
  }
  get redirect(): string {
    return this.#extra.redirect;
  }
  get destination(): string {
    checkRequest(this);
    return "";
  }
  get referrer(): string {
    return this.#extra.referrer;
  }
  get referrerPolicy(): string {
    return this.#extra.referrerPolicy;
  }
  get mode(): string {
    return this.#extra.mode;
  }
  get credentials(): string {
    return this.#extra.credentials;
  }
  get cache(): string {
    return this.#extra.cache;
  }
  get integrity(): string {
    return this.#extra.integrity;
  }
  get keepalive(): boolean {
    return this.#extra.keepalive;
  }
  get duplex(): string {
    checkRequest(this);
    return "half";
  }

  clone(): Request {
    const [mine, theirs] = cloneBody(this.#raw);
    this.#raw = mine;
    const copy = new Request(INTERNAL, undefined, this.#method, this.#url, this.#head, 0);
    copy.#normalized = this.#normalized;
    copy.#raw = theirs;
    copy.#extra = this.#extra;
    copy.#cf = copyCf(this.cf);
    copy.#signal = following([this.signal]);
    if (this.#headers !== undefined) copy.#headers = copyHeaders(this.#headers);
    return copy;
  }
}
finishInterface(Request, "Request");

function checkRequest(value: unknown): void {
  if (!isRequest(value)) throw new TypeError("Not a Request.");
}

const CHOICES: Record<string, string[]> = {
  redirect: ["follow", "error", "manual"],
  cache: ["default", "no-store", "reload", "no-cache", "force-cache", "only-if-cached"],
  credentials: ["omit", "same-origin", "include"],
  mode: ["same-origin", "no-cors", "cors", "navigate"],
  referrerPolicy: [
    "", "no-referrer", "no-referrer-when-downgrade", "same-origin", "origin", "strict-origin", "origin-when-cross-origin",
    "strict-origin-when-cross-origin", "unsafe-url",
  ],
  duplex: ["half"],
  priority: ["high", "low", "auto"],
};

const CHOSEN = ["redirect", "cache", "credentials", "mode", "referrerPolicy"] as const;
/** Checked, and of no consequence. */
const IDLE = ["duplex", "priority"] as const;

function toChoice(name: string, given: unknown): string {
  const value = `${given as string}`;
  if (ArrayPrototypeIndexOf(CHOICES[name]!, value) < 0) throw new TypeError(`"${value}" is no value of the option ${name}.`);
  return value;
}

/** Of the fields that Workers know, those which a machine without maps of the world can tell. */
function makeCf(http2: boolean, encodings: string | null): object {
  return {
    httpProtocol: http2 ? "HTTP/2" : "HTTP/1.1",
    clientAcceptEncoding: encodings ?? "",
    requestPriority: "",
    tlsVersion: "",
    tlsCipher: "",
    colo: "local",
  };
}

function copyCf(cf: object | undefined): object | undefined {
  return cf === undefined ? undefined : ObjectAssign({}, cf);
}

function toReferrer(given: string): string {
  const text = toUSVString(given);
  if (text === "") return "";
  const href = parseHref(text);
  if (href === undefined) throw new TypeError(`The referrer is no URL: ${text}`);
  return href;
}

function withOptions(base: Extra, given: Partial<RequestInit>): Extra {
  let extra = base;
  for (let i = 0; i < CHOSEN.length; i++) {
    const name = CHOSEN[i]!;
    if (given[name] !== undefined) extra = { ...extra, [name]: toChoice(name, given[name]) };
  }
  if (extra.mode === "navigate" && given.mode !== undefined) throw new TypeError("A request's mode cannot be navigate.");
  for (let i = 0; i < IDLE.length; i++) if (given[IDLE[i]!] !== undefined) toChoice(IDLE[i]!, given[IDLE[i]!]);
  if (given.window !== undefined && given.window !== null) throw new TypeError("The option window can only be null.");
  if (given.integrity !== undefined) extra = { ...extra, integrity: `${given.integrity}` };
  if (given.referrer !== undefined) extra = { ...extra, referrer: toReferrer(given.referrer) };
  if (given.keepalive !== undefined) extra = { ...extra, keepalive: !!given.keepalive };
  return extra;
}

export { abortRequest, isRequest, markRequestUsed, newIncoming, partsOf };
