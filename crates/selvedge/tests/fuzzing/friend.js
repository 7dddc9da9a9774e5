// Another worker for the fuzzers to call: it takes anything, gives anything, and calls back what it was given.
import { RpcTarget, WorkerEntrypoint } from "cloudflare:workers";
import { generator } from "./values.js";

let seed = 1;

/** Something to call or to have, of any kind that crosses. */
function something(g) {
  switch (g.int(9)) {
    case 0: return (...given) => given[0];
    case 1: return new Thing(g);
    case 2: return new ReadableStream({ pull(c) { c.enqueue(g.value()); if (g.chance(0.3)) c.close(); }, type: g.chance(0.5) ? "bytes" : undefined });
    case 3: return new WritableStream({ write() { if (g.chance(0.2)) throw g.value(); } });
    case 4: return new Response(g.chance(0.5) ? g.string() : new ReadableStream({ pull(c) { c.enqueue(g.bytes()); c.close(); } }));
    case 5: return new Request("http://a.b/", { method: "POST", body: g.string() });
    case 6: return new Headers([["a", "b"]]);
    case 7: return [something(g), { deep: something(g) }, new Map([["m", something(g)]])];
    default: return g.value();
  }
}

class Thing extends RpcTarget {
  #g;
  constructor(g) {
    super();
    this.#g = g;
  }
  get own() {
    return something(this.#g);
  }
  give() {
    return something(this.#g);
  }
  take(...given) {
    return given.length;
  }
  async call(back, ...given) {
    return typeof back === "function" ? await back(...given, something(this.#g)) : back;
  }
  again() {
    return this;
  }
  fail() {
    throw this.#g.value();
  }
  [Symbol.dispose]() {
    if (this.#g.chance(0.2)) throw this.#g.value();
  }
}

const make = () => new Thing(generator(seed++));

export default class extends WorkerEntrypoint {
  async fetch(request) {
    return new Response(`${(await request.arrayBuffer()).byteLength}`);
  }
  give() {
    return something(generator(seed++));
  }
  thing() {
    return make();
  }
  take(...given) {
    return given;
  }
  call(back, ...given) {
    return make().call(back, ...given);
  }
  fail() {
    return make().fail();
  }
}
