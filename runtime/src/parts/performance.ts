/** Marks and measures (User Timing, sections 3 and 4; Performance Timeline, section 4). They live as long as the worker, up to a bound. */
import {
  ArrayPrototypePush,
  ArrayPrototypeSlice,
  ArrayPrototypeSort,
  ArrayPrototypeSplice,
  NumberIsFinite,
} from "../internal/primordials.ts";
import { finishInterface, illegalConstructor, INTERNAL, requireArguments, toDictionary } from "../internal/webidl.ts";
import { DOMException } from "../dom/exception.ts";
import { structuredClone } from "../structured-clone.ts";
import { sinceOrigin } from "../time/clock.ts";

/** More entries than these push out the oldest. */
const ENTRIES_MAX = 10_000;

let isMark: (entry: PerformanceEntry) => boolean;
let nameOf: (entry: PerformanceEntry) => string;
let startOf: (entry: PerformanceEntry) => number;

export class PerformanceEntry {
  #name: string;
  #entryType: string;
  #startTime: number;
  #duration: number;

  constructor(token: unknown, name: string, type: string, start: number, duration: number) {
    illegalConstructor(token);
    this.#name = name;
    this.#entryType = type;
    this.#startTime = start;
    this.#duration = duration;
  }
  static {
    isMark = (entry) => entry.#entryType === "mark";
    nameOf = (entry) => entry.#name;
    startOf = (entry) => entry.#startTime;
  }
  get name(): string {
    return this.#name;
  }
  get entryType(): string {
    return this.#entryType;
  }
  get startTime(): number {
    return this.#startTime;
  }
  get duration(): number {
    return this.#duration;
  }
  toJSON(): object {
    return { name: this.#name, entryType: this.#entryType, startTime: this.#startTime, duration: this.#duration };
  }
}
finishInterface(PerformanceEntry, "PerformanceEntry");

interface MarkOptions {
  detail: unknown;
  startTime: number;
}

function toTime(value: unknown): number {
  const time = Number(value);
  if (!NumberIsFinite(time)) throw new TypeError("A time must be a finite number.");
  return time;
}

function toDetail(detail: unknown): unknown {
  return detail === undefined || detail === null ? null : structuredClone(detail);
}

export class PerformanceMark extends PerformanceEntry {
  #detail: unknown;

  constructor(name: string, options: Partial<MarkOptions> | undefined = undefined) {
    requireArguments(arguments.length, 1, "PerformanceMark constructor");
    const text = `${name}`;
    const { detail, startTime } = toDictionary<MarkOptions>(options, "mark options");
    const start = startTime === undefined ? sinceOrigin() : toTime(startTime);
    if (start < 0) throw new TypeError("A mark cannot be before the time origin.");
    super(INTERNAL, text, "mark", start, 0);
    this.#detail = toDetail(detail);
  }
  get detail(): unknown {
    return this.#detail;
  }
}
finishInterface(PerformanceMark, "PerformanceMark");

export class PerformanceMeasure extends PerformanceEntry {
  #detail: unknown;

  constructor(token: unknown, name: string, start: number, duration: number, detail: unknown) {
    super(token, name, "measure", start, duration);
    this.#detail = detail;
  }
  get detail(): unknown {
    return this.#detail;
  }
}
finishInterface(PerformanceMeasure, "PerformanceMeasure");

const entries: PerformanceEntry[] = [];

function add<E extends PerformanceEntry>(entry: E): E {
  if (entries.length >= ENTRIES_MAX) ArrayPrototypeSplice(entries, 0, ENTRIES_MAX / 10);
  ArrayPrototypePush(entries, entry);
  return entry;
}

export function mark(name: string, options?: Partial<MarkOptions>): PerformanceMark {
  return add(new PerformanceMark(name, options));
}

/** A time, or that of the last mark of a name. */
function timeOf(given: unknown): number {
  if (typeof given === "number") {
    if (given < 0) throw new TypeError("A time cannot be before the time origin.");
    return toTime(given);
  }
  const name = `${given as string}`;
  for (let i = entries.length - 1; i >= 0; i--) {
    if (isMark(entries[i]!) && nameOf(entries[i]!) === name) return startOf(entries[i]!);
  }
  throw new DOMException(`There is no mark "${name}".`, "SyntaxError");
}

interface MeasureOptions {
  detail: unknown;
  duration: number;
  end: unknown;
  start: unknown;
}

export function measure(name: string, from?: unknown, to?: unknown): PerformanceMeasure {
  const text = `${name}`;
  let options: Partial<MeasureOptions> = { __proto__: null } as Partial<MeasureOptions>;
  if (typeof from === "object" && from !== null) {
    const { detail, duration, end, start } = from as Partial<MeasureOptions>;
    const some = detail !== undefined || duration !== undefined || end !== undefined || start !== undefined;
    if (some && to !== undefined) throw new TypeError("measure takes either options or the name of a mark to end with.");
    if (some && start === undefined && end === undefined) throw new TypeError("measure needs a start or an end.");
    if (start !== undefined && end !== undefined && duration !== undefined) {
      throw new TypeError("measure takes two of start, end and duration.");
    }
    options = { detail, duration, end, start };
  } else {
    options.start = from === null ? undefined : from;
  }
  const length = options.duration === undefined ? undefined : toTime(options.duration);
  let end: number;
  if (to !== undefined) end = timeOf(to);
  else if (options.end !== undefined) end = timeOf(options.end);
  else if (options.start !== undefined && length !== undefined) end = timeOf(options.start) + length;
  else end = sinceOrigin();
  let start = 0;
  if (options.start !== undefined) start = timeOf(options.start);
  else if (length !== undefined && options.end !== undefined) start = end - length;
  return add(new PerformanceMeasure(INTERNAL, text, start, end - start, toDetail(options.detail)));
}

/** Entries of a name and a type, where these are given, by their start. */
export function entriesBy(name: string | undefined, type: string | undefined): PerformanceEntry[] {
  const found: PerformanceEntry[] = [];
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i]!;
    if (name !== undefined && nameOf(entry) !== name) continue;
    if (type !== undefined && type !== (isMark(entry) ? "mark" : "measure")) continue;
    ArrayPrototypePush(found, entry);
  }
  return ArrayPrototypeSort(found, (a: PerformanceEntry, b: PerformanceEntry) => startOf(a) - startOf(b));
}

export function clear(type: string, name: string | undefined): void {
  const all = ArrayPrototypeSlice(entries) as PerformanceEntry[];
  entries.length = 0;
  for (let i = 0; i < all.length; i++) {
    const entry = all[i]!;
    const goes = isMark(entry) === (type === "mark") && (name === undefined || nameOf(entry) === name);
    if (!goes) ArrayPrototypePush(entries, entry);
  }
}
