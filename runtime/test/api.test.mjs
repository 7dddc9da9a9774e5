import assert from "node:assert/strict";
import { test } from "node:test";
import { Host } from "./host.mjs";

/** Runs an async function body in the worker's realm and gives its result as plain data. */
async function run(body, host = new Host()) {
  return JSON.parse(await host.run(`(async () => JSON.stringify(await (async () => { ${body} })()))()`));
}

test("Headers: normal form, combination, order, cookies, guards", async () => {
  assert.deepEqual(
    await run(`
      const h = new Headers({ "X-B": " 1 ", "x-a": "2" });
      h.append("X-b", "3"); h.append("Set-Cookie", "a=1"); h.append("set-cookie", "b=2"); h.set("C", "4");
      return [[...h], h.get("x-B"), h.getSetCookie(), h.has("nope"), h.get("nope"), [...new Headers([["a", "b"]]).keys()]];`),
    [
      [["c", "4"], ["set-cookie", "a=1"], ["set-cookie", "b=2"], ["x-a", "2"], ["x-b", "1, 3"]],
      "1, 3", ["a=1", "b=2"], false, null, ["a"],
    ],
  );
  const host = new Host();
  for (const bad of ["h.set('a b', 'x')", "h.set('', 'x')", "h.set('a', 'x\\ny')", "h.set('a', '\\u0100')", "h.set('é', 'x')", "h.get()",
    "new Headers(5)", "new Headers([['a']])", "Response.redirect('http://a/').headers.set('a', 'b')"]) {
    assert.throws(() => host.run(`{ const h = new Headers(); ${bad} }`), { name: "TypeError" }, bad);
  }
});

test("Response: forms of bodies and their types", async () => {
  assert.deepEqual(
    await run(`
      const of = async (body) => { const r = new Response(body); return [r.headers.get("content-type"), await r.text()] };
      return [await of("a"), await of(null), await of(new Uint8Array([104, 105])), await of(new Uint8Array([104, 105]).buffer),
        await of(new URLSearchParams("a=b&c=d")), await of(new Blob(["x", "y"], { type: "Text/X" })), await of(5), await of("\\ud800"),
        await of(new ReadableStream({ start(c) { c.enqueue(new Uint8Array([65])); c.close() } }))];`),
    [
      ["text/plain;charset=UTF-8", "a"], [null, ""], [null, "hi"], [null, "hi"],
      ["application/x-www-form-urlencoded;charset=UTF-8", "a=b&c=d"], ["text/x", "xy"], ["text/plain;charset=UTF-8", "5"],
      ["text/plain;charset=UTF-8", "\ufffd"], [null, "A"],
    ],
  );
});

test("Response: statics, status, clone and use", async () => {
  assert.deepEqual(
    await run(`
      const j = Response.json({ a: 1 }, { status: 201, headers: { x: "y" } });
      const r = Response.redirect("http://a.example/b", 307);
      const c = new Response("twice"); const d = c.clone();
      const texts = [await c.text(), await d.text()];
      let again; try { await c.text() } catch (e) { again = e.name }
      let cloned; try { c.clone() } catch (e) { cloned = e.name }
      return [j.status, [...j.headers], await j.json(), r.status, r.headers.get("location"), texts, c.bodyUsed, again, cloned,
        Response.error().type, new Response(null, { status: 204 }).body, new Response("x", { status: 299, statusText: "Fine" }).statusText];`),
    [201, [["content-type", "application/json"], ["x", "y"]], { a: 1 }, 307, "http://a.example/b", ["twice", "twice"], true,
      "TypeError", "TypeError", "error", null, "Fine"],
  );
  const host = new Host();
  for (const [bad, name] of [["new Response('x', { status: 204 })", "TypeError"], ["new Response('', { status: 99 })", "RangeError"],
    ["new Response('', { status: 600 })", "RangeError"], ["Response.redirect('http://a/', 200)", "RangeError"],
    ["Response.redirect('nope')", "TypeError"], ["Response.json(undefined)", "TypeError"],
    ["new Response('', { statusText: '\\n' })", "TypeError"]]) {
    assert.throws(() => host.run(bad), { name }, bad);
  }
});

test("a clone of a streamed body gives the same bytes", async () => {
  assert.deepEqual(
    await run(`
      const r = new Response(new ReadableStream({ start(c) { c.enqueue(new Uint8Array([1, 2])); c.enqueue(new Uint8Array([3])); c.close() } }));
      const c = r.clone();
      return [[...await r.bytes()], [...await c.bytes()]];`),
    [[1, 2, 3], [1, 2, 3]],
  );
});

test("body is a stream that shows its use", async () => {
  assert.deepEqual(
    await run(`
      const r = new Response("abc");
      const same = r.body === r.body; const before = r.bodyUsed;
      const reader = r.body.getReader(); const { value } = await reader.read();
      const end = await reader.read();
      const s = new Response("x"); await s.text();
      return [same, before, [...value], end.done, r.bodyUsed, s.bodyUsed, s.body.locked];`),
    [true, false, [97, 98, 99], true, true, true, true],
  );
});

test("Request: construction, inheritance and refusals", async () => {
  assert.deepEqual(
    await run(`
      const a = new Request("HTTP://Example.com:80/a/../b", { method: "post", body: "x", headers: { a: "b" } });
      const b = new Request(a, { headers: { c: "d" } });
      return [a.url, a.method, a.bodyUsed, b.method, b.headers.get("a"), b.headers.get("c"), await b.text(),
        new Request("http://a/", { method: "patch" }).method, a.redirect, a.signal instanceof AbortSignal];`),
    ["http://example.com/b", "POST", true, "POST", null, "d", "x", "patch", "follow", true],
  );
  const host = new Host();
  for (const bad of ["new Request()", "new Request('nope')", "new Request('http://u:p@a/')", "new Request('http://a/', { body: 'x' })",
    "new Request('http://a/', { method: 'TRACE' })", "new Request('http://a/', { method: 'a b' })", "new Request('http://a/', { redirect: 'x' })",
    "new Request('http://a/', { signal: {} })"]) {
    assert.throws(() => host.run(bad), { name: "TypeError" }, bad);
  }
});

test("an arriving request: parts, url in normal form, immutable headers, clone", async () => {
  const host = new Host();
  host.worker(`{ async fetch(request) {
    let frozen; try { request.headers.set("a", "b") } catch (e) { frozen = e.name }
    const copy = request.clone(); copy.headers.set("a", "b");
    return Response.json([request.url, request.method, request.headers.get("X"), frozen, copy.headers.get("a"), await copy.text(), await request.text()]) } }`);
  const response = await host.fetch("http://EXAMPLE.com:80/a/./b?'", { method: "POST", headers: { x: "y" }, body: ["q", null] });
  assert.deepEqual(JSON.parse(response.body), ["http://example.com/a/b?%27", "POST", "y", "TypeError", "b", "q", "q"]);
});

test("the check for URLs in normal form agrees with the parser", async () => {
  const host = new Host();
  host.worker("{ fetch(request) { return new Response(request.url) } }");
  for (const url of ["http://a.b/", "http://a.b", "http://a.b/?", "http://a.b:8080/x", "http://a.b:08/", "https://a.b:443/", "http://127.1/",
    "http://0x7f.1/", "http://a.b/%2e%2e/c", "http://a.b/c/..", "http://a.b/.c/d.e", "http://a.b/x y", "http://a.b/é", "http://a..b/", "http://xn--a/",
    "http://a.b/\"<>`{}|^\\", "http://a.b/a//b/", "http://a.b/?a='b'&c=\"", "http://u@a.b/", "http://a.b/a;b=c,d:e@f", "http://a.b/#f", "http://A.b/",
    "http://a.b:99999/", "http://a.b:/", "http://a_b.c-d/", "http://a.b/?x=%zz&y=é", "http://[::1]/", "http://a.1b/", "http://a.b\t/"]) {
    let expected = url;
    try { expected = new URL(url).href } catch {}
    assert.equal((await host.fetch(url)).body, expected, url);
  }
});

test("URL: parts and assignments", async () => {
  assert.deepEqual(
    await run(`
      const u = new URL("../x?q=1#h", "https://user:pa%20ss@host.example:8443/a/b/c");
      const parts = [u.href, u.origin, u.protocol, u.username, u.password, u.host, u.hostname, u.port, u.pathname, u.search, u.hash];
      u.searchParams.append("r", "ä &"); u.pathname = "/new path"; u.hash = ""; u.port = "443"; u.username = "";
      const m = new URL("mailto:a@b"); const f = new URL("file:///x/y"); const e = new URL("http://h/?#");
      u.search = "?z=1"; const linked = u.searchParams.get("z");
      return [parts, u.href, linked, [m.origin, m.pathname, m.host, m.username, m.password], [f.host, f.pathname], [e.search, e.hash],
        URL.canParse("nope"), URL.parse("nope"), URL.parse("a", "http://h/").href, JSON.stringify(e), new URL("http://:p@h/").password, new URL("http://u@h/").password];`),
    [
      ["https://user:pa%20ss@host.example:8443/a/x?q=1#h", "https://host.example:8443", "https:", "user", "pa%20ss", "host.example:8443",
        "host.example", "8443", "/a/x", "?q=1", "#h"],
      "https://:pa%20ss@host.example/new%20path?z=1", "1", ["null", "a@b", "", "", ""], ["", "/x/y"], ["", ""],
      false, null, "http://h/a", '"http://h/?#"', "p", "",
    ],
  );
  assert.throws(() => new Host().run("new URL('nope')"), { name: "TypeError" });
  assert.throws(() => new Host().run("new URL('http://h/').href = 'nope'"), { name: "TypeError" });
});

test("URLSearchParams: format both ways", async () => {
  assert.deepEqual(
    await run(`
      const p = new URLSearchParams("?a=1&b=2+3&a=%E4%BD%A0&bad=%zz%ff&&=e");
      p.delete("b"); p.set("n", "~!'()*-._ \\u00e9"); p.sort();
      return [p.getAll("a"), p.get("bad"), p.get(""), p.toString(), p.size, p.has("a", "1"), [...new URLSearchParams({ x: 1 })], [...new URLSearchParams([["k", "v"]]).keys()]];`),
    [["1", "你"], "%zz\ufffd", "e", "=e&a=1&a=%E4%BD%A0&bad=%25zz%EF%BF%BD&n=%7E%21%27%28%29*-._+%C3%A9", 5, true, [["x", "1"]], ["k"]],
  );
});

test("forms: urlencoded and multipart, both ways", async () => {
  assert.deepEqual(
    await run(`
      const f = new FormData(); f.append("a", "1\\n2"); f.append('q"', new File(["content"], "näme.txt", { type: "text/x" })); f.append("a", "ü");
      const r = new Response(f); const g = await r.formData(); const file = g.get('q"');
      const u = await new Response("a=b+c&d=%C3%BC", { headers: { "content-type": "application/x-www-form-urlencoded" } }).formData();
      return [g.getAll("a"), file.name, file.type, await file.text(), [...u]];`),
    [["1\r\n2", "ü"], "näme.txt", "text/x", "content", [["a", "b c"], ["d", "ü"]]],
  );
  for (const body of ["", "--b", "--b\r\n", "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\ncut off", "--b\r\nnothing\r\n\r\nx\r\n--b--",
    "x--b--", "--b\r\n\r\n\r\nno name\r\n--b--"]) {
    const name = await run(`try { await new Response(${JSON.stringify(body)}, { headers: { "content-type": "multipart/form-data; boundary=b" } }).formData() } catch (e) { return e.name } return "accepted"`);
    assert.equal(name, "TypeError", JSON.stringify(body));
  }
  assert.equal(await run(`try { await new Response("x").formData() } catch (e) { return e.name }`), "TypeError");
});

test("Blob and File", async () => {
  assert.deepEqual(
    await run(`
      const b = new Blob(["abc", new Uint8Array([100]), new Blob(["ef"])], { type: "A/B" });
      const s = b.slice(1, -1, "x/y"); const f = new File([b], "n", { lastModified: 5 });
      const source = new Uint8Array([1]); const copy = new Blob([source]); source[0] = 2;
      return [b.size, b.type, await b.text(), await s.text(), s.type, f.name, f.lastModified, f.size, f instanceof Blob, [...await copy.bytes()], (await new Response(b.stream()).text())];`),
    [6, "a/b", "abcdef", "bcde", "x/y", "n", 5, 6, true, [1], "abcdef"],
  );
});

test("encodings", async () => {
  assert.deepEqual(
    await run(`
      const d = new TextDecoder(); const bytes = new TextEncoder().encode("a€😀");
      let streamed = ""; for (const byte of bytes) streamed += d.decode(new Uint8Array([byte]), { stream: true }); streamed += d.decode();
      const bom = new Uint8Array([0xef, 0xbb, 0xbf, 65]);
      const tail = new TextDecoder(); const cut = tail.decode(new Uint8Array([0xe2, 0x82]), { stream: true }) + "|" + tail.decode();
      let fatal; try { new TextDecoder("utf8", { fatal: true }).decode(new Uint8Array([255])) } catch (e) { fatal = e.name }
      let label; try { new TextDecoder("nope") } catch (e) { label = e.name }
      const into = new TextEncoder().encodeInto("a€", new Uint8Array(3));
      return [streamed, d.decode(bom), new TextDecoder("utf-8", { ignoreBOM: true }).decode(bom).length, cut, fatal, label, into,
        new TextDecoder("latin1").decode(new Uint8Array([0x41, 0xe9])), new TextDecoder("utf-16le").decode(new Uint8Array([0x3d, 0xd8, 0x00, 0xde, 0x41, 0])),
        new TextDecoder("utf-16be").decode(new Uint8Array([0, 65, 0xd8])), new TextDecoder("ascii").encoding];`),
    ["a€😀", "A", 2, "|\ufffd", "TypeError", "RangeError", { read: 1, written: 1 }, "Aé", "😀A", "A\ufffd", "windows-1252"],
  );
  assert.deepEqual(
    await run(`
      const text = async (chunks, transform) => { const stream = new ReadableStream({ start(c) { for (const chunk of chunks) c.enqueue(chunk); c.close() } });
        const out = []; for await (const chunk of stream.pipeThrough(transform)) out.push(typeof chunk === "string" ? chunk : [...chunk]); return out };
      return [await text(["a\\ud83d", "\\ude00"], new TextEncoderStream()), await text([new Uint8Array([0xe2]), new Uint8Array([0x82, 0xac])], new TextDecoderStream())];`),
    [[[97], [240, 159, 152, 128]], ["€"]],
  );
});

test("base64", async () => {
  assert.deepEqual(
    await run(`
      const bad = (text) => { try { atob(text); return "" } catch (e) { return e.name } };
      let wide; try { btoa("€") } catch (e) { wide = [e.name, e.code, e instanceof DOMException] }
      return [btoa(""), btoa("a"), btoa("ab"), btoa("abc"), btoa("\\xff\\x00"), atob("YWJj"), atob(" Y W I = "), atob("YQ"), bad("a"), bad("YQ="), bad("=YQ="), bad("Y*=="), wide];`),
    ["", "YQ==", "YWI=", "YWJj", "/wA=", "abc", "ab", "a", "InvalidCharacterError", "InvalidCharacterError", "InvalidCharacterError",
      "InvalidCharacterError", ["InvalidCharacterError", 5, true]],
  );
});

test("crypto: random bytes and ids", async () => {
  assert.deepEqual(
    await run(`
      const bad = (v) => { try { crypto.getRandomValues(v); return "" } catch (e) { return e.name } };
      const a = crypto.getRandomValues(new Uint8Array(32));
      return [a.some((b) => b !== 0), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(crypto.randomUUID()), crypto.randomUUID() !== crypto.randomUUID(),
        bad(new Float32Array(1)), bad(new Uint8Array(65537)), bad([1])];`),
    [true, true, true, "TypeMismatchError", "QuotaExceededError", "TypeMismatchError"],
  );
});

test("time stands still within a turn and moves between them", async () => {
  const host = new Host();
  assert.deepEqual(
    await run(`
      const a = Date.now(); for (let i = 0; i < 1e5; i++); 
      return [Date.now() - a, new Date().getTime() - a, performance.now(), Date.length, new Date(0).toISOString(), new (class D extends Date {})(5).getTime(), typeof Date(), Date.name,
        new Date().constructor === Date, new Date(2020, 1, 2, 3).getMonth()];`, host),
    [0, 0, 0, 7, "1970-01-01T00:00:00.000Z", 5, "string", "Date", true, 1],
  );
  host.time += 25;
  assert.equal(host.run("performance.now()"), 25);
});

test("timers: order, arguments, intervals, cancelling", async () => {
  const host = new Host();
  host.run(`
    globalThis.seen = [];
    setTimeout((a, b) => seen.push(a + b), 20, "x", "y");
    setTimeout(() => seen.push("first"), 10);
    const gone = setTimeout(() => seen.push("never"), 10); clearTimeout(gone); clearTimeout(undefined); clearTimeout(999);
    let n = 0; const every = setInterval(() => { seen.push(++n); if (n === 2) clearInterval(every) }, 15);
    setTimeout(() => { throw new Error("in timer") }, 1);`);
  await host.advance(100);
  assert.equal(host.run("seen.join()"), "first,1,xy,2");
  assert.equal(host.exceptions[0].message, "Error: in timer");
  assert.throws(() => host.run("setTimeout('code')"), { name: "TypeError" });
});

test("events and abort signals", async () => {
  assert.deepEqual(
    await run(`
      const seen = []; const target = new EventTarget();
      target.addEventListener("a", (e) => seen.push(e.type, e.target === target), { once: true });
      target.addEventListener("a", { handleEvent(e) { seen.push("object"); e.stopImmediatePropagation(); e.preventDefault() } });
      target.addEventListener("a", () => seen.push("never"));
      const ok = target.dispatchEvent(new CustomEvent("a", { cancelable: true, detail: 1 })); target.dispatchEvent(new Event("a"));
      const c = new AbortController(); const any = AbortSignal.any([c.signal, new AbortController().signal]);
      any.onabort = () => seen.push("any " + any.reason.name); c.signal.addEventListener("abort", () => seen.push("source"));
      c.abort(); c.abort();
      let thrown; try { AbortSignal.abort("why").throwIfAborted() } catch (e) { thrown = e }
      return [seen, ok, any.aborted, thrown];`),
    [["a", true, "object", "object", "source", "any AbortError"], false, true, "why"],
  );
  const host = new Host();
  host.run("globalThis.signal = AbortSignal.timeout(10)");
  await host.advance(10);
  assert.equal(host.run("signal.reason.name"), "TimeoutError");
});

test("structuredClone and DOMException", async () => {
  assert.deepEqual(
    await run(`
      let e; try { structuredClone(() => 1) } catch (x) { e = [x.name, x.code, x instanceof DOMException, x instanceof Error] }
      const d = new DOMException("m", "NotFoundError");
      return [e, d.name, d.code, d.message, DOMException.ABORT_ERR, d.stack.split("\\n")[0], String(d)];`),
    [["DataCloneError", 25, true, true], "NotFoundError", 8, "m", 20, "NotFoundError: m", "NotFoundError: m"],
  );
});

test("QuotaExceededError: a DOMException that says what is allowed; a copy keeps it", async () => {
  assert.deepEqual(
    await run(`
      const of = (e) => [e instanceof QuotaExceededError, e instanceof DOMException, e.name, e.message, e.code, e.quota, e.requested];
      const thrown = (f) => { try { f(); return null } catch (e) { return e } };
      return [of(new QuotaExceededError("m", { quota: 1, requested: 2 })), of(structuredClone(new QuotaExceededError("m", { quota: 1 }))),
        of(thrown(() => crypto.getRandomValues(new Uint8Array(65537)))).slice(0, 3),
        [{ quota: -1 }, { quota: 3, requested: 2 }, { quota: NaN }].map((o) => thrown(() => new QuotaExceededError("", o)).name)];`),
    [
      [true, true, "QuotaExceededError", "m", 22, 1, 2], [true, true, "QuotaExceededError", "m", 22, 1, null],
      [true, true, "QuotaExceededError"], ["RangeError", "RangeError", "TypeError"],
    ],
  );
});

test("PerformanceObserver: types, buffered entries, records, refusals", async () => {
  assert.deepEqual(
    await run(`
      const names = (list) => list.map((entry) => entry.name);
      const thrown = (f) => { try { f(); return null } catch (e) { return e.name } };
      performance.mark("before");
      const late = new PerformanceObserver(() => {});
      late.observe({ type: "mark", buffered: true });
      const lists = new PerformanceObserver(() => {});
      lists.observe({ entryTypes: ["measure", "unheard of"] });
      performance.mark("a"); performance.measure("b");
      const mixed = thrown(() => late.observe({ entryTypes: ["mark"] }));
      const seen = [names(late.takeRecords()), names(late.takeRecords()), names(lists.takeRecords())];
      late.disconnect(); lists.disconnect(); performance.mark("c");
      return [seen, names(late.takeRecords()), mixed, PerformanceObserver.supportedEntryTypes,
        thrown(() => late.observe({})), thrown(() => late.observe({ type: "mark", entryTypes: [] })),
        thrown(() => new PerformanceObserver()), thrown(() => performance.now.call({}))];`),
    [
      [["before", "a"], [], ["b"]], [], "InvalidModificationError", ["mark", "measure"],
      "TypeError", "TypeError", "TypeError", "TypeError",
    ],
  );
});

test("pipeThrough checks readable before it reads writable", async () => {
  assert.deepEqual(
    await run(`
      let read = false;
      try { new ReadableStream().pipeThrough({ readable: null, get writable() { read = true; } }) } catch (e) { return [e.name, read] }`),
    ["TypeError", false],
  );
});

test("text bodies lose their byte order mark, as if they had been encoded", async () => {
  assert.deepEqual(
    await run(`return [(await new Response("\\ufeffx").text()).length, await new Response("\\ufeff[1]").json(),
      (await new Response("\\ufeffx").arrayBuffer()).byteLength];`),
    [1, [1], 4],
  );
});
