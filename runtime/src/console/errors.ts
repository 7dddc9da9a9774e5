/** How errors look: their stack, named by their class, and then their own properties. */
import {
  ArrayIsArray,
  ArrayPrototypeIndexOf,
  ArrayPrototypePush,
  ArrayPrototypeSplice,
  StringPrototypeEndsWith,
  StringPrototypeIncludes,
  StringPrototypeIndexOf,
  StringPrototypeSlice,
  StringPrototypeStartsWith,
} from "../internal/primordials.ts";
import { withoutRuntime } from "../internal/report.ts";
import { indented } from "./inspect.ts";
import { prefix } from "./names.ts";

type Fields = Record<string, unknown>;

/** The stack, or what there is of it; `keys` loses what the stack says already and gains causes. */
export function errorText(error: object, name: string | null, tag: string, keys: (string | symbol)[], indent: number): string {
  const fields = error as Fields;
  const own = fields.name === undefined || fields.name === null ? "Error" : `${fields.name as string}`;
  const message = typeof fields.message === "string" ? fields.message : "";
  const said = fields.stack;
  let stack = typeof said === "string" && said !== "" ? withoutRuntime(said) : message === "" ? own : `${own}: ${message}`;
  forget(fields, keys, stack);
  remember(fields, "cause", "cause" in error, keys);
  remember(fields, "errors", ArrayIsArray(fields.errors), keys);
  stack = named(stack, own, name, tag);
  const behind = message === "" ? 0 : StringPrototypeIndexOf(stack, message) + message.length;
  if (StringPrototypeIndexOf(stack, "\n    at", behind) < 0) stack = `[${stack}]`;
  return indented(stack, indent);
}

/** Properties that repeat what the stack says. */
function forget(fields: Fields, keys: (string | symbol)[], stack: string): void {
  const names = ["name", "message", "stack"];
  for (let i = 0; i < names.length; i++) {
    const at = ArrayPrototypeIndexOf(keys, names[i]!);
    const value = fields[names[i]!];
    if (at >= 0 && (typeof value !== "string" || StringPrototypeIncludes(stack, value))) ArrayPrototypeSplice(keys, at, 1);
  }
}

function remember(fields: Fields, key: string, present: boolean, keys: (string | symbol)[]): void {
  if (present && ArrayPrototypeIndexOf(keys, key) < 0 && fields[key] !== undefined) ArrayPrototypePush(keys, key);
}

/** The stack's first line with the name of the class, where that says more than `name`. */
function named(stack: string, own: string, name: string | null, tag: string): string {
  if (name === null || !StringPrototypeEndsWith(own, "Error") || !StringPrototypeStartsWith(stack, own)) return stack;
  const next = stack[own.length];
  if (next !== undefined && next !== ":" && next !== "\n") return stack;
  const called = StringPrototypeSlice(prefix(name, tag, "Error"), 0, -1);
  if (called === own) return stack;
  const rest = StringPrototypeSlice(stack, own.length);
  return StringPrototypeIncludes(called, own) ? called + rest : `${called} [${own}]${rest}`;
}
