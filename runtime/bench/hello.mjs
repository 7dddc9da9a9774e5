// Nanoseconds per request inside JavaScript, with ops that do nothing. `node bench/hello.mjs [bundle]`; wants a node
// with vm.constants.DONT_CONTEXTIFY, since interceptors on the global object distort everything.
import { readFileSync } from "node:fs";
import vm from "node:vm";
import { fileURLToPath } from "node:url";

const path = process.argv[2] ?? fileURLToPath(new URL("../../target/runtime/runtime.js", import.meta.url));
const BATCH = 64;
const ROUNDS = 9;
const PER_ROUND = 200_000;

function load() {
  const context = vm.createContext(vm.constants.DONT_CONTEXTIFY ?? {});
  const run = (text) => vm.runInContext(text, context);
  context.__ops = run(`({
    respond() {}, respondStream() {}, requestDone() {}, fail(k, kind, m, s) { throw new Error(m + s) }, bodyWrite() { return 1 },
    bodyEnd() {}, bodyAbort() {}, bodyPull() { return null }, bodyCancel() {}, fetchStart() { return 1 },
    fetchCancel() {}, timerStart() { return 1 }, timerCancel() {}, log() {}, exception(m) { throw new Error(m) }, now() { return 1 },
    random() {}, encodeUtf8(t) { return new Uint8Array(t.length) }, utf8Length(t) { return t.length }, encodeInto() {},
    decodeUtf8() { return "" }, decodeLatin1() { return "" },
    urlParse(input) { return input + "\\0" + "4,7,7,18,-1,18,-1,-1" }, urlSet() {}, structuredClone(v) { return v }, detach() {},
    currentRequest() { return 0 }, setCurrentRequest() {},
  })`);
  vm.runInContext(readFileSync(path, "utf8"), context, { filename: "runtime.js" });
  const entry = context.__selvedge;
  return { run, entry };
}

const HEAD = [
  ["host", "example.com"], ["user-agent", "bench/1.0"], ["accept", "*/*"], ["accept-encoding", "gzip, br"],
  ["x-forwarded-for", "127.0.0.1"], ["x-request-id", "0123456789abcdef"],
].map(([name, value]) => `${name}\0${value}\0`).join("");

const CASES = {
  "sync hello": `({ fetch() { return new Response("Hello, World!") } })`,
  "async hello": `({ async fetch() { return new Response("Hello, World!") } })`,
  "async hello, Request used": `({ async fetch(request) { return new Response(request.method + request.url) } })`,
  "async, 1 header read": `({ async fetch(request) { return new Response(request.headers.get("user-agent")) } })`,
  "async, init with header": `({ async fetch() { return new Response("{}", { status: 201, headers: { "content-type": "application/json" } }) } })`,
  "async, Response.json": `({ async fetch() { return Response.json({ hello: "world" }) } })`,
  "async, new URL": `({ async fetch(request) { const url = new URL(request.url); return new Response(url.pathname) } })`,
};

for (const [name, source] of Object.entries(CASES)) {
  const { run, entry } = load();
  entry.init({ default: run(source) }, "[]", "bench");
  const loop = run(`(async (fetch, head, total, batch) => {
    let key = 65536;
    for (let i = 0; i < total; i += batch) {
      for (let j = 0; j < batch; j++) fetch(65536 + j, "GET", "http://example.com/", head, false);
      await undefined;
      await undefined;
    }
  })`);
  const samples = [];
  for (let round = 0; round < ROUNDS; round++) {
    const start = process.hrtime.bigint();
    await loop(entry.fetch, HEAD, PER_ROUND, BATCH);
    samples.push(Number(process.hrtime.bigint() - start) / PER_ROUND);
  }
  samples.sort((a, b) => a - b);
  console.log(`${name.padEnd(28)} median ${samples[ROUNDS >> 1].toFixed(0).padStart(5)} ns   best ${samples[0].toFixed(0).padStart(5)} ns`);
}
