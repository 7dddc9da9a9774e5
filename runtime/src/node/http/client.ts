/** `ClientRequest`: a stream whose bytes become the body of a `fetch()`. */
import { Buffer } from "node:buffer";
import { AbortController, type AbortSignal } from "../../dom/abort.ts";
import { fetch } from "../../fetch/fetch.ts";
import { Headers } from "../../fetch/headers.ts";
import type { Response } from "../../fetch/response.ts";
import { coded, unsupported, wrongType } from "../../internal/node-errors.ts";
import { ticks } from "../../internal/node-ticks.ts";
import { ReadableStream } from "../../streams/readable-stream.ts";
import { cancelTimer, startTimer } from "../../time/timers.ts";
import { URL } from "../../url/url.ts";
import { Agent, SecureAgent, Socket, type SocketOwner } from "./agent.ts";
import { IncomingMessage, reset } from "./incoming.ts";
import { type FieldValue, isToken, OutgoingMessage } from "./outgoing.ts";

export type Listener = (...args: any[]) => void;

export interface Options {
  protocol?: string | null;
  host?: string | null;
  hostname?: string | null;
  port?: string | number | null;
  defaultPort?: string | number;
  path?: string | null;
  method?: string;
  auth?: string | null;
  headers?: Record<string, FieldValue | undefined> | readonly FieldValue[] | null;
  timeout?: number;
  signal?: AbortSignal;
  agent?: unknown;
  setHost?: boolean;
  /** Node's own name for the agent of the module that was called. */
  _defaultAgent?: Agent;
  [other: string]: unknown;
}

export const agents = { http: new Agent(), https: new SecureAgent() };

/** How connections are made and framed is the host's business; RFC 9110, section 7.6.1. */
const HOSTS = new Set(["host", "connection", "transfer-encoding", "keep-alive", "expect", "upgrade", "te", "trailer", "proxy-connection"]);
/** Options whose neglect would be felt far from here. */
const REFUSED: readonly (readonly [string, string])[] = [
  ["socketPath", "workers have no local sockets; name a host"],
  ["createConnection", "connections are made by the platform"],
  ["cert", "workers have no client certificates"],
  ["key", "workers have no client certificates"],
  ["pfx", "workers have no client certificates"],
];

/** The code and the beginning of the sentence that Node has for what `fetch()` fails with. */
const FAILURES: Record<string, readonly [string, string]> = {
  dns_failed: ["ENOTFOUND", "getaddrinfo"],
  connection_refused: ["ECONNREFUSED", "connect"],
  timed_out: ["ETIMEDOUT", "connect"],
  egress_refused: ["EACCES", "connect"],
  tls_failed: ["EPROTO", "connect"],
  connection_lost: ["ECONNRESET", "read"],
  bad_response: ["HPE_INVALID_CONSTANT", "read"],
};

function asInNode(error: unknown, hostname: string): Error {
  const known = FAILURES[(error as { code?: string }).code ?? ""];
  if (known === undefined) return error as Error;
  const [code, syscall] = known;
  const made = new Error(`${syscall} ${code} ${hostname}: ${(error as Error).message}`, { cause: error });
  return Object.assign(coded(made, code), { syscall, hostname });
}

const isUrl = (value: unknown): boolean =>
  typeof value === "object" && value !== null && typeof (value as URL).href === "string" && typeof (value as URL).origin === "string";

/** The arguments of `request` in their three forms. */
function arranged(input: unknown, options: unknown, listener: unknown): [Options, Listener | undefined] {
  let base: Options = {};
  if (typeof input === "string" || isUrl(input)) {
    const url = new URL(typeof input === "string" ? input : (input as URL).href);
    const hostname = url.hostname.startsWith("[") ? url.hostname.slice(1, -1) : url.hostname;
    base = { protocol: url.protocol, hostname, path: url.pathname + url.search, port: url.port };
    if (url.username || url.password) base.auth = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  } else {
    [options, listener] = [input, options];
  }
  if (typeof options === "function") [options, listener] = [{}, options];
  return [{ ...base, ...(options as Options) }, listener as Listener | undefined];
}

function nameOf(option: string, value: unknown): string | undefined {
  if (value === undefined || value === null || typeof value === "string") return value || undefined;
  throw wrongType(`options.${option}`, "of type string or one of undefined or null", value);
}

export class ClientRequest extends OutgoingMessage {
  method: string;
  path: string;
  host: string;
  protocol: string;
  aborted = false;
  reusedSocket = false;
  agent: unknown;
  timeout: number | undefined;
  res: IncomingMessage | null = null;
  socket: Socket;
  readonly #url: string;
  readonly #abort = new (AbortController as new () => AbortController)();
  /** Of the body, while somebody reads it. */
  #body: { enqueue(chunk: Uint8Array): void; close(): void; error(error: unknown): void; desiredSize: number } | undefined;
  #pulled: (() => void) | undefined;
  #idle = 0;
  #timer: number | undefined;

  constructor(input: unknown, given?: unknown, callback?: unknown) {
    super({ autoDestroy: false });
    const [options, listener] = arranged(input, given, callback);
    const { agent } = options;
    if (agent !== undefined && agent !== null && typeof agent !== "boolean" && typeof agent !== "object") {
      throw wrongType("options.agent", "one of Agent-like Object, undefined, or false", agent);
    }
    const fallback = options._defaultAgent ?? agents.http;
    const chosen = ((typeof agent === "object" && agent) || fallback) as { protocol?: string; defaultPort?: number };
    this.agent = agent === false ? new (fallback.constructor as typeof Agent)() : chosen;
    const expected = chosen.protocol ?? fallback.protocol;
    this.protocol = options.protocol || expected;
    if (this.protocol !== expected) {
      throw coded(new TypeError(`Protocol "${this.protocol}" not supported. Expected "${expected}"`), "ERR_INVALID_PROTOCOL");
    }
    for (const [name, instead] of REFUSED) if (options[name]) throw unsupported(`The option ${name}`, instead);
    this.path = options.path ? String(options.path) : "/";
    if (/[^\x21-\xff]/.test(this.path)) throw coded(new TypeError("Request path contains unescaped characters"), "ERR_UNESCAPED_CHARACTERS");
    if (options.method !== undefined && options.method !== null && typeof options.method !== "string") {
      throw wrongType("options.method", "of type string", options.method);
    }
    this.method = (options.method || "GET").toUpperCase();
    if (!isToken(this.method)) throw coded(new TypeError(`Method must be a valid HTTP token ["${this.method}"]`), "ERR_INVALID_HTTP_TOKEN");
    this.host = nameOf("hostname", options.hostname) ?? nameOf("host", options.host) ?? "localhost";
    const name = this.host.includes(":") ? `[${this.host}]` : this.host;
    const port = options.port || options.defaultPort || chosen.defaultPort;
    this.#url = `${this.protocol}//${name}${port ? `:${port}` : ""}${this.path.startsWith("/") ? "" : "/"}${this.path}`;
    this.socket = new Socket(this.protocol === "https:", this as unknown as SocketOwner);
    this.#take(options.headers ?? {});
    if (options.auth && !this.hasHeader("authorization")) {
      this.setHeader("Authorization", `Basic ${Buffer.from(options.auth).toString("base64")}`);
    }
    const usual = port === undefined || Number(port) === (this.protocol === "https:" ? 443 : 80);
    if (options.setHost !== false && !this.hasHeader("host")) this.setHeader("Host", usual ? name : `${name}:${port}`);
    if (options.timeout !== undefined) this.setTimeout(options.timeout);
    if (listener) this.once("response", listener);
    this.#follow(options.signal);
    ticks().add(() => {
      if (!this.destroyed) this.emit("socket", this.socket);
    }, []);
  }
  #take(headers: NonNullable<Options["headers"]>): void {
    if (!Array.isArray(headers)) {
      for (const [name, value] of Object.entries(headers)) if (value !== undefined) this.setHeader(name, value);
      return;
    }
    const flat = Array.isArray(headers[0]) ? headers.flat() : headers;
    if (flat.length % 2 !== 0) throw coded(new TypeError("The argument 'headers' is invalid: it has a name without a value."), "ERR_INVALID_ARG_VALUE");
    for (let i = 0; i < flat.length; i += 2) this.appendHeader(flat[i], flat[i + 1]);
  }
  #follow(signal: AbortSignal | undefined): void {
    if (signal === undefined || signal === null) return;
    if (typeof signal !== "object" || !("aborted" in signal)) throw wrongType("options.signal", "an instance of AbortSignal", signal);
    const stop = () => {
      const error = new Error("The operation was aborted", { cause: signal.reason });
      this.destroy(coded(Object.assign(error, { name: "AbortError" }), "ABORT_ERR"));
    };
    if (signal.aborted) return void ticks().add(stop, []);
    signal.addEventListener("abort", stop, { once: true });
    this.once("close", () => signal.removeEventListener("abort", stop));
  }

  get connection(): Socket {
    return this.socket;
  }
  flushHeaders(): void {
    if (!this.headersSent) this.#send(true);
  }
  setNoDelay(): void {}
  setSocketKeepAlive(): void {}
  /** The event `timeout` comes after so many milliseconds in which nothing was sent or received. */
  setTimeout(time: number, listener?: Listener): this {
    if (typeof time !== "number") throw wrongType("timeout", "of type number", time);
    if (listener) this.once("timeout", listener);
    this.timeout = this.#idle = time > 0 && time < Infinity ? time : 0;
    this.#touch();
    return this;
  }
  #touch(): void {
    if (this.#timer !== undefined) cancelTimer(this.#timer);
    this.#timer = undefined;
    if (this.#idle === 0 || this.destroyed) return;
    this.#timer = startTimer(() => {
      this.#timer = undefined;
      this.res?.emit("timeout", this.socket);
      this.emit("timeout");
      this.socket.emit("timeout");
    }, this.#idle, false);
  }
  abort(): void {
    if (this.aborted) return;
    this.aborted = true;
    ticks().add(() => this.emit("abort"), []);
    this.destroy();
  }

  /** Sends the head, with the body if it is known as a whole. */
  #send(streams: boolean, whole?: Uint8Array): void {
    this.headersSent = true;
    if (this.hasHeader("upgrade")) {
      return void this.destroy(unsupported("An upgrade", "use WebSocket, or fetch() with the header Upgrade: websocket"));
    }
    const headers = new (Headers as unknown as new () => Headers)();
    for (const [name, value] of Object.entries(this.getHeaders())) {
      if (HOSTS.has(name)) continue;
      if (name === "cookie" && typeof value === "object") headers.append(name, value.join("; "));
      else for (const one of typeof value === "object" ? value : [value]) headers.append(name, String(one));
    }
    // What is not asked for encoded does not come encoded.
    if (!headers.has("accept-encoding")) headers.set("accept-encoding", "identity");
    const bare = this.method === "GET" || this.method === "HEAD";
    if (bare && whole !== undefined && whole.length > 0) return this.#bodyless();
    let body: unknown = bare ? undefined : whole;
    if (streams && !bare) {
      const pulled = () => this.#pulled?.();
      const cancel = () => {
        this.#body = undefined;
        pulled();
      };
      const start = (controller: any) => void (this.#body = controller);
      body = new (ReadableStream as any)({ start, pull: pulled, cancel }, { highWaterMark: 1 });
    }
    const init = { method: this.method, headers, body, redirect: "manual", signal: this.#abort.signal, duplex: "half" };
    fetch(this.#url, init).then(
      (response) => this.#receive(response),
      (error: unknown) => void this.destroy(asInNode(error, this.host)),
    );
    this.#touch();
    // The body is taken as it comes, whether the server says so or not.
    if (this.hasHeader("expect")) ticks().add(() => void (this.destroyed || this.emit("continue")), []);
  }
  #bodyless(): void {
    this.destroy(unsupported(`A ${this.method} request with a body`, "use another method"));
  }
  #receive(response: Response): void {
    if (this.destroyed) return;
    const message = new IncomingMessage(this.socket);
    IncomingMessage.receive(message, response, () => this.#touch());
    Object.assign(message, { req: this });
    this.res = message;
    this.#touch();
    message.once("close", () => void this.destroy());
    if (!this.emit("response", message)) message.resume();
  }

  _write(chunk: Uint8Array, _encoding: string, done: (error?: unknown) => void): void {
    if (this.method === "GET" || this.method === "HEAD") {
      if (chunk.length > 0) this.#bodyless();
      return done();
    }
    if (!this.headersSent) this.#send(true);
    this.#touch();
    const body = this.#body;
    if (body === undefined || chunk.length === 0) return done();
    // A copy: who wrote it may use its memory again once it is told that this is done.
    body.enqueue(new Uint8Array(chunk));
    if (body.desiredSize > 0) return done();
    this.#pulled = () => {
      this.#pulled = undefined;
      done();
    };
  }
  end(...args: any[]): this {
    const [chunk, encoding] = args;
    const known = typeof chunk === "string" || chunk instanceof Uint8Array;
    // A body that is there as a whole goes as one, with its length.
    if (known && !this.writableEnded && !this.headersSent && this.writableLength === 0 && !this.destroyed) {
      this.#send(false, typeof chunk === "string" ? Buffer.from(chunk, typeof encoding === "string" ? encoding : undefined) : chunk);
      return super.end(args.find((one) => typeof one === "function"));
    }
    return super.end(...args);
  }
  _final(done: () => void): void {
    if (!this.headersSent) this.#send(false);
    this.#body?.close();
    this.#body = undefined;
    done();
  }
  _destroy(error: unknown, done: (error?: unknown) => void): void {
    if (this.#timer !== undefined) cancelTimer(this.#timer);
    this.#timer = undefined;
    const { res } = this;
    if (res === null || !res.complete) {
      // The body first: it would be read until its end else.
      this.#body?.error(error ?? reset("socket hang up"));
      this.#body = undefined;
      this.#pulled?.();
      this.#abort.abort(error ?? reset("socket hang up"));
      if (res !== null && !res.destroyed) res.destroy(error ?? reset("aborted"));
    }
    this.socket.closed(error);
    ticks().add(done, [error ?? (res === null ? reset("socket hang up") : null)]);
  }
}


