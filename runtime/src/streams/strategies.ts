/** Queuing strategies: the two classes of the standard, and what streams make of a strategy argument. */
import { NumberIsNaN, ObjectDefineProperty, ReflectApply } from "../internal/primordials.ts";
import { finishInterface, requireArguments, toDictionary } from "../internal/webidl.ts";

/** Tells how large a chunk is; undefined where every chunk counts 1. */
export type SizeOf = ((chunk: unknown) => unknown) | undefined;

export interface Strategy {
  highWaterMark: unknown;
  size: unknown;
}

export interface KnownStrategy {
  highWaterMark: number | undefined;
  size: SizeOf;
}

/** Reads a strategy argument, in the order and with the conversions of WebIDL. */
export function readStrategy(given: unknown): KnownStrategy {
  const strategy = toDictionary<Strategy>(given, "A queuing strategy");
  const mark = strategy.highWaterMark;
  const highWaterMark = mark === undefined ? undefined : toNumber(mark);
  const { size } = strategy;
  if (size === undefined) return { highWaterMark, size: undefined };
  if (typeof size !== "function") throw new TypeError("A queuing strategy's size must be a function.");
  return { highWaterMark, size: size === ONE ? undefined : (chunk) => ReflectApply(size, undefined, [chunk]) };
}

/** The high water mark, if it is one (Streams, ExtractHighWaterMark). */
export function markOf(strategy: KnownStrategy, otherwise: number): number {
  const mark = strategy.highWaterMark;
  if (mark === undefined) return otherwise;
  if (NumberIsNaN(mark) || mark < 0) throw new RangeError("A highWaterMark must be a number that is not negative.");
  return mark;
}

function toNumber(value: unknown): number {
  return typeof value === "number" ? value : +(value as number);
}

/** A chunk's size as user code told it, checked (Streams, EnqueueValueWithSize). */
export function checkedSize(value: unknown): number {
  const size = toNumber(value);
  if (NumberIsNaN(size) || size < 0 || size === Infinity) {
    throw new RangeError("The size of a chunk must be a finite number that is not negative.");
  }
  return size;
}

function readMark(init: unknown, what: string): number {
  const mark = toDictionary<{ highWaterMark: unknown }>(init, `${what} options`).highWaterMark;
  if (mark === undefined) throw new TypeError(`${what} needs a highWaterMark.`);
  return toNumber(mark);
}

// One function each for the whole realm, which are no constructors.
const ONE = () => 1;
const BYTES = (chunk: ArrayBufferView) => chunk.byteLength;
ObjectDefineProperty(ONE, "name", { value: "size", configurable: true });
ObjectDefineProperty(BYTES, "name", { value: "size", configurable: true });

export class CountQueuingStrategy {
  #mark: number;

  constructor(init: { highWaterMark: number }) {
    requireArguments(arguments.length, 1, "CountQueuingStrategy");
    this.#mark = readMark(init, "CountQueuingStrategy");
  }
  get highWaterMark(): number {
    return this.#mark;
  }
  get size(): () => number {
    void this.#mark;
    return ONE;
  }
}
finishInterface(CountQueuingStrategy, "CountQueuingStrategy");

export class ByteLengthQueuingStrategy {
  #mark: number;

  constructor(init: { highWaterMark: number }) {
    requireArguments(arguments.length, 1, "ByteLengthQueuingStrategy");
    this.#mark = readMark(init, "ByteLengthQueuingStrategy");
  }
  get highWaterMark(): number {
    return this.#mark;
  }
  get size(): (chunk: ArrayBufferView) => number {
    void this.#mark;
    return BYTES;
  }
}
finishInterface(ByteLengthQueuingStrategy, "ByteLengthQueuingStrategy");
