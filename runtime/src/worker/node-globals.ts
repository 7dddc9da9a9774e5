/** The globals that the compatibility flag `nodejs_compat` adds. */
import { ObjectDefineProperty } from "../internal/primordials.ts";
import { builtin } from "./builtins.ts";

/** Bit of `Entry.start`'s switches. */
const NODE = 1;

/** The worker's bindings as `Entry.start` got them, for `process.env`. */
export let bindingsJson = "[]";

/** Whether Node's modules are on. */
export let nodeIsOn = false;

function lazy(name: string, module: string, property: string | undefined): void {
  const define = (value: unknown) =>
    ObjectDefineProperty(globalThis, name, { value, writable: true, enumerable: false, configurable: true });
  ObjectDefineProperty(globalThis, name, {
    get() {
      const exports = (builtin(module) as { default: Record<string, unknown> }).default;
      const value = property === undefined ? exports : exports[property];
      define(value);
      return value;
    },
    set: define,
    enumerable: false,
    configurable: true,
  });
}

/** Called before the worker's modules run. */
export function installNode(switches: number, env: string): void {
  if ((switches & NODE) === 0) return;
  nodeIsOn = true;
  bindingsJson = env;
  lazy("Buffer", "node:buffer", "Buffer");
  lazy("process", "node:process", undefined);
  lazy("setImmediate", "node:timers", "setImmediate");
  lazy("clearImmediate", "node:timers", "clearImmediate");
  ObjectDefineProperty(globalThis, "global", { value: globalThis, writable: true, enumerable: false, configurable: true });
}
