import { attempt, show } from "./show.mjs";

const descriptor = (name) => {
  const found = Object.getOwnPropertyDescriptor(globalThis, name);
  return found === undefined ? null : [typeof globalThis[name], found.enumerable, found.configurable];
};
const NAMES = [
  "AbortController", "AbortSignal", "Blob", "ByteLengthQueuingStrategy", "CompressionStream", "CountQueuingStrategy", "Crypto", "CryptoKey",
  "CustomEvent", "DecompressionStream", "DOMException", "ErrorEvent", "Event", "EventTarget", "File", "FormData", "Headers", "MessageChannel",
  "MessageEvent", "MessagePort", "Performance", "PromiseRejectionEvent", "ReadableByteStreamController", "ReadableStream",
  "ReadableStreamBYOBReader", "ReadableStreamBYOBRequest", "ReadableStreamDefaultController", "ReadableStreamDefaultReader", "Request",
  "Response", "SubtleCrypto", "TextDecoder", "TextDecoderStream", "TextEncoder", "TextEncoderStream", "TransformStream",
  "TransformStreamDefaultController", "URL", "URLPattern", "URLSearchParams", "WebAssembly", "WritableStream",
  "WritableStreamDefaultController", "WritableStreamDefaultWriter", "HTMLRewriter", "WebSocket", "WebSocketPair", "CloseEvent", "EventSource",
  "FixedLengthStream", "IdentityTransformStream",
];

export default {
  "interfaces": show(() => NAMES.filter((name) => typeof globalThis[name] === "undefined")),
  "functions": show(() => ["atob", "btoa", "clearTimeout", "clearInterval", "fetch", "queueMicrotask", "reportError", "setTimeout", "setInterval", "structuredClone"].map((name) => typeof globalThis[name])),
  "absent": show(() => ["window", "document", "XMLHttpRequest", "localStorage", "process", "require", "Buffer", "importScripts", "SharedArrayBuffer"].filter((name) => name in globalThis)),
  "self": show(() => [self === globalThis, typeof self.addEventListener, typeof navigator, navigator.userAgent.length > 0]),
  "caches": show(() => [typeof caches, typeof caches.default]),
  "eval": show(async () => [await attempt(() => eval("1")), await attempt(() => new Function("return 1")()), await attempt(() => (0, eval)("1"))]),
  "wasm-from-bytes": show(async () => (await attempt(() => WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])))) === "threw CompileError" || "compiled"),
  "console": show(() => ["log", "info", "warn", "error", "debug", "table", "group", "groupEnd", "time", "timeEnd", "count", "assert", "dir", "trace"].filter((name) => typeof console[name] !== "function")),
  "performance": show(() => [typeof performance.now(), typeof performance.timeOrigin, performance instanceof Performance]),
  "properties": show(() => [descriptor("fetch"), descriptor("Response")?.[1]]),
  "errors": show(async () => {
    const error = await attempt(() => null.x);
    return [error, new Error("a", { cause: "b" }).cause, new AggregateError([1], "m").errors];
  }),
  "intl": show(() => [new Intl.NumberFormat("en").format(1234567.5), new Date(0).toISOString(), "ä".localeCompare("z", "de") < 0]),
  "modern": show(() => [Object.groupBy([1, 2, 3], (n) => (n % 2 ? "odd" : "even")), [3, 1].toSorted(), new Set([1, 2]).union(new Set([3])).size, Iterator.from([1]).map((x) => x + 1).toArray(), Promise.withResolvers !== undefined]),
};
