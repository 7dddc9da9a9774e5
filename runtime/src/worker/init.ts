/** Takes over the worker's main module. */
import { FunctionPrototypeBind, JSONParse, ObjectDefineProperty } from "../internal/primordials.ts";

interface Binding {
  name: string;
  type: string;
  text: string;
}

type Handler = (...args: unknown[]) => unknown;

const NAMES = ["fetch", "scheduled"] as const;

/** The worker's handlers, with `this` as the module's default export. */
export const handlers: { fetch: Handler | undefined; scheduled: Handler | undefined } = {
  fetch: undefined,
  scheduled: undefined,
};

/** What handlers get as `env`. */
export let environment: Record<string, unknown> = {};

function readEnvironment(json: string): Record<string, unknown> {
  const env: Record<string, unknown> = {};
  const bindings = JSONParse(json) as Binding[];
  // Not by an iterator: the module's top level has run already and may have changed it.
  for (let i = 0; i < bindings.length; i++) {
    const { name, type, text } = bindings[i]!;
    let value: unknown = text;
    if (type === "json") {
      try {
        value = JSONParse(text);
      } catch {
        throw new Error(`bad_binding: The binding ${name} is no valid JSON.`);
      }
    }
    // Defined rather than assigned: a binding may be called __proto__.
    ObjectDefineProperty(env, name, { value, writable: true, enumerable: true, configurable: true });
  }
  return env;
}

/** See `Entry.init`. */
export function init(namespace: object, env: string, _workerName: string): string {
  const main = (namespace as { default?: unknown }).default;
  if (typeof main !== "object" || main === null) {
    throw new Error(
      "no_default_export: The main module has no default export with handlers. Write: export default { fetch(request, env, ctx) { … } }",
    );
  }
  environment = readEnvironment(env);
  let found = "";
  for (let i = 0; i < NAMES.length; i++) {
    const name = NAMES[i]!;
    const handler = (main as Record<string, unknown>)[name];
    if (handler === undefined || handler === null) continue;
    if (typeof handler !== "function") throw new Error(`no_handler: The export "${name}" is no function.`);
    handlers[name] = FunctionPrototypeBind(handler, main) as Handler;
    found += found === "" ? name : `,${name}`;
  }
  if (found === "") {
    throw new Error("no_handler: The default export has none of the handlers fetch and scheduled.");
  }
  return found;
}
