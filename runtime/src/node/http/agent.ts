/** Agents and sockets of `node:http`. Connections are the host's; these have the shape that libraries expect. */
import EventEmitter from "node:events";

/** Says which protocol it is for; its options have no effect. */
export class Agent extends (EventEmitter as new () => any) {
  options: Record<string, unknown>;
  defaultPort: number;
  protocol: string;
  keepAlive: boolean;
  keepAliveMsecs: number;
  maxSockets: number;
  maxFreeSockets: number;
  maxTotalSockets: number;
  scheduling: string;
  sockets = {};
  requests = {};
  freeSockets = {};
  constructor(options: Record<string, any> = {}, secure = false) {
    super();
    this.options = { ...options };
    this.defaultPort = options.defaultPort ?? (secure ? 443 : 80);
    this.protocol = options.protocol ?? (secure ? "https:" : "http:");
    this.keepAlive = Boolean(options.keepAlive);
    this.keepAliveMsecs = options.keepAliveMsecs ?? 1000;
    this.maxSockets = options.maxSockets ?? Infinity;
    this.maxFreeSockets = options.maxFreeSockets ?? 256;
    this.maxTotalSockets = options.maxTotalSockets ?? Infinity;
    this.scheduling = options.scheduling ?? "lifo";
  }
  getName(options: { host?: string; port?: string | number; localAddress?: string } = {}): string {
    return `${options.host ?? "localhost"}:${options.port ?? ""}:${options.localAddress ?? ""}`;
  }
  destroy(): void {}
}

export class SecureAgent extends Agent {
  constructor(options?: object) {
    super(options as Record<string, any> | undefined, true);
  }
}

/** What a request needs of its socket, and the other way round. */
export interface SocketOwner {
  destroy(error?: unknown): unknown;
  setTimeout(time: number, listener?: (...args: any[]) => void): unknown;
}

/** Stands for a connection: it is there at once, and what libraries tune on it has no effect. */
export class Socket extends (EventEmitter as new () => any) {
  connecting = false;
  readable = true;
  writable = true;
  destroyed = false;
  encrypted: boolean;
  authorized: boolean;
  readonly #owner: SocketOwner;
  constructor(secure: boolean, owner: SocketOwner) {
    super();
    this.encrypted = this.authorized = secure;
    this.#owner = owner;
  }
  get remoteAddress(): undefined {
    return undefined;
  }
  setKeepAlive(): this {
    return this;
  }
  setNoDelay(): this {
    return this;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
  setTimeout(time: number, listener?: (...args: any[]) => void): this {
    if (listener) this.once("timeout", listener);
    this.#owner.setTimeout(time);
    return this;
  }
  destroy(error?: unknown): this {
    this.#owner.destroy(error);
    return this;
  }
  /** Its request is over. */
  closed(error: unknown): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.readable = this.writable = false;
    this.emit("close", Boolean(error));
  }
}
