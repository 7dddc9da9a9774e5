/** `Temporal` with `Temporal.Now` on the host's clock. */
import { ObjectDefineProperty, uncurryThis } from "../internal/primordials.ts";
import * as ops from "../host.ts";

interface Instant {
  toZonedDateTimeISO(zone: unknown): ZonedDateTime;
}
interface ZonedDateTime {
  toPlainDateTime(): unknown;
  toPlainDate(): unknown;
  toPlainTime(): unknown;
}
interface Class<T> {
  prototype: T;
}
interface Native {
  Now: { timeZoneId(): string };
  Instant: Class<Instant> & { fromEpochMilliseconds(this: unknown, ms: number): Instant };
  ZonedDateTime: Class<ZonedDateTime>;
}

function onHostClock(native: Native): Native {
  const { Now, Instant, ZonedDateTime } = native;
  const fromEpochMilliseconds = uncurryThis(Instant.fromEpochMilliseconds);
  const toZonedDateTimeISO = uncurryThis(Instant.prototype.toZonedDateTimeISO);
  const toPlainDateTime = uncurryThis(ZonedDateTime.prototype.toPlainDateTime);
  const toPlainDate = uncurryThis(ZonedDateTime.prototype.toPlainDate);
  const toPlainTime = uncurryThis(ZonedDateTime.prototype.toPlainTime);
  const timeZoneId = uncurryThis(Now.timeZoneId);
  const instant = () => fromEpochMilliseconds(Instant, ops.now());
  const zoned = (zone: unknown) => toZonedDateTimeISO(instant(), zone === undefined ? timeZoneId(Now) : zone);
  const functions: Record<string, (zone: unknown) => unknown> = {
    instant: () => instant(),
    zonedDateTimeISO: (zone) => zoned(zone),
    plainDateTimeISO: (zone) => toPlainDateTime(zoned(zone)),
    plainDateISO: (zone) => toPlainDate(zoned(zone)),
    plainTimeISO: (zone) => toPlainTime(zoned(zone)),
  };
  for (const name in functions) {
    const value = functions[name]!;
    const hidden = { __proto__: null, enumerable: false, configurable: true };
    ObjectDefineProperty(value, "name", { ...hidden, value: name });
    ObjectDefineProperty(value, "length", { ...hidden, value: 0 });
    ObjectDefineProperty(Now, name, { ...hidden, value, writable: true });
  }
  return native;
}

const native = ops.temporal() as Native | undefined;

export const Temporal = native === undefined ? undefined : onHostClock(native);
