/** Service bindings: what `env.NAME` is where NAME is another worker. All but `fetch` is in the part `rpc`. */
import {
  FunctionPrototype,
  JSONStringify,
  NativeProxy,
  NativeWeakMap,
  ObjectDefineProperty,
  ObjectSetPrototypeOf,
  WeakMapPrototypeHas,
  WeakMapPrototypeSet,
} from "../internal/primordials.ts";
import { loadPart } from "../internal/parts.ts";
import { fetchFrom, type Target } from "../fetch/fetch.ts";

/** Names that mean something to the runtime, or to whoever looks at the object. */
const RESERVED = ["then", "constructor", "toJSON", "__proto__", "dup", "connect", "queue", "scheduled"];

/** All that there are; of no use as keys to anybody else. */
const services = new NativeWeakMap<object, true>();

export function isService(value: unknown): boolean {
  return ((typeof value === "object" && value !== null) || typeof value === "function") && WeakMapPrototypeHas(services, value);
}

/** A binding; `callable` where calling it gives another one with props. */
export function makeService(target: Target, callable = false): object {
  const fetch = (input: unknown, init?: object) => fetchFrom(target, input, init);
  ObjectDefineProperty(fetch, "name", { value: "fetch", configurable: true });
  const base = callable ? function () {} : {};
  // Nothing is to be found in it but what the binding has.
  ObjectSetPrototypeOf(base, null);
  const service = new NativeProxy(base, {
    get(_, name) {
      if (name === "fetch") return fetch;
      if (typeof name !== "string") return name === Symbol.toStringTag ? "Fetcher" : undefined;
      for (let i = 0; i < RESERVED.length; i++) if (RESERVED[i] === name) return undefined;
      return loadPart<typeof import("../parts/rpc.ts")>("rpc").serviceMember(target, name);
    },
    has: (_, name) => name === "fetch",
    set: () => false,
    defineProperty: () => false,
    deleteProperty: () => false,
    setPrototypeOf: () => false,
    ownKeys: () => (callable ? ["prototype"] : []),
    getPrototypeOf: () => (callable ? FunctionPrototype : null),
    apply(_, __, given: unknown[]) {
      const props = (given[0] as { props?: unknown } | undefined)?.props;
      return makeService({ binding: target.binding, props: props === undefined ? "" : JSONStringify(props) });
    },
  });
  WeakMapPrototypeSet(services, service, true);
  return service;
}

let own: object | undefined;

/** `ctx.exports`. */
export function loopback(): object {
  own ??= new NativeProxy(ObjectSetPrototypeOf({}, null), {
    get: (_, name) =>
      typeof name === "string" && name !== "then"
        ? makeService({ binding: `#${name === "default" ? "" : name}`, props: "" }, true)
        : undefined,
    set: () => false,
    defineProperty: () => false,
  });
  return own!;
}
