/** The format of `console.log`: a template with placeholders, then values. */
import {
  JSONStringify,
  ObjectGetOwnPropertyDescriptor,
  ObjectGetPrototypeOf,
  ObjectPrototypeHasOwnProperty,
  SetPrototypeHas,
  StringPrototypeIncludes,
  StringPrototypeSlice,
} from "../internal/primordials.ts";
import { inspect } from "./inspect.ts";
import { classes, NativeNumber, NativeString, parseDecimal, parseInteger } from "./natives.ts";

/** What `console.log` makes of its arguments. */
export function format(args: readonly unknown[]): string {
  let out = "";
  let next = 0;
  const first = args[0];
  if (typeof first === "string") {
    next = 1;
    if (args.length === 1 || !StringPrototypeIncludes(first, "%")) out = first;
    else [out, next] = substitute(first, args);
  }
  for (; next < args.length; next++) {
    const arg = args[next];
    out += `${next === 0 ? "" : " "}${typeof arg === "string" ? arg : inspect(arg)}`;
  }
  return out;
}

function substitute(template: string, args: readonly unknown[]): [string, number] {
  let out = "";
  let next = 1;
  let start = 0;
  for (let i = 0; i < template.length - 1; i++) {
    if (template[i] !== "%") continue;
    const kind = template[i + 1];
    if (kind === "%") {
      out += `${StringPrototypeSlice(template, start, i)}%`;
    } else if (next < args.length && StringPrototypeIncludes("sdifjoOc", kind)) {
      out += StringPrototypeSlice(template, start, i) + convert(kind!, args[next++]);
    } else {
      continue;
    }
    start = i + 2;
    i += 1;
  }
  return [out + StringPrototypeSlice(template, start), next];
}

function convert(kind: string, arg: unknown): string {
  switch (kind) {
    case "s":
      return asString(arg);
    case "d":
      if (typeof arg === "bigint") return `${arg}n`;
      return shownNumber(typeof arg === "symbol" ? NaN : NativeNumber(arg));
    case "i":
      if (typeof arg === "bigint") return `${arg}n`;
      return shownNumber(typeof arg === "symbol" ? NaN : parseInteger(arg as string));
    case "f":
      return shownNumber(typeof arg === "symbol" ? NaN : parseDecimal(arg as string));
    case "j":
      try {
        return `${JSONStringify(arg)}`;
      } catch (error) {
        if (StringPrototypeIncludes(`${(error as Error).message}`, "circular")) return "[Circular]";
        throw error;
      }
    case "o":
      return inspect(arg, { depth: 4, showHidden: true, showProxy: true });
    case "O":
      return inspect(arg);
    default:
      // %c is for styles, which a log has none of.
      return "";
  }
}

function shownNumber(value: number): string {
  return value === 0 && 1 / value < 0 ? "-0" : `${value}`;
}

/** As strings are made of values, but objects that have no `toString` of their own are shown. */
function asString(arg: unknown): string {
  if (typeof arg === "number") return shownNumber(arg);
  if (typeof arg === "bigint") return `${arg}n`;
  if (typeof arg !== "object" || arg === null || !isShown(arg)) return NativeString(arg);
  return inspect(arg, { depth: 0 });
}

function isShown(value: object): boolean {
  try {
    if (typeof (value as { toString?: unknown }).toString !== "function") return true;
    let holder: object | null = value;
    for (let steps = 0; holder !== null && steps < 100; steps++) {
      if (ObjectPrototypeHasOwnProperty(holder, "toString")) break;
      holder = ObjectGetPrototypeOf(holder);
    }
    if (holder === value || holder === null) return false;
    const constructor = ObjectGetOwnPropertyDescriptor(holder, "constructor")?.value as unknown;
    const name = typeof constructor === "function" ? ObjectGetOwnPropertyDescriptor(constructor, "name")?.value : undefined;
    return typeof name === "string" && SetPrototypeHas(classes, name);
  } catch {
    return true;
  }
}
