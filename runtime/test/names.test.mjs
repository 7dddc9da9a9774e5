import assert from "node:assert/strict";
import { test } from "node:test";
import { Host } from "./host.mjs";

const INTERFACES = [
  "AbortController", "AbortSignal", "Blob", "ByteLengthQueuingStrategy", "CountQueuingStrategy", "Crypto",
  "CustomEvent", "DOMException", "ErrorEvent", "Event", "EventTarget", "File", "FormData", "Headers",
  "PromiseRejectionEvent", "ReadableByteStreamController", "ReadableStream", "ReadableStreamBYOBReader",
  "ReadableStreamBYOBRequest", "ReadableStreamDefaultController", "ReadableStreamDefaultReader", "Request", "Response",
  "TextDecoder", "TextDecoderStream", "TextEncoder", "TextEncoderStream", "TransformStream",
  "TransformStreamDefaultController", "URL", "URLSearchParams", "WritableStream", "WritableStreamDefaultController",
  "WritableStreamDefaultWriter", "ExecutionContext", "ScheduledController", "Performance", "Navigator",
];
const FUNCTIONS = [
  "atob", "btoa", "clearInterval", "clearTimeout", "fetch", "queueMicrotask", "reportError", "setInterval",
  "setTimeout", "structuredClone",
];

test("interfaces have their names, tags and attributes", () => {
  const host = new Host();
  for (const name of INTERFACES) {
    assert.equal(host.run(`${name}.name`), name);
    assert.equal(host.run(`${name}.prototype[Symbol.toStringTag]`), name);
    const attributes = host.run(`JSON.stringify(Object.getOwnPropertyDescriptor(globalThis, "${name}"), ["writable", "enumerable", "configurable"])`);
    assert.deepEqual(JSON.parse(attributes), { writable: true, enumerable: false, configurable: true }, name);
  }
  for (const name of FUNCTIONS) {
    assert.equal(host.run(`${name}.name`), name);
    assert.equal(host.run(`Object.getOwnPropertyDescriptor(globalThis, "${name}").enumerable`), true, name);
  }
});

test("members of interfaces are enumerable, and their constructors' lengths are the standard's", () => {
  const host = new Host();
  assert.equal(host.run(`Object.keys(Request.prototype).includes("url") && Object.keys(Request.prototype).includes("text")`), true);
  assert.equal(host.run("[Request.length, Response.length, URL.length, Headers.length].join()"), "1,0,1,0");
});

test("nothing of the host is left in the global object", () => {
  const host = new Host();
  assert.equal(host.run("typeof __ops + typeof __selvedge"), "undefinedundefined");
  assert.equal(host.run("self === globalThis"), true);
  assert.equal(host.run("navigator.userAgent"), "Selvedge");
});

test("what only the runtime may construct refuses", () => {
  const host = new Host();
  for (const name of ["AbortSignal", "Crypto", "ExecutionContext", "ScheduledController", "Performance", "Navigator"]) {
    assert.throws(() => host.run(`new ${name}()`), { name: "TypeError" }, name);
  }
});

test("methods refuse strange objects", () => {
  const host = new Host();
  for (const call of [
    "Headers.prototype.get.call({}, 'a')",
    "URLSearchParams.prototype.append.call({}, 'a', 'b')",
    "Object.getOwnPropertyDescriptor(Request.prototype, 'url').get.call({})",
    "Object.getOwnPropertyDescriptor(Response.prototype, 'status').get.call(Response.prototype)",
    "Object.getOwnPropertyDescriptor(Response.prototype, 'body').get.call({})",
    "Object.getOwnPropertyDescriptor(URL.prototype, 'href').get.call({})",
  ]) {
    assert.throws(() => host.run(call), { name: "TypeError" }, call);
  }
});
