/** `console`. Every call is one line in the worker's log; lines are bounded. */
import {
  MapPrototypeDelete,
  MapPrototypeGet,
  MapPrototypeGetSize,
  MapPrototypeSet,
  NativeMap,
  ObjectCreate,
  ObjectDefineProperty,
  ReflectApply,
  StringPrototypeIncludes,
  StringPrototypeIndexOf,
  StringPrototypeRepeat,
  StringPrototypeSlice,
} from "../internal/primordials.ts";
import type { LogLevel } from "../ops.d.ts";
import * as ops from "../host.ts";
import { withoutRuntime } from "../internal/report.ts";
import { loadPart } from "../internal/parts.ts";
import type { InspectOptions } from "./inspect.ts";
import "./natives.ts";

/** Longest line, UTF-16 code units. */
const LINE_MAX = 16 * 1024;
/** Labels that are counted or timed at once. */
const LABELS_MAX = 1000;

/** What shows values is a part of its own: most lines are text. */
const showing = () => loadPart<typeof import("../parts/console.ts")>("console");

let indent = 0;
const counts = new NativeMap<string, number>();
const times = new NativeMap<string, number>();

/** What a call's arguments are on the line. */
function format(args: readonly unknown[]): string {
  if (args.length === 0) return "";
  const first = args[0];
  if (typeof first !== "string" || (args.length > 1 && StringPrototypeIncludes(first, "%"))) return showing().format(args);
  let out = first;
  for (let i = 1; i < args.length; i++) {
    const arg = args[i];
    if (typeof arg !== "string") return showing().format(args);
    out += ` ${arg}`;
  }
  return out;
}

function write(level: LogLevel, text: string): void {
  let line = indent === 0 ? text : indented(text);
  if (line.length > LINE_MAX) {
    line = `${StringPrototypeSlice(line, 0, LINE_MAX)}… (${line.length - LINE_MAX} more characters)`;
  }
  ops.log(level, line);
}

function indented(text: string): string {
  const pad = StringPrototypeRepeat("  ", indent);
  return pad + text.split("\n").join(`\n${pad}`);
}

function remember(map: Map<string, number>, label: string, value: number): void {
  if (MapPrototypeGetSize(map) < LABELS_MAX || MapPrototypeGet(map, label) !== undefined) {
    MapPrototypeSet(map, label, value);
  }
}

function elapsed(label: string): string | undefined {
  const start = MapPrototypeGet(times, label) as number | undefined;
  return start === undefined ? undefined : `${label}: ${ops.now() - start}ms`;
}

const methods = {
  debug(...args: unknown[]) {
    write(0, format(args));
  },
  log(...args: unknown[]) {
    write(1, format(args));
  },
  info(...args: unknown[]) {
    write(2, format(args));
  },
  warn(...args: unknown[]) {
    write(3, format(args));
  },
  error(...args: unknown[]) {
    write(4, format(args));
  },
  trace(...args: unknown[]) {
    const holder = new Error();
    const stack = withoutRuntime(`${holder.stack}`);
    const first = StringPrototypeIndexOf(stack, "\n");
    write(0, `Trace${args.length > 0 ? `: ${format(args)}` : ""}${first < 0 ? "" : StringPrototypeSlice(stack, first)}`);
  },
  assert(condition: unknown = false, ...args: unknown[]) {
    if (condition) return;
    if (args.length > 0 && typeof args[0] === "string") args[0] = `Assertion failed: ${args[0]}`;
    else args.unshift("Assertion failed");
    write(4, format(args));
  },
  dir(value: unknown = undefined, options: InspectOptions | undefined = undefined) {
    write(1, showing().inspect(value, options));
  },
  dirxml(...args: unknown[]) {
    write(1, format(args));
  },
  table(data: unknown = undefined, columns: string[] | undefined = undefined) {
    write(1, showing().formatTable(data, columns) ?? format([data]));
  },
  group(...args: unknown[]) {
    if (args.length > 0) write(1, format(args));
    if (indent < 20) indent += 1;
  },
  groupCollapsed(...args: unknown[]) {
    if (args.length > 0) write(1, format(args));
    if (indent < 20) indent += 1;
  },
  groupEnd() {
    if (indent > 0) indent -= 1;
  },
  count(label: unknown = "default") {
    const key = `${label as string}`;
    const next = ((MapPrototypeGet(counts, key) as number | undefined) ?? 0) + 1;
    remember(counts, key, next);
    write(1, `${key}: ${next}`);
  },
  countReset(label: unknown = "default") {
    MapPrototypeDelete(counts, `${label as string}`);
  },
  time(label: unknown = "default") {
    remember(times, `${label as string}`, ops.now());
  },
  timeLog(label: unknown = "default", ...args: unknown[]) {
    const text = elapsed(`${label as string}`);
    if (text === undefined) write(3, `No such label: ${label as string}`);
    else write(1, args.length > 0 ? `${text} ${format(args)}` : text);
  },
  timeEnd(label: unknown = "default") {
    const key = `${label as string}`;
    const text = elapsed(key);
    MapPrototypeDelete(times, key);
    write(text === undefined ? 3 : 1, text ?? `No such label: ${key}`);
  },
  clear() {},
};

/** V8's own console, which shows values to an inspector. */
const native = (globalThis as unknown as { console: Record<string, (...args: unknown[]) => void> }).console;
let inspected = false;

/** See `Entry.inspected`. */
export function setInspected(value: boolean): void {
  inspected = value;
}

/** The method, which an inspector hears, too. */
function audible(name: keyof typeof methods): (...args: unknown[]) => void {
  const method = methods[name] as (...args: unknown[]) => void;
  const show = native[name]!;
  const holder = {
    [name](...args: unknown[]) {
      if (inspected) ReflectApply(show, native, args);
      ReflectApply(method, undefined, args);
    },
  };
  return holder[name]!;
}

/** A namespace object as WebIDL wants it. */
export function createConsole(): object {
  const console = ObjectCreate({}) as object;
  for (const name in methods) {
    const value = audible(name as keyof typeof methods);
    ObjectDefineProperty(console, name, { value, writable: true, enumerable: true, configurable: true });
  }
  ObjectDefineProperty(console, Symbol.toStringTag, { value: "console", configurable: true });
  return console;
}

