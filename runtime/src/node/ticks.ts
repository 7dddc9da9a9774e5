/**
 * `process.nextTick`. Its queue runs in one microtask, made when the first callback is queued: before microtasks that
 * are made later, after those that wait already. Callbacks that are queued meanwhile run in the same go.
 */
import * as ops from "../host.ts";

interface Tick {
  readonly callback: Function;
  readonly args: unknown[];
  /** What `AsyncLocalStorage` kept at the call. */
  readonly context: unknown;
}

const queue: Tick[] = [];
let running = false;

function run(): void {
  const outer = ops.asyncContext();
  for (let tick = queue.shift(); tick !== undefined; tick = queue.shift()) {
    ops.setAsyncContext(tick.context);
    try {
      Reflect.apply(tick.callback, undefined, tick.args);
    } catch (error) {
      ticks.report(error);
    }
  }
  running = false;
  ops.setAsyncContext(outer);
}

const resolved = Promise.resolve();

export const ticks = {
  add(callback: Function, args: unknown[]): void {
    queue.push({ callback, args, context: ops.asyncContext() });
    if (running) return;
    running = true;
    void resolved.then(run);
  },
  report: (_error: unknown): void => undefined,
};
