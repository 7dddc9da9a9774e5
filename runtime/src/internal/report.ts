/** Reporting what nobody caught. */
import {
  StringPrototypeIncludes,
  StringPrototypeIndexOf,
  StringPrototypeSlice,
  StringPrototypeStartsWith,
} from "./primordials.ts";
import * as ops from "../host.ts";

/** The name under which the host runs the bundle. */
const RUNTIME = "selvedge:runtime";

/** An error's first line and its stack, whatever was thrown. Never throws. */
export function describe(error: unknown): { message: string; stack: string } {
  try {
    if (typeof error === "object" && error !== null) {
      const { name, message, stack } = error as { name?: unknown; message?: unknown; stack?: unknown };
      if (typeof message === "string" || typeof stack === "string") {
        const kind = typeof name === "string" && name !== "" ? name : "Error";
        const text = typeof message === "string" && message !== "" ? `${kind}: ${message}` : kind;
        return { message: text, stack: typeof stack === "string" ? withoutRuntime(withCause(error, stack, 0)) : "" };
      }
    }
    return { message: `Uncaught ${typeof error === "string" ? error : describeValue(error)}`, stack: "" };
  } catch {
    return { message: "Uncaught exception that cannot be described", stack: "" };
  }
}

/** Leaves the runtime's own frames out of a stack: they say nothing to the worker's author. */
export function withoutRuntime(stack: string): string {
  if (!StringPrototypeIncludes(stack, RUNTIME)) return stack;
  let out = "";
  let start = 0;
  while (start < stack.length) {
    let end = StringPrototypeIndexOf(stack, "\n", start);
    if (end < 0) end = stack.length;
    const line = StringPrototypeSlice(stack, start, end);
    if (!StringPrototypeIncludes(line, RUNTIME)) out += out === "" ? line : `\n${line}`;
    start = end + 1;
  }
  return out;
}

/** Follows the chain of causes a few steps. */
function withCause(error: object, stack: string, depth: number): string {
  const cause = (error as { cause?: unknown }).cause;
  if (depth >= 4 || typeof cause !== "object" || cause === null) return stack;
  const inner = (cause as { stack?: unknown }).stack;
  if (typeof inner !== "string") return stack;
  return `${stack}\nCaused by: ${withCause(cause, inner, depth + 1)}`;
}

function describeValue(value: unknown): string {
  if (typeof value === "object" && value !== null) {
    const json = JSON.stringify(value);
    if (typeof json === "string" && !StringPrototypeStartsWith(json, "[") && StringPrototypeIncludes(json, "{")) return json;
  }
  return String(value);
}

/** Asked before something is reported; true when somebody took care of it. */
let errorFilter: (error: unknown) => boolean = () => false;

export function setErrorFilter(filter: (error: unknown) => boolean): void {
  errorFilter = filter;
}

/** Reports something thrown that nobody caught. */
export function reportException(error: unknown): void {
  if (errorFilter(error)) return;
  const { message, stack } = describe(error);
  ops.exception(message, stack);
}
