// What other workers call: entry points, and everything that may cross.
import { RpcTarget, WorkerEntrypoint, env as imported } from "cloudflare:workers";

class Counter extends RpcTarget {
  #value;
  secret = "an instance's property";
  constructor(value) {
    super();
    this.#value = value;
  }
  increment(by = 1) {
    this.#value += by;
    return this.#value;
  }
  get value() {
    return this.#value;
  }
  child() {
    return new Counter(this.#value);
  }
  [Symbol.dispose]() {
    disposed += 1;
  }
}

class Plain {
  constructor() {
    this.x = 1;
  }
}

let disposed = 0;
let waited = 0;

export default class extends WorkerEntrypoint {
  hidden = "an instance's property";

  async fetch(request) {
    const url = new URL(request.url);
    if (url.pathname === "/abort") {
      request.signal.addEventListener("abort", () => (waited += 100));
      await new Promise(() => {});
    }
    if (url.pathname === "/throw") throw new RangeError("fetch threw");
    if (url.pathname === "/loop") return this.env.CALLER.fetch("http://x/loop");
    return new Response(request.body, { status: 201, headers: { "x-url": request.url, "x-method": request.method } });
  }
  echo(...args) {
    return args.length === 1 ? args[0] : args;
  }
  kinds(value) {
    return Object.prototype.toString.call(value);
  }
  counter(value = 0) {
    return new Counter(value);
  }
  async slowCounter() {
    await new Promise((resolve) => setTimeout(resolve, 1));
    return new Counter(40);
  }
  disposed() {
    return disposed;
  }
  get property() {
    return { a: [1, 2] };
  }
  async callback(call, times) {
    let sum = 0;
    for (let i = 0; i < times; i++) sum += await call(i);
    return sum;
  }
  nested() {
    return { list: [new Counter(1), (x) => x * 2], map: new Map([["f", () => "mapped"]]) };
  }
  throws() {
    class Odd extends Error {
      name = "OddError";
    }
    throw new Odd("on purpose");
  }
  throwsType() {
    throw new TypeError("no such type");
  }
  throwsText() {
    throw "just text";
  }
  instance() {
    return new Plain();
  }
  stream(size) {
    let left = size;
    return new ReadableStream({
      pull(controller) {
        const length = Math.min(left, 65536);
        if (length === 0) return controller.close();
        controller.enqueue(new Uint8Array(length).fill(7));
        left -= length;
      },
    });
  }
  async length(stream) {
    let length = 0;
    for await (const chunk of stream) length += chunk.byteLength;
    return length;
  }
  async write(stream) {
    const writer = stream.getWriter();
    for (const chunk of ["a", "b", "c"]) await writer.write(chunk);
    await writer.close();
    return "written";
  }
  async request(request) {
    return new Response(`${request.method} ${request.url} ${request.headers.get("x-a")} ${await request.text()}`, {
      status: 202,
      headers: { "x-b": "2" },
    });
  }
  later() {
    this.ctx.waitUntil(new Promise((resolve) => setTimeout(resolve, 5)).then(() => (waited += 1)));
    return waited;
  }
  waited() {
    return waited;
  }
  props() {
    return [this.ctx.props, Object.keys(this.env), imported === this.env];
  }
  spin() {
    for (;;);
  }
  hog() {
    const all = [];
    for (;;) all.push(new Array(1e6).fill(all.length));
  }
  never() {
    return new Promise(() => {});
  }
  big() {
    return "x".repeat(33 << 20);
  }
  async file(file) {
    return [file instanceof File, file instanceof Blob, file.name, file.type, file.size, file.lastModified, await file.text()];
  }
  headers(headers) {
    headers.append("x-b", "2");
    return headers;
  }
  async useService(service) {
    const response = await service.fetch("http://x/service", { method: "POST", body: "through" });
    return [await service.twice(4), response.status, await response.text()];
  }
  own() {
    return { self: this.env.SELF, later: this.env.SELF.echo("later") };
  }
  add(a, b) {
    return a + b;
  }
  async relay(stub) {
    return await this.env.SELF.callback(stub, 3);
  }
}

export class Admin extends WorkerEntrypoint {
  fetch() {
    return new Response(`admin ${JSON.stringify(this.ctx.props)}`);
  }
  name() {
    return ["Admin", this.ctx.props];
  }
}

export const plain = {
  async fetch(request, env, ctx) {
    if (request.method === "POST") return new Response(`plain ${await request.text()}`, { status: 203 });
    return new Response(`plain ${typeof env.SELF} ${typeof ctx.waitUntil}`);
  },
  twice(number, env) {
    return [number * 2, typeof env.SELF];
  },
};
