/**
 * Values as text for people, in the manner of Node. Bounded in depth, in items and in size. Getters of user objects
 * are not called; a proxy's traps are, and may throw.
 */
import {
  ArrayIsArray,
  bytesOf,
  isArrayBuffer,
  JSONStringify,
  MapPrototypeForEach,
  MapPrototypeGetSize,
  ObjectGetOwnPropertyDescriptor,
  ObjectGetPrototypeOf,
  ReflectOwnKeys,
  RegExpPrototypeExec,
  SetPrototypeForEach,
  SetPrototypeGetSize,
  StringPrototypeIncludes,
  StringPrototypeRepeat,
  StringPrototypeSlice,
  TypedArrayPrototypeGetTag,
  uncurryThis,
} from "../internal/primordials.ts";

const DEPTH = 2;
const ITEMS_MAX = 100;
/** Longest array whose properties besides its items are shown. */
const KEYS_MAX = 10_000;
const STRING_MAX = 10_000;
/** Nodes of one call; what is beyond is left out. */
const BUDGET = 5_000;
/** Widest object that stays on one line. */
const LINE_WIDTH = 72;

const RegExpToString = uncurryThis(RegExp.prototype.toString);
const DateToISOString = uncurryThis(Date.prototype.toISOString);
const DateGetTime = uncurryThis(Date.prototype.getTime);
const SymbolToString = uncurryThis(Symbol.prototype.toString);
const FunctionToString = uncurryThis(Function.prototype.toString);
const PromisePrototype = Promise.prototype;
const WeakPrototypes = [WeakMap.prototype, WeakSet.prototype, WeakRef.prototype];
const IDENTIFIER = /^[A-Za-z_$][\w$]*$/;

interface Context {
  depth: number;
  budget: number;
  seen: object[];
  circular: object[];
}

export interface InspectOptions {
  /** Levels of nesting that are shown; null for all that the budget allows. */
  depth?: number | null;
}

export function inspect(value: unknown, options?: InspectOptions): string {
  const depth = options?.depth === null ? 50 : typeof options?.depth === "number" ? options.depth : DEPTH;
  return show(value, { depth, budget: BUDGET, seen: [], circular: [] }, 0, true);
}

function quote(text: string): string {
  const shown = text.length > STRING_MAX ? StringPrototypeSlice(text, 0, STRING_MAX) : text;
  const more = text.length > STRING_MAX ? `... ${text.length - STRING_MAX} more characters` : "";
  const json = JSONStringify(shown);
  if (!StringPrototypeIncludes(shown, "'")) {
    const inner = StringPrototypeSlice(json, 1, -1);
    return `'${StringPrototypeIncludes(inner, '\\"') ? inner.split('\\"').join('"') : inner}'${more}`;
  }
  return json + more;
}

function show(value: unknown, context: Context, level: number, top: boolean): string {
  switch (typeof value) {
    case "string":
      return quote(value);
    case "number":
      return Object.is(value, -0) ? "-0" : `${value}`;
    case "bigint":
      return `${value}n`;
    case "symbol":
      return SymbolToString(value);
    case "undefined":
    case "boolean":
      return `${value}`;
    default:
      if (value === null) return "null";
      return showObject(value as object, context, level, top);
  }
}

/** Name of the class, from the nearest prototype that tells; never runs a getter. */
function className(value: object): string | null {
  let prototype: object | null = value;
  for (let steps = 0; prototype !== null && steps < 20; steps++) {
    const constructor = ObjectGetOwnPropertyDescriptor(prototype, "constructor")?.value as unknown;
    if (typeof constructor === "function" && (steps > 0 || prototype !== value)) {
      const name = ObjectGetOwnPropertyDescriptor(constructor, "name")?.value as unknown;
      if (typeof name === "string" && name !== "") return name;
    }
    prototype = ObjectGetPrototypeOf(prototype);
  }
  return null;
}

function showObject(value: object, context: Context, level: number, top: boolean): string {
  if (context.seen.includes(value)) {
    if (!context.circular.includes(value)) context.circular.push(value);
    return `[Circular *${context.circular.indexOf(value) + 1}]`;
  }
  if (context.budget <= 0) return "...";
  context.budget -= 1;
  let text: string;
  context.seen.push(value);
  try {
    text = describeObject(value, context, level, top);
  } catch {
    // A revoked proxy, or one whose traps throw.
    text = "[Object that cannot be inspected]";
  }
  context.seen.pop();
  const circular = context.circular.indexOf(value);
  return circular >= 0 ? `<ref *${circular + 1}> ${text}` : text;
}

function describeObject(value: object, context: Context, level: number, top: boolean): string {
  const name = className(value);
  if (typeof value === "function") return describeFunction(value, context, level);
  if (value instanceof Error) return describeError(value, context, level, top);

  const tooDeep = level > context.depth;
  if (ArrayIsArray(value)) {
    const prefix = name === "Array" ? "" : `${name ?? "[null prototype]"}(${value.length}) `;
    if (tooDeep) return `[${name ?? "Array"}]`;
    return join(`${prefix}[`, "]", [...arrayItems(value, context, level), ...properties(value, context, level, true)], level, value.length > 6);
  }
  const special = describeBuiltIn(value, name, context, level, tooDeep);
  if (special !== undefined) return special;

  const prefix = name === "Object" ? "" : name === null ? "[Object: null prototype] " : `${name} `;
  const tag = ObjectGetOwnPropertyDescriptor(ObjectGetPrototypeOf(value) ?? value, Symbol.toStringTag)?.value as unknown;
  const label = typeof tag === "string" && tag !== "" && tag !== name ? `${prefix === "" ? "Object " : prefix}[${tag}] ` : prefix;
  if (tooDeep) return `[${name ?? "Object: null prototype"}]`;
  const items = properties(value, context, level, false);
  items.push(...attributes(value, context, level));
  return items.length === 0 ? `${label}{}` : join(`${label}{`, "}", items, level, false);
}

function describeFunction(value: Function, context: Context, level: number): string {
  const name = ObjectGetOwnPropertyDescriptor(value, "name")?.value as unknown;
  const source = StringPrototypeSlice(FunctionToString(value), 0, 6);
  const kind = source === "class " || source === "class{" ? "class" : "Function";
  const shown = typeof name === "string" && name !== "" ? (kind === "class" ? ` ${name}` : `: ${name}`) : " (anonymous)";
  const parent = kind === "class" ? (ObjectGetPrototypeOf(value) as Function | null) : null;
  const parentName = parent === null ? undefined : (ObjectGetOwnPropertyDescriptor(parent, "name")?.value as unknown);
  const heritage = typeof parentName === "string" && parentName !== "" ? ` extends ${parentName}` : "";
  const base = `[${kind}${shown}${heritage}]`;
  if (level > context.depth) return base;
  const items = properties(value, context, level, false);
  return items.length === 0 ? base : join(`${base} {`, "}", items, level, false);
}

function describeError(error: Error, context: Context, level: number, top: boolean): string {
  const stack = ObjectGetOwnPropertyDescriptor(error, "stack");
  // V8 keeps the stack behind an accessor of its own in newer versions.
  const text = typeof stack?.value === "string" ? stack.value : safeString(() => error.stack);
  const base = text !== undefined && text !== "" ? text : `[${safeString(() => `${error.name}: ${error.message}`) ?? "Error"}]`;
  const items = properties(error, context, level, false, ["stack", "message"]);
  const cause = ObjectGetOwnPropertyDescriptor(error, "cause");
  if (cause !== undefined && "value" in cause) items.push(`[cause]: ${show(cause.value, context, level + 1, false)}`);
  const errors = ObjectGetOwnPropertyDescriptor(error, "errors");
  if (ArrayIsArray(errors?.value)) items.push(`[errors]: ${show(errors.value, context, level + 1, false)}`);
  const indented = top || level === 0 ? base : base.split("\n").join(`\n${StringPrototypeRepeat("  ", level)}`);
  return items.length === 0 ? indented : `${indented} ${join("{", "}", items, level, true)}`;
}

function safeString(get: () => unknown): string | undefined {
  try {
    const value = get();
    return typeof value === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Objects whose content is not in their properties. */
function describeBuiltIn(
  value: object,
  name: string | null,
  context: Context,
  level: number,
  tooDeep: boolean,
): string | undefined {
  const attempt = <T>(read: () => T): T | undefined => {
    try {
      return read();
    } catch {
      return undefined;
    }
  };
  const prototype = ObjectGetPrototypeOf(value);
  if (prototype === null) return undefined;

  const size = attempt(() => MapPrototypeGetSize(value));
  if (size !== undefined) {
    if (tooDeep) return `[${name ?? "Map"}]`;
    const items: string[] = [];
    MapPrototypeForEach(value, (item: unknown, key: unknown) => {
      if (items.length < ITEMS_MAX) {
        items.push(`${show(key, context, level + 1, false)} => ${show(item, context, level + 1, false)}`);
      }
    });
    if (size > ITEMS_MAX) items.push(`... ${size - ITEMS_MAX} more items`);
    return collection(`${name ?? "Map"}(${size})`, items, properties(value, context, level, false), level);
  }
  const setSize = attempt(() => SetPrototypeGetSize(value));
  if (setSize !== undefined) {
    if (tooDeep) return `[${name ?? "Set"}]`;
    const items: string[] = [];
    SetPrototypeForEach(value, (item: unknown) => {
      if (items.length < ITEMS_MAX) items.push(show(item, context, level + 1, false));
    });
    if (setSize > ITEMS_MAX) items.push(`... ${setSize - ITEMS_MAX} more items`);
    return collection(`${name ?? "Set"}(${setSize})`, items, properties(value, context, level, false), level);
  }
  const tag = attempt(() => TypedArrayPrototypeGetTag(value));
  if (tag !== undefined) {
    const array = value as unknown as ArrayLike<number | bigint>;
    if (tooDeep) return `[${name ?? tag}]`;
    const items: string[] = [];
    for (let i = 0; i < array.length && i < ITEMS_MAX; i++) items.push(show(array[i], context, level + 1, false));
    if (array.length > ITEMS_MAX) items.push(`... ${array.length - ITEMS_MAX} more items`);
    return join(`${name ?? tag}(${array.length}) [`, "]", items, level, true);
  }
  if (isArrayBuffer(value)) {
    const bytes = bytesOf(value)!;
    let hex = "";
    for (let i = 0; i < bytes.length && i < 50; i++) hex += `${i === 0 ? "" : " "}${(bytes[i]! + 256).toString(16).slice(1)}`;
    const more = bytes.length > 50 ? ` ... ${bytes.length - 50} more bytes` : "";
    return `ArrayBuffer { [Uint8Contents]: <${hex}${more}>, byteLength: ${bytes.length} }`;
  }
  const time = attempt(() => DateGetTime(value) as number);
  if (time !== undefined) return Number.isNaN(time) ? "Invalid Date" : DateToISOString(value);
  if (value instanceof RegExp) return attempt(() => RegExpToString(value)) ?? undefined;
  if (prototype === PromisePrototype) return "Promise {}";
  if (WeakPrototypes.includes(prototype as never)) return `${name ?? "Weak"} { <items unknown> }`;
  return undefined;
}

function collection(label: string, items: string[], extra: string[], level: number): string {
  const all = [...items, ...extra];
  return all.length === 0 ? `${label} {}` : join(`${label} {`, "}", all, level, false);
}

function arrayItems(array: unknown[], context: Context, level: number): string[] {
  const items: string[] = [];
  let holes = 0;
  const flush = () => {
    if (holes > 0) items.push(`<${holes} empty item${holes === 1 ? "" : "s"}>`);
    holes = 0;
  };
  for (let i = 0; i < array.length && items.length < ITEMS_MAX; i++) {
    const property = ObjectGetOwnPropertyDescriptor(array, i);
    if (property === undefined) {
      holes += 1;
      // Sparse arrays can be four thousand million long.
      if (holes > 100_000) break;
      continue;
    }
    flush();
    items.push("value" in property ? show(property.value, context, level + 1, false) : accessorLabel(property));
  }
  flush();
  if (array.length > ITEMS_MAX && items.length >= ITEMS_MAX) items.push(`... ${array.length - ITEMS_MAX} more items`);
  return items;
}

function accessorLabel(property: PropertyDescriptor): string {
  return property.get === undefined ? "[Setter]" : property.set === undefined ? "[Getter]" : "[Getter/Setter]";
}

function properties(value: object, context: Context, level: number, isArray: boolean, except?: string[]): string[] {
  const items: string[] = [];
  // To look for more than items among so many keys would cost more than a line of the log is worth.
  if (isArray && (value as { length: number }).length > KEYS_MAX) return items;
  let left = 0;
  for (const key of ReflectOwnKeys(value)) {
    if (isArray && typeof key === "string" && RegExpPrototypeExec(/^(?:length|\d+)$/, key) !== null) continue;
    if (except !== undefined && typeof key === "string" && except.includes(key)) continue;
    const property = ObjectGetOwnPropertyDescriptor(value, key);
    if (property === undefined || !property.enumerable) continue;
    if (items.length >= ITEMS_MAX || context.budget <= 0) {
      left += 1;
      continue;
    }
    const label =
      typeof key === "symbol"
        ? `[${SymbolToString(key)}]`
        : RegExpPrototypeExec(IDENTIFIER, key) !== null
          ? key
          : quote(key);
    const text = "value" in property ? show(property.value, context, level + 1, false) : accessorLabel(property);
    items.push(`${label}: ${text}`);
  }
  if (left > 0) items.push(`... ${left} more properties`);
  return items;
}

type Describe = (value: object) => Record<string, unknown>;

const described = new Map<object, Describe>();
const descriptionFor = Map.prototype.get.bind(described) as (prototype: object) => Describe | undefined;

/** Has instances of an interface, whose state is not in their properties, shown with what `describe` gives. */
export function inspectable(prototype: object, describe: Describe): void {
  described.set(prototype, describe);
}

function attributes(value: object, context: Context, level: number): string[] {
  let prototype = ObjectGetPrototypeOf(value);
  for (let steps = 0; prototype !== null && steps < 5; steps++) {
    const describe = descriptionFor(prototype);
    if (describe !== undefined) return properties(describe(value), context, level, false);
    prototype = ObjectGetPrototypeOf(prototype);
  }
  return [];
}

function join(open: string, close: string, items: string[], level: number, dense: boolean): string {
  if (items.length === 0) return `${open}${close}`;
  let width = open.length;
  let multiline = false;
  for (const item of items) {
    width += item.length + 2;
    multiline ||= StringPrototypeIncludes(item, "\n");
  }
  if (!multiline && width <= LINE_WIDTH) return `${open} ${items.join(", ")} ${close}`;
  const pad = `\n${StringPrototypeRepeat("  ", level + 1)}`;
  const end = `\n${StringPrototypeRepeat("  ", level)}${close}`;
  if (!dense || multiline) return `${open}${pad}${items.join(`,${pad}`)}${end}`;
  // Many short items: as many to a line as fit.
  let out = open;
  let column = LINE_WIDTH + 1;
  items.forEach((item, i) => {
    const text = i + 1 < items.length ? `${item},` : item;
    if (column + text.length > LINE_WIDTH) {
      out += pad;
      column = 0;
    } else {
      out += " ";
    }
    out += text;
    column += text.length + 1;
  });
  return out + end;
}
