// What `cargo xtask bench work` has every server do; the path says which.
import { Hono } from "hono";

const chunk = new Uint8Array(64 << 10).fill(120);
const megabyte = new Uint8Array(1 << 20).fill(120);
const row = "<tr><td class=name>A thing</td><td><a href='/things/1'>12.50</a></td><td>some more text</td></tr>\n";
const html = `<!DOCTYPE html><html><body><table>${row.repeat(Math.floor((100 << 10) / row.length))}</table></body></html>`;

const app = new Hono();
for (let i = 0; i < 50; i++) app.get(`/api/v1/things${i}/:id`, (context) => context.text(`thing ${i} ${context.req.param("id")}`));

function stream() {
  let sent = 0;
  const source = new ReadableStream({
    pull(controller) {
      controller.enqueue(chunk.slice());
      if (++sent === 160) controller.close();
    },
  });
  return new Response(
    source.pipeThrough(
      new TransformStream({
        transform(chunk, controller) {
          controller.enqueue(chunk);
        },
      }),
    ),
  );
}

const rewriter = () =>
  new HTMLRewriter().on("a[href]", {
    element(element) {
      element.setAttribute("href", `https://example.com${element.getAttribute("href")}`);
    },
  });

async function digest() {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", megabyte));
  return new Response(hash);
}

export default {
  async fetch(request, env, context) {
    const { pathname, search } = new URL(request.url);
    switch (pathname) {
      case "/json":
        return Response.json(await request.json());
      case "/stream":
        return stream();
      case "/html":
        return rewriter().transform(new Response(html, { headers: { "content-type": "text/html" } }));
      case "/sha":
        return digest();
      case "/fetch":
        return fetch(search.slice(1));
      default:
        return app.fetch(request, env, context);
    }
  },
};
