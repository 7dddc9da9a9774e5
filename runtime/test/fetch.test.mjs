import assert from "node:assert/strict";
import { test } from "node:test";
import { head, Host } from "./host.mjs";

/** A host whose worker answers with what an async function body returns. */
function asking(body) {
  const host = new Host();
  host.worker(`{ async fetch(request, env, ctx) { try { return await (async () => { ${body} })() } catch (e) { return new Response(e.name + ": " + e.message, { status: 500 }) } } }`);
  return host;
}

test("a subrequest and its streamed response", async () => {
  const host = asking(`const r = await fetch("http://o.example/x", { method: "POST", body: "data", headers: { a: "b" } });
    return Response.json([r.status, r.ok, r.url, r.redirected, r.headers.get("x"), await r.text()])`);
  const key = host.dispatch();
  await host.settle();
  const [call] = host.subrequests;
  const fields = { a: "b", "content-type": "text/plain;charset=UTF-8", accept: "*/*", "accept-encoding": "gzip, br", "content-length": "4" };
  assert.deepEqual([call.method, call.url, call.hasBody, call.head], ["POST", "http://o.example/x", true, fields]);
  assert.equal(Buffer.concat(host.streams.get(call.key).out).toString(), "data");
  host.entry.response(call.key, 200, "", head({ x: "y" }));
  await host.feed(call.key, "one ");
  await host.feed(call.key, "two", null);
  assert.equal(host.responses.get(key).body, '[200,true,"http://o.example/x",false,"y","one two"]');
});

test("a response passes through untouched", async () => {
  const host = asking(`return fetch("http://o.example/")`);
  const key = host.dispatch();
  await host.settle();
  const sub = host.subrequests[0].key;
  host.entry.response(sub, 203, "", head({ "x-origin": "o" }));
  await host.feed(sub, "body", null);
  const response = host.responses.get(key);
  assert.deepEqual([response.status, response.head, response.body, response.done], [203, { "x-origin": "o" }, "body", true]);
});

test("redirections: followed, method changed, secrets dropped, bounded, refused", async () => {
  const host = asking(`const r = await fetch("http://o.example/", { method: "POST", body: "x", headers: { authorization: "s", a: "b" } });
    return new Response([r.url, r.redirected, await r.text()].join())`);
  const key = host.dispatch();
  await host.settle();
  host.entry.response(host.subrequests[0].key, 302, "", head({ location: "http://other.example/y" }));
  await host.settle();
  const [, second] = host.subrequests;
  const fields = { a: "b", accept: "*/*", "accept-encoding": "gzip, br" };
  assert.deepEqual([second.method, second.url, second.hasBody, second.head], ["GET", "http://other.example/y", false, fields]);
  host.entry.response(second.key, 200, "", "");
  await host.feed(second.key, "there", null);
  assert.equal(host.responses.get(key).body, "http://other.example/y,true,there");

  const endless = asking(`return fetch("http://o.example/")`);
  const lost = endless.dispatch();
  for (let i = 0; i < 25; i++) {
    await endless.settle();
    const call = endless.subrequests[i];
    if (call === undefined) break;
    endless.entry.response(call.key, 301, "", head({ location: "/again" }));
  }
  await endless.settle();
  assert.match(endless.responses.get(lost).body, /Too many redirections/);

  for (const [redirect, expected] of [["manual", "302"], ["error", "TypeError"]]) {
    const other = asking(`const r = await fetch("http://o.example/", { redirect: "${redirect}" }); return new Response(String(r.status))`);
    const id = other.dispatch();
    await other.settle();
    other.entry.response(other.subrequests[0].key, 302, "", head({ location: "/x" }));
    await other.settle();
    assert.match(other.responses.get(id).body, new RegExp(`^${expected}`));
  }
});

test("failures, limits and refusals reject", async () => {
  const host = asking(`return fetch("http://o.example/")`);
  const key = host.dispatch();
  await host.settle();
  host.entry.failed(host.subrequests[0].key, "refused", "not allowed");
  await host.settle();
  assert.equal(host.responses.get(key).body, "TypeError: not allowed");

  const limited = asking(`return fetch("http://o.example/")`);
  limited.subrequestLimit = 0;
  assert.match((await limited.fetch()).body, /limit of subrequests/);
  assert.match((await asking(`return fetch("ftp://o.example/")`).fetch()).body, /^TypeError/);
  assert.match((await asking(`return fetch("nope")`).fetch()).body, /^TypeError/);
});

test("aborting before, during and after the head", async () => {
  assert.match((await asking(`return fetch("http://o.example/", { signal: AbortSignal.abort() })`).fetch()).body, /^AbortError/);

  const during = asking(`const c = new AbortController(); setTimeout(() => c.abort(), 5); return fetch("http://o.example/", { signal: c.signal })`);
  const key = during.dispatch();
  await during.settle();
  await during.advance(5);
  assert.match(during.responses.get(key).body, /^AbortError/);
  assert.deepEqual(during.calls[0], ["fetchCancel", during.subrequests[0].key]);

  const after = asking(`const c = new AbortController(); const r = await fetch("http://o.example/", { signal: c.signal });
    setTimeout(() => c.abort(), 5); return new Response(await r.text())`);
  const id = after.dispatch();
  await after.settle();
  after.entry.response(after.subrequests[0].key, 200, "", "");
  await after.feed(after.subrequests[0].key, "part");
  await after.advance(5);
  assert.match(after.responses.get(id).body, /^AbortError/);
});

test("a streamed request body waits for credit, and its error rejects", async () => {
  const host = asking(`let i = 0; const body = new ReadableStream({ pull(c) { if (i++ === 10) c.close(); else c.enqueue(new Uint8Array(10000)) } });
    return fetch("http://o.example/", { method: "PUT", body, duplex: "half" })`);
  host.dispatch();
  await host.settle();
  const { key } = host.subrequests[0];
  assert.equal(host.streams.get(key).out.length, 7);
  await host.grant(key);
  assert.equal(host.streams.get(key).ended, true);
  assert.equal(Buffer.concat(host.streams.get(key).out).length, 100000);

  const broken = asking(`return fetch("http://o.example/", { method: "PUT", body: new ReadableStream({ pull() { throw new RangeError("source") } }) })`);
  assert.equal((await broken.fetch()).body, "RangeError: source");
});

test("what a request leaves unread ends with it", async () => {
  const host = asking(`const r = await fetch("http://o.example/"); globalThis.kept = r; fetch("http://o.example/other"); return new Response("ok")`);
  const key = host.dispatch();
  await host.settle();
  host.entry.response(host.subrequests[0].key, 200, "", "");
  await host.settle();
  assert.equal(host.responses.get(key).done, true);
  assert.equal(await host.run("kept.text().catch((error) => error.name)"), "TypeError");
  // Late events for what is over go nowhere.
  host.entry.response(host.subrequests[1].key, 200, "", "");
  host.entry.failed(host.subrequests[0].key, "unreachable", "late");
  await host.settle();
  assert.equal(host.exceptions.length, 0);
});

test("a body that is not wanted is cancelled", async () => {
  const host = asking(`const r = await fetch("http://o.example/"); await r.body.cancel(); return new Response("ok")`);
  const key = host.dispatch();
  await host.settle();
  host.entry.response(host.subrequests[0].key, 200, "", "");
  await host.settle();
  assert.equal(host.responses.get(key).body, "ok");
  assert.deepEqual(host.calls[0], ["bodyCancel", host.subrequests[0].key]);
});

test("integrity: the strongest digests decide; others refuse the response", async () => {
  const { createHash } = await import("node:crypto");
  const digest = (hash, encoding = "base64") => `${hash}-${createHash(hash).update("body").digest(encoding)}`;
  const wrong = (hash) => `${hash}-${createHash(hash).update("other").digest("base64")}`;
  const cases = [
    [digest("sha256"), true], [digest("sha384"), true], [digest("sha512", "base64url"), true], [`${digest("sha256")}?option`, true],
    [wrong("sha256"), false], [`${wrong("sha256")} ${digest("sha512")}`, true], [`${digest("sha256")}\t${wrong("sha512")}`, false],
    [`${wrong("sha512")} ${digest("sha512")}`, true], ["md5-AAAA nonsense", true], ["sha256-AAAA", false], ["sha256-A", false],
  ];
  for (const [integrity, passes] of cases) {
    const host = asking(`try {
        const r = await fetch("http://o.example/", { integrity: ${JSON.stringify(integrity)} });
        return new Response([r.status, r.url, r.headers.get("x"), await r.text()].join());
      } catch (e) { return new Response(e.name) }`);
    const key = host.dispatch();
    await host.settle();
    const sub = host.subrequests[0].key;
    host.entry.response(sub, 200, "", head({ x: "y" }));
    await host.feed(sub, "body", null);
    await host.settle();
    assert.equal(host.responses.get(key).body, passes ? "200,http://o.example/,y,body" : "TypeError", integrity);
  }
});
