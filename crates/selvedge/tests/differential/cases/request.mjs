import { attempt, bytes, show } from "./show.mjs";

const props = (request) => [request.method, request.url, request.redirect, request.body === null, request.bodyUsed];

export default {
  "defaults": show(() => props(new Request("https://example.com/a b?c=ä#d"))),
  "relative": show(() => attempt(() => new Request("/a"))),
  "credentials-in-url": show(() => attempt(() => new Request("https://user:pass@example.com/").url)),
  "method-case": show(async () => {
    const out = [];
    for (const method of ["get", "post", "Patch", "patch", "DELETE", "custom"]) {
      out.push(new Request("https://example.com", { method }).method);
    }
    for (const method of ["CONNECT", "trace", "a b", ""]) {
      out.push(await attempt(() => new Request("https://example.com", { method }).method));
    }
    return out;
  }),
  "body-on-get": show(() => attempt(() => new Request("https://example.com", { body: "x" }))),
  "body-types": show(async () => {
    const out = [];
    const bodies = ["text", bytes("bytes"), bytes("buffer").buffer, new URLSearchParams({ a: "1 2" }), new Blob(["blob"], { type: "a/b" })];
    for (const body of bodies) {
      const request = new Request("https://example.com", { method: "POST", body });
      out.push([request.headers.get("content-type"), await request.text()]);
    }
    return out;
  }),
  "stream-body": show(async () => {
    const stream = new Blob(["from a stream"]).stream();
    return await new Request("https://example.com", { method: "PUT", body: stream, duplex: "half" }).text();
  }),
  "copy": show(async () => {
    const one = new Request("https://example.com", { method: "POST", body: "x", headers: { a: "1" } });
    const two = new Request(one, { headers: { b: "2" } });
    return [one.bodyUsed, await two.text(), two.headers.get("a"), two.headers.get("b"), two.method];
  }),
  "copy-used": show(async () => {
    const one = new Request("https://example.com", { method: "POST", body: "x" });
    await one.text();
    return [await attempt(() => new Request(one).method), await attempt(() => one.text())];
  }),
  "clone": show(async () => {
    const one = new Request("https://example.com", { method: "POST", body: "twice" });
    const two = one.clone();
    return [await one.text(), await two.text()];
  }),
  "clone-used": show(async () => {
    const one = new Request("https://example.com", { method: "POST", body: "x" });
    await one.text();
    return attempt(() => one.clone());
  }),
  "incoming": show(async (request) => [request.method, new URL(request.url).pathname, new URL(request.url).search, await request.text()], [
    { method: "POST", path: "/a%20b/c?d=e&f", body: "hello" },
    { method: "PUT", path: "/", body: "" },
    { method: "DELETE", path: "/x" },
    { method: "OPTIONS", path: "/*" },
  ]),
  "incoming-json": show(async (request) => attempt(() => request.json()), [
    { method: "POST", body: '{"a":[1,2,{"b":null}]}' },
    { method: "POST", body: "{broken" },
    { method: "POST", body: "" },
  ]),
  "incoming-forms": show(async (request) => [...(await request.formData())], [
    { method: "POST", headers: { "content-type": "application/x-www-form-urlencoded" }, body: "a=1&b=%C3%A4+x&a=2&c" },
    {
      method: "POST",
      headers: { "content-type": "multipart/form-data; boundary=X" },
      body: '--X\r\nContent-Disposition: form-data; name="a"\r\n\r\none\r\n--X\r\nContent-Disposition: form-data; name="b"\r\n\r\ntwo\r\nlines\r\n--X--\r\n',
    },
  ]),
  "incoming-no-form": show((request) => attempt(() => request.formData()), [
    { method: "POST", headers: { "content-type": "text/plain" }, body: "a=1" },
    { method: "POST", headers: { "content-type": "multipart/form-data" }, body: "x" },
  ]),
  "incoming-body-stream": show(async (request) => {
    let length = 0;
    for await (const chunk of request.body) length += chunk.length;
    return length;
  }, [{ method: "POST", body: "x".repeat(100_000) }]),
  "incoming-get-has-no-body": show((request) => [request.body === null, request.bodyUsed]),
  "signal": show((request) => [request.signal instanceof AbortSignal, request.signal.aborted]),
  "cf-is-there": show((request) => [typeof request.cf, new Request(request, { cf: { a: 1 } }).method]),
  "tag": show(() => [Request.name, Request.length, Object.prototype.toString.call(new Request("https://example.com"))]),
};
