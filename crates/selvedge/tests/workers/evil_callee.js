// Answers other workers as badly as JavaScript can.
import { RpcTarget, WorkerEntrypoint } from "cloudflare:workers";

const deep = (levels) => {
  let value = {};
  for (let i = 0; i < levels; i++) value = { value };
  return value;
};

class Trap extends RpcTarget {
  get boom() {
    throw new RangeError("boom");
  }
  self() {
    return this;
  }
  [Symbol.dispose]() {
    throw new Error("dispose throws");
  }
}

export class Evil extends WorkerEntrypoint {
  getter() {
    return { get x() { throw new RangeError("getter"); } };
  }
  proxy() {
    return new Proxy({}, { ownKeys() { throw new RangeError("ownKeys"); } });
  }
  growing() {
    // A list whose items add further ones as they are read.
    const list = [];
    const add = () => Object.defineProperty(list, list.length, { enumerable: true, configurable: true, get: add });
    add();
    return list;
  }
  async thenable() {
    return { then: (resolve) => this.ctx.waitUntil(new Promise(() => {})) || resolve(1) };
  }
  never() {
    return new Promise(() => {});
  }
  loop() {
    // Each answer is a thenable that answers with another one.
    const again = { then: (resolve) => resolve({ ...again }) };
    return again;
  }
  cycle() {
    const value = { list: [] };
    value.self = value;
    value.list.push(value.list, new Map([["map", value]]));
    return value;
  }
  deep() {
    return deep(100_000);
  }
  huge() {
    return "x".repeat(40 << 20);
  }
  trap() {
    return new Trap();
  }
  error() {
    throw Object.defineProperty(new Error(), "message", { get() { throw new Error("again"); } });
  }
  name() {
    throw Object.assign(new Error("m"), { name: "__proto__" });
  }
  longError() {
    throw new Error("x".repeat(10 << 20));
  }
  nothing() {
    throw undefined;
  }
  stubs(count) {
    return Array.from({ length: count }, () => () => 1);
  }
  async calls(back, count) {
    const all = [];
    for (let i = 0; i < count; i++) all.push(back(i));
    return (await Promise.allSettled(all)).length;
  }
  async recurse(back) {
    return back((again) => again(again));
  }
  streams(count) {
    return Array.from({ length: count }, () => new ReadableStream({ pull() {} }));
  }
  stream() {
    return new ReadableStream({ pull: (controller) => controller.enqueue(deep(100_000)) });
  }
  errors() {
    return new ReadableStream({ pull() { throw { toString() { throw 1; } }; } });
  }
  response() {
    return new Response(new ReadableStream({ pull: (controller) => controller.enqueue("no bytes") }));
  }
}

export default { fetch: () => new Response("fine") };
