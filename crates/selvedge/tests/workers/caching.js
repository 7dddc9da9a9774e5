// One case a path: what the Cache API stores and finds.
const url = "https://example.com/page?x=1";
const attempt = async (make) => {
  try {
    return await make();
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
};
const put = (body, headers, request = url, init = {}) => caches.default.put(request, new Response(body, { headers, ...init }));
const text = async (request = url) => (await caches.default.match(request))?.text() ?? null;

const cases = {
  async stored() {
    await put("hello", { "cache-control": "max-age=60", "x-own": "1" });
    const found = await caches.default.match(url);
    const fields = ["x-own", "age", "cf-cache-status", "content-type"].map((name) => found.headers.get(name));
    return [await found.text(), found.status, ...fields, await text("https://example.com/page"), await text("http://example.com/page?x=1")];
  },
  async forgotten() {
    await put("x", { "cache-control": "max-age=60" });
    return [await caches.default.delete(url), await text(), await caches.default.delete(url)];
  },
  async named() {
    const one = await caches.open("one");
    await one.put(url, new Response("one"));
    return [await text(), await (await one.match(url)).text(), (await caches.open("one")) === one, await (await caches.open("two")).match(url)];
  },
  async refused() {
    const out = [];
    for (const control of ["no-store", "private", "max-age=0"]) {
      await put("x", { "cache-control": control }, `https://example.com/${control}`);
      out.push(await text(`https://example.com/${control}`));
    }
    await put("x", { "set-cookie": "a=b" }, "https://example.com/cookie");
    out.push(await text("https://example.com/cookie"));
    out.push(await attempt(() => put("x", { vary: "*" })));
    out.push(await attempt(() => put("x", {}, url, { status: 206 })));
    out.push(await attempt(() => put("x", {}, new Request(url, { method: "POST" }))));
    out.push(await attempt(() => put("x", {}, "ftp://example.com/")));
    out.push(await attempt(() => caches.default.match()));
    return out;
  },
  async varies() {
    const request = (language) => new Request("https://example.com/vary", { headers: { "accept-language": language } });
    await put("guten Tag", { vary: "accept-language" }, request("de"));
    await put("good day", { vary: "accept-language" }, request("en"));
    return [await text(request("de")), await text(request("en")), await text(request("fr"))];
  },
  async conditions() {
    await put("0123456789", { etag: '"tag"', "cache-control": "max-age=60" }, "https://example.com/c");
    const ask = async (headers) => {
      const found = await caches.default.match(new Request("https://example.com/c", { headers }));
      return [found.status, await found.text(), found.headers.get("content-range")];
    };
    return [await ask({ "if-none-match": '"tag"' }), await ask({ range: "bytes=2-4" }), await ask({ range: "bytes=-2" }), await ask({})];
  },
  async stream() {
    const body = new Blob(["x".repeat(1_000_000)]).stream();
    await put(body, {}, "https://example.com/stream");
    return (await text("https://example.com/stream")).length;
  },
  async status() {
    await put("gone", { "cache-control": "max-age=9" }, "https://example.com/gone", { status: 404 });
    const found = await caches.default.match("https://example.com/gone");
    await put(null, { location: "https://example.com/new" }, "https://example.com/old", { status: 301 });
    const moved = await caches.default.match("https://example.com/old");
    return [found.status, await found.text(), moved.status, moved.headers.get("location")];
  },
  async large() {
    return attempt(() => put("x".repeat(17 << 20), {}, "https://example.com/large"));
  },
  async used() {
    const response = new Response("x");
    await response.text();
    return attempt(() => caches.default.put(url, response));
  },
  async flood() {
    for (let i = 0; i < 40; i++) await put("x".repeat(2 << 20), { "cache-control": "max-age=60" }, `https://example.com/flood/${i}`);
    let there = 0;
    for (let i = 0; i < 40; i++) if ((await caches.default.match(`https://example.com/flood/${i}`)) !== undefined) there++;
    return there > 0 && there < 40;
  },
  async set(request) {
    await put(new URL(request.url).search, { "cache-control": "max-age=60" });
    return "set";
  },
  get: () => text(),
};

export default {
  fetch: async (request) => Response.json(await cases[new URL(request.url).pathname.slice(1)](request)),
};
