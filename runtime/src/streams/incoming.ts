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
  TypedArrayPrototypeGetBuffer,
  TypedArrayPrototypeGetByteLength,
} from "../internal/primordials.ts";
import { loadPart } from "../internal/parts.ts";
import type { Encoding } from "../fetch/encoding.ts";
import type { Key } from "../ops.d.ts";
import * as ops from "../host.ts";
import type { ByteController } from "./byte-controller.ts";
import type { Convert } from "./consume.ts";
import { type Outcome, PENDING, type Result } from "./promises.ts";
import { newByteReadable, type ReadableStream, shown } from "./readable-stream.ts";
import type { Source } from "./source.ts";

/** Bodies that may still get an event. */
const open = new NativeMap<Key, IncomingBody>();

const decode = (bytes: Uint8Array<ArrayBuffer>): string => ops.decodeUtf8(bytes, false, false);

type Encodings = typeof import("../parts/encodings.ts");

export class IncomingBody {
  readonly key: Key;
  /** What its bytes are encoded in. JavaScript reads them decoded; where the host moves them, they stay as they are. */
  encoding: Encoding | undefined = undefined;
  #decoder: InstanceType<Encodings["Decoder"]> | undefined;
  readonly #encoded = () => this.#next();
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
    if (this.encoding === undefined) return this.#next();
    if (this.#error !== undefined) throw this.#error;
    try {
      this.#decoder ??= new (loadPart<Encodings>("encodings").Decoder)(this.encoding);
      return this.#decoder.pull(this.#encoded);
    } catch (error) {
      if (!this.#over) ops.bodyCancel(this.key);
      this.break(error);
      throw error;
    }
  }

  /** Whether the host may move it to where this encoding is expected. */
  canMove(encoding: Encoding | undefined): boolean {
    return this.encoding === undefined || (this.encoding === encoding && this.#decoder === undefined);
  }

  /** The next chunk as it came. */
  #next(): Uint8Array<ArrayBuffer> | null | undefined {
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

  /** What it broke off with; undefined as long as it has not. */
  get error(): unknown {
    return this.#error;
  }

  get isOver(): boolean {
    return this.#over;
  }

  /** Settles when something has arrived. */
  ready(): Promise<void> {
    return new NativePromise((resolve) => {
      this.#wake = resolve;
    });
  }

  /** Calls back, once, when something has arrived. */
  onReady(callback: () => void): void {
    this.#wake = callback;
  }

  /** Everything that is left, converted. */
  async collect<T>(convert: Convert<T>): Promise<T> {
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    for (;;) {
      const chunk = this.pull();
      if (chunk === null) return convert(concatBytes(chunks));
      if (chunk === undefined) await this.ready();
      else ArrayPrototypePush(chunks, chunk);
    }
  }

  /** Everything that is left as text, converted. The host puts it together. */
  async collectText<T>(convert: (text: string) => T): Promise<T> {
    if (this.encoding !== undefined) return convert(await this.collect(decode));
    for (;;) {
      const text = this.#text();
      if (text !== undefined) return convert(text);
      await this.ready();
    }
  }

  #text(): string | undefined {
    if (this.#error !== undefined) throw this.#error;
    if (this.#over) return "";
    try {
      const text = ops.bodyText(this.key);
      if (text !== undefined) this.#close();
      return text;
    } catch (error) {
      this.break(error);
      throw error;
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

  /** The host has moved all of it elsewhere. */
  finish(): void {
    if (!this.#over) this.#close();
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
  toStream(): ReadableStream {
    const source = new BodySource(this);
    const controller = newByteReadable(source);
    source.controller = controller;
    controller.stream.body = this;
    controller.start(undefined);
    return shown(controller.stream);
  }
}

class BodySource implements Source {
  controller!: ByteController;
  readonly #body: IncomingBody;
  readonly #ready = () => {
    const result = this.#step();
    if (result === undefined) this.controller.pulled();
  };

  constructor(body: IncomingBody) {
    this.#body = body;
  }

  pull(): Result {
    return this.#step();
  }

  #step(): Result {
    const { controller } = this;
    try {
      const chunk = this.#body.pull();
      if (chunk === undefined) {
        this.#body.onReady(this.#ready);
        return PENDING;
      }
      const length = chunk === null ? 0 : TypedArrayPrototypeGetByteLength(chunk);
      if (length > 0) {
        controller.enqueueOwned(TypedArrayPrototypeGetBuffer(chunk), 0, length);
        return undefined;
      }
      controller.close();
      // A reader that brought its own buffer waits for this.
      if (controller.hasWaitingView) controller.respond(0);
    } catch (error) {
      controller.error(error);
    }
    return undefined;
  }

  cancel(_reason: unknown): Outcome {
    this.#body.cancel();
    return undefined;
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

