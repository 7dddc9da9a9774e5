/**
 * Parts: JavaScript that an isolate evaluates when it is first used, so that a worker which never touches it does not
 * pay for it. Each file of `src/parts/` is one; `build.mjs` bundles them and connects their imports with the core.
 */
import {
  MapPrototypeGet,
  MapPrototypeSet,
  NativeMap,
  ObjectCreate,
  ObjectDefineProperty,
  ObjectFreeze,
  ObjectGetOwnPropertyDescriptor,
  ObjectGetOwnPropertyNames,
  ObjectPrototypeHasOwnProperty,
} from "./primordials.ts";
import * as ops from "../host.ts";

/** The core's modules as the parts see them. */
let core: object;
const loaded = new NativeMap<string, object>();

/** Called by the bundle's last statement. */
export function setCore(modules: Record<string, object>): void {
  modules.Object = pristineObject();
  core = modules;
}

/** `Object` with its own functions, whatever the worker's code makes of the real one. */
function pristineObject(): object {
  const pristine = ObjectCreate(null);
  for (const name of ObjectGetOwnPropertyNames(Object)) {
    if (name !== "prototype") ObjectDefineProperty(pristine, name, ObjectGetOwnPropertyDescriptor(Object, name)!);
  }
  // What the bundler's helpers do with these would ask what the worker may have changed: `for … of`, `call`.
  ObjectDefineProperty(pristine, "getOwnPropertyNames", { value: namesOf });
  const prototype = { __proto__: null, hasOwnProperty: { __proto__: null, call: ObjectPrototypeHasOwnProperty } };
  ObjectDefineProperty(pristine, "prototype", { value: prototype });
  return ObjectFreeze(pristine);
}

/** An object's names, with an iterator of their own. */
function namesOf(object: object): string[] {
  const names = ObjectGetOwnPropertyNames(object);
  let at = 0;
  const next = () => (at < names.length ? { value: names[at++], done: false } : { value: undefined, done: true });
  ObjectDefineProperty(names, Symbol.iterator, { value: () => ({ next }) });
  return names;
}

/** The exports of a part: `loadPart<typeof import("../parts/crypto.ts")>("crypto")`. */
export function loadPart<T extends object>(name: string): T {
  let exports = MapPrototypeGet(loaded, name) as T | undefined;
  if (exports === undefined) {
    exports = ops.part(name, core) as T;
    MapPrototypeSet(loaded, name, exports);
  }
  return exports;
}

/** Puts an interface into the global object that a part exports under the same name. */
export function exposeLazy(name: string, part: string): void {
  const define = (value: unknown) =>
    ObjectDefineProperty(globalThis, name, { value, writable: true, enumerable: false, configurable: true });
  ObjectDefineProperty(globalThis, name, {
    get() {
      const value = loadPart<Record<string, unknown>>(part)[name];
      define(value);
      return value;
    },
    set: define,
    enumerable: false,
    configurable: true,
  });
}
