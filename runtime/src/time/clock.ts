/** `Date` and `performance` on the host's clock, which stands still during a turn. */
import { NativeDate, ObjectDefineProperty, ReflectConstruct, uncurryThis } from "../internal/primordials.ts";
import { expose, finishInterface, illegalConstructor, INTERNAL } from "../internal/webidl.ts";
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

interface Instant {
  toZonedDateTimeISO(zone: unknown): { toPlainDateTime(): unknown; toPlainDate(): unknown; toPlainTime(): unknown };
}

let temporalInstalled = false;

/** `Temporal.Now`, where V8 has it. V8 adds Temporal to a context when it leaves the snapshot, not before. */
export function installTemporal(): void {
  const temporal = (globalThis as { Temporal?: { Now: object; Instant: { fromEpochMilliseconds(ms: number): Instant } } })
    .Temporal;
  if (temporal === undefined || temporalInstalled) return;
  temporalInstalled = true;
  const { Now } = temporal;
  const fromEpochMilliseconds = temporal.Instant.fromEpochMilliseconds.bind(temporal.Instant);
  const zoneId = (Now as { timeZoneId(): string }).timeZoneId.bind(Now);
  const instant = () => fromEpochMilliseconds(ops.now());
  const zoned = (zone: unknown) => instant().toZonedDateTimeISO(zone === undefined ? zoneId() : zone);
  const functions: Record<string, (zone: unknown) => unknown> = {
    instant: () => instant(),
    zonedDateTimeISO: (zone) => zoned(zone),
    plainDateTimeISO: (zone) => zoned(zone).toPlainDateTime(),
    plainDateISO: (zone) => zoned(zone).toPlainDate(),
    plainTimeISO: (zone) => zoned(zone).toPlainTime(),
  };
  for (const name in functions) {
    const value = functions[name]!;
    ObjectDefineProperty(value, "length", { value: 0, configurable: true });
    ObjectDefineProperty(Now, name, { value, writable: true, enumerable: false, configurable: true });
  }
}

/** Set when the worker begins, so that a snapshot does not hold the time at which it was made. */
let timeOrigin: number | undefined;

/** The worker begins. */
export function beginTime(): void {
  timeOrigin ??= ops.now();
}

export class Performance extends EventTarget {
  constructor(token?: unknown) {
    illegalConstructor(token);
    super();
  }
  now(): number {
    return ops.now() - this.timeOrigin;
  }
  get timeOrigin(): number {
    return (timeOrigin ??= ops.now());
  }
  toJSON(): object {
    return { timeOrigin: this.timeOrigin };
  }
}
finishInterface(Performance, "Performance");

export function installClock(): void {
  installDate();
  expose("Performance", Performance);
  expose("performance", new Performance(INTERNAL));
}
