/** Errors that cross from worker to worker: name and message, never the stack. */
import { ObjectDefineProperty, StringPrototypeSlice } from "../internal/primordials.ts";
import { DOMException } from "../dom/exception.ts";

/** Longest message, characters. */
const MESSAGE_MAX = 16 << 10;
const CLASSES: Record<string, new (message: string) => Error> = {
  // Without a prototype, so that no name finds anything else.
  __proto__: null as never,
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
};
const isNative = (Error as unknown as { isError(value: unknown): boolean }).isError;

/** Name and message; for what is no error, what it reads as. */
export function writeError(error: unknown): [name: string, message: string] {
  try {
    if (isNative(error) || error instanceof DOMException) {
      const { name, message } = error as Error;
      return [`${name}`, StringPrototypeSlice(`${message}`, 0, MESSAGE_MAX)];
    }
    return ["Error", StringPrototypeSlice(`${error as string}`, 0, MESSAGE_MAX)];
  } catch {
    return ["Error", "The other worker threw something that cannot be read."];
  }
}

export function readError(name: unknown, message: unknown): Error {
  if (typeof name !== "string" || typeof message !== "string") throw new TypeError("no error");
  if (name === "DataCloneError" || name === "AbortError" || name === "TimeoutError") return new DOMException(message, name);
  const error = new (CLASSES[name] ?? Error)(message);
  const property = (value: unknown) => ({ value, writable: true, configurable: true, enumerable: false });
  if (error.name !== name) ObjectDefineProperty(error, "name", property(name));
  ObjectDefineProperty(error, "remote", { ...property(true), enumerable: true });
  return error;
}
