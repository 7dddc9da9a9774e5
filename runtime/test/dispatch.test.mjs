import assert from "node:assert/strict";
import { test } from "node:test";
import { CREDIT, Host } from "./host.mjs";

function serve(source, env) {
  const host = new Host();
  host.worker(source, env);
  return host;
}

test("a plain answer is one op", async () => {
  for (const kind of ["", "async "]) {
    const host = serve(`{ ${kind}fetch() { return new Response("Hello") } }`);
    const response = await host.fetch();
    assert.deepEqual(response, {
      status: 200,
      head: { "content-type": "text/plain;charset=UTF-8" },
      body: "Hello",
      done: true,
      ended: true,
    });
    assert.equal(host.calls.length, 1);
  }
});

test("handlers keep their this, get env and ctx", async () => {
  const host = serve(
    `new (class { greeting = "hi"; async fetch(request, env, ctx) {
      return Response.json([this.greeting, env.A, env.B, ctx instanceof ExecutionContext, request.method]) } })()`,
    [
      { name: "A", type: "plain_text", text: "a" },
      { name: "B", type: "json", text: '{"b":1}' },
    ],
  );
  const response = await host.fetch("http://example.com/", { method: "PUT" });
  assert.equal(response.body, '["hi","a",{"b":1},true,"PUT"]');
});

test("init says what is there and what is missing", () => {
  assert.equal(new Host().worker("{ fetch() {}, scheduled() {} }"), "fetch,scheduled");
  assert.throws(() => new Host().worker("undefined"), /^Error: no_default_export:|no_default_export:/);
  assert.throws(() => new Host().worker("{ other() {} }"), /no_handler:/);
  assert.throws(() => new Host().worker("{ fetch: 5 }"), /no_handler:/);
});

test("what a handler throws fails the request, with its stack and no frame of the runtime", async () => {
  for (const kind of ["", "async "]) {
    const host = serve(`{ ${kind}fetch() { throw new RangeError("bad") } }`);
    const response = await host.fetch();
    assert.equal(response.failed, "exception");
    assert.equal(response.message, "RangeError: bad");
    assert.match(response.stack, /worker\.js/);
    assert.doesNotMatch(response.stack, /selvedge:runtime/);
    assert.equal(host.exceptions.length, 0);
  }
});

test("whatever is thrown is described", async () => {
  for (const [thrown, message] of [
    ["null", "Uncaught null"],
    ['"text"', "Uncaught text"],
    ["{ get message() { throw 1 } }", "Uncaught exception that cannot be described"],
    ["Symbol('s')", "Uncaught Symbol(s)"],
    ["new Proxy({}, { get() { throw 1 } })", "Uncaught exception that cannot be described"],
  ]) {
    const response = await serve(`{ fetch() { throw ${thrown} } }`).fetch();
    assert.equal(response.message, message);
  }
});

test("anything but a Response is refused", async () => {
  for (const [value, what] of [
    ["undefined", "undefined"],
    ["'text'", "string"],
    ["{ status: 200 }", "object"],
    ["Object.create(Response.prototype)", "object"],
  ]) {
    const response = await serve(`{ async fetch() { return ${value} } }`).fetch();
    assert.equal(response.failed, "no_response");
    assert.match(response.message, new RegExp(`returned ${what}`));
  }
  assert.equal((await serve("{ fetch() { return Response.error() } }").fetch()).failed, "no_response");
});

test("a response is good for one request", async () => {
  const host = serve(`{ r: new Response("once"), fetch() { return this.r } }`);
  assert.equal((await host.fetch()).body, "once");
  assert.match((await host.fetch()).message, /read already/);
});

test("requestDone follows the response and everything that waitUntil holds", async () => {
  const host = serve(`{ fetch(request, env, ctx) {
    ctx.waitUntil(new Promise((resolve) => setTimeout(resolve, 50)));
    ctx.waitUntil(Promise.reject(new Error("lost")));
    return new Response("sent") } }`);
  const response = await host.fetch();
  assert.equal(response.body, "sent");
  assert.equal(response.done, false);
  assert.deepEqual(host.exceptions.map((each) => each.message), ["Error: lost"]);
  await host.advance(50);
  assert.equal(response.done, true);
  assert.deepEqual(host.calls.map((call) => call[0]), ["respond", "requestDone"]);
});

test("schedules run and report", async () => {
  const host = serve(`{ async scheduled(controller, env, ctx) {
    console.log(controller.cron, controller.scheduledTime, controller instanceof ScheduledController);
    if (controller.cron === "bad") throw new Error("no"); } }`);
  host.entry.scheduled(70000, "* * * * *", 1234);
  await host.settle();
  assert.equal(host.logs[0].message, "* * * * * 1234 true");
  assert.deepEqual(host.calls, [["requestDone", 70000]]);
  host.entry.scheduled(70001, "bad", 1);
  await host.settle();
  assert.equal(host.responses.get(70001).failed, "exception");
});

test("timers end with their request", async () => {
  const host = serve(`{ fetch() { setTimeout(() => console.log("late"), 10); return new Response("x") } }`);
  await host.fetch();
  const [token] = [...host.timers.keys()];
  host.entry.timer(token);
  assert.equal(host.logs.length, 0);
});

test("a streamed answer stops at the credit and goes on with it", async () => {
  const host = serve(`{ fetch() { let i = 0; return new Response(new ReadableStream({
    pull(controller) { if (i++ === 20) controller.close(); else controller.enqueue(new Uint8Array(10000).fill(65)) } })) } }`);
  const key = host.dispatch();
  await host.settle();
  const { out } = host.streams.get(key);
  assert.equal(out.length, Math.ceil(CREDIT / 10000));
  await host.grant(key);
  await host.grant(key);
  await host.grant(key);
  assert.equal(Buffer.concat(out).length, 200000);
  assert.equal(host.responses.get(key).done, true);
});

test("a stream that errors aborts the answer and is reported", async () => {
  const host = serve(`{ fetch() { let i = 0; return new Response(new ReadableStream({
    pull(controller) { if (i++ === 1) throw new Error("broken"); controller.enqueue(new Uint8Array(1)) } })) } }`);
  const response = await host.fetch();
  assert.equal(response.aborted, "Error: broken");
  assert.equal(host.exceptions[0].message, "Error: broken");
  assert.equal(response.done, true);
});

test("a chunk that is no bytes aborts the answer", async () => {
  const host = serve(`{ fetch() { return new Response(new ReadableStream({
    start(controller) { controller.enqueue("text") } })) } }`);
  assert.match((await host.fetch()).aborted, /no Uint8Array/);
});

test("a request's body is pulled as it is read", async () => {
  const host = serve(`{ async fetch(request) {
    const seen = [];
    for await (const chunk of request.body) seen.push(chunk.length);
    return Response.json(seen) } }`);
  const key = host.dispatch("http://example.com/", { method: "POST", body: ["one"] });
  await host.settle();
  assert.equal(host.responses.get(key), undefined);
  await host.feed(key, "three", null);
  assert.equal(host.responses.get(key).body, "[3,5]");
});

test("a body goes through without being read by the worker", async () => {
  const host = serve(`{ fetch(request) { return new Response(request.body, { status: 201 }) } }`);
  const response = await host.fetch("http://example.com/", { method: "POST", body: ["ab", "cd", null] });
  assert.equal(response.body, "abcd");
  assert.equal(response.status, 201);
});

test("a body that breaks off rejects its reader", async () => {
  const host = serve(`{ async fetch(request) { try { await request.text() } catch (error) { return new Response(error.name) } } }`);
  const response = await host.fetch("http://example.com/", { method: "POST", body: ["ab", new Error("cut off")] });
  assert.equal(response.body, "TypeError");
});

test("when the client goes away the signal aborts, reads reject and the source is cancelled", async () => {
  const host = serve(`{ fetch(request, env, ctx) {
    request.signal.addEventListener("abort", () => console.log("aborted", request.signal.reason.name));
    ctx.waitUntil(request.text().catch((error) => console.log("read", error.message)));
    return new Response(new ReadableStream({ pull() { return new Promise(() => {}) }, cancel() { console.log("cancelled") } })) } }`);
  const key = host.dispatch("http://example.com/", { method: "POST", body: ["ab"] });
  await host.settle();
  host.streams.get(key).gone = true;
  host.entry.aborted(key, "The client closed the connection.");
  await host.settle();
  assert.deepEqual(host.logs.map((line) => line.message).sort(), [
    "aborted AbortError",
    "cancelled",
    "read The client closed the connection.",
  ]);
  assert.deepEqual(host.calls.map((call) => call[0]), ["respondStream", "requestDone"]);
  assert.equal(host.exceptions.length, 0);
});

test("events for streams that are gone are ignored", () => {
  const host = serve("{ fetch() {} }");
  for (const event of ["readable", "writable", "timer"]) host.entry[event](4711);
  host.entry.aborted(4711, "");
  host.entry.response(4711, 200, "", "");
  host.entry.failed(4711, "refused", "");
});

test("unhandled rejections are reported at the end of the turn, handled ones are not", async () => {
  const host = serve("{ fetch() {} }");
  const [lost, late] = host.run("[Promise.reject(new Error('lost')), Promise.reject(new Error('late'))]");
  host.current = 65537;
  host.entry.unhandledRejection(host.run("new Error('lost')"), lost);
  host.entry.unhandledRejection(host.run("new Error('late')"), late);
  host.entry.rejectionHandled(undefined, late);
  lost.catch(() => {});
  late.catch(() => {});
  await host.settle();
  await host.advance(0);
  assert.deepEqual(host.exceptions.map(({ message, request }) => [message, request]), [["Error: lost", 65537]]);
});

test("a worker that spoils the built-ins still answers", async () => {
  const host = serve(`{ async fetch(request) {
    const text = await request.text();
    return new Response(text + request.url, { status: 201, headers: { a: "b" } }) } }`);
  host.run(`
    for (const proto of [Array.prototype, String.prototype, Map.prototype, Set.prototype, WeakMap.prototype]) {
      for (const key of Object.getOwnPropertyNames(proto)) {
        if (key === "length" || key === "constructor" || key === "size") continue;
        try { proto[key] = () => { throw new Error("spoiled " + key) } } catch {}
      }
    }
    Promise.prototype.then = () => { throw new Error("spoiled then") };
    Object.defineProperty(Object.prototype, "status", { get() { return 500 }, configurable: true });
    RegExp.prototype.exec = RegExp.prototype.test = () => { throw new Error("spoiled regexp") };
    Reflect.apply = Reflect.ownKeys = Reflect.construct = JSON.parse = JSON.stringify = Object.keys = () => { throw new Error("spoiled") };
  `);
  const response = await host.fetch("http://example.com/x", { method: "POST", body: ["ab", null] });
  assert.equal(response.body, "abhttp://example.com/x");
  assert.equal(response.status, 201);
  assert.deepEqual(response.head, { a: "b", "content-type": "text/plain;charset=UTF-8" });
});
