import { attempt, show } from "./show.mjs";

export default {
  "context": show((request, env, context) => [typeof context.waitUntil, typeof context.passThroughOnException, typeof env]),
  "wait-until": show((request, env, context) => {
    context.waitUntil(new Promise((resolve) => setTimeout(resolve, 10)));
    return "at once";
  }),
  "detached-wait-until": show((request, env, context) => {
    const { waitUntil } = context;
    return attempt(() => waitUntil(Promise.resolve()));
  }),
  "head": show(() => new Response("body", { headers: { "x-a": "1" } }), [{ method: "HEAD" }]),
  "thenable": { fetch: () => ({ then: (resolve) => resolve(new Response("thenable")) }) },
  "throws": { fetch() { throw new Error("broken"); }, statusOnly: true },
  "rejects": { fetch: async () => { throw new Error("broken"); }, statusOnly: true },
  "returns-nothing": { fetch() {}, statusOnly: true },
  "stream-of-text": {
    fetch: () => new Response(new ReadableStream({ start(c) { c.enqueue("text"); c.close(); } })),
    statusOnly: true,
  },
  "data-url": show(async () => await attempt(async () => await (await fetch("data:text/plain,hello%20world")).text())),
  "fetch-bad-scheme": show(() => attempt(() => fetch("ftp://example.com/"))),
  "fetch-aborted": show(() => attempt(() => fetch("https://example.com/", { signal: AbortSignal.abort() }))),
  "encoded-body": show(() => new Response(new Uint8Array([31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 75, 4, 0, 67, 190, 183, 232, 1, 0, 0, 0]), { headers: { "content-encoding": "gzip" }, encodeBody: "manual" })),
  "pair": show(async () => {
    const [client, server] = Object.values(new WebSocketPair());
    client.accept();
    server.accept();
    const got = new Promise((resolve) => client.addEventListener("message", (event) => resolve(event.data)));
    server.send("through");
    return [await got, client.readyState];
  }),
  "cache-miss": show(async () => (await caches.default.match("https://example.com/never")) === undefined),
};
