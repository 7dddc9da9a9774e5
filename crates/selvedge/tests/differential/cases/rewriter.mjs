import { attempt, show } from "./show.mjs";

const html = "<!DOCTYPE html><!-- c --><body class=a><h1 id=t>Title &amp; more</h1><p>one</p><p>two<br>three</p></body>";
const rewrite = (rewriter, document = html) => rewriter.transform(new Response(document, { headers: { "content-type": "text/html" } }));
const on = (selector, handlers, document) => rewrite(new HTMLRewriter().on(selector, handlers), document);

export default {
  "nothing": show(() => rewrite(new HTMLRewriter())),
  "attributes": show(() => on("h1", { element: (e) => void e.setAttribute("class", [...e.attributes].join()).removeAttribute("id") })),
  "content": show(() => on("p", { element: (e) => void e.before("<b>").after("<i>", { html: true }).prepend("[").append("]") })),
  "inner": show(() => on("h1", { element: (e) => void e.setInnerContent("<u>x</u>", { html: true }) })),
  "replace": show(() => on("p", { element: (e) => void e.replace("gone") })),
  "remove": show(() => on("p", { element: (e) => void e.remove() })),
  "keep-content": show(() => on("p", { element: (e) => void e.removeAndKeepContent() })),
  "tag-name": show(() => on("p", { element: (e) => void (e.tagName = "div") })),
  "text": show(() => on("p", { text: (t) => void t.replace(t.text.toUpperCase()) })),
  "comments": show(() => rewrite(new HTMLRewriter().onDocument({ comments: (c) => void (c.text = c.text + "!") }))),
  "doctype": show(async () => {
    const seen = [];
    await rewrite(new HTMLRewriter().onDocument({ doctype: (d) => void seen.push(d.name, d.publicId, d.systemId) })).text();
    return seen;
  }),
  "document-end": show(() => rewrite(new HTMLRewriter().onDocument({ end: (e) => void e.append("<!-- end -->", { html: true }) }))),
  "end-tag": show(() => on("p", { element: (e) => e.onEndTag((t) => void t.before(`(${t.name})`)) })),
  "selectors": show(async () => {
    const out = [];
    for (const selector of ["*", "p:nth-of-type(2)", "body > p", "[id]", "h1#t", ".a p", "p:first-of-type", "a, br"]) {
      let count = 0;
      await on(selector, { element: () => void count++ }).text();
      out.push(count);
    }
    return out;
  }),
  "async": show(() => on("p", { async element(e) { await new Promise((resolve) => setTimeout(resolve, 2)); e.append("late"); } })),
  "error": show(() => attempt(async () => await on("p", { element() { throw new RangeError("mine"); } }).text())),
  "bad-selector": show(async () => (await attempt(async () => await on("p::", { element() {} }).text())).startsWith("threw")),
  "namespace": show(async () => {
    let seen;
    await on("svg", { element: (e) => void (seen = e.namespaceURI) }, "<svg></svg>").text();
    return seen;
  }),
  "headers": show(() => on("p", { element() {} }).headers.get("content-type")),
};
