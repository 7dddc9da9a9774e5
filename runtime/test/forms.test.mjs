// Forms in bodies: what hostile ones may cost, and that user code cannot come between.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Host } from "./host.mjs";

/** What an async function body returns in a worker. */
async function run(body) {
  const host = new Host();
  host.worker(`{ async fetch() { try { return Response.json(await (async () => { ${body} })() ?? null) } catch (e) { return Response.json(e.name + ": " + e.message) } } }`);
  const key = host.dispatch();
  await host.settle();
  return JSON.parse(host.responses.get(key).body);
}

const READ = `const read = (text, boundary = "b") =>
  new Response(text, { headers: { "content-type": "multipart/form-data; boundary=" + boundary } }).formData();`;

test("parts are bounded in number, and their headers in length", async () => {
  const many = `${READ} return [...await read("--b\\r\\nContent-Disposition: form-data; name=a\\r\\n\\r\\nx\\r\\n".repeat(N) + "--b--")].length`;
  assert.equal(await run(many.replace("N", "20000")), 20000);
  assert.match(await run(many.replace("N", "20001")), /^TypeError: .* more than 20000 parts/);
  const long = `${READ} await read("--b\\r\\nContent-Disposition: form-data; name=a\\r\\nx: " + "y".repeat(N) + "\\r\\n\\r\\nx\\r\\n--b--")`;
  assert.equal(await run(long.replace("N", "1000")), null);
  assert.match(await run(long.replace("N", "20000")), /^TypeError: .* very long/);
  assert.match(await run(`${READ} await read("x", "y".repeat(1000))`), /^TypeError: .* boundary is too long/);
});

test("what looks like a boundary and is none is content, wherever it lies", async () => {
  // Around the edge of what is looked through at a time.
  for (const length of [262_080, 262_120, 262_140, 262_150, 600_000]) {
    const content = `"\\r\\n--bx\\r\\n-" + "\\r".repeat(${length}) + "\\r\\n--"`;
    const code = `${READ} const sent = ${content}; const form = await read('--boundary\\r\\nContent-Disposition: form-data; name="f"; filename="n"\\r\\n\\r\\n' +
      sent + "\\r\\n--boundary--", "boundary"); const file = form.get("f"); return [file.name, file.type, (await file.text()) === sent]`;
    assert.deepEqual(await run(code), ["n", "text/plain", true], String(length));
  }
});

test("replaced methods neither see nor change a form", async () => {
  assert.deepEqual(
    await run(`${READ} FormData.prototype.append = () => { throw new Error("seen") };
      Object.defineProperty(Blob.prototype, "type", { get() { return "evil/evil" } });
      Object.defineProperty(File.prototype, "name", { get() { return "evil" } });
      const form = await read('--b\\r\\nContent-Disposition: form-data; name="a"\\r\\n\\r\\n1\\r\\n--b--');
      form.set("f", new File(["x"], "n", { type: "a/b" }));
      const text = await new Response(form).text();
      return [form.get("a"), text.includes("evil"), text.includes('filename="n"')]`),
    ["1", false, true],
  );
});

test("a name with quotes and line breaks survives the way there and back", async () => {
  const name = `a"b\r\nc%22`;
  assert.deepEqual(
    await run(`const form = new FormData(); form.append(${JSON.stringify(name)}, "v"); return [...(await new Response(form).formData()).keys()]`),
    [`a"b\r\nc"`],
  );
});

test("a copy of a request takes its stream, which stays its own and is used up", async () => {
  assert.deepEqual(
    await run(`const one = new Request("http://o.example/", { method: "POST", body: "text" }); const { body } = one;
      const two = new Request(one);
      return [one.body === body, two.body === body, one.bodyUsed, body.locked, await two.text()]`),
    [true, false, true, true, "text"],
  );
});

test("reading a body asks nobody for a then", async () => {
  assert.deepEqual(
    await run(`const stream = () => new ReadableStream({ start(c) { c.enqueue(new TextEncoder().encode("hello")); c.close() } });
      const asked = []; const one = new Response(stream());
      Object.defineProperty(Object.prototype, "then", { get() { asked.push(1) }, configurable: true });
      const pending = one.text(); const text = await pending; delete Object.prototype.then;
      return [text, asked.length]`),
    ["hello", 0],
  );
});

test("integers of slices are rounded to even, line endings become native", async () => {
  assert.deepEqual(
    await run(`return [await new Blob(["abcd"]).slice(0.5, 2.5).text(), await new Blob(["a\\r\\nb\\rc\\n"], { endings: "native" }).text()]`),
    ["ab", "a\nb\nc\n"],
  );
});
