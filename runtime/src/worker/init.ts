/** Takes over the worker's main module: its handlers, its named entry points, its `env`. */
import {
  FunctionPrototypeBind,
  JSONParse,
  ObjectDefineProperty,
  ObjectGetPrototypeOf,
  ObjectPrototypeHasOwnProperty,
  ReflectApply,
  ReflectConstruct,
} from "../internal/primordials.ts";
import { entrypointPrototype } from "./entrypoint.ts";
import { beginClassic, classicHandler } from "./classic.ts";
import { makeService } from "./service.ts";

import { setCompatibility } from "./compatibility.ts";

interface Binding {
  name: string;
  type: string;
  text: string;
}

type Handler = (...args: unknown[]) => unknown;
type Class = new (ctx: unknown, env: unknown) => Record<string, unknown>;

const NAMES = ["fetch", "scheduled"] as const;

/** The worker's handlers, with `this` as the module's default export. */
export const handlers: { fetch: Handler | undefined; scheduled: Handler | undefined } = {
  fetch: undefined,
  scheduled: undefined,
};

/** What handlers get as `env`. */
export let environment: Record<string, unknown> = {};
let isRead = false;
/** Its main module is a script, or exports nothing. */
let isClassic = false;
/** What the main module exports. */
let main: Record<string, unknown> = {};

/** Makes `env`, so that the modules' top level can import it; what is wrong with it is told by `init`. */
export function startEnvironment(json: string | undefined): void {
  if (json === undefined || json === "") return;
  try {
    environment = readEnvironment(json);
    isRead = true;
  } catch {
    // `init` reads it once more, where somebody hears of it.
  }
}

function readEnvironment(json: string): Record<string, unknown> {
  const env: Record<string, unknown> = {};
  const bindings = JSONParse(json) as Binding[];
  // Not by an iterator: the module's top level has run already and may have changed it.
  for (let i = 0; i < bindings.length; i++) {
    const { name, type, text } = bindings[i]!;
    if (type === "compatibility") {
      setCompatibility(text);
      continue;
    }
    let value: unknown = text;
    if (type === "json") {
      try {
        value = JSONParse(text);
      } catch {
        throw new Error(`bad_binding: The binding ${name} is no valid JSON.`);
      }
    } else if (type === "service") {
      value = makeService({ binding: name, props: "" });
    }
    // Defined rather than assigned: a binding may be called __proto__.
    ObjectDefineProperty(env, name, { value, writable: true, enumerable: true, configurable: true });
  }
  return env;
}

/** Whether the value is a class that extends `WorkerEntrypoint`. */
function isEntrypointClass(value: unknown): value is Class {
  for (let at = value; typeof at === "function"; at = ObjectGetPrototypeOf(at)) {
    if ((at as { prototype?: unknown }).prototype === entrypointPrototype) return true;
  }
  return false;
}

/** See `Entry.init`. */
export function init(namespace: object | undefined, env: string, _workerName: string): string {
  main = (namespace ?? {}) as Record<string, unknown>;
  if (isClassic) {
    if (!isRead) environment = readEnvironment(env);
    const found = adopt(classicHandler);
    if (found !== "") return found;
  }
  const exported = main.default;
  const isClass = isEntrypointClass(exported);
  if (!isClass && (typeof exported !== "object" || exported === null)) {
    throw new Error(
      "no_default_export: The main module has no default export with handlers. Write: export default { fetch(request, env, ctx) { … } }",
    );
  }
  if (!isRead) environment = readEnvironment(env);
  const found = adopt((name) => {
    const handler = ((isClass ? exported.prototype : exported) as Record<string, unknown>)[name];
    if (handler === undefined || handler === null) return undefined;
    if (typeof handler !== "function") throw new Error(`no_handler: The export "${name}" is no function.`);
    return isClass
      ? (event, env, context) => callMethod(ReflectConstruct(exported, [context, env]), name, event)
      : (FunctionPrototypeBind(handler, exported) as Handler);
  });
  // A class may have nothing but methods for other workers, an object is no use without a handler.
  if (found === "" && !isClass) {
    throw new Error("no_handler: The default export has none of the handlers fetch and scheduled.");
  }
  return found;
}

/** Takes the handlers; their names. */
function adopt(find: (name: (typeof NAMES)[number]) => Handler | undefined): string {
  let found = "";
  for (let i = 0; i < NAMES.length; i++) {
    const name = NAMES[i]!;
    handlers[name] = find(name);
    if (handlers[name] !== undefined) found += found === "" ? name : `,${name}`;
  }
  return found;
}

/** See `Entry.classic`. */
export function classic(): void {
  isClassic = true;
  beginClassic(environment);
}

/** Undoes `init`. */
export function forget(): void {
  handlers.fetch = undefined;
  handlers.scheduled = undefined;
  environment = {};
  isRead = false;
  main = {};
}

function callMethod(target: Record<string, unknown>, name: string, argument: unknown): unknown {
  const method = target[name];
  if (typeof method !== "function") throw new TypeError(`The entry point has no ${name} handler.`);
  return ReflectApply(method, target, [argument]);
}

function exportOf(name: string): unknown {
  const key = name === "" ? "default" : name;
  const value = ObjectPrototypeHasOwnProperty(main, key) ? main[key] : undefined;
  if (isEntrypointClass(value) || (typeof value === "object" && value !== null)) return value;
  throw new TypeError(`The worker has no entry point "${key}": an export that is an object or extends WorkerEntrypoint.`);
}

/** What remote calls of an entry point work on: an instance of its class, or the object itself. */
export function makeEntrypoint(name: string, context: object): object {
  const value = exportOf(name);
  return isEntrypointClass(value) ? ReflectConstruct(value, [context, environment]) : (value as object);
}

/** Calls the `fetch` of an entry point. */
export function fetchEntrypoint(name: string, request: unknown, context: object): unknown {
  if (isClassic && name === "" && handlers.fetch !== undefined) return handlers.fetch(request, environment, context);
  const value = exportOf(name);
  if (isEntrypointClass(value)) return callMethod(ReflectConstruct(value, [context, environment]), "fetch", request);
  const { fetch } = value as Record<string, unknown>;
  if (typeof fetch !== "function") throw new TypeError("The entry point has no fetch handler.");
  return ReflectApply(fetch, value, [request, environment, context]);
}
