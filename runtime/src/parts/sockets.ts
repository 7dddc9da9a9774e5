/** `cloudflare:sockets`: TCP connections, as Cloudflare Workers have them. */
import {
  bytesOf,
  NativePromise,
  NumberIsInteger,
  PromiseReject,
  RegExpPrototypeExec,
} from "../internal/primordials.ts";
import { finishInterface, illegalConstructor, INTERNAL, requireArguments, toDictionary } from "../internal/webidl.ts";
import { fromHead, peek } from "../fetch/headers.ts";
import { leavePlace, Subrequest, takePlace } from "../fetch/subrequest.ts";
import type { Head, Key } from "../ops.d.ts";
import * as ops from "../host.ts";
import { IncomingBody } from "../streams/incoming.ts";
import { Deferred, handled, type Outcome, type Result } from "../streams/promises.ts";
import { onWritable, releaseWriter } from "../streams/pump.ts";
import type { ReadableStream } from "../streams/readable-stream.ts";
import type { Sink, WritableController } from "../streams/writable.ts";
import { newWritable, shownWritable, type WritableStream } from "../streams/writable-stream.ts";

interface SocketOptions {
  secureTransport: unknown;
  allowHalfOpen: unknown;
}

interface Address {
  hostname: unknown;
  port: unknown;
}

/** What `opened` gives. */
interface SocketInfo {
  remoteAddress: string | undefined;
  localAddress: string | undefined;
}

type Transport = "off" | "on" | "starttls";

/** `host:port`, an IPv6 address in brackets. */
const ADDRESS = /^(\[[0-9A-Fa-f:.]+\]|[^:[\]/@\s]+):([0-9]{1,5})$/;

function toAddress(given: unknown): { host: string; port: number } {
  let host: string;
  let port: number;
  if (typeof given === "object" && given !== null) {
    const { hostname, port: number } = given as Address;
    host = `${hostname as string}`;
    port = Number(number);
  } else {
    const parts = RegExpPrototypeExec(ADDRESS, `${given as string}`) as RegExpExecArray | null;
    if (parts === null) throw new TypeError(`The address must have the form "host:port": ${String(given)}`);
    host = parts[1]!;
    port = Number(parts[2]);
  }
  if (!NumberIsInteger(port) || port < 1 || port > 65535) throw new TypeError("The port must be between 1 and 65535.");
  if (host === "") throw new TypeError("The address has no host.");
  return { host, port };
}

function toTransport(value: unknown): Transport {
  const transport = value === undefined ? "off" : `${value as string}`;
  if (transport !== "off" && transport !== "on" && transport !== "starttls") {
    throw new TypeError('secureTransport must be "off", "on" or "starttls".');
  }
  return transport;
}

/** Everything behind a socket; user code sees `Socket` only. */
class Connection implements Sink {
  readonly opened = new Deferred<SocketInfo>();
  readonly closed = new Deferred<undefined>();
  readonly readable: ReadableStream;
  readonly writable: WritableStream;
  readonly body: IncomingBody;
  readonly #controller: WritableController;
  readonly #call: Subrequest;
  #readEnded = false;
  #writeEnded = false;
  #over = false;
  #shutting = false;

  constructor(
    readonly key: Key,
    owner: Key,
    readonly host: string,
    readonly transport: Transport,
    readonly halfOpen: boolean,
  ) {
    this.#call = new Subrequest(key, owner, undefined);
    this.body = new IncomingBody(key, () => this.#ended());
    this.readable = this.body.toStream();
    this.#controller = newWritable(this, 1);
    this.#controller.start(undefined);
    this.writable = shownWritable(this.#controller.stream);
    handled(this.opened.promise);
    handled(this.closed.promise);
    void this.#wait();
  }

  async #wait(): Promise<void> {
    let head: Head;
    try {
      head = (await this.#call.answer).head;
    } catch (error) {
      this.opened.reject(error);
      this.fail(error);
      return;
    }
    const fields = fromHead(head, true);
    this.opened.resolve({
      remoteAddress: peek(fields, "remote") ?? undefined,
      localAddress: peek(fields, "local") ?? undefined,
    });
  }

  get isOver(): boolean {
    return this.#over;
  }

  /** Nothing more comes from the peer. */
  #ended(): void {
    this.#readEnded = true;
    const { error } = this.body;
    if (error !== undefined) {
      this.fail(error);
      return;
    }
    if (!this.halfOpen && !this.#writeEnded) {
      this.#writeEnded = true;
      ops.bodyEnd(this.key);
      if (this.#controller.stream.isOpen) this.#controller.error(new TypeError("The peer closed the connection."));
      releaseWriter(this.key);
    }
    this.#settle();
  }

  #settle(): void {
    if (!this.#readEnded || !this.#writeEnded || this.#over) return;
    this.#over = true;
    this.#call.over();
    this.closed.resolve(undefined);
  }

  /** The connection broke, or never came about. */
  fail(error: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#call.over();
    ops.fetchCancel(this.key);
    this.body.break(error);
    if (this.#controller.stream.isOpen) this.#controller.error(error);
    releaseWriter(this.key);
    this.closed.reject(error);
  }

  /** The worker is done with it: at once, or as soon as it is open, so that what was written can be sent. */
  shut(): void {
    if (this.#over || this.#shutting) return;
    this.#shutting = true;
    void this.#shutOnceOpen();
  }

  async #shutOnceOpen(): Promise<void> {
    try {
      await this.opened.promise;
    } catch {
      // It never came about, which `closed` tells.
      return;
    }
    if (this.#over) return;
    this.#over = true;
    this.#call.over();
    // What was written is sent; then the connection is closed.
    if (!this.#writeEnded) ops.bodyEnd(this.key);
    this.#writeEnded = true;
    this.body.cancel();
    if (this.#controller.stream.isOpen) this.#controller.error(new TypeError("The socket is closed."));
    releaseWriter(this.key);
    this.closed.resolve(undefined);
  }

  /** It goes on elsewhere. */
  leave(): void {
    this.#over = true;
    this.#call.over();
    const error = new TypeError("The socket goes on with TLS: use the one that startTls() returned.");
    this.body.break(error);
    if (this.#controller.stream.isOpen) this.#controller.error(error);
    releaseWriter(this.key);
    this.closed.resolve(undefined);
  }

  write(chunk: unknown): Result {
    const bytes = bytesOf(chunk);
    if (bytes === undefined) return PromiseReject(new TypeError("A socket takes bytes; a TextEncoder makes them of strings."));
    try {
      if (ops.bodyWrite(this.key, bytes) > 0) return undefined;
    } catch (error) {
      return PromiseReject(error);
    }
    return new NativePromise<void>((resolve) => onWritable(this.key, resolve));
  }

  abort(reason: unknown): Outcome {
    this.fail(reason ?? new TypeError("The socket was aborted."));
    return undefined;
  }

  /** The end of what is written. */
  close(): Outcome {
    if (this.#writeEnded) return undefined;
    this.#writeEnded = true;
    ops.bodyEnd(this.key);
    this.#settle();
    return undefined;
  }
}

let newSocket: (connection: Connection) => Socket;

export class Socket {
  readonly #connection: Connection;
  #upgraded = false;

  constructor(mark?: unknown, connection?: Connection) {
    illegalConstructor(mark);
    this.#connection = connection!;
  }

  static {
    newSocket = (connection) => new Socket(INTERNAL, connection);
  }

  get readable(): ReadableStream {
    return this.#connection.readable;
  }
  get writable(): WritableStream {
    return this.#connection.writable;
  }
  get opened(): Promise<SocketInfo> {
    return this.#connection.opened.promise;
  }
  get closed(): Promise<undefined> {
    return this.#connection.closed.promise;
  }
  get upgraded(): boolean {
    return this.#upgraded;
  }
  get secureTransport(): string {
    return this.#connection.transport;
  }

  close(): Promise<undefined> {
    this.#connection.shut();
    return this.#connection.closed.promise;
  }

  startTls(options: unknown = undefined): Socket {
    const old = this.#connection;
    if (old.transport !== "starttls") {
      throw new TypeError('startTls() needs a socket that was made with secureTransport: "starttls".');
    }
    if (this.#upgraded) throw new TypeError("startTls() was called already.");
    if (old.isOver) throw new TypeError("The socket is closed.");
    const { expectedServerHostname } = toDictionary<{ expectedServerHostname: unknown }>(options, "TLS options");
    const host = expectedServerHostname === undefined ? old.host : `${expectedServerHostname as string}`;
    const connection = open(host, 0, "on", old.halfOpen, old.key);
    this.#upgraded = true;
    old.leave();
    return newSocket(connection);
  }
}
finishInterface(Socket, "Socket");

function open(host: string, port: number, transport: Transport, halfOpen: boolean, upgrade: Key): Connection {
  const owner = ops.currentRequest();
  // It takes a place without waiting: the host bounds connections, and `connect` is no promise.
  void takePlace(owner);
  let key: Key;
  try {
    key = ops.tcpConnect(host, port, transport === "on", upgrade);
  } catch (error) {
    leavePlace(owner);
    throw error;
  }
  return new Connection(key, owner, host, transport, halfOpen);
}

export function connect(address: unknown, options: unknown = undefined): Socket {
  requireArguments(arguments.length, 1, "connect");
  const { host, port } = toAddress(address);
  const { secureTransport, allowHalfOpen } = toDictionary<SocketOptions>(options, "Socket options");
  return newSocket(open(host, port, toTransport(secureTransport), !!allowHalfOpen, 0));
}
