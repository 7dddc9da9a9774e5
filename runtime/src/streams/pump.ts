/** Bodies that go to the host: a source's chunks, no faster than the host's credit allows. */
import {
  bytesOf,
  MapPrototypeDelete,
  MapPrototypeGet,
  MapPrototypeSet,
  NativeMap,
  NativePromise,
  PromiseResolve,
} from "../internal/primordials.ts";
import type { Key } from "../ops.d.ts";
import * as ops from "../host.ts";
import { IncomingBody } from "./incoming.ts";
import { cancelQuietly, openReader, type ReadableStream, type Reader, readChunk } from "./streams.ts";

/** Why a pump stopped before its source's end. */
export class PumpStopped {
  constructor(readonly reason: unknown) {}
}

class Pump {
  #wake: (() => void) | undefined;
  #stopped: PumpStopped | undefined;
  readonly #reader: Reader | undefined;

  constructor(
    readonly key: Key,
    readonly source: IncomingBody | ReadableStream<unknown>,
  ) {
    if (!(source instanceof IncomingBody)) this.#reader = openReader(source);
    MapPrototypeSet(pumps, key, this);
  }

  async run(): Promise<void> {
    try {
      if (this.#reader === undefined) await this.#copy(this.source as IncomingBody);
      else await this.#drain(this.#reader);
      if (this.#stopped !== undefined) throw this.#stopped;
      ops.bodyEnd(this.key);
    } finally {
      MapPrototypeDelete(pumps, this.key);
    }
  }

  async #copy(source: IncomingBody): Promise<void> {
    for (;;) {
      const chunk = source.pull();
      if (this.#stopped !== undefined || chunk === null) return;
      if (chunk === undefined) await source.ready();
      else if (!this.#write(chunk)) await this.#credit();
    }
  }

  async #drain(reader: Reader): Promise<void> {
    for (;;) {
      const { done, value } = await readChunk(reader);
      if (done || this.#stopped !== undefined) return;
      const bytes = bytesOf(value);
      if (bytes === undefined) {
        const error = new TypeError(
          "A body stream gave a chunk that is no Uint8Array; strings can be piped through a TextEncoderStream.",
        );
        cancelQuietly(reader, error);
        throw error;
      }
      if (!this.#write(bytes)) await this.#credit();
    }
  }

  /** False when the credit is exhausted. */
  #write(bytes: Uint8Array): boolean {
    try {
      return ops.bodyWrite(this.key, bytes) > 0;
    } catch (error) {
      this.stop(error);
      return true;
    }
  }

  #credit(): Promise<void> {
    if (this.#stopped !== undefined) return PromiseResolve(undefined);
    return new NativePromise((resolve) => {
      this.#wake = resolve;
    });
  }

  wake(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  /** Nobody reads any more: the source is told, and the pump ends. */
  stop(reason: unknown): void {
    if (this.#stopped !== undefined) return;
    this.#stopped = new PumpStopped(reason);
    if (this.#reader === undefined) (this.source as IncomingBody).cancel();
    else cancelQuietly(this.#reader, reason);
    this.wake();
  }
}

const pumps = new NativeMap<Key, Pump>();

/**
 * Sends the whole source as the body of the stream and ends it. Rejects with what the source threw, or with a
 * `PumpStopped`; the stream is the caller's to abort then.
 */
export function pump(key: Key, source: IncomingBody | ReadableStream<unknown>): Promise<void> {
  return new Pump(key, source).run();
}

/** The host says that there is credit again. */
export function writable(key: Key): void {
  (MapPrototypeGet(pumps, key) as Pump | undefined)?.wake();
}

/** Nobody reads this body any more. */
export function stopPump(key: Key, reason: unknown): void {
  (MapPrototypeGet(pumps, key) as Pump | undefined)?.stop(reason);
}
