// The streams standard beyond what other tests use: byte streams, cancellation, iteration, pipes, and spoilt prototypes.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Host } from "./host.mjs";

/** Runs the body of an async function in a new realm; what it returns, as JSON. */
async function run(body, before = "") {
  const host = new Host();
  host.run(`globalThis.result = undefined; globalThis.failure = undefined; ${before}`);
  host.run(`(async () => { ${body} })().then((value) => { result = JSON.stringify(value); }, (error) => { failure = error; })`);
  for (let i = 0; i < 40 && host.run("result === undefined && failure === undefined"); i++) await host.settle();
  const failure = host.run("failure");
  if (failure !== undefined) throw failure;
  const text = host.run("result");
  return text === undefined ? undefined : JSON.parse(text);
}

test("reads with a buffer: min, elements, the end in the midst", async () => {
  assert.deepEqual(
    await run(`
      const rs = new ReadableStream({ type: "bytes", pull(c) {
        const { view } = c.byobRequest; view[0] = 7; c.byobRequest.respond(1); } });
      const reader = rs.getReader({ mode: "byob" });
      const first = await reader.read(new Uint8Array(8), { min: 5 });
      const words = await reader.read(new Uint16Array(2));
      let refused = "";
      try { await reader.read(new Uint8Array(2), { min: 3 }); } catch (error) { refused = error.name; }
      reader.releaseLock();
      return [[...first.value], words.value.constructor.name, words.value.length, refused, rs.locked];`),
    [[7, 7, 7, 7, 7], "Uint16Array", 1, "RangeError", false],
  );
  assert.deepEqual(
    await run(`
      const rs = new ReadableStream({ type: "bytes", start(c) { c.enqueue(new Uint8Array(3)); c.close(); } });
      const reader = rs.getReader({ mode: "byob" });
      const names = [];
      await reader.read(new Uint16Array(2), { min: 2 }).catch((error) => names.push(error.name));
      await reader.closed.catch((error) => names.push(error.name));
      return names;`),
    ["TypeError", "TypeError"],
  );
});

test("a chunk is taken from whoever enqueues it, and the source sees released readers' views", async () => {
  assert.deepEqual(
    await run(`
      let controller;
      const rs = new ReadableStream({ type: "bytes", start(c) { controller = c; } });
      const chunk = new Uint8Array([1, 2, 3]);
      const one = rs.getReader({ mode: "byob" });
      const pending = one.read(new Uint8Array(2)).catch((error) => error.name);
      const request = controller.byobRequest;
      one.releaseLock();
      request.view[0] = 9;
      request.respond(1);
      controller.enqueue(chunk);
      const two = rs.getReader();
      const a = await two.read(); const b = await two.read();
      return [await pending, chunk.byteLength, [...a.value], [...b.value]];`),
    ["TypeError", 0, [9], [1, 2, 3]],
  );
});

test("both branches of a byte tee give the same bytes, in buffers of their own", async () => {
  assert.deepEqual(
    await run(`
      let pulls = 0;
      const rs = new ReadableStream({ type: "bytes", pull(c) {
        if (pulls++ === 3) { c.close(); c.byobRequest?.respond(0); return; }
        c.enqueue(new Uint8Array([pulls, pulls])); } });
      const [a, b] = rs.tee();
      const reader = b.getReader({ mode: "byob" });
      const got = [];
      const own = a.getReader();
      for (let i = 0; i < 3; i++) {
        const mine = await own.read();
        mine.value.fill(0);
        const theirs = await reader.read(new Uint8Array(1));
        const rest = await reader.read(new Uint8Array(4));
        got.push(theirs.value[0], rest.value[0]);
      }
      const end = await own.read(); const last = await reader.read(new Uint8Array(4));
      return [got, end.done, last.done, last.value.length];`),
    [[1, 1, 2, 2, 3, 3], true, true, 0],
  );
});

test("the cancel hook of a transformer, once, from either side", async () => {
  assert.deepEqual(
    await run(`
      const log = [];
      const make = () => new TransformStream({ cancel(reason) { log.push("cancel " + reason); }, flush() { log.push("flush"); } });
      const a = make(); await a.readable.cancel("a");
      await a.writable.getWriter().closed.catch((error) => log.push("writer " + error));
      const b = make(); await b.writable.abort("b");
      await b.readable.getReader().closed.catch((error) => log.push("reader " + error));
      const c = new TransformStream({ async cancel() { throw "inner"; } });
      const outcomes = await Promise.allSettled([c.readable.cancel("c"), c.writable.close()]);
      return [log, outcomes.map((outcome) => outcome.reason)];`),
    [["cancel a", "writer a", "cancel b", "reader b"], ["inner", "inner"]],
  );
});

test("from: iterables of all kinds, and what cancelling does to them", async () => {
  assert.deepEqual(
    await run(`
      const all = async (source) => { const got = []; for await (const x of ReadableStream.from(source)) got.push(x); return got; };
      const log = [];
      async function* counted() { try { yield 1; yield 2; } finally { log.push("closed"); } }
      const plain = await all([1, Promise.resolve(2)]);
      const text = await all("ab");
      const stream = await all(new ReadableStream({ start(c) { c.enqueue(3); c.close(); } }));
      const reader = ReadableStream.from(counted()).getReader();
      await reader.read(); await reader.cancel("enough");
      const bad = [];
      for (const value of [null, undefined, 1, {}, { [Symbol.iterator]: 1 }]) {
        try { ReadableStream.from(value); } catch (error) { bad.push(error.name); }
      }
      const failing = await ReadableStream.from([Promise.reject("no")]).getReader().read().catch((error) => error);
      return [plain, text, stream, log, bad, failing];`),
    [[1, 2], ["a", "b"], [3], ["closed"], Array(5).fill("TypeError"), "no"],
  );
});

test("iteration: breaking off cancels, unless it must not", async () => {
  assert.deepEqual(
    await run(`
      const log = [];
      const make = () => new ReadableStream({ pull(c) { c.enqueue(1); }, cancel(reason) { log.push(String(reason)); } });
      const a = make(); for await (const x of a) break;
      const b = make(); for await (const x of b.values({ preventCancel: true })) break;
      const it = make()[Symbol.asyncIterator]();
      const results = await Promise.all([it.next(), it.return("end"), it.next()]);
      return [log, a.locked, b.locked, (await b.getReader().read()).value, results];`),
    [
      ["undefined", "end"],
      false,
      false,
      1,
      [{ value: 1, done: false }, { value: "end", done: true }, { done: true }],
    ],
  );
});

test("a pipe that is aborted aborts its target and cancels its source, unless told not to", async () => {
  assert.deepEqual(
    await run(`
      const log = [];
      const source = () => new ReadableStream({ pull(c) { c.enqueue(1); }, cancel(reason) { log.push("cancel " + reason); } });
      const sink = () => new WritableStream({ write() { return new Promise((resolve) => { release = resolve; }); }, abort(reason) { log.push("abort " + reason); } });
      let release = () => {};
      const one = new AbortController();
      const piped = source().pipeTo(sink(), { signal: one.signal }).catch((error) => "failed " + error);
      for (let i = 0; i < 20; i++) await null;
      one.abort("why");
      release();
      const outcome = await piped;
      const two = new AbortController(); two.abort("early");
      const s = source(); const t = sink();
      const early = await s.pipeTo(t, { signal: two.signal, preventAbort: true, preventCancel: true }).catch((error) => error);
      return [outcome, log, early, s.locked, t.locked];`),
    ["failed why", ["abort why", "cancel why"], "early", false, false],
  );
});

test("a sink sees the abort at once by its controller's signal", async () => {
  assert.deepEqual(
    await run(`
      let signal;
      const ws = new WritableStream({ write(chunk, c) { signal = c.signal; return new Promise((resolve) => c.signal.addEventListener("abort", resolve)); } });
      const writer = ws.getWriter();
      const written = writer.write("x");
      for (let i = 0; i < 5; i++) await null;
      const before = signal.aborted;
      await writer.abort("stop");
      await written;
      return [before, signal.aborted, signal.reason, await writer.closed.catch((error) => error)];`),
    [false, true, "stop", "stop"],
  );
});

test("FixedLengthStream holds its writers to their word; IdentityTransformStream takes bytes only", async () => {
  assert.deepEqual(
    await run(`
      const attempt = async (stream, chunks) => {
        const writer = stream.writable.getWriter();
        const read = new Response(stream.readable).text().catch((error) => error.name);
        for (const chunk of chunks) writer.write(chunk).catch(() => {});
        await writer.close().catch(() => {});
        return read;
      };
      const bytes = (text) => new TextEncoder().encode(text);
      return [
        await attempt(new FixedLengthStream(4), [bytes("ab"), bytes("cd")]),
        await attempt(new FixedLengthStream(4), [bytes("ab")]),
        await attempt(new FixedLengthStream(1), [bytes("ab")]),
        await attempt(new IdentityTransformStream(), [bytes("a"), bytes("b")]),
        await attempt(new IdentityTransformStream(), ["a"]),
        new IdentityTransformStream() instanceof TransformStream,
      ];`),
    ["abcd", "TypeError", "TypeError", "ab", "TypeError", true],
  );
});

test("spoilt prototypes change nothing for streams", async () => {
  assert.deepEqual(
    await run(
      `
      const rs = new ReadableStream({ start(c) { c.enqueue(chunk); c.close(); } });
      const pair = rs.tee(), a = pair[0], b = pair[1];
      const c = a.pipeThrough(new TransformStream({ transform(chunk, k) { k.enqueue(chunk); } }));
      return [await new Response(c).text(), await new Response(b).text(), touched];`,
      `
      globalThis.touched = 0;
      globalThis.chunk = new Uint8Array([104, 105]);
      const spoil = (object, name) => {
        const was = Object.getOwnPropertyDescriptor(object, name);
        if (was?.configurable === false) return;
        Object.defineProperty(object, name, { configurable: true, get() { touched++; return undefined; }, set() { touched++; } });
      };
      for (const [object, names] of [
        [Array.prototype, ["push", "shift", "slice"]],
        [ReadableStream.prototype, ["getReader", "cancel", "locked"]],
        [WritableStream.prototype, ["getWriter"]],
        [Uint8Array.prototype.__proto__, ["slice", "subarray", "byteLength", "buffer"]],
        [Map.prototype, ["get", "set", "delete"]],
      ]) for (const name of names) spoil(object, name);
      spoil(Array.prototype, Symbol.iterator);
      ["next", "reader", "stored", "wake", "feeder", "length"].forEach((name) => {
        Object.defineProperty(Object.prototype, name, { configurable: true, set() { touched++; } });
      });
      Object.defineProperty(ReadableStream, Symbol.hasInstance, { value() { touched++; return false; } });`,
    ),
    ["hi", "hi", 0],
  );
});

test("a body that only passes through is moved by the host, behind identity transforms, too", async () => {
  for (const way of [
    "new Response(request.body)",
    "new Response(request.body.pipeThrough(new TransformStream()))",
    "new Response(request.body.pipeThrough(new IdentityTransformStream()).pipeThrough(new TransformStream()))",
    "(() => { const { readable, writable } = new TransformStream(); request.body.pipeTo(writable).then(() => console.log('piped')); return new Response(readable); })()",
  ]) {
    const host = new Host();
    host.worker(`{ fetch(request) { return ${way}; } }`);
    const key = host.dispatch("http://a/", { method: "POST", body: ["abc"] });
    await host.settle();
    await host.feed(key, "def", null);
    const response = host.responses.get(key);
    assert.deepEqual([response.body, response.ended, response.done], ["abcdef", true, true], way);
    assert.ok(host.calls.some(([name]) => name === "bodyPipe"), way);
    if (way.includes("pipeTo")) assert.equal(host.logs.length, 1);
  }
});

test("what JavaScript looks at does not go past it", async () => {
  const host = new Host();
  host.worker(`{ async fetch(request) {
    const { readable, writable } = new TransformStream();
    const piped = request.body.pipeTo(writable);
    const reader = readable.getReader();
    const { value } = await reader.read();
    await reader.cancel("enough");
    return new Response(value.length + " " + await piped.catch((error) => error));
  } }`);
  const key = host.dispatch("http://a/", { method: "POST", body: ["abc"] });
  await host.settle();
  assert.equal(host.responses.get(key).body, "3 enough");
  assert.ok(!host.calls.some(([name]) => name === "bodyPipe"));
  assert.ok(host.calls.some(([name]) => name === "bodyCancel"));
});

test("a body that breaks while the host moves it fails the pipe and the response", async () => {
  const host = new Host();
  host.worker(`{ fetch(request) {
    const { readable, writable } = new TransformStream();
    request.body.pipeTo(writable).catch((error) => console.log(error.message));
    return new Response(readable);
  } }`);
  const key = host.dispatch("http://a/", { method: "POST", body: ["abc"] });
  await host.settle();
  await host.feed(key, new Error("cut off"));
  const response = host.responses.get(key);
  assert.match(response.aborted, /cut off/);
  assert.deepEqual(host.logs.map(({ message }) => message), ["cut off"]);
});
