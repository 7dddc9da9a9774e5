/** What objects are called: by their class and by their tag. */
import {
  FunctionPrototypeHasInstance,
  ObjectGetOwnPropertyDescriptor,
  ObjectGetPrototypeOf,
  ObjectPrototypePropertyIsEnumerable,
} from "../internal/primordials.ts";

/** Prototypes that are searched. */
const STEPS_MAX = 50;

/** Name of the nearest class that the object is an instance of; null without any. Runs no getter. */
export function className(value: object): string | null {
  let prototype: object | null = value;
  for (let steps = 0; prototype !== null && steps < STEPS_MAX; steps++) {
    const constructor = ObjectGetOwnPropertyDescriptor(prototype, "constructor")?.value as unknown;
    if (typeof constructor === "function") {
      const name = ObjectGetOwnPropertyDescriptor(constructor, "name")?.value as unknown;
      if (typeof name === "string" && name !== "" && FunctionPrototypeHasInstance(constructor, value)) return name;
    }
    prototype = ObjectGetPrototypeOf(prototype);
  }
  return null;
}

/** `Symbol.toStringTag`, unless it is shown as a property. */
export function tagOf(value: object): string {
  const tag = (value as Record<symbol, unknown>)[Symbol.toStringTag];
  return typeof tag === "string" && !ObjectPrototypePropertyIsEnumerable(value, Symbol.toStringTag) ? tag : "";
}

/** What stands before the brace: `Name(size) [tag]`, with a space behind it. */
export function prefix(name: string | null, tag: string, kind: string, size = ""): string {
  if (name === null) return tag !== "" && tag !== kind ? `[${kind}${size}: null prototype] [${tag}] ` : `[${kind}${size}: null prototype] `;
  return tag !== "" && tag !== name ? `${name}${size} [${tag}] ` : `${name}${size} `;
}
