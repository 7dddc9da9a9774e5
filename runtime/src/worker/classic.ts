/** Workers in the old syntax: a script without exports, which registers listeners. The events are a part of their own. */
import { ObjectDefineProperty, ObjectKeys } from "../internal/primordials.ts";
import { loadPart } from "../internal/parts.ts";
import { defineHandler, type EventTarget, hasListeners } from "../dom/event.ts";

type Events = typeof import("../parts/service-worker.ts");
type Handler = (...args: unknown[]) => unknown;

const target = globalThis as unknown as EventTarget;

/** Its bindings become globals, before its code runs. */
export function beginClassic(environment: Record<string, unknown>): void {
  defineHandler(target, "fetch");
  defineHandler(target, "scheduled");
  const names = ObjectKeys(environment);
  for (let i = 0; i < names.length; i++) {
    const value = environment[names[i]!];
    try {
      ObjectDefineProperty(globalThis, names[i]!, { value, writable: true, enumerable: true, configurable: true });
    } catch {
      // It is called `undefined`, `NaN` or `Infinity`.
    }
  }
}

/** What its listeners make of it; undefined where there are none for the event. */
export function classicHandler(name: "fetch" | "scheduled"): Handler | undefined {
  if (!hasListeners(target, name)) return undefined;
  const events = loadPart<Events>("service-worker");
  return name === "fetch"
    ? (request, _env, context) => events.handleFetch(request as never, context as never)
    : (controller, _env, context) => events.handleScheduled(controller as never, context as never);
}
