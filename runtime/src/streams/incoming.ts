/** Bodies that come from the host: of requests, and of responses to subrequests. */
import {
  ArrayPrototypePush,
  concatBytes,
  MapPrototypeDelete,
  MapPrototypeGet,
  MapPrototypeGetSize,
  MapPrototypeSet,
  NativeMap,
  NativePromise,
} from "../internal/primordials.ts";
import type { Key } from "../ops.d.ts";
import * as ops from "../host.ts";
import { ReadableStream } from "./streams.ts";

/** Bodies that may still get an event. */
const open = new NativeMap<Key, IncomingBody>();

export class IncomingBody {
  readonly key: Key;
  /** It is at its end, or nobody wants the rest. */
  #over = false;
  #error: unknown;
  #wake: (() => void) | undefined;
  #onOver: (() => void) | undefined;

  /** `onOver` is told when nothing more comes. */
  constructor(key: Key, onOver?: () => void) {
    this.key = key;
    this.#onOver = onOver;
    MapPrototypeSet(open, key, this);
  }

  /** The next chunk, null at the end, undefined when `ready` must be waited for. Throws when it broke off. */
  pull(): Uint8Array<ArrayBuffer> | null | undefined {
    if (this.#error !== undefined) throw this.#error;
    if (this.#over) return null;
    try {
      const chunk = ops.bodyPull(this.key);
      if (chunk === null) this.#close();
      return chunk;
    } catch (error) {
      this.break(error);
      throw error;
    }
  }

  /** Settles when something has arrived. */
  ready(): Promise<void> {
    return new NativePromise((resolve) => {
      this.#wake = resolve;
    });
  }

  async read(): Promise<Uint8Array<ArrayBuffer> | null> {
    for (;;) {
      const chunk = this.pull();
      if (chunk !== undefined) return chunk;
      await this.ready();
    }
  }

  /** Everything that is left. */
  async collect(): Promise<Uint8Array<ArrayBuffer>> {
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    for (;;) {
      const chunk = this.pull();
      if (chunk === null) return concatBytes(chunks);
      if (chunk === undefined) await this.ready();
      else ArrayPrototypePush(chunks, chunk);
    }
  }

  /** Nobody wants the rest. */
  cancel(): void {
    if (this.#over) return;
    this.#close();
    ops.bodyCancel(this.key);
  }

  /** Every further read throws this. */
  break(error: unknown): void {
    if (this.#over) return;
    this.#error = error;
    this.#close();
  }

  #close(): void {
    this.#over = true;
    MapPrototypeDelete(open, this.key);
    this.wake();
    const onOver = this.#onOver;
    this.#onOver = undefined;
    onOver?.();
  }

  wake(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  /** The same bytes as a stream, which pulls only when it is read from. */
  toStream(): ReadableStream<unknown> {
    return new ReadableStream(
      {
        type: "bytes",
        pull: async (controller) => {
          const chunk = await this.read();
          if (chunk !== null && chunk.length > 0) {
            controller.enqueue(chunk);
          } else {
            controller.close();
            // A reader that brought its own buffer waits for this.
            controller.byobRequest?.respond(0);
          }
        },
        cancel: () => this.cancel(),
      },
      { highWaterMark: 0 },
    ) as ReadableStream<unknown>;
  }
}

/** The host says that there is something to pull. */
export function readable(key: Key): void {
  (MapPrototypeGet(open, key) as IncomingBody | undefined)?.wake();
}

/** Breaks the body of this stream off, if it has one that is not at its end. */
export function breakBody(key: Key, error: unknown): void {
  (MapPrototypeGet(open, key) as IncomingBody | undefined)?.break(error);
}

/** The request is over, and its body with it. */
export function endBody(key: Key): void {
  // Nearly always there is none, and an error is dear.
  if (MapPrototypeGetSize(open) === 0) return;
  const body = MapPrototypeGet(open, key) as IncomingBody | undefined;
  body?.break(new TypeError("The body cannot be read any more: its request is over."));
}
