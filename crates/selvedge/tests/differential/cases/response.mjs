import { attempt, bytes, show } from "./show.mjs";

export default {
  "text": show(() => new Response("plain")),
  "empty": show(() => new Response()),
  "null": show(() => new Response(null, { status: 204 })),
  "bytes": show(() => new Response(bytes("raw"))),
  "buffer": show(() => new Response(bytes("raw").buffer)),
  "blob": show(() => new Response(new Blob(["<p>"], { type: "text/html" }))),
  "params": show(() => new Response(new URLSearchParams({ a: "ä", b: "1 2" }))),
  "stream": show(() => new Response(new Blob(["one ", "two"]).stream())),
  "number": show(() => new Response(42)),
  "object": show(() => new Response({})),
  "json": show(() => Response.json({ a: [1, "ä", null] }, { status: 201, headers: { "x-a": "b" } })),
  "json-own-type": show(() => Response.json(1, { headers: { "content-type": "application/problem+json" } })),
  "json-undefined": show(() => attempt(() => Response.json(undefined))),
  "redirect": show(() => Response.redirect("https://example.com/a b", 301)),
  "redirect-codes": show(async () => {
    const out = [];
    for (const code of [300, 301, 302, 303, 304, 307, 308, 200]) {
      out.push(await attempt(() => Response.redirect("https://example.com", code).status));
    }
    return out;
  }),
  "error": show(() => [Response.error().type, Response.error().status, Response.error().ok]),
  "statuses": show(async () => {
    const out = [];
    for (const status of [100, 101, 199, 200, 299, 404, 599, 600, 1000, "204", NaN]) {
      out.push(await attempt(() => new Response(null, { status }).status));
    }
    return out;
  }),
  "null-body-statuses": show(async () => {
    const out = [];
    for (const status of [101, 204, 205, 304]) out.push(await attempt(() => new Response("x", { status }).status));
    return out;
  }),
  "status-text": show(async () => [
    new Response("", { statusText: "Fine" }).statusText,
    new Response("").statusText,
    await attempt(() => new Response("", { statusText: "a\nb" })),
  ]),
  "ok": show(() => [199 + 1, 299, 300, 404].map((status) => new Response(null, { status }).ok)),
  "custom-status": show(() => new Response("teapot", { status: 418, headers: { "x-tea": "yes" } })),
  "readers": show(async () => [
    await new Response("t").text(),
    await new Response("[1]").json(),
    (await new Response("abc").arrayBuffer()).byteLength,
    (await new Response("abc", { headers: { "content-type": "a/b" } }).blob()).type,
    [...(await new Response("ab").bytes())],
    [...(await new Response(new URLSearchParams("a=1")).formData())],
  ]),
  "used-twice": show(async () => {
    const response = new Response("x");
    await response.text();
    return [response.bodyUsed, await attempt(() => response.text()), await attempt(() => response.clone())];
  }),
  "clone": show(async () => {
    const response = new Response("x", { status: 202, headers: { a: "b" } });
    const copy = response.clone();
    copy.headers.set("a", "c");
    return [await response.text(), await copy.text(), response.headers.get("a"), copy.headers.get("a"), copy.status];
  }),
  "from-response": show(async () => {
    const one = new Response("body", { status: 202, headers: { a: "b" } });
    const two = new Response(one.body, one);
    return [two.status, two.headers.get("a"), await two.text(), one.bodyUsed];
  }),
  "locked": show(async () => {
    const response = new Response("x");
    response.body.getReader();
    return [response.bodyUsed, await attempt(() => response.text())];
  }),
  "bom": show(async () => [(await new Response("\ufeffx").text()).length, await new Response("\ufeff[1]").json()]),
  "invalid-utf8": show(async () => await new Response(new Uint8Array([0x61, 0xff, 0xc3])).text()),
  "large": show(() => new Response("0123456789".repeat(50_000))),
  "promise": { fetch: async () => await new Promise((resolve) => setTimeout(() => resolve(new Response("later")), 5)) },
  "tag": show(() => [Response.name, Response.length, Object.prototype.toString.call(new Response())]),
};
