/**
 * Transferred streams (Streams, section 8.2): the old stream goes on behind a pipe, and what passes is copied, as if it went
 * through a port.
 */
import { NativeWeakMap, PromiseReject, WeakMapPrototypeDelete, WeakMapPrototypeGet, WeakMapPrototypeSet } from "../internal/primordials.ts";
import { INTERNAL } from "../internal/webidl.ts";
import { DOMException } from "../dom/exception.ts";
import type { DefaultController } from "../streams/default-controller.ts";
import { pipe, readPipeOptions } from "../streams/pipe.ts";
import { type Outcome, PENDING, type Result, soon } from "../streams/promises.ts";
import type { Readable } from "../streams/readable.ts";
import { isReadableStream, newReadable, readableOf, shown } from "../streams/readable-stream.ts";
import type { Source } from "../streams/source.ts";
import { sidesOf, TransformStream } from "../streams/transform.ts";
import { ERRORING, type Sink, type Writable, type WritableController } from "../streams/writable.ts";
import { isWritableStream, newWritable, shownWritable, writableOf } from "../streams/writable-stream.ts";
import { cloneWithTransfer } from "../structured-clone.ts";

const copied = (value: unknown): unknown => cloneWithTransfer(value, []).value;

/** A copy of a reason; what cannot be copied is told of instead. */
function copiedReason(reason: unknown): unknown {
  try {
    return copied(reason);
  } catch (error) {
    return error;
  }
}

/** A writable stream and a readable one, on either side of the border. */
class Crossing implements Sink, Source {
  readonly writable: WritableController;
  readonly readable: DefaultController;
  /** The reader asked for a chunk and has not got it. */
  #wanted = false;
  /** A chunk that waits for the reader. */
  #held: { chunk: unknown } | undefined = undefined;

  constructor() {
    this.writable = newWritable(this, 1);
    this.readable = newReadable(this, 0);
    this.writable.start(undefined);
    this.readable.start(undefined);
  }

  write(chunk: unknown): Result {
    if (this.#wanted) {
      try {
        this.#send(chunk);
      } catch (error) {
        return PromiseReject(error);
      }
      return undefined;
    }
    this.#held = { chunk };
    return PENDING;
  }

  #send(chunk: unknown): void {
    this.#wanted = false;
    let copy: unknown;
    try {
      copy = copied(chunk);
    } catch (error) {
      this.readable.error(error);
      throw error;
    }
    if (this.readable.canEnqueue()) this.readable.enqueue(copy);
  }

  close(): Outcome {
    if (this.readable.canEnqueue()) this.readable.close();
    return undefined;
  }

  abort(reason: unknown): Outcome {
    this.readable.error(copiedReason(reason));
    return undefined;
  }

  pull(): Result {
    this.#wanted = true;
    if (this.#held !== undefined) soon(() => this.#release());
    return undefined;
  }

  #release(): void {
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    if (this.writable.stream.state === ERRORING) {
      this.writable.failed(this.writable.stream.stored);
      return;
    }
    try {
      this.#send(held.chunk);
    } catch (error) {
      this.writable.failed(error);
      return;
    }
    this.writable.written();
  }

  cancel(reason: unknown): Outcome {
    this.writable.errorIfNeeded(copiedReason(reason));
    this.#release();
    return undefined;
  }
}

/** What a received stream is connected by, until it is handed out. */
interface Ends {
  /** Of the readable side, or alone. */
  from: Crossing | undefined;
  to: Crossing | undefined;
}

const under = new NativeWeakMap<object, Ends>();

/** The streams behind what is transferred. */
function sidesBehind(value: object): { readable: Readable | undefined; writable: Writable | undefined } {
  if (isReadableStream(value)) return { readable: readableOf(value), writable: undefined };
  if (isWritableStream(value)) return { readable: undefined, writable: writableOf(value) };
  const { readable, writable } = sidesOf(value as TransformStream);
  return { readable: readable.stream, writable: writable.stream };
}

function requireUnlocked(value: object): { readable: Readable | undefined; writable: Writable | undefined } {
  const sides = sidesBehind(value);
  if (sides.readable?.reader !== undefined || sides.writable?.writer !== undefined) {
    throw new DOMException("A stream that is locked cannot be transferred.", "DataCloneError");
  }
  return sides;
}

/** See `TransferableKind`. */
export function begin(value: object): object {
  requireUnlocked(value);
  const from = isWritableStream(value) ? undefined : new Crossing();
  const to = isReadableStream(value) ? undefined : new Crossing();
  let received: object;
  if (from === undefined) received = shownWritable(to!.writable.stream);
  else if (to === undefined) received = shown(from.readable.stream);
  else received = new TransformStream(INTERNAL, { readable: from.readable, writable: to.writable });
  WeakMapPrototypeSet(under, received, { from, to });
  return received;
}

/** As `TransferableKind` has it, but for a stream that was locked while others were copied. */
export function finish(value: object, received: object): void {
  const { from, to } = WeakMapPrototypeGet(under, received) as Ends;
  WeakMapPrototypeDelete(under, received);
  const { readable, writable } = requireUnlocked(value);
  const options = readPipeOptions(undefined);
  if (readable !== undefined && from !== undefined) {
    pipe(readable, from.writable.stream, options, false);
  }
  if (writable !== undefined && to !== undefined) pipe(to.readable.stream, writable, options, false);
}
