/** `node:util`: Node's own `inspect` from a package, the rest here. */
import { AbortSignal } from "../dom/abort.ts";
import { TextDecoder, TextEncoder } from "../encoding/text.ts";
import timers from "node:timers";
import inspector from "node-inspect-extracted";
import { checkFunction, coded, wrongType } from "../internal/node-errors.ts";
import { parseArgs } from "../node/parse-args.ts";
import { ticks } from "../internal/node-ticks.ts";
import { types } from "../node/types.ts";
import { builtin } from "../worker/builtins.ts";
import * as ops from "../host.ts";

const { inspect, format, formatWithOptions, stripVTControlCharacters } = inspector;
type AnyFunction = (...args: unknown[]) => unknown;

const custom = Symbol.for("nodejs.util.promisify.custom");
// They make `promisify(setTimeout)` known.
void timers;

function promisify(original: unknown): unknown {
  checkFunction(original, "original");
  const own = (original as unknown as Record<symbol, unknown>)[custom];
  if (own) {
    checkFunction(own, "util.promisify.custom");
    return Object.defineProperty(own, custom, { value: own, configurable: true });
  }
  function promised(this: unknown, ...args: unknown[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const returned = Reflect.apply(original as AnyFunction, this, [
        ...args,
        (error: unknown, value: unknown) => (error ? reject(error) : resolve(value)),
      ]);
      void returned;
    });
  }
  Object.setPrototypeOf(promised, Object.getPrototypeOf(original));
  Object.defineProperty(promised, custom, { value: promised, configurable: true });
  return Object.defineProperties(promised, Object.getOwnPropertyDescriptors(original));
}
promisify.custom = custom;

function callbackify(original: unknown): unknown {
  checkFunction(original, "original");
  function callbackified(this: unknown, ...args: unknown[]): void {
    const callback = args.pop();
    checkFunction(callback, "last argument");
    (Reflect.apply(original as AnyFunction, this, args) as Promise<unknown>).then(
      (value) => ticks().add(callback, [null, value]),
      (reason: unknown) => {
        const error = reason || coded(Object.assign(new Error("Promise was rejected with falsy value"), { reason }), "ERR_FALSY_VALUE_REJECTION");
        ticks().add(callback, [error]);
      },
    );
  }
  const descriptors = Object.getOwnPropertyDescriptors(original) as Record<string, PropertyDescriptor>;
  if (typeof descriptors.length?.value === "number") descriptors.length.value += 1;
  if (typeof descriptors.name?.value === "string") descriptors.name.value += "Callbackified";
  return Object.defineProperties(callbackified, descriptors);
}

function inherits(constructor: Function, base: Function): void {
  if (typeof constructor !== "function") throw wrongType("ctor", "of type function", constructor);
  if (typeof base !== "function") throw wrongType("superCtor", "of type function", base);
  if (base.prototype === undefined) throw wrongType("superCtor.prototype", "of type object", base.prototype);
  Object.defineProperty(constructor, "super_", { value: base, writable: true, configurable: true });
  Object.setPrototypeOf(constructor.prototype, base.prototype);
}

const warned = new Set<unknown>();

function deprecate(fn: Function, message: string, code?: string): Function {
  let told = false;
  function deprecated(this: unknown, ...args: unknown[]): unknown {
    if (!told) {
      told = true;
      if (code === undefined || !warned.has(code)) {
        if (code !== undefined) warned.add(code);
        const process = (builtin("node:process") as { default: { emitWarning: AnyFunction } }).default;
        process.emitWarning(message, "DeprecationWarning", code);
      }
    }
    return new.target ? Reflect.construct(fn, args, new.target) : Reflect.apply(fn, this, args);
  }
  Object.setPrototypeOf(deprecated, fn);
  if (fn.prototype) deprecated.prototype = fn.prototype;
  return deprecated;
}

function debuglog(): object {
  return Object.assign(() => undefined, { enabled: false });
}

function isDeepStrictEqual(a: unknown, b: unknown): boolean {
  const assert = (builtin("node:assert") as { default: { deepStrictEqual: AnyFunction } }).default;
  try {
    assert.deepStrictEqual(a, b);
    return true;
  } catch {
    return false;
  }
}

function styleText(style: string | string[], text: unknown): string {
  if (typeof text !== "string") throw wrongType("text", "of type string", text);
  let [before, after] = ["", ""];
  for (const name of Array.isArray(style) ? style : [style]) {
    const codes = inspect.colors[name] as [number, number] | undefined;
    if (codes === undefined) {
      throw coded(
        new TypeError(`The argument 'format' must be one of: ${Object.keys(inspect.colors).map((key) => `'${key}'`).join(", ")}. Received ${inspect(name)}`),
        "ERR_INVALID_ARG_VALUE",
      );
    }
    before += `\u001b[${codes[0]}m`;
    after = `\u001b[${codes[1]}m${after}`;
  }
  return before + text + after;
}

function aborted(signal: AbortSignal, _resource: object): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

const util: Record<string, unknown> = {
  inspect,
  format,
  formatWithOptions,
  stripVTControlCharacters,
  promisify,
  callbackify,
  inherits,
  deprecate,
  debuglog,
  debug: debuglog,
  isDeepStrictEqual,
  styleText,
  aborted,
  parseArgs,
  types,
  toUSVString: (value: unknown) => `${value}`.toWellFormed(),
  log: (...args: unknown[]) => ops.log(1, format(...args)),
  TextEncoder,
  TextDecoder,
  isArray: Array.isArray,
  isBoolean: (value: unknown) => typeof value === "boolean",
  isNull: (value: unknown) => value === null,
  isNullOrUndefined: (value: unknown) => value === null || value === undefined,
  isNumber: (value: unknown) => typeof value === "number",
  isString: (value: unknown) => typeof value === "string",
  isSymbol: (value: unknown) => typeof value === "symbol",
  isUndefined: (value: unknown) => value === undefined,
  isRegExp: types.isRegExp,
  isObject: (value: unknown) => value !== null && typeof value === "object",
  isDate: types.isDate,
  isError: (value: unknown) => value instanceof Error,
  isFunction: (value: unknown) => typeof value === "function",
  isPrimitive: (value: unknown) => value === null || (typeof value !== "object" && typeof value !== "function"),
  _extend: (target: object, source: object) => (source === null || typeof source !== "object" ? target : Object.assign(target, source)),
};

export const modules = { "node:util": util, "node:sys": util, "node:util/types": types };
