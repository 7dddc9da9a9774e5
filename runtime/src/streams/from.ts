/** `ReadableStream.from` (Streams, ReadableStreamFromIterable). */
import { PromisePrototypeThen, PromiseReject, PromiseResolve, ReflectApply } from "../internal/primordials.ts";
import type { DefaultController } from "./default-controller.ts";
import { isObject, type Outcome } from "./promises.ts";
import type { Readable } from "./readable.ts";
import { newReadable } from "./readable-stream.ts";
import type { Source } from "./source.ts";

interface Result {
  done: unknown;
  value: unknown;
}

type Method = ((...list: unknown[]) => unknown) | null | undefined;

function methodOf(object: object, name: PropertyKey): Method {
  const method = (object as Record<PropertyKey, unknown>)[name];
  if (method !== undefined && method !== null && typeof method !== "function") {
    throw new TypeError(`${String(name)} is not a function.`);
  }
  return method as Method;
}

class FromIterator implements Source {
  controller!: DefaultController;
  readonly #iterator: object;
  readonly #next: unknown;
  /** Its values may be promises. */
  readonly #sync: boolean;

  constructor(iterable: unknown) {
    if (iterable === null || iterable === undefined) throw new TypeError("ReadableStream.from takes an iterable.");
    let method = methodOf(iterable as object, Symbol.asyncIterator);
    this.#sync = method === undefined || method === null;
    if (this.#sync) method = methodOf(iterable as object, Symbol.iterator);
    if (method === undefined || method === null) throw new TypeError("ReadableStream.from takes an iterable.");
    const iterator = ReflectApply(method, iterable, []) as unknown;
    if (!isObject(iterator)) throw new TypeError("The iterable gave an iterator that is no object.");
    this.#iterator = iterator;
    this.#next = (iterator as { next: unknown }).next;
  }

  pull(): Outcome {
    try {
      const result = ReflectApply(this.#next as Function, this.#iterator, []) as unknown;
      if (!this.#sync) return PromisePrototypeThen(PromiseResolve(result), (settled) => this.#take(settled));
      const { done, value } = checked(result);
      if (done) return PromisePrototypeThen(PromiseResolve(value), () => this.controller.close());
      return PromisePrototypeThen(
        this.#resolved(value),
        (settled) => this.controller.enqueue(settled),
        (error) => {
          this.#abandon();
          throw error;
        },
      );
    } catch (error) {
      return PromiseReject(error);
    }
  }

  #resolved(value: unknown): Promise<unknown> {
    try {
      return PromiseResolve(value);
    } catch (error) {
      this.#abandon();
      throw error;
    }
  }

  /** A promise among a synchronous iterator's values failed: the iterator is told that no more is wanted. */
  #abandon(): void {
    try {
      const method = methodOf(this.#iterator, "return");
      if (method !== undefined && method !== null) ReflectApply(method, this.#iterator, []);
    } catch {
      // The value's own error counts.
    }
  }

  #take(result: unknown): void {
    const { done, value } = checked(result);
    if (done) this.controller.close();
    else this.controller.enqueue(value);
  }

  cancel(reason: unknown): Outcome {
    try {
      const method = methodOf(this.#iterator, "return");
      if (method === undefined || method === null) return undefined;
      const result = ReflectApply(method, this.#iterator, [reason]) as unknown;
      if (!this.#sync) {
        return PromisePrototypeThen(PromiseResolve(result), (settled) => {
          if (!isObject(settled)) throw new TypeError("The iterator's return gave no object.");
        });
      }
      return PromiseResolve(checked(result).value);
    } catch (error) {
      return PromiseReject(error);
    }
  }
}

/** Reads an iterator's result. */
function checked(result: unknown): Result {
  if (!isObject(result)) throw new TypeError("The iterator gave a result that is no object.");
  const done = !!(result as Result).done;
  // The value of a last result is of no interest to a stream, but a synchronous iterator's is looked at.
  return { done, value: (result as Result).value };
}

export function streamFrom(iterable: unknown): Readable {
  const source = new FromIterator(iterable);
  source.controller = newReadable(source, 0);
  source.controller.start(undefined);
  return source.controller.stream;
}
