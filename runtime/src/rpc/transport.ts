/** A session's messages on a stream of the host: each with its length before it, written as credit allows. */
import {
  ArrayPrototypePush,
  ArrayPrototypeShift,
  concatBytes,
  TypedArrayPrototypeGetByteLength,
  TypedArrayPrototypeSubarray,
} from "../internal/primordials.ts";
import { IncomingBody } from "../streams/incoming.ts";
import { addWriter, dropWriter } from "../streams/pump.ts";
import type { Key } from "../ops.d.ts";
import * as ops from "../host.ts";

/** Largest message, bytes; the host's `rpcEncode` makes none that is larger. */
const MESSAGE_MAX = 32 << 20;
/** Most that is given to the host at a time, bytes. */
const SLICE = 256 << 10;

/** Whom messages are for. */
export interface Receiver {
  message(bytes: Uint8Array<ArrayBuffer>): void;
  /** The other side says nothing more. */
  ended(): void;
  /** It broke off. */
  broken(error: unknown): void;
}

export interface Transport {
  /** Sends a message, with its length before it. */
  send(framed: Uint8Array<ArrayBuffer>): void;
  /** Says nothing more. */
  end(): void;
  /** Breaks off. */
  abort(error: unknown): void;
}

/** Cuts what arrives into messages; false where it is none. */
class Cutter {
  #chunks: Uint8Array<ArrayBuffer>[] = [];
  #have = 0;
  /** Of the message that arrives; 0 while its length does. */
  #length = 0;

  take(chunk: Uint8Array<ArrayBuffer>, receiver: Receiver): boolean {
    ArrayPrototypePush(this.#chunks, chunk);
    this.#have += TypedArrayPrototypeGetByteLength(chunk);
    if (this.#have < (this.#length || 4)) return true;
    const all = concatBytes(this.#chunks);
    let at = 0;
    for (;;) {
      const left = this.#have - at;
      if (this.#length === 0) {
        if (left < 4) break;
        this.#length = all[at]! + all[at + 1]! * 0x100 + all[at + 2]! * 0x10000 + all[at + 3]! * 0x1000000;
        at += 4;
        if (this.#length === 0 || this.#length > MESSAGE_MAX) return false;
      } else {
        if (left < this.#length) break;
        const end = at + this.#length;
        this.#length = 0;
        receiver.message(TypedArrayPrototypeSubarray(all, at, end));
        at = end;
      }
    }
    const rest = TypedArrayPrototypeSubarray(all, at);
    this.#have -= at;
    this.#chunks = this.#have > 0 ? [rest] : [];
    return true;
  }
}

export class StreamTransport implements Transport {
  readonly #key: Key;
  readonly #body: IncomingBody;
  readonly #queue: Uint8Array<ArrayBuffer>[] = [];
  #blocked = false;
  #ending = false;
  #over = false;

  constructor(key: Key, onOver?: () => void) {
    this.#key = key;
    this.#body = new IncomingBody(key, onOver);
    addWriter(key, this);
  }

  /** Hands all that arrives to the receiver. */
  async run(receiver: Receiver): Promise<void> {
    const cutter = new Cutter();
    try {
      for (;;) {
        const chunk = this.#body.pull();
        if (chunk === null) return receiver.ended();
        if (chunk === undefined) {
          await this.#body.ready();
          continue;
        }
        if (!cutter.take(chunk, receiver)) {
          const error = new TypeError("The other worker's sandbox sent what is no message.");
          receiver.broken(error);
          return this.abort(error);
        }
      }
    } catch (error) {
      receiver.broken(error);
    }
  }

  send(framed: Uint8Array<ArrayBuffer>): void {
    if (this.#ending || this.#over) return;
    const length = TypedArrayPrototypeGetByteLength(framed);
    for (let at = 0; at < length; at += SLICE) {
      const slice = length <= SLICE ? framed : TypedArrayPrototypeSubarray(framed, at, at + SLICE);
      ArrayPrototypePush(this.#queue, slice);
    }
    this.#flush();
  }

  #flush(): void {
    while (!this.#blocked && !this.#over && this.#queue.length > 0) {
      const chunk = ArrayPrototypeShift(this.#queue) as Uint8Array<ArrayBuffer>;
      try {
        this.#blocked = ops.bodyWrite(this.#key, chunk) <= 0;
      } catch {
        // The reader learns why.
        this.stop();
      }
    }
    if (this.#ending && !this.#over && this.#queue.length === 0) {
      this.stop();
      ops.bodyEnd(this.#key);
    }
  }

  /** There is credit again. */
  wake(): void {
    this.#blocked = false;
    this.#flush();
  }

  /** Nobody reads any more. */
  stop(): void {
    this.#over = true;
    this.#queue.length = 0;
    dropWriter(this.#key);
  }

  end(): void {
    this.#ending = true;
    this.#flush();
  }

  abort(error: unknown): void {
    if (!this.#over) {
      this.stop();
      ops.bodyAbort(this.#key, `${(error as Error)?.message}`);
    }
    this.#body.cancel();
  }
}
