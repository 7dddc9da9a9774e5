/** The queue of `process.nextTick`, which lives in the part of `node:process`. */
import { builtin } from "../worker/builtins.ts";

interface Queue {
  add(callback: Function, args: unknown[]): void;
}

export function ticks(): Queue {
  const { nextTick } = (builtin("node:process") as { default: { nextTick(callback: Function, ...args: unknown[]): void } }).default;
  return { add: (callback, args) => nextTick(callback, ...args) };
}
