/** How the objects that ECMAScript defines look, and all others. */
import {
  ArrayBufferIsView,
  ArrayBufferPrototypeGetDetached,
  ArrayIsArray,
  ArrayPrototypePush,
  bytesOf,
  DataViewPrototypeGetBuffer,
  DataViewPrototypeGetByteLength,
  DataViewPrototypeGetByteOffset,
  FunctionPrototypeHasInstance,
  isArrayBuffer,
  MapPrototypeForEach,
  MapPrototypeGetSize,
  MathMin,
  NumberIsNaN,
  NumberPrototypeToString,
  ObjectGetOwnPropertyDescriptor,
  ObjectGetPrototypeOf,
  ReflectOwnKeys,
  SetPrototypeForEach,
  SetPrototypeGetSize,
  StringPrototypeEndsWith,
  StringPrototypeIncludes,
  StringPrototypeIndexOf,
  StringPrototypeSlice,
  StringPrototypeStartsWith,
  TypedArrayPrototypeGetLength,
  TypedArrayPrototypeGetTag,
} from "../internal/primordials.ts";
import type { Innards } from "../ops.d.ts";
import { errorText } from "./errors.ts";
import { accessor, attributesOf, type Context, type Description, ITEMS_MAX, keysOf, show, showAttributes, showWithin } from "./inspect.ts";
import { className, prefix, tagOf } from "./names.ts";
import {
  boxes,
  DateGetTime,
  DateToISOString,
  FunctionToString,
  NativeError,
  RegExpGetSource,
  RegExpPrototype,
  RegExpToString,
  WeakMapHas,
  WeakRefDeref,
  WeakSetHas,
} from "./natives.ts";

/** Holes of a sparse array that are counted. */
const HOLES_MAX = 100_000;

/** What `read` gives for objects of its kind, and undefined for others, for which it throws. */
function attempt<T>(read: (value: object) => T, value: object): T | undefined {
  try {
    return read(value);
  } catch {
    return undefined;
  }
}

function nothing(): void {}

export function describe(value: object, innards: Innards | undefined, context: Context, level: number): Description {
  const name = className(value);
  const tag = tagOf(value);
  const shown: Description = {
    base: "", open: "{", close: "}", items: [], list: undefined, cut: false,
    fill: nothing, keys: [], bare: "", brief: undefined, filled: false,
  };
  const within = level + 1;
  if (!asList(value, name, tag, shown, context, within) && !asCollection(value, name, tag, innards, shown, context, within)) {
    asObject(value, name, tag, innards, shown, context, within);
  }
  return shown;
}

function braces(shown: Description, before: string, open: "{" | "[" = "{"): void {
  shown.open = before + open;
  shown.close = open === "[" ? "]" : "}";
  shown.bare = shown.open + shown.close;
  shown.brief = StringPrototypeEndsWith(before, " ") ? StringPrototypeSlice(before, 0, -1) : before;
}

/** Pushes what says that items were left out. */
function cut(items: string[], left: number, shown: Description): void {
  if (left <= 0) return;
  ArrayPrototypePush(items, `... ${left} more item${left > 1 ? "s" : ""}`);
  shown.cut = true;
}

function asList(value: object, name: string | null, tag: string, shown: Description, context: Context, level: number): boolean {
  if (ArrayIsArray(value)) {
    braces(shown, name === "Array" && tag === "" ? "" : prefix(name, tag, "Array", `(${value.length})`), "[");
    shown.brief = StringPrototypeSlice(prefix(name, tag, "Array"), 0, -1);
    shown.keys = keysOf(value, context, value.length);
    shown.list = value;
    shown.filled = value.length > 0;
    shown.fill = (items) => arrayItems(value, items, shown, context, level);
    return true;
  }
  const kind = attempt(TypedArrayPrototypeGetTag, value);
  if (kind === undefined) return false;
  const array = value as unknown as ArrayLike<number | bigint>;
  const length = TypedArrayPrototypeGetLength(value);
  braces(shown, prefix(name, tag === kind ? "" : tag, kind, `(${length})`), "[");
  shown.brief = StringPrototypeSlice(prefix(name, tag === kind ? "" : tag, kind), 0, -1);
  shown.keys = keysOf(value, context, length);
  shown.list = array;
  shown.filled = length > 0;
  shown.fill = (items) => {
    for (let i = 0; i < length && i < ITEMS_MAX; i++) ArrayPrototypePush(items, show(array[i], context, level));
    cut(items, length - ITEMS_MAX, shown);
  };
  return true;
}

function arrayItems(array: unknown[], items: string[], shown: Description, context: Context, level: number): void {
  let i = 0;
  while (i < array.length && items.length < ITEMS_MAX) {
    const property = ObjectGetOwnPropertyDescriptor(array, i);
    if (property === undefined) {
      const first = i;
      while (i < array.length && i - first < HOLES_MAX && ObjectGetOwnPropertyDescriptor(array, i) === undefined) i += 1;
      // Sparse arrays can be four thousand million long.
      if (i - first === HOLES_MAX) i = array.length;
      ArrayPrototypePush(items, `<${i - first} empty item${i - first > 1 ? "s" : ""}>`);
      continue;
    }
    ArrayPrototypePush(items, "value" in property ? showWithin(property.value, context, level) : accessor(property));
    i += 1;
  }
  cut(items, array.length - i, shown);
}

function asCollection(
  value: object, name: string | null, tag: string, innards: Innards | undefined, shown: Description, context: Context, level: number,
): boolean {
  const size = attempt(MapPrototypeGetSize, value);
  if (size !== undefined) {
    braces(shown, prefix(name, tag, "Map", `(${size})`));
    shown.filled = size > 0;
    shown.fill = (items) => {
      MapPrototypeForEach(value, (item: unknown, key: unknown) => {
        if (items.length >= ITEMS_MAX) return;
        ArrayPrototypePush(items, `${showWithin(key, context, level)} => ${showWithin(item, context, level)}`);
      });
      cut(items, size - ITEMS_MAX, shown);
    };
  } else {
    const count = attempt(SetPrototypeGetSize, value);
    if (count !== undefined) {
      braces(shown, prefix(name, tag, "Set", `(${count})`));
      shown.filled = count > 0;
      shown.fill = (items) => {
        SetPrototypeForEach(value, (item: unknown) => {
          if (items.length < ITEMS_MAX) ArrayPrototypePush(items, showWithin(item, context, level));
        });
        cut(items, count - ITEMS_MAX, shown);
      };
    } else if (innards !== undefined && innards[0] === "iterator") {
      iterator(innards[1] as unknown[], innards[2] === true, tag, shown, context, level);
    } else {
      return false;
    }
  }
  shown.brief = StringPrototypeSlice(prefix(name, tag, size === undefined ? "Set" : "Map"), 0, -1);
  shown.keys = keysOf(value, context, undefined);
  return true;
}

/** An iterator of a Map or Set, with what it has still to give. */
function iterator(entries: unknown[], pairs: boolean, tag: string, shown: Description, context: Context, level: number): void {
  const kind = pairs ? `${StringPrototypeSlice(tag, 0, StringPrototypeIndexOf(tag, " "))} Entries` : tag;
  braces(shown, `[${kind}] `);
  shown.bare = `[${kind}] {  }`;
  shown.filled = true;
  shown.fill = (items) => {
    const step = pairs ? 2 : 1;
    for (let i = 0; i < entries.length && items.length < ITEMS_MAX; i += step) {
      const first = showWithin(entries[i], context, level);
      ArrayPrototypePush(items, pairs ? `[ ${first}, ${showWithin(entries[i + 1], context, level)} ]` : first);
    }
    cut(items, entries.length / step - ITEMS_MAX, shown);
  };
}

function asObject(
  value: object, name: string | null, tag: string, innards: Innards | undefined, shown: Description, context: Context, level: number,
): void {
  shown.keys = keysOf(value, context, undefined);
  if (typeof value === "function") {
    shown.base = functionText(value, name, tag);
    shown.bare = shown.base;
    braceless(shown, name ?? "Function");
    return;
  }
  if ((innards !== undefined && innards[0] === "error") || FunctionPrototypeHasInstance(NativeError, value)) {
    shown.base = errorText(value, name, tag, shown.keys, context.indent);
    braceless(shown, name ?? "Error");
    return;
  }
  if (value !== RegExpPrototype && attempt(RegExpGetSource, value) !== undefined) {
    return whole(shown, RegExpToString(value), name, tag, "RegExp");
  }
  const time = attempt(DateGetTime, value) as number | undefined;
  if (time !== undefined) return whole(shown, NumberIsNaN(time) ? "Invalid Date" : DateToISOString(value), name, tag, "Date");
  for (let i = 0; i < boxes.length; i++) {
    const [kind, read] = boxes[i]!;
    const primitive = attempt(read, value);
    if (primitive !== undefined) return boxed(value, primitive, kind, name, tag, shown, context);
  }
  const label = name === "Object" && tag === "" ? "" : prefix(name, tag, "Object");
  braces(shown, label);
  shown.brief = name === null ? "Object: null prototype" : StringPrototypeSlice(prefix(name, tag, "Object"), 0, -1);
  if (innards !== undefined) hostObject(innards, name, tag, shown, context, level);
  else buffers(value, name, tag, shown, context, level);
  const state = attributesOf(value);
  if (state !== undefined) {
    shown.filled = ReflectOwnKeys(state).length > 0;
    shown.fill = (items) => showAttributes(state, items, context, level);
    shown.bare = `${prefix(name, tag, "Object")}{}`;
  }
}

/** Without properties the text before the braces is all there is. */
function braceless(shown: Description, brief: string): void {
  shown.bare = shown.base;
  shown.brief = brief;
}

/** A text that is shown at any depth. */
function whole(shown: Description, text: string, name: string | null, tag: string, kind: string): void {
  const before = prefix(name, tag, kind);
  shown.base = before === `${kind} ` ? text : before + text;
  shown.bare = shown.base;
}

function boxed(
  value: object, primitive: unknown, kind: string, name: string | null, tag: string, shown: Description, context: Context,
): void {
  if (typeof primitive === "string") shown.keys = keysOf(value, context, primitive.length);
  let label = kind;
  if (name !== kind) label += name === null ? " (null prototype)" : ` (${name})`;
  shown.base = `[${label}: ${show(primitive, { ...context, indent: 0 }, 0)}]`;
  if (tag !== "" && tag !== name && tag !== kind) shown.base += ` [${tag}]`;
  shown.bare = shown.base;
}

/** Objects of which only the host sees what they are. */
function hostObject(
  innards: Innards, name: string | null, tag: string, shown: Description, context: Context, level: number,
): void {
  switch (innards[0]) {
    case "promise":
      braces(shown, prefix(name, tag, "Promise"));
      shown.filled = true;
      shown.fill = (items) => {
        const text = innards[1] === 0 ? "<pending>" : showWithin(innards[2], context, level);
        ArrayPrototypePush(items, innards[1] === 2 ? `<rejected> ${text}` : text);
      };
      break;
    case "arguments":
      braces(shown, "[Arguments] ");
      break;
    case "module":
      braces(shown, prefix(name, tag, "Module"));
      break;
    default:
  }
}

function buffers(value: object, name: string | null, tag: string, shown: Description, context: Context, level: number): void {
  if (isArrayBuffer(value)) {
    const before = prefix(name, tag, "ArrayBuffer");
    braces(shown, before);
    shown.filled = true;
    shown.fill = (items) => {
      const detached = ArrayBufferPrototypeGetDetached(value);
      ArrayPrototypePush(items, detached ? "(detached)" : contents(bytesOf(value)!));
      ArrayPrototypePush(items, `byteLength: ${detached ? 0 : bytesOf(value)!.length}`);
    };
  } else if (ArrayBufferIsView(value)) {
    braces(shown, prefix(name, tag, "DataView"));
    shown.filled = true;
    shown.fill = (items) => {
      ArrayPrototypePush(items, `byteLength: ${attempt(DataViewPrototypeGetByteLength, value) ?? 0}`);
      ArrayPrototypePush(items, `byteOffset: ${attempt(DataViewPrototypeGetByteOffset, value) ?? 0}`);
      ArrayPrototypePush(items, `buffer: ${showWithin(DataViewPrototypeGetBuffer(value), context, level)}`);
    };
  } else if (isWeak(value)) {
    braces(shown, prefix(name, tag, "WeakSet"));
    shown.filled = true;
    shown.fill = (items) => void ArrayPrototypePush(items, "<items unknown>");
  } else if (tag === "WeakRef" && attempt(WeakRefDeref, value) !== undefined) {
    braces(shown, prefix(name, tag, "WeakRef"));
    shown.filled = true;
    shown.fill = (items) => void ArrayPrototypePush(items, showWithin(WeakRefDeref(value), context, level));
  }
}

function isWeak(value: object): boolean {
  return attempt((map) => WeakMapHas(map, value), value) !== undefined || attempt((set) => WeakSetHas(set, value), value) !== undefined;
}

function contents(bytes: Uint8Array): string {
  let hex = "";
  for (let i = 0; i < MathMin(bytes.length, ITEMS_MAX); i++) {
    hex += `${i === 0 ? "" : " "}${StringPrototypeSlice(NumberPrototypeToString(bytes[i]! + 256, 16), 1)}`;
  }
  const left = bytes.length - ITEMS_MAX;
  return `[Uint8Contents]: <${hex}${left > 0 ? ` ... ${left} more byte${left > 1 ? "s" : ""}` : ""}>`;
}

function functionText(value: Function, name: string | null, tag: string): string {
  const source = FunctionToString(value);
  const own = ObjectGetOwnPropertyDescriptor(value, "name")?.value as unknown;
  const called = typeof own === "string" ? own : "";
  if (StringPrototypeStartsWith(source, "class") && StringPrototypeEndsWith(source, "}")) {
    let text = called === "" ? "[class (anonymous)" : `[class ${called}`;
    if (name !== "Function" && name !== null) text += ` [${name}]`;
    if (tag !== "" && tag !== name) text += ` [${tag}]`;
    const parent = ObjectGetPrototypeOf(value) as object | null;
    const parentName = parent === null ? undefined : (ObjectGetOwnPropertyDescriptor(parent, "name")?.value as unknown);
    if (name === null) text += " extends [null prototype]";
    else if (typeof parentName === "string" && parentName !== "") text += ` extends ${parentName}`;
    return `${text}]`;
  }
  let kind = "Function";
  if (name !== null && StringPrototypeEndsWith(tag, "Function") && StringPrototypeIncludes("AsyncGeneratorFunction GeneratorFunction AsyncFunction", tag)) {
    kind = tag;
  }
  let text = `[${kind}${name === null ? " (null prototype)" : ""}${called === "" ? " (anonymous)" : `: ${called}`}]`;
  if (name !== kind && name !== null) text += ` ${name}`;
  if (tag !== "" && tag !== name && tag !== kind) text += ` [${tag}]`;
  return text;
}
