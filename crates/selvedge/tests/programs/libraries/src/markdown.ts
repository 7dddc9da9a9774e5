import { Hono } from "hono";
import { init, mdToHtml, mdToJSON, mdToReadableHtml, setCodeHighlighter } from "md4w";

let ready = false;

const markdown = new Hono();
export default markdown;

/** Renders Markdown by md4c in WebAssembly: as a whole, as a stream, or as a tree. */
markdown.post("/markdown", async (c) => {
  if (!ready) {
    init();
    setCodeHighlighter((language, code) => `<b>${language}</b> ${code.trim().toUpperCase()}`);
    ready = true;
  }
  const text = await c.req.text();
  switch (c.req.query("as")) {
    case "stream":
      return new Response(mdToReadableHtml(text), { headers: { "content-type": "text/html" } });
    case "tree":
      return c.json(mdToJSON(text));
    default:
      return c.html(mdToHtml(text));
  }
});
