/**
 * A session: the calls between two workers that began with one call of a binding.
 *
 * Both sides number what they show the other (exports; 0 is the callee's entry point) and the calls they make.
 * Messages are arrays that begin with their kind:
 *
 *   CALL     call, of, id, path, args or null, specials   `of` an export or the answer of an earlier call (a promise
 *                                                         that is used before it is settled); args null: read
 *   RETURN   call, [value], specials
 *   THROW    call, name, message
 *   FINISH   call              its answer is not used in further calls
 *   RELEASE  export            nobody holds it any more
 *
 * What cannot be copied stands in `specials`; see `codec.ts`. The side that opened the session ends it when nothing
 * of it is in use.
 */
import {
  ArrayIsArray,
  ArrayPrototypePush,
  MapPrototypeDelete,
  MapPrototypeForEach,
  MapPrototypeGet,
  MapPrototypeGetSize,
  MapPrototypeSet,
  NativeMap,
  NativePromise,
  NumberIsInteger,
  ObjectDefineProperty,
  PromisePrototypeThen,
  PromiseReject,
  PromiseResolve,
} from "../internal/primordials.ts";
import { describe } from "../internal/report.ts";
import { DOMException } from "../dom/exception.ts";
import * as ops from "../host.ts";
import { attach, prepare, type Special } from "./codec.ts";
import { readError, writeError } from "./errors.ts";
import { type Answer, type Base, isStub } from "./stub.ts";
import { perform, type Root } from "./target.ts";
import { isTarget } from "../worker/entrypoint.ts";
import type { Receiver, Transport } from "./transport.ts";

const CALL = 0;
const RETURN = 1;
const THROW = 2;
const FINISH = 3;
const RELEASE = 4;

const EXPORT = 0;
const ANSWER = 1;

/** Longest path of a call, names. */
const PATH_MAX = 64;
/** Calls of the other side that are not answered. */
const CALLS_MAX = 10_000;

interface Pending {
  resolve(value: unknown): void;
  reject(error: unknown): void;
  answer: CallAnswer;
}

/** Something of the other side's, and how many stubs there are of it. */
class Import implements Base {
  #disposed = false;

  constructor(
    readonly session: Session,
    readonly id: number,
    readonly count: { stubs: number },
  ) {}

  send(path: string[], args: unknown[] | undefined): Answer {
    if (this.#disposed) return failed(new TypeError("The stub was disposed of."));
    return this.session.call(EXPORT, this.id, path, args);
  }

  dup(): Base {
    if (this.#disposed) throw new TypeError("The stub was disposed of.");
    this.count.stubs += 1;
    return new Import(this.session, this.id, this.count);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.count.stubs -= 1;
    if (this.count.stubs === 0) this.session.release(this.id);
  }

  onBroken(callback: (error: unknown) => void): void {
    this.session.onBroken(callback);
  }
}

/** The answer of a call: until it is there, calls of it go to the other side; then they are made of the value. */
class CallAnswer implements Answer {
  settled = false;

  constructor(
    readonly session: Session,
    readonly id: number,
    readonly promise: Promise<unknown>,
  ) {}

  send(path: string[], args: unknown[] | undefined): Answer {
    if (!this.settled) return this.session.call(ANSWER, this.id, path, args);
    return local(PromisePrototypeThen(this.promise, (value) => perform(value, path, args)));
  }

  dup(): Base {
    return this;
  }

  dispose(): void {
    void PromisePrototypeThen(this.promise, disposeOf, () => undefined);
  }

  onBroken(callback: (error: unknown) => void): void {
    this.session.onBroken(callback);
  }
}

function disposeOf(value: unknown): void {
  if ((typeof value !== "object" || value === null) && !isStub(value)) return;
  const dispose = (value as { [Symbol.dispose]?: unknown })[Symbol.dispose];
  if (typeof dispose === "function") dispose();
}

/** An answer that is no call any more. */
function local(promise: Promise<unknown>): Answer {
  PromisePrototypeThen(promise, undefined, () => undefined);
  const answer: Answer = {
    promise,
    send: (path, args) => local(PromisePrototypeThen(promise, (value) => perform(value, path, args))),
    dup: () => answer,
    dispose: () => void PromisePrototypeThen(promise, disposeOf, () => undefined),
    onBroken: () => undefined,
  };
  return answer;
}

export function failed(error: unknown): Answer {
  return local(PromiseReject(error));
}

export class Session implements Receiver {
  readonly #transport: Transport;
  /** It opened the session, and ends it. */
  readonly #opener: boolean;
  readonly #onOver: () => void;
  readonly #exports = new NativeMap<number, unknown>();
  #nextExport = 1;
  /** Things of the other side's that are in use here. */
  #imports = 0;
  readonly #calls = new NativeMap<number, Pending>();
  #nextCall = 1;
  /** Those that wait for their arguments. */
  readonly #unsent = new NativeMap<number, Promise<void>>();
  readonly #answers = new NativeMap<number, Promise<unknown>>();
  /** Calls of the other side that run. */
  #running = 0;
  readonly #watchers: Array<(error: unknown) => void> = [];
  #over: { error: unknown } | undefined;

  constructor(transport: Transport, root: Root | undefined, onOver: () => void = () => undefined) {
    this.#transport = transport;
    this.#opener = root === undefined;
    this.#onOver = onOver;
    if (root !== undefined) MapPrototypeSet(this.#exports, 0, root);
  }

  call(of: number, id: number, path: string[], args: unknown[] | undefined): CallAnswer | Answer {
    if (this.#over !== undefined) return failed(this.#over.error);
    // The other side takes what goes beyond for an attack.
    if (path.length > PATH_MAX) return failed(new TypeError("A remote call may lead through 64 names at most."));
    if (MapPrototypeGetSize(this.#calls) >= CALLS_MAX) {
      return failed(new TypeError("Too many remote calls wait for their answers; at most 10,000 of one session may."));
    }
    const call = this.#nextCall++;
    const specials: Special[] = [];
    const message: unknown[] = [CALL, call, of, id, path, null, specials];
    // What it is made of may wait itself.
    const waits: Promise<void>[] = [];
    const unsent = of === ANSWER ? (MapPrototypeGet(this.#unsent, id) as Promise<void> | undefined) : undefined;
    if (unsent !== undefined) ArrayPrototypePush(waits, unsent);
    try {
      if (args !== undefined) {
        const { list, wait } = prepare(this, args, specials);
        message[5] = list;
        if (wait !== undefined) ArrayPrototypePush(waits, wait);
      }
      if (waits.length === 0) this.#send(message, specials);
    } catch (error) {
      this.#unshow(specials);
      return failed(error);
    }
    let pending!: Pending;
    const promise = new NativePromise<unknown>((resolve, reject) => {
      pending = { resolve, reject } as Pending;
    });
    // A call that others were made of need not be waited for itself.
    PromisePrototypeThen(promise, undefined, () => undefined);
    pending.answer = new CallAnswer(this, call, promise);
    MapPrototypeSet(this.#calls, call, pending);
    if (waits.length > 0) {
      const sent = this.#sendLater(call, message, specials, waits);
      MapPrototypeSet(this.#unsent, call, sent);
      PromisePrototypeThen(sent, undefined, () => undefined);
    }
    return pending.answer;
  }

  /** Sends a call once what it waits for is there. */
  async #sendLater(call: number, message: unknown[], specials: Special[], waits: Promise<void>[]): Promise<void> {
    try {
      for (let i = 0; i < waits.length; i++) await waits[i];
      if (this.#over !== undefined) throw this.#over.error;
      this.#send(message, specials);
    } catch (error) {
      this.#unshow(specials);
      const pending = MapPrototypeGet(this.#calls, call) as Pending | undefined;
      if (pending !== undefined) {
        MapPrototypeDelete(this.#calls, call);
        pending.answer.settled = true;
        pending.reject(error);
        this.#look();
      }
      throw error;
    } finally {
      MapPrototypeDelete(this.#unsent, call);
    }
  }

  /** Shows something to the other side; its number. */
  show(target: unknown): number {
    const id = this.#nextExport++;
    MapPrototypeSet(this.#exports, id, target);
    return id;
  }

  /** A stub's base for something that the other side showed. */
  adopt(id: number): Base {
    this.#imports += 1;
    return new Import(this, id, { stubs: 1 });
  }

  /** What was shown under this number. */
  shown(id: number): unknown {
    return MapPrototypeGet(this.#exports, id);
  }

  /** The number of something of the other side's. */
  numberOf(base: Base): number | undefined {
    return base instanceof Import && base.session === this ? base.id : undefined;
  }

  release(id: number): void {
    this.#imports -= 1;
    this.#sendQuietly([RELEASE, id]);
    this.#look();
  }

  onBroken(callback: (error: unknown) => void): void {
    if (typeof callback !== "function") throw new TypeError("onRpcBroken takes a function.");
    if (this.#over === undefined) ArrayPrototypePush(this.#watchers, callback);
    else callback(this.#over.error);
  }

  #send(message: unknown[], specials: Special[]): void {
    let bytes: Uint8Array<ArrayBuffer>;
    try {
      bytes = ops.rpcEncode(message);
    } catch (error) {
      this.#unshow(specials);
      if (error instanceof Error && error.name === "DataCloneError") throw new DOMException(error.message, "DataCloneError");
      throw error;
    }
    this.#transport.send(bytes);
  }

  #unshow(specials: Special[]): void {
    for (let i = 0; i < specials.length; i++) {
      const [kind, id] = specials[i]![2] as [string, number];
      if (kind === "t" || kind === "r" || kind === "w") MapPrototypeDelete(this.#exports, id);
    }
  }

  #sendQuietly(message: unknown[]): void {
    if (this.#over === undefined) this.#transport.send(ops.rpcEncode(message));
  }

  message(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#over !== undefined) return;
    try {
      const message = ops.rpcDecode(bytes);
      if (!ArrayIsArray(message)) throw new TypeError("no array");
      this.#receive(message);
    } catch {
      const error = new TypeError("The other worker's sandbox sent what is no message.");
      this.broken(error);
      this.#transport.abort(error);
    }
  }

  /** Throws for what is no message. */
  #receive(message: unknown[]): void {
    const [kind, id] = [message[0], number(message[1])];
    switch (kind) {
      case CALL:
        return this.#called(id, message);
      case RETURN:
      case THROW: {
        const pending = MapPrototypeGet(this.#calls, id) as Pending | undefined;
        if (pending === undefined) throw new TypeError("no such call");
        // Where the message turns out to be none, the call is still among those that break with the session.
        let settle: () => void;
        if (kind === RETURN) {
          const stubs: Base[] = [];
          const values = list(message[2]);
          attach(this, list(message[3]), stubs);
          const value = disposable(values[0], stubs);
          settle = () => pending.resolve(value);
        } else {
          const error = readError(message[2], message[3]);
          settle = () => pending.reject(error);
        }
        MapPrototypeDelete(this.#calls, id);
        pending.answer.settled = true;
        settle();
        this.#sendQuietly([FINISH, id]);
        return this.#look();
      }
      case FINISH:
        MapPrototypeDelete(this.#answers, id);
        return this.#look();
      case RELEASE: {
        const target = MapPrototypeGet(this.#exports, id);
        if (id === 0 || !MapPrototypeDelete(this.#exports, id)) throw new TypeError("no such export");
        this.#look();
        return disposeQuietly(target);
      }
      default:
        throw new TypeError("no such kind");
    }
  }

  #called(call: number, message: unknown[]): void {
    const [of, id, path, given] = [message[2], number(message[3]), list(message[4]), message[5]];
    if (MapPrototypeGet(this.#answers, call) !== undefined || this.#running >= CALLS_MAX || path.length > PATH_MAX) {
      throw new TypeError("no such call");
    }
    for (let i = 0; i < path.length; i++) if (typeof path[i] !== "string") throw new TypeError("no path");
    const stubs: Base[] = [];
    const args = given === null ? undefined : list(given);
    attach(this, list(message[6]), stubs);
    let answer: Promise<unknown>;
    if (of === EXPORT) {
      const target = this.shown(id);
      if (target === undefined) answer = PromiseReject(new TypeError("What was called does not exist any more."));
      else answer = perform(target, path as string[], args);
    } else if (of === ANSWER) {
      const earlier = MapPrototypeGet(this.#answers, id) as Promise<unknown> | undefined;
      if (earlier === undefined) throw new TypeError("no such answer");
      answer = PromisePrototypeThen(earlier, (value) => perform(value, path as string[], args));
    } else {
      throw new TypeError("no such target");
    }
    MapPrototypeSet(this.#answers, call, answer);
    this.#running += 1;
    void this.#answer(call, answer, stubs, of === EXPORT && !this.#opener);
  }

  async #answer(call: number, answer: Promise<unknown>, stubs: Base[], isReported: boolean): Promise<void> {
    try {
      const value = await answer;
      const specials: Special[] = [];
      if (this.#over === undefined) {
        const { list, wait } = prepare(this, [value], specials);
        if (wait !== undefined) await wait;
        if (this.#over === undefined) this.#send([RETURN, call, list, specials], specials);
      }
    } catch (error) {
      if (isReported) {
        const { message, stack } = describe(error);
        ops.exception(message, stack);
      }
      const [name, text] = writeError(error);
      this.#sendQuietly([THROW, call, name, text]);
    }
    this.#running -= 1;
    // What arguments brought along is the call's only, unless it was held once more.
    for (let i = 0; i < stubs.length; i++) stubs[i]!.dispose();
    this.#look();
  }

  /** Ends the session when nothing of it is in use. */
  #look(): void {
    if (!this.#opener || this.#over !== undefined || this.#running > 0 || this.#imports > 0) return;
    if (MapPrototypeGetSize(this.#calls) > 0 || MapPrototypeGetSize(this.#exports) > 0) return;
    this.#transport.end();
    this.#finish(new TypeError("The session is over."));
  }

  ended(): void {
    if (this.#over === undefined && this.#opener) {
      return this.broken(new TypeError("The other worker ended the session."));
    }
    this.#transport.end();
    this.#finish(new TypeError("The caller has ended the session."));
  }

  broken(error: unknown): void {
    this.#finish(error);
  }

  #finish(error: unknown): void {
    if (this.#over !== undefined) return;
    this.#over = { error };
    MapPrototypeForEach(this.#calls, (pending: Pending) => {
      pending.answer.settled = true;
      pending.reject(error);
    });
    for (let i = 0; i < this.#watchers.length; i++) {
      const callback = this.#watchers[i]!;
      PromisePrototypeThen(PromiseResolve(undefined), () => callback(error));
    }
    MapPrototypeForEach(this.#exports, (target: unknown) => disposeQuietly(target));
    this.#onOver();
  }
}

function disposeQuietly(target: unknown): void {
  try {
    const dispose = (target as { [Symbol.dispose]?: unknown })[Symbol.dispose];
    if (typeof dispose === "function") (target as { [Symbol.dispose](): void })[Symbol.dispose]();
  } catch (error) {
    const { message, stack } = describe(error);
    ops.exception(message, stack);
  }
}

/** Gives a result that holds stubs a way to let go of all of them. */
function disposable(value: unknown, stubs: Base[]): unknown {
  // One's own object that came back is not changed.
  if (stubs.length === 0 || typeof value !== "object" || value === null || isTarget(value)) return value;
  const dispose = () => {
    for (let i = 0; i < stubs.length; i++) stubs[i]!.dispose();
  };
  ObjectDefineProperty(value, Symbol.dispose, { value: dispose, writable: true, configurable: true });
  return value;
}

function number(value: unknown): number {
  if (typeof value !== "number" || !NumberIsInteger(value) || value < 0) throw new TypeError("no number");
  return value;
}

function list(value: unknown): unknown[] {
  if (!ArrayIsArray(value)) throw new TypeError("no list");
  return value;
}
