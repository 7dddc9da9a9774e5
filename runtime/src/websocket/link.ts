/** What a WebSocket sends to: a stream of the host, or the other end of a pair in the same worker. */
import { letGoOf, hold, type ExecutionContext } from "../worker/context.ts";
import { removeSink, setSink, type SocketSink } from "../worker/sockets.ts";
import type { Key } from "../ops.d.ts";
import * as ops from "../host.ts";

export type Data = string | Uint8Array<ArrayBuffer>;

/** Close code that stands for none, and the one of a connection that broke off (RFC 6455, section 7.1.5). */
export const NO_CODE = 1005;
export const BROKEN = 1006;

export interface Link {
  /** False when the peer takes messages too slowly and the connection was given up. */
  send(data: Data): boolean;
  close(code: number, reason: string): void;
  /** Messages are taken from now on. */
  open(sink: SocketSink): void;
  /** Both sides have closed. */
  over(): void;
  buffered(): number;
}

/** A stream of the host. */
export class StreamLink implements Link {
  readonly key: Key;
  readonly owner: Key;
  #context: ExecutionContext | undefined;
  readonly #onOver: (() => void) | undefined;

  /** `onOver` is for the client's own socket, whose end is that of its request. */
  constructor(key: Key, owner: Key, onOver: (() => void) | undefined) {
    this.key = key;
    this.owner = owner;
    this.#onOver = onOver;
  }

  send(data: Data): boolean {
    return ops.socketSend(this.key, data) >= 0;
  }

  close(code: number, reason: string): void {
    ops.socketClose(this.key, code === NO_CODE ? 0 : code, reason);
  }

  open(sink: SocketSink): void {
    // An outgoing socket keeps its request alive, as far as its time limit goes.
    if (this.#onOver === undefined) this.#context = hold(this.owner);
    setSink(this.key, this.owner, sink);
    ops.socketFlow(this.key, true);
  }

  over(): void {
    removeSink(this.key);
    const context = this.#context;
    this.#context = undefined;
    if (context !== undefined) letGoOf(context);
    this.#onOver?.();
  }

  buffered(): number {
    return ops.socketBuffered(this.key);
  }
}

/** Connects two streams with each other: what arrives on one goes out on the other, no faster than it is taken there. */
export function bridge(left: StreamLink, right: StreamLink): void {
  const ends = [new BridgeEnd(left, right), new BridgeEnd(right, left)] as const;
  ends[0].other = ends[1];
  ends[1].other = ends[0];
  left.open(ends[0]);
  right.open(ends[1]);
}

class BridgeEnd implements SocketSink {
  other!: BridgeEnd;
  /** This side has said its last word. */
  #done = false;
  #over = false;

  constructor(
    readonly from: StreamLink,
    readonly to: StreamLink,
  ) {}

  message(data: Data): void {
    const waiting = ops.socketSend(this.to.key, data);
    if (waiting > 0) ops.socketFlow(this.from.key, false);
    else if (waiting < 0) this.other.closed(BROKEN, "The peer takes messages too slowly.");
  }

  closed(code: number, reason: string): void {
    if (this.#done) return;
    this.#done = true;
    if (code === BROKEN) {
      this.to.close(1011, "The other side broke off.");
      // From here nothing more goes back.
      this.other.#done = true;
    } else {
      this.to.close(code, reason);
    }
    if (this.other.#done) {
      this.#finish();
      this.other.#finish();
    }
  }

  writable(): void {
    ops.socketFlow(this.to.key, true);
  }

  dropped(): void {
    this.closed(BROKEN, "");
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.from.over();
  }
}
