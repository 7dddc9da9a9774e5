/** Two streams out of one (Streams, ReadableStreamDefaultTee and ReadableByteStreamTee). */
import {
  ArrayBufferPrototypeSlice,
  NativeUint8Array,
  PromisePrototypeThen,
  TypedArrayPrototypeSlice,
} from "../internal/primordials.ts";
import { ByteController } from "./byte-controller.ts";
import { DefaultController } from "./default-controller.ts";
import { Deferred, isObject, type Outcome, type Result, soon } from "./promises.ts";
import { cancelReadable, Readable, type ReadIntoRequest, type ReadRequest } from "./readable.ts";
import { acquireReader, ByobReader, DefaultReader } from "./readers.ts";
import type { Source } from "./source.ts";
import { type View, viewOf } from "./views.ts";
import { structuredCopy } from "./transfer.ts";

export interface Branches {
  first: Readable;
  second: Readable;
}

/** `copy`: the second branch gets structured clones of the chunks. */
export function teeReadable(stream: Readable, copy = false): Branches {
  const tee = stream.controller instanceof ByteController ? new ByteTee(stream) : new DefaultTee(stream, copy);
  return { first: tee.first.stream, second: tee.second.stream };
}

/** What both kinds share: the end is told to the source once both branches have been cancelled. */
abstract class Tee {
  reading = false;
  readonly canceled: [boolean, boolean] = [false, false];
  readonly #reasons: [unknown, unknown] = [undefined, undefined];
  readonly over = new Deferred<Outcome>();

  constructor(readonly stream: Readable) {}

  cancel(branch: 0 | 1, reason: unknown): Promise<unknown> {
    this.canceled[branch] = true;
    this.#reasons[branch] = reason;
    if (this.canceled[1 - branch]) {
      const outcome = cancelReadable(this.stream, [this.#reasons[0], this.#reasons[1]]);
      settle(this.over, outcome);
    }
    return this.over.promise;
  }

  ended(): void {
    if (!this.canceled[0] || !this.canceled[1]) this.over.resolve(undefined);
  }
}

/** A promise is resolved with another without asking for its `then`. */
function settle(deferred: Deferred<Outcome>, outcome: Outcome): void {
  if (outcome === undefined) deferred.resolve(undefined);
  else PromisePrototypeThen(outcome, () => deferred.resolve(undefined), deferred.reject);
}

class DefaultTee extends Tee implements ReadRequest {
  next: ReadRequest | undefined = undefined;
  readonly #reader: DefaultReader;
  #again = false;
  #chunk: unknown = undefined;
  readonly first: DefaultController;
  readonly second: DefaultController;
  readonly #deliver = () => this.#give();

  constructor(
    stream: Readable,
    readonly copy: boolean,
  ) {
    super(stream);
    this.#reader = acquireReader(stream);
    this.first = new DefaultController(new Readable(), this.#branch(0), 1, undefined);
    this.second = new DefaultController(new Readable(), this.#branch(1), 1, undefined);
    this.first.start(undefined);
    this.second.start(undefined);
    PromisePrototypeThen(this.#reader.closed.promise, undefined, (error) => {
      this.first.error(error);
      this.second.error(error);
      this.ended();
    });
  }

  #branch(branch: 0 | 1): Source {
    return {
      pull: () => this.#pull(),
      cancel: (reason) => this.cancel(branch, reason),
    };
  }

  #pull(): Result {
    if (this.reading) {
      this.#again = true;
      return undefined;
    }
    this.reading = true;
    this.#reader.read(this);
    return undefined;
  }

  chunk(value: unknown): void {
    this.#chunk = value;
    // Reading may have been asked for by the branches' own controllers, which are not done yet.
    soon(this.#deliver);
  }

  #give(): void {
    this.#again = false;
    const chunk = this.#chunk;
    this.#chunk = undefined;
    let other = chunk;
    if (!this.canceled[1] && this.copy && isObject(chunk)) {
      try {
        other = structuredCopy(chunk);
      } catch (error) {
        this.first.error(error);
        this.second.error(error);
        settle(this.over, cancelReadable(this.stream, error));
        return;
      }
    }
    if (!this.canceled[0]) this.first.enqueue(chunk);
    if (!this.canceled[1]) this.second.enqueue(other);
    this.reading = false;
    if (this.#again) this.#pull();
  }

  close(): void {
    this.reading = false;
    if (!this.canceled[0]) this.first.close();
    if (!this.canceled[1]) this.second.close();
    this.ended();
  }

  error(): void {
    this.reading = false;
  }
}

class ByteTee extends Tee {
  #reader: DefaultReader | ByobReader;
  readonly #again: [boolean, boolean] = [false, false];
  readonly first: ByteController;
  readonly second: ByteController;

  constructor(stream: Readable) {
    super(stream);
    this.#reader = acquireReader(stream);
    this.first = new ByteController(new Readable(), this.#branch(0), 0, undefined);
    this.second = new ByteController(new Readable(), this.#branch(1), 0, undefined);
    this.first.start(undefined);
    this.second.start(undefined);
    this.#watch();
  }

  #branch(branch: 0 | 1): Source {
    return {
      pull: () => this.#pull(branch),
      cancel: (reason) => this.cancel(branch, reason),
    };
  }

  /** Forwards the failure of the stream, as long as this reader is the one that reads. */
  #watch(): void {
    const reader = this.#reader;
    PromisePrototypeThen(reader.closed.promise, undefined, (error) => {
      if (reader !== this.#reader) return;
      this.first.error(error);
      this.second.error(error);
      this.ended();
    });
  }

  #controller(branch: 0 | 1): ByteController {
    return branch === 0 ? this.first : this.second;
  }

  #pull(branch: 0 | 1): Result {
    if (this.reading) {
      this.#again[branch] = true;
      return undefined;
    }
    this.reading = true;
    const request = this.#controller(branch).byobRequest;
    const view = request === null ? null : request.view;
    if (view === null) this.#pullAny();
    else this.#pullInto(viewOf(view), branch);
    return undefined;
  }

  #pullAny(): void {
    if (this.#reader.byob) {
      this.#reader.release();
      this.#reader = new DefaultReader(this.stream);
      this.#watch();
    }
    this.#reader.read({
      next: undefined,
      chunk: (value) => soon(() => this.#give(value as Uint8Array<ArrayBuffer>)),
      close: () => {
        this.reading = false;
        if (!this.canceled[0]) this.first.close();
        if (!this.canceled[1]) this.second.close();
        if (this.first.hasWaitingView) this.first.respond(0);
        if (this.second.hasWaitingView) this.second.respond(0);
        this.ended();
      },
      error: () => {
        this.reading = false;
      },
    });
  }

  #give(chunk: Uint8Array<ArrayBuffer>): void {
    this.#again[0] = false;
    this.#again[1] = false;
    let other = chunk;
    if (!this.canceled[0] && !this.canceled[1]) {
      const copy = this.#copy(() => TypedArrayPrototypeSlice(chunk));
      if (copy === undefined) return;
      other = copy;
    }
    if (!this.canceled[0]) this.first.enqueue(viewOf(chunk));
    if (!this.canceled[1]) this.second.enqueue(viewOf(other));
    this.#goOn();
  }

  #goOn(): void {
    this.reading = false;
    if (this.#again[0]) this.#pull(0);
    else if (this.#again[1]) this.#pull(1);
  }

  #copy(make: () => Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> | undefined {
    try {
      return make();
    } catch (error) {
      this.first.error(error);
      this.second.error(error);
      settle(this.over, cancelReadable(this.stream, error));
      return undefined;
    }
  }

  #pullInto(view: View, branch: 0 | 1): void {
    if (!this.#reader.byob) {
      this.#reader.release();
      this.#reader = new ByobReader(this.stream);
      this.#watch();
    }
    const mine = this.#controller(branch);
    const others = this.#controller((1 - branch) as 0 | 1);
    const request: ReadIntoRequest = {
      next: undefined,
      chunk: (filled) => soon(() => this.#giveFilled(viewOf(filled), branch)),
      close: (filled) => {
        this.reading = false;
        const mineCanceled = this.canceled[branch];
        const othersCanceled = this.canceled[1 - branch];
        if (!mineCanceled) mine.close();
        if (!othersCanceled) others.close();
        if (filled !== undefined) {
          if (!mineCanceled) mine.respondWithNewView(viewOf(filled));
          if (!othersCanceled && others.hasWaitingView) others.respond(0);
        }
        if (!mineCanceled || !othersCanceled) this.over.resolve(undefined);
      },
      error: () => {
        this.reading = false;
      },
    };
    this.#reader.read(view, 1, request);
  }

  #giveFilled(filled: View, branch: 0 | 1): void {
    this.#again[0] = false;
    this.#again[1] = false;
    const mine = this.#controller(branch);
    const others = this.#controller((1 - branch) as 0 | 1);
    const mineCanceled = this.canceled[branch];
    if (!this.canceled[1 - branch]) {
      const copy = this.#copy(
        () =>
          new NativeUint8Array(
            ArrayBufferPrototypeSlice(filled.buffer, filled.byteOffset, filled.byteOffset + filled.byteLength),
          ),
      );
      if (copy === undefined) return;
      if (!mineCanceled) mine.respondWithNewView(filled);
      others.enqueue(viewOf(copy));
    } else if (!mineCanceled) {
      mine.respondWithNewView(filled);
    }
    this.#goOn();
  }
}

