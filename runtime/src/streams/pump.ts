/** Bodies that go to the host: a source's chunks, no faster than the host's credit allows. */
import {
  bytesOf,
  MapPrototypeDelete,
  MapPrototypeGet,
  MapPrototypeSet,
  NativeMap,
} from "../internal/primordials.ts";
import type { Encoding } from "../fetch/encoding.ts";
import type { Key } from "../ops.d.ts";
import * as ops from "../host.ts";
import { badChunk } from "./consume.ts";
import { IncomingBody } from "./incoming.ts";
import { type Taken, takeBody } from "./native.ts";
import { Deferred } from "./promises.ts";
import { cancelReadable, type ReadRequest } from "./readable.ts";
import { acquireReader, type DefaultReader, ignore } from "./readers.ts";
import { type ReadableStream, readableOf } from "./readable-stream.ts";

/** Why a pump stopped before its source's end. */
export class PumpStopped {
  constructor(readonly reason: unknown) {}
}

/** What is written to the host under a key. */
abstract class Pump {
  readonly done = new Deferred<undefined>();
  protected over = false;

  constructor(readonly key: Key) {
    MapPrototypeSet(pumps, key, this);
  }

  abstract start(): void;
  /** The host has credit again. */
  abstract wake(): void;
  /** Lets the source know that nobody wants the rest. */
  protected abstract cancelSource(reason: unknown): void;

  /** Nobody reads any more: the source is told, and the pump ends. */
  stop(reason: unknown): void {
    if (this.over) return;
    this.failed(new PumpStopped(reason));
    this.cancelSource(reason);
  }

  /** The host has moved everything, or has not: `error` says why. */
  piped(_error: string): void {}

  protected finished(): void {
    if (this.over) return;
    ops.bodyEnd(this.key);
    this.#end();
    this.done.resolve(undefined);
  }

  protected failed(error: unknown): void {
    if (this.over) return;
    this.#end();
    this.done.reject(error);
  }

  #end(): void {
    this.over = true;
    MapPrototypeDelete(pumps, this.key);
  }

  /** Whether more may be written now. */
  protected write(bytes: Uint8Array): boolean {
    try {
      return ops.bodyWrite(this.key, bytes) > 0;
    } catch (error) {
      this.stop(error);
      return false;
    }
  }
}

/** Writes what a stream gives. It is its own read request: nothing is allocated for a chunk. */
class StreamPump extends Pump implements ReadRequest {
  next: ReadRequest | undefined = undefined;
  readonly #reader: DefaultReader;
  /** A read is being asked for; its chunk may come at once. */
  #asking = false;
  #goOn = false;

  constructor(key: Key, stream: ReadableStream) {
    super(key);
    this.#reader = acquireReader(readableOf(stream));
  }

  start(): void {
    this.wake();
  }

  wake(): void {
    do {
      if (this.over) return;
      this.#goOn = false;
      this.#asking = true;
      this.#reader.read(this);
      this.#asking = false;
    } while (this.#goOn);
  }

  chunk(value: unknown): void {
    if (this.over) return;
    const bytes = bytesOf(value);
    if (bytes === undefined) {
      const error = badChunk();
      this.failed(error);
      this.cancelSource(error);
      return;
    }
    if (!this.write(bytes) || this.over) return;
    if (this.#asking) this.#goOn = true;
    else this.wake();
  }

  close(): void {
    this.finished();
  }

  error(error: unknown): void {
    this.failed(error);
  }

  protected cancelSource(reason: unknown): void {
    const { stream } = this.#reader;
    if (stream !== undefined) ignore(cancelReadable(stream, reason));
  }
}

/** Hands a body of the host's back to the host, which moves the bytes itself. */
class BodyPump extends Pump {
  readonly #body: IncomingBody;
  readonly #taken: Taken | undefined;

  constructor(key: Key, body: IncomingBody, taken: Taken | undefined) {
    super(key);
    this.#body = body;
    this.#taken = taken;
  }

  start(): void {
    const body = this.#body;
    if (body.error !== undefined) {
      this.#broke();
      return;
    }
    let state: number;
    try {
      state = body.isOver ? 0 : ops.bodyPipe(body.key, this.key);
    } catch (error) {
      body.break(error);
      this.#broke();
      return;
    }
    if (state === 0) this.#moved();
    else if (state === 1) body.onReady(() => this.#bodyOver());
    else this.stop(new TypeError("The stream is closed."));
  }

  wake(): void {}

  override piped(error: string): void {
    if (this.over) return;
    if (error === "") this.#moved();
    else {
      this.#body.break(new TypeError(error));
      this.#broke();
    }
  }

  /** JavaScript has put an end to the body, while the host was moving it. */
  #bodyOver(): void {
    if (this.over) return;
    if (this.#body.error !== undefined) this.#broke();
    else if (this.#body.isOver) this.stop(undefined);
    else this.#body.onReady(() => this.#bodyOver());
  }

  #moved(): void {
    this.#taken?.finished();
    this.finished();
    this.#body.finish();
  }

  #broke(): void {
    const { error } = this.#body;
    this.#taken?.failed(error);
    this.failed(error);
  }

  protected cancelSource(reason: unknown): void {
    this.#taken?.canceled(reason);
    this.#body.onReady(() => {});
    this.#body.cancel();
  }
}

/** Whoever writes to a stream of the host. */
interface Writer {
  /** There is credit again. */
  wake(): void;
  /** Nobody reads any more. */
  stop(reason: unknown): void;
}

const pumps = new NativeMap<Key, Writer>();

/** For those who write other things than bodies. */
export function addWriter(key: Key, writer: Writer): void {
  MapPrototypeSet(pumps, key, writer);
}

export function dropWriter(key: Key): void {
  MapPrototypeDelete(pumps, key);
}

/**
 * Sends the whole source as the body of the stream, whose head names this encoding, and ends it. Rejects with what the source threw, or with a
 * `PumpStopped`; the stream is the caller's to abort then.
 */
export function pump(key: Key, source: IncomingBody | ReadableStream, encoding?: Encoding): Promise<undefined> {
  const made = newPump(key, source, encoding);
  made.start();
  return made.done.promise;
}

function newPump(key: Key, source: IncomingBody | ReadableStream, encoding: Encoding | undefined): Pump {
  if (source instanceof IncomingBody) {
    return source.canMove(encoding) ? new BodyPump(key, source, undefined) : new StreamPump(key, source.toStream());
  }
  const taken = takeBody(readableOf(source), encoding);
  return taken === undefined ? new StreamPump(key, source) : new BodyPump(key, taken.body, taken);
}

/** Who writes to the host without a pump and waits for credit. */
const waiters = new NativeMap<Key, () => void>();

/** Calls back, once, when there is credit for the stream again. */
export function onWritable(key: Key, callback: () => void): void {
  MapPrototypeSet(waiters, key, callback);
}

/** Nobody waits for credit of the stream any more; whoever did is called. */
export function releaseWriter(key: Key): void {
  const waiter = MapPrototypeGet(waiters, key) as (() => void) | undefined;
  if (waiter === undefined) return;
  MapPrototypeDelete(waiters, key);
  waiter();
}

/** The host says that there is credit again. */
export function writable(key: Key): void {
  (MapPrototypeGet(pumps, key) as Writer | undefined)?.wake();
  releaseWriter(key);
}

/** The host says that it has moved the body that goes to this stream; `error` is empty if it has moved all of it. */
export function piped(key: Key, error: string): void {
  (MapPrototypeGet(pumps, key) as Pump | undefined)?.piped(error);
}

/** Nobody reads this body any more. */
export function stopPump(key: Key, reason: unknown): void {
  (MapPrototypeGet(pumps, key) as Writer | undefined)?.stop(reason);
}
