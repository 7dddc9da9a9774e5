/** Marks and measures (User Timing, sections 3 and 4; Performance Timeline, section 4). They live as long as the worker, up to a bound. */
import {
  ArrayPrototypePush,
  ArrayPrototypeSlice,
  ArrayPrototypeSort,
  ArrayPrototypeSplice,
  NumberIsFinite,
  ObjectDefineProperty,
  ObjectFreeze,
  ReflectApply,
  RegExpPrototypeExec,
} from "../internal/primordials.ts";
import { finishInterface, illegalConstructor, INTERNAL, requireArguments, takeSequence, toDictionary } from "../internal/webidl.ts";
import { DOMException } from "../dom/exception.ts";
import { structuredClone } from "../structured-clone.ts";
import { sinceOrigin } from "../time/clock.ts";
import { startTimer } from "../time/timers.ts";

/** More entries than these push out the oldest. */
const ENTRIES_MAX = 10_000;
/** Observers at once. */
const OBSERVERS_MAX = 100;

/** Names that only a window's navigation gives a time (Navigation Timing, PerformanceTiming). */
const NAVIGATION =
  /^(navigationStart|(unload|load)Event(Start|End)|redirect(Start|End)|fetchStart|domainLookup(Start|End)|connect(Start|End)|secureConnectionStart|requestStart|response(Start|End)|dom(Loading|Interactive|Complete|ContentLoadedEvent(Start|End)))$/;

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
ObjectDefineProperty(PerformanceEntry, "length", { value: 0, configurable: true });
ObjectDefineProperty(PerformanceMeasure, "length", { value: 0, configurable: true });

const entries: PerformanceEntry[] = [];

function add<E extends PerformanceEntry>(entry: E): E {
  if (entries.length >= ENTRIES_MAX) ArrayPrototypeSplice(entries, 0, ENTRIES_MAX / 10);
  ArrayPrototypePush(entries, entry);
  for (let i = 0; i < observers.length; i++) queue(observers[i]!, entry);
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
  if (RegExpPrototypeExec(NAVIGATION, name) !== null) throw new TypeError(`"${name}" is a time of windows; a worker has none.`);
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
  return select(entries, name, type);
}

function select(all: PerformanceEntry[], name: string | undefined, type: string | undefined): PerformanceEntry[] {
  const found: PerformanceEntry[] = [];
  for (let i = 0; i < all.length; i++) {
    const entry = all[i]!;
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

const SUPPORTED = ObjectFreeze(["mark", "measure"]) as readonly string[];

/** Those that observe something. */
const observers: PerformanceObserver[] = [];
let queue: (observer: PerformanceObserver, entry: PerformanceEntry) => void;

interface ObserverInit {
  buffered: unknown;
  entryTypes: unknown;
  type: unknown;
}

/** Is told of entries in a turn of its own (Performance Timeline, section 4.2). */
export class PerformanceObserver {
  #callback: Function;
  /** Observes one type after another, or a list of types that the next call replaces; undefined before the first. */
  #single: boolean | undefined;
  #marks = false;
  #measures = false;
  #records: PerformanceEntry[] = [];
  #dropped = 0;
  #first = true;
  #scheduled = false;

  constructor(callback: Function) {
    requireArguments(arguments.length, 1, "PerformanceObserver constructor");
    if (typeof callback !== "function") throw new TypeError("A PerformanceObserver takes a function.");
    this.#callback = callback;
  }

  static {
    queue = (observer, entry) => {
      if (isMark(entry) ? observer.#marks : observer.#measures) observer.#take(entry);
    };
  }

  static get supportedEntryTypes(): readonly string[] {
    return SUPPORTED;
  }

  observe(options: Partial<ObserverInit> | undefined = undefined): void {
    void this.#callback;
    const { buffered, entryTypes, type } = toDictionary<ObserverInit>(options, "observe options");
    if (entryTypes === undefined && type === undefined) throw new TypeError("observe needs entryTypes or type.");
    if (entryTypes !== undefined && (type !== undefined || buffered !== undefined)) {
      throw new TypeError("observe takes entryTypes alone, or type and buffered.");
    }
    const single = entryTypes === undefined;
    if (this.#single !== undefined && this.#single !== single) {
      throw new DOMException("An observer takes either entryTypes or type, at every call.", "InvalidModificationError");
    }
    let marks = false;
    let measures = false;
    const want = (value: unknown): void => {
      const name = `${value as string}`;
      if (name === "mark") marks = true;
      else if (name === "measure") measures = true;
    };
    if (single) want(type);
    else takeSequence(entryTypes, "entryTypes", want);
    this.#single = single;
    if (!marks && !measures) return;
    this.#marks = marks || (single && this.#marks);
    this.#measures = measures || (single && this.#measures);
    let known = false;
    for (let i = 0; i < observers.length; i++) known ||= observers[i] === this;
    if (!known) {
      if (observers.length >= OBSERVERS_MAX) throw new DOMException("Too many observers; disconnect some.", "OperationError");
      ArrayPrototypePush(observers, this);
    }
    if (!buffered) return;
    const seen = entriesBy(undefined, marks ? "mark" : "measure");
    for (let i = 0; i < seen.length; i++) this.#take(seen[i]!);
  }

  disconnect(): void {
    this.#marks = this.#measures = false;
    this.#records = [];
    this.#single = undefined;
    for (let i = 0; i < observers.length; i++) {
      if (observers[i] === this) ArrayPrototypeSplice(observers, i, 1);
    }
  }

  takeRecords(): PerformanceEntry[] {
    const records = this.#records;
    this.#records = [];
    return records;
  }

  #take(entry: PerformanceEntry): void {
    if (this.#records.length >= ENTRIES_MAX) this.#dropped += 1;
    else ArrayPrototypePush(this.#records, entry);
    if (this.#scheduled) return;
    this.#scheduled = true;
    startTimer(() => this.#tell(), 0, false);
  }

  #tell(): void {
    this.#scheduled = false;
    const records = this.#records;
    this.#records = [];
    if (records.length === 0) return;
    const more = this.#first ? { droppedEntriesCount: this.#dropped } : {};
    this.#first = false;
    ReflectApply(this.#callback, this, [new PerformanceObserverEntryList(INTERNAL, records), this, more]);
  }
}
finishInterface(PerformanceObserver, "PerformanceObserver");

export class PerformanceObserverEntryList {
  #entries: PerformanceEntry[];

  constructor(token: unknown = undefined, entries: PerformanceEntry[] = []) {
    illegalConstructor(token);
    this.#entries = entries;
  }
  getEntries(): PerformanceEntry[] {
    return select(this.#entries, undefined, undefined);
  }
  getEntriesByType(type: string): PerformanceEntry[] {
    requireArguments(arguments.length, 1, "getEntriesByType");
    return select(this.#entries, undefined, `${type}`);
  }
  getEntriesByName(name: string, type: string | undefined = undefined): PerformanceEntry[] {
    requireArguments(arguments.length, 1, "getEntriesByName");
    return select(this.#entries, `${name}`, type === undefined ? undefined : `${type}`);
  }
}
finishInterface(PerformanceObserverEntryList, "PerformanceObserverEntryList");
