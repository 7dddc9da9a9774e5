/**
 * Values as text for people, in the manner of Node's `util.inspect`. Bounded in depth, in items and in size. Getters of
 * properties are not called, and a proxy is shown as its target, without its traps.
 */
import {
  ArrayPrototypeIndexOf,
  ArrayPrototypePush,
  MapPrototypeGet,
  MapPrototypeSet,
  MathMin,
  NativeMap,
  NumberIsNaN,
  ObjectGetOwnPropertyDescriptor,
  ObjectGetPrototypeOf,
  ObjectPrototypePropertyIsEnumerable,
  ReflectApply,
  ReflectOwnKeys,
  RegExpPrototypeExec,
  StringPrototypeSlice,
} from "../internal/primordials.ts";
import * as ops from "../host.ts";
import { describe } from "./builtins.ts";
import { lay, type Parts, type Place } from "./layout.ts";
import { shownKey, shownString, shownSymbol } from "./text.ts";

const DEPTH = 2;
/** Deepest nesting that is followed, however much is asked for. */
const DEPTH_MAX = 50;
export const ITEMS_MAX = 100;
/** Longest list whose properties besides its items are looked for. */
const KEYS_MAX = 10_000;
/** Objects of one call; what is beyond is left out. */
const BUDGET = 5_000;
const INDEX = /^(?:0|[1-9]\d*)$/;
/** Under which libraries have a function that describes their objects. */
const CUSTOM = Symbol.for("nodejs.util.inspect.custom");

export interface Context extends Place {
  depth: number;
  budget: number;
  /** Objects that are being described. */
  open: object[];
  /** Those of them that something within refers to. */
  circular: object[];
  /** Show what is not enumerable. */
  hidden: boolean;
  /** Show proxies as such. */
  proxies: boolean;
}

export interface InspectOptions {
  /** Levels of nesting that are shown; null for all that the budget allows. */
  depth?: number | null;
  showHidden?: boolean;
  showProxy?: boolean;
}

/** What is shown of an object besides its properties. */
export interface Description extends Parts {
  /** Makes the items, or those before the properties. */
  fill(items: string[]): void;
  /** Properties to show. */
  keys: (string | symbol)[];
  /** What is shown without properties and items, in place of the braces. */
  bare: string;
  /** Name in brackets of what lies too deep; none for what is shown at any depth. */
  brief: string | undefined;
  /** Whether there is something to show besides properties. */
  filled: boolean;
}

export function inspect(value: unknown, options?: InspectOptions): string {
  const depth = options?.depth;
  const levels = depth === null ? DEPTH_MAX : typeof depth === "number" && !NumberIsNaN(depth) ? MathMin(depth, DEPTH_MAX) : DEPTH;
  const context: Context = {
    depth: levels,
    budget: BUDGET,
    open: [],
    circular: [],
    hidden: options?.showHidden === true,
    proxies: options?.showProxy === true,
    indent: 0,
    deepest: 0,
  };
  return show(value, context, 0);
}

/** `level` counts the objects around the value. */
export function show(value: unknown, context: Context, level: number): string {
  switch (typeof value) {
    case "string":
      return shownString(value, context.indent);
    case "number":
      return value === 0 && 1 / value < 0 ? "-0" : `${value}`;
    case "bigint":
      return `${value}n`;
    case "symbol":
      return shownSymbol(value);
    case "undefined":
    case "boolean":
      return `${value}`;
    default:
      return value === null ? "null" : showObject(value as object, context, level);
  }
}

/** The same, two columns further in. */
export function showWithin(value: unknown, context: Context, level: number): string {
  context.indent += 2;
  const text = show(value, context, level);
  context.indent -= 2;
  return text;
}

function showObject(value: object, context: Context, level: number): string {
  let innards = ops.innards(value);
  for (let steps = 0; innards !== undefined && innards[0] === "proxy"; steps++) {
    if (innards[1] === null) return "<Revoked Proxy>";
    if (context.proxies) return showProxy(innards[1], innards[2], context, level);
    if (steps > 100) return "[Proxy]";
    value = innards[1] as object;
    innards = ops.innards(value);
  }
  const at = ArrayPrototypeIndexOf(context.open, value);
  if (at >= 0) {
    let number = ArrayPrototypeIndexOf(context.circular, value) + 1;
    if (number === 0) number = ArrayPrototypePush(context.circular, value);
    return `[Circular *${number}]`;
  }
  if (context.budget <= 0) return "...";
  context.budget -= 1;
  const { indent } = context;
  const opened = context.open.length;
  try {
    return customText(value, context, level) ?? draw(value, describe(value, innards, context, level), context, level);
  } catch {
    // Own code of the object has thrown.
    context.indent = indent;
    context.open.length = opened;
    return "[Object that cannot be inspected]";
  }
}

function draw(value: object, shown: Description, context: Context, level: number): string {
  const { keys } = shown;
  if (keys.length === 0 && !shown.filled) return shown.bare;
  if (level > context.depth) return shown.brief === undefined ? shown.bare : `[${shown.brief}]`;
  level += 1;
  ArrayPrototypePush(context.open, value);
  context.deepest = level;
  shown.fill(shown.items);
  let left = 0;
  for (let i = 0; i < keys.length; i++) {
    if (shown.items.length > 2 * ITEMS_MAX || context.budget <= 0) left += 1;
    else property(value, keys[i]!, shown.items, context, level);
  }
  if (left > 0) ArrayPrototypePush(shown.items, `... ${left} more propert${left > 1 ? "ies" : "y"}`);
  context.open.length -= 1;
  const circular = ArrayPrototypeIndexOf(context.circular, value) + 1;
  if (circular > 0) {
    const reference = `<ref *${circular}>`;
    shown.base = shown.base === "" ? reference : `${reference} ${shown.base}`;
  }
  return lay(shown, context, level);
}

/** What the object's own function says; undefined if it has none. */
function customText(value: object, context: Context, level: number): string | undefined {
  const custom = (value as Record<symbol, unknown>)[CUSTOM];
  if (typeof custom !== "function") return undefined;
  const constructor = (value as { constructor?: unknown }).constructor;
  if (typeof constructor === "function" && constructor.prototype === value) return undefined;
  const depth = context.depth - level;
  const options = { depth, showHidden: context.hidden, showProxy: context.proxies, colors: false, stylize: (text: unknown) => `${text as string}` };
  ArrayPrototypePush(context.open, value);
  const said = ReflectApply(custom, value, [depth, options, inspect]) as unknown;
  context.open.length -= 1;
  if (said === value) return undefined;
  return typeof said === "string" ? indented(said, context.indent) : show(said, context, level);
}

/** Further lines start where the value does. */
export function indented(text: string, indent: number): string {
  if (indent === 0) return text;
  let out = "";
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] !== "\n") continue;
    out += StringPrototypeSlice(text, start, i + 1);
    for (let column = 0; column < indent; column++) out += " ";
    start = i + 1;
  }
  return out + StringPrototypeSlice(text, start);
}

function showProxy(target: unknown, handler: unknown, context: Context, level: number): string {
  if (level > context.depth) return "Proxy [Array]";
  context.deepest = level + 1;
  const items = [showWithin(target, context, level + 1), showWithin(handler, context, level + 1)];
  return lay({ base: "", open: "Proxy [", close: "]", items, list: undefined, cut: false }, context, level + 1);
}

/** Properties that are shown; those of lists without their items. */
export function keysOf(value: object, context: Context, length: number | undefined): (string | symbol)[] {
  const shown: (string | symbol)[] = [];
  // To look for more than items among so many would cost more than a line of the log is worth.
  if (length !== undefined && length > KEYS_MAX) return shown;
  const keys = ReflectOwnKeys(value);
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!;
    if (length !== undefined && typeof key === "string" && RegExpPrototypeExec(INDEX, key) !== null) continue;
    if (context.hidden || ObjectPrototypePropertyIsEnumerable(value, key)) ArrayPrototypePush(shown, key);
  }
  return shown;
}

function property(value: object, key: string | symbol, items: string[], context: Context, level: number): void {
  const property = ObjectGetOwnPropertyDescriptor(value, key);
  if (property === undefined) {
    // An error's cause may be its class's.
    ArrayPrototypePush(items, `[${key as string}]: ${showWithin((value as Record<PropertyKey, unknown>)[key], context, level)}`);
    return;
  }
  const text = "value" in property ? showWithin(property.value, context, level) : accessor(property);
  ArrayPrototypePush(items, `${shownKey(key, property.enumerable === true)}: ${text}`);
}

export function accessor(property: PropertyDescriptor): string {
  return property.get === undefined ? "[Setter]" : property.set === undefined ? "[Getter]" : "[Getter/Setter]";
}

type Describe = (value: object) => Record<string, unknown>;

const described = new NativeMap<object, Describe>();

/** Has instances of an interface, whose state is not in their properties, shown with what `describe` gives. */
export function inspectable(prototype: object, describe: Describe): void {
  MapPrototypeSet(described, prototype, describe);
}

/** Shows the state of the runtime's own objects. */
export function attributesOf(value: object): Record<string, unknown> | undefined {
  let prototype = ObjectGetPrototypeOf(value);
  for (let steps = 0; prototype !== null && steps < 5; steps++) {
    const describe = MapPrototypeGet(described, prototype) as Describe | undefined;
    if (describe !== undefined) return describe(value);
    prototype = ObjectGetPrototypeOf(prototype);
  }
  return undefined;
}

export function showAttributes(state: Record<string, unknown>, items: string[], context: Context, level: number): void {
  const keys = ReflectOwnKeys(state);
  for (let i = 0; i < keys.length && i < ITEMS_MAX; i++) property(state, keys[i]!, items, context, level);
}
