/** Errors as Node makes them: with a `code`, which also is in the stack. */
export function coded<E extends Error>(error: E, code: string): E & { code: string } {
  Object.defineProperty(error, "code", { value: code, writable: true, enumerable: true, configurable: true });
  return error as E & { code: string };
}

function received(value: unknown): string {
  if (value === null || value === undefined) return `Received ${value}`;
  if (typeof value === "function") return `Received function ${value.name}`;
  if (typeof value === "object") {
    const name = (value as object).constructor?.name;
    return name ? `Received an instance of ${name}` : "Received an object";
  }
  const text = typeof value === "string" ? `'${value.length > 28 ? `${value.slice(0, 25)}...` : value}'` : String(value);
  return `Received type ${typeof value} (${text}${typeof value === "bigint" ? "n" : ""})`;
}

/** ERR_INVALID_ARG_TYPE. */
export function wrongType(name: string, expected: string, value: unknown): TypeError {
  const what = name.includes(".") ? "property" : "argument";
  return coded(new TypeError(`The "${name}" ${what} must be ${expected}. ${received(value)}`), "ERR_INVALID_ARG_TYPE");
}

/** ERR_OUT_OF_RANGE. */
export function outOfRange(name: string, range: string, value: unknown): RangeError {
  return coded(new RangeError(`The value of "${name}" is out of range. It must be ${range}. Received ${String(value)}`), "ERR_OUT_OF_RANGE");
}

/** For what Node can do and a worker cannot. */
export function unsupported(what: string, instead: string): Error {
  return coded(new Error(`${what} is not available in workers: ${instead}.`), "ERR_METHOD_NOT_IMPLEMENTED");
}

export function checkFunction(value: unknown, name: string): asserts value is (...args: never[]) => unknown {
  if (typeof value !== "function") throw wrongType(name, "of type function", value);
}

export function checkString(value: unknown, name: string): asserts value is string {
  if (typeof value !== "string") throw wrongType(name, "of type string", value);
}
