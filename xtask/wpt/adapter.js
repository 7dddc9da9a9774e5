// Runs in the worker before testharness.js: what the tests expect of the place they run in and a server-side worker does
// not have: a location to resolve relative URLs with, and the markers of a worker's global scope.
function __adapt(href) {
  const NativeURL = URL;
  const here = new NativeURL(href);
  const location = {};
  for (const part of ["href", "origin", "protocol", "host", "hostname", "port", "pathname", "search", "hash"]) {
    location[part] = here[part];
  }
  location.toString = () => href;
  const define = (name, value) =>
    Object.defineProperty(globalThis, name, { value, writable: true, enumerable: false, configurable: true });
  define("location", location);
  define("importScripts", () => {});
  define("GLOBAL", { isWindow: () => false, isWorker: () => true, isShadowRealm: () => false });

  /** Strings are resolved; what does not resolve is passed on as it is, and so are objects. */
  const resolved = (input) => {
    if (typeof input === "object" || typeof input === "symbol") return input;
    try {
      return new NativeURL(`${input}`, href).href;
    } catch {
      return input;
    }
  };
  const first = (list) => (list.length === 0 ? list : [resolved(list[0]), ...Array.prototype.slice.call(list, 1)]);
  const wrap = (name) => {
    const original = globalThis[name];
    if (typeof original !== "function") return;
    const proxy = new Proxy(original, {
      apply: (target, self, list) => Reflect.apply(target, self, first(list)),
      construct: (target, list, newTarget) =>
        Reflect.construct(target, first(list), newTarget === proxy ? target : newTarget),
    });
    const { enumerable } = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value: proxy, writable: true, enumerable, configurable: true });
    if (original.prototype !== undefined) {
      Object.defineProperty(original.prototype, "constructor", { value: proxy, writable: true, configurable: true });
    }
  };
  for (const name of ["fetch", "Request", "WebSocket", "EventSource"]) wrap(name);
  const redirect = Response.redirect;
  Object.defineProperty(Response, "redirect", {
    value: { redirect(_url) { return Reflect.apply(redirect, this, first(Array.prototype.slice.call(arguments))); } }.redirect,
    writable: true, enumerable: true, configurable: true,
  });
}

/** For idlharness.js, which asks what kind of global this is; after testharness.js, which must not believe it. */
function __pretendWorkerScope() {
  if ("DedicatedWorkerGlobalScope" in globalThis) return;
  class DedicatedWorkerGlobalScope {
    static [Symbol.hasInstance](value) { return value === globalThis; }
  }
  Object.defineProperty(globalThis, "DedicatedWorkerGlobalScope", {
    value: DedicatedWorkerGlobalScope, writable: true, enumerable: false, configurable: true,
  });
}

/** What `new WebAssembly.Module` was given and is not among the uploaded modules, as hexadecimal digits. */
const __missing = [];

/** Has `new WebAssembly.Module` give modules that were uploaded with the worker, `{digits: module}`: it compiles nothing itself. */
function __uploadedModules(modules) {
  const Native = WebAssembly.Module;
  const proxy = new Proxy(Native, {
    construct(target, list, newTarget) {
      const [source] = list;
      const digits = ArrayBuffer.isView(source)
        ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength).toHex()
        : source instanceof ArrayBuffer ? new Uint8Array(source).toHex() : undefined;
      if (digits !== undefined && Object.hasOwn(modules, digits)) return modules[digits];
      if (digits !== undefined) __missing.push(digits);
      return Reflect.construct(target, list, newTarget === proxy ? target : newTarget);
    },
  });
  Object.defineProperty(WebAssembly, "Module", { value: proxy, writable: true, enumerable: false, configurable: true });
  Object.defineProperty(Native.prototype, "constructor", { value: proxy, writable: true, configurable: true });
}

/** A promise of what testharness.js found, as JSON. `scripts` runs the test. */
function __collect(scripts, milliseconds) {
  const stringify = JSON.stringify;
  const map = Function.prototype.call.bind(Array.prototype.map);
  return new Promise((resolve) => {
    const finish = (tests, status) =>
      resolve(stringify({
        status: status.status,
        message: status.message ?? null,
        missing: __missing,
        tests: map(tests, (test) => [test.name, test.status, test.message ?? null]),
      }));
    add_completion_callback(finish);
    const giveUp = timeout;
    setTimeout(() => giveUp(), milliseconds);
    try {
      scripts();
    } catch (error) {
      resolve(stringify({ status: 1, message: `${error?.stack ?? error}`, missing: __missing, tests: [] }));
    }
  });
}
