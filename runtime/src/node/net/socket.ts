/** `net.Socket`: a TCP connection as a stream, over `connect()` of `cloudflare:sockets`. */
import { Buffer } from "node:buffer";
import { Duplex } from "node:stream";
import { loadPart } from "../../internal/parts.ts";
import { checkFunction, coded, unsupported, wrongType } from "../../internal/node-errors.ts";
import { ticks } from "../../internal/node-ticks.ts";
import { cancelTimer, startTimer } from "../../time/timers.ts";
import { isIPv6, splitAddress } from "./address.ts";

type Sockets = typeof import("../../parts/sockets.ts");
type Raw = ReturnType<Sockets["connect"]>;
export type Listener = (...args: any[]) => void;

/** An event of our own: it is connected, or will never be. */
const READY = Symbol("ready");

export interface ConnectOptions {
  port?: number | string;
  host?: string;
  path?: string;
  timeout?: number;
  allowHalfOpen?: boolean;
  [other: string]: unknown;
}

/** The codes that Node has for what a connection fails with. */
const FAILURES: Record<string, readonly [string, string]> = {
  dns_failed: ["ENOTFOUND", "getaddrinfo"],
  connection_refused: ["ECONNREFUSED", "connect"],
  timed_out: ["ETIMEDOUT", "connect"],
  egress_refused: ["EACCES", "connect"],
  tls_failed: ["EPROTO", "connect"],
  connection_lost: ["ECONNRESET", "read"],
};

/** The arguments of `connect` in their forms: options, or a port and a host, each with a listener. */
export function arranged(args: readonly unknown[]): [ConnectOptions, Listener | undefined] {
  const last = args[args.length - 1];
  const listener = typeof last === "function" ? (last as Listener) : undefined;
  const [first, second] = args;
  if (typeof first === "object" && first !== null) return [first as ConnectOptions, listener];
  if (typeof first === "string" && !/^\d+$/.test(first)) return [{ path: first }, listener];
  return [{ port: first as number, host: typeof second === "string" ? second : undefined }, listener];
}

function checkPlace({ port, host, path }: ConnectOptions): { hostname: string; port: number } {
  if (path !== undefined) throw unsupported("A local socket", "workers have none; name a host and a port");
  if (port === undefined || typeof port === "function") {
    throw coded(new TypeError('The "options" or "port" or "path" argument must be specified'), "ERR_MISSING_ARGS");
  }
  const number = typeof port === "number" || (typeof port === "string" && port.trim() !== "") ? Number(port) : NaN;
  if (!(Number.isInteger(number) && number >= 0 && number < 65536)) {
    throw coded(new RangeError(`Port should be >= 0 and < 65536. Received ${String(port)}.`), "ERR_SOCKET_BAD_PORT");
  }
  if (host !== undefined && host !== null && typeof host !== "string") throw wrongType("options.host", "of type string", host);
  return { hostname: host || "localhost", port: number };
}

export class Socket extends (Duplex as new (options?: object) => any) {
  connecting = false;
  bytesRead = 0;
  bytesWritten = 0;
  remoteAddress: string | undefined;
  remotePort: number | undefined;
  localAddress: string | undefined;
  localPort: number | undefined;
  timeout = 0;
  host = "";
  #raw: Raw | undefined;
  #reader: { read(): Promise<{ done: boolean; value: Uint8Array }> } | undefined;
  #writer: { write(chunk: Uint8Array): Promise<void>; close(): Promise<void> } | undefined;
  #timer: number | undefined;

  constructor(options: ConnectOptions = {}) {
    super({ ...options, allowHalfOpen: Boolean(options.allowHalfOpen), decodeStrings: true, objectMode: false, emitClose: true, autoDestroy: true });
  }
  get pending(): boolean {
    return this.#raw === undefined || this.connecting;
  }
  get readyState(): string {
    if (this.connecting) return "opening";
    if (this.#raw === undefined || this.destroyed) return "closed";
    return this.readable && this.writable ? "open" : this.readable ? "readOnly" : this.writable ? "writeOnly" : "closed";
  }
  get remoteFamily(): string | undefined {
    return this.remoteAddress === undefined ? undefined : isIPv6(this.remoteAddress) ? "IPv6" : "IPv4";
  }
  address(): object {
    const { localAddress: address, localPort: port } = this;
    return address === undefined ? {} : { address, port, family: isIPv6(address) ? "IPv6" : "IPv4" };
  }
  connect(...args: unknown[]): this {
    const [options, listener] = arranged(args);
    const { hostname, port } = checkPlace(options);
    if (listener) this.once("connect", listener);
    if (options.timeout) this.setTimeout(options.timeout);
    this.host = hostname;
    this.remotePort = port;
    this.connecting = true;
    const { connect } = loadPart<Sockets>("sockets");
    let raw: Raw;
    try {
      const address = isIPv6(hostname) ? `[${hostname}]` : hostname;
      raw = connect({ hostname: address, port }, { secureTransport: this.transport(), allowHalfOpen: true });
    } catch (error) {
      ticks().add(() => void this.destroy(error), []);
      return this;
    }
    this.take(raw, ["connect", "ready"]);
    return this;
  }
  /** How a new connection begins. */
  protected transport(): string {
    return "starttls";
  }
  /** Goes on with this connection, and says so with these events when it is there. */
  protected take(raw: Raw, events: readonly string[]): void {
    this.#raw = raw;
    this.connecting = true;
    raw.opened.then(
      ({ remoteAddress, localAddress }) => {
        if (this.destroyed || this.#raw !== raw) return;
        this.connecting = false;
        this.remoteAddress = splitAddress(remoteAddress)[0];
        [this.localAddress, this.localPort] = splitAddress(localAddress);
        this.#reader = (raw.readable as any).getReader();
        this.#writer = (raw.writable as any).getWriter();
        this.#touch();
        for (const name of events) this.emit(name);
        this.emit(READY);
        this.read(0);
      },
      (error: unknown) => this.#failed(raw, error),
    );
    raw.closed.catch((error: unknown) => this.#failed(raw, error));
  }
  /** Gives the connection away; this stream is of no use any more. */
  give(): Raw {
    const raw = this.#raw;
    if (raw === undefined || this.connecting) throw coded(new Error("Socket is closed"), "ERR_SOCKET_CLOSED");
    this.#raw = undefined;
    this.setTimeout(0);
    return raw;
  }
  #failed(raw: Raw, error: unknown): void {
    if (this.#raw !== raw || this.destroyed) return;
    const known = FAILURES[(error as { code?: string }).code ?? ""];
    if (known === undefined) return void this.destroy(error);
    const [code, syscall] = known;
    const place = syscall === "getaddrinfo" ? this.host : `${this.host}:${this.remotePort}`;
    const made = new Error(`${syscall} ${code} ${place}: ${(error as Error).message}`, { cause: error });
    this.destroy(Object.assign(coded(made, code), { syscall, hostname: this.host, port: this.remotePort }));
  }
  /** Calls back when there is a connection. */
  #ready(callback: () => void): void {
    if (this.connecting) this.once(READY, callback);
    else callback();
  }
  _read(): void {
    const raw = this.#raw;
    const reader = this.#reader;
    if (raw === undefined || reader === undefined || this.connecting) {
      if (!this.destroyed) this.once(READY, () => this._read());
      return;
    }
    reader.read().then(
      ({ done, value }) => {
        if (this.#raw !== raw || this.destroyed) return;
        this.#touch();
        if (done) return void this.push(null);
        this.bytesRead += value.length;
        this.push(Buffer.from(value.buffer, value.byteOffset, value.byteLength));
      },
      (error: unknown) => this.#failed(raw, error),
    );
  }
  _write(chunk: Uint8Array, _encoding: string, done: (error?: unknown) => void): void {
    if (this.#raw === undefined && !this.connecting) return done(coded(new Error("Socket is closed"), "ERR_SOCKET_CLOSED"));
    this.#ready(() => {
      const writer = this.#writer;
      if (writer === undefined || this.destroyed) return done(coded(new Error("Socket is closed"), "ERR_SOCKET_CLOSED"));
      this.#touch();
      this.bytesWritten += chunk.length;
      writer.write(new Uint8Array(chunk)).then(() => ticks().add(done, []), (error: unknown) => ticks().add(done, [error]));
    });
  }
  _final(done: (error?: unknown) => void): void {
    if (this.#raw === undefined && !this.connecting) return done();
    this.#ready(() => {
      if (this.#writer === undefined || this.destroyed) return done();
      this.#writer.close().then(() => ticks().add(done, []), () => ticks().add(done, []));
    });
  }
  _destroy(error: unknown, done: (error: unknown) => void): void {
    this.connecting = false;
    if (this.#timer !== undefined) cancelTimer(this.#timer);
    this.#timer = undefined;
    this.#raw?.close().catch(() => undefined);
    this.emit(READY);
    done(error);
  }
  /** Ends after what was written. */
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once("finish", () => this.destroy());
  }
  resetAndDestroy(): this {
    return this.destroy();
  }
  setTimeout(time: number, listener?: Listener): this {
    if (typeof time !== "number") throw wrongType("msecs", "of type number", time);
    if (listener !== undefined) {
      checkFunction(listener, "callback");
      if (time === 0) this.off("timeout", listener);
      else this.once("timeout", listener);
    }
    this.timeout = time > 0 && time < Infinity ? time : 0;
    this.#touch();
    return this;
  }
  #touch(): void {
    if (this.#timer !== undefined) cancelTimer(this.#timer);
    this.#timer = undefined;
    if (this.timeout === 0 || this.destroyed) return;
    this.#timer = startTimer(() => {
      this.#timer = undefined;
      this.emit("timeout");
    }, this.timeout, false);
  }
  setNoDelay(): this {
    return this;
  }
  setKeepAlive(): this {
    return this;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
}
