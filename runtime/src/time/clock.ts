/** `Date` and `performance` on the host's clock, which stands still during a turn. */
import { NativeDate, ObjectDefineProperty, ReflectConstruct, uncurryThis } from "../internal/primordials.ts";
import { expose, finishInterface, illegalConstructor, INTERNAL, requireArguments } from "../internal/webidl.ts";
import { exposeLazy, loadPart } from "../internal/parts.ts";
import { EventTarget } from "../dom/event.ts";
import * as ops from "../host.ts";

const DateToString = uncurryThis(NativeDate.prototype.toString);

function HostDate(this: unknown, ...parts: unknown[]): unknown {
  if (new.target === undefined) return DateToString(new NativeDate(ops.now()));
  if (parts.length === 0) return ReflectConstruct(NativeDate, [ops.now()], new.target);
  return ReflectConstruct(NativeDate, parts, new.target);
}

function installDate(): void {
  const hidden = { writable: true, enumerable: false, configurable: true };
  ObjectDefineProperty(HostDate, "name", { value: "Date", configurable: true });
  ObjectDefineProperty(HostDate, "length", { value: 7, configurable: true });
  ObjectDefineProperty(HostDate, "prototype", { value: NativeDate.prototype, writable: false });
  ObjectDefineProperty(HostDate, "parse", { value: NativeDate.parse, ...hidden });
  ObjectDefineProperty(HostDate, "UTC", { value: NativeDate.UTC, ...hidden });
  const now = { now: (): number => ops.now() }.now;
  ObjectDefineProperty(HostDate, "now", { value: now, ...hidden });
  ObjectDefineProperty(NativeDate.prototype, "constructor", { value: HostDate, ...hidden });
  expose("Date", HostDate);
}

/** `Temporal`. The host takes V8's own away when a context leaves the snapshot, since only then V8 adds it. */
export function installTemporal(): void {
  exposeLazy("Temporal", "temporal");
}

/** Set when the worker begins, so that a snapshot does not hold the time at which it was made. */
let timeOrigin: number | undefined;

/** The worker begins. */
export function beginTime(): void {
  timeOrigin ??= ops.now();
}

/** Milliseconds since the time origin. */
export function sinceOrigin(): number {
  return ops.now() - (timeOrigin ??= ops.now());
}

export class Performance extends EventTarget {
  #brand = true;

  constructor(token: unknown = undefined) {
    illegalConstructor(token);
    super();
  }
  /** Marks and measures are a part of their own. */
  get #timeline() {
    return loadPart<typeof import("../parts/performance.ts")>("performance");
  }
  now(): number {
    void this.#brand;
    return sinceOrigin();
  }
  get timeOrigin(): number {
    void this.#brand;
    return (timeOrigin ??= ops.now());
  }
  toJSON(): object {
    void this.#brand;
    return { timeOrigin: (timeOrigin ??= ops.now()) };
  }
  mark(name: string, options: unknown = undefined): object {
    requireArguments(arguments.length, 1, "performance.mark");
    return this.#timeline.mark(name, options as object);
  }
  measure(name: string, startOrOptions: unknown = undefined, end: unknown = undefined): object {
    requireArguments(arguments.length, 1, "performance.measure");
    return this.#timeline.measure(name, startOrOptions, end);
  }
  clearMarks(name: string | undefined = undefined): void {
    this.#timeline.clear("mark", name === undefined ? undefined : `${name}`);
  }
  clearMeasures(name: string | undefined = undefined): void {
    this.#timeline.clear("measure", name === undefined ? undefined : `${name}`);
  }
  getEntries(): object[] {
    return this.#timeline.entriesBy(undefined, undefined);
  }
  getEntriesByType(type: string): object[] {
    requireArguments(arguments.length, 1, "performance.getEntriesByType");
    return this.#timeline.entriesBy(undefined, `${type}`);
  }
  getEntriesByName(name: string, type: string | undefined = undefined): object[] {
    requireArguments(arguments.length, 1, "performance.getEntriesByName");
    return this.#timeline.entriesBy(`${name}`, type === undefined ? undefined : `${type}`);
  }
}

finishInterface(Performance, "Performance");

export function installClock(): void {
  installDate();
  expose("Performance", Performance);
  exposeLazy("PerformanceEntry", "performance");
  exposeLazy("PerformanceMark", "performance");
  exposeLazy("PerformanceMeasure", "performance");
  exposeLazy("PerformanceObserver", "performance");
  exposeLazy("PerformanceObserverEntryList", "performance");
  expose("performance", new Performance(INTERNAL));
}
