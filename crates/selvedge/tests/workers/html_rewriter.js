// One case a path: what HTMLRewriter makes of a document.
const html = (text) => new Response(text, { headers: { "content-type": "text/html", "content-length": `${text.length}` } });
const rewrite = (text, selector, handlers) => new HTMLRewriter().on(selector, handlers).transform(html(text));
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const failing = async (make) => {
  try {
    const response = await make();
    return new Response(`no error: ${await response.text()}`);
  } catch (error) {
    return new Response(`${error.name}: ${error.message}`);
  }
};

let kept;

const cases = {
  attributes: () =>
    rewrite("<a href='/x' id=one>link</a><b>text</b>", "a[href]", {
      element(element) {
        const list = [...element.attributes].map(([name, value]) => `${name}=${value}`).join(",");
        element.setAttribute("data-was", list).setAttribute("href", `https://example.com${element.getAttribute("href")}`);
        element.removeAttribute("id");
        element.setAttribute("has", `${element.hasAttribute("id")},${element.getAttribute("none")},${element.tagName}`);
      },
    }),
  content: () =>
    rewrite("<div><p>one</p></div>", "p", {
      element(element) {
        element.before("<b>", { html: false }).before("<i>1</i>", { html: true });
        element.after("<i>2</i>", { html: true }).prepend("(").append(")");
        element.tagName = "h1";
      },
    }),
  replace: () =>
    new HTMLRewriter()
      .on(".a", { element: (e) => void e.replace("<hr>", { html: true }) })
      .on(".b", { element: (e) => void e.remove() })
      .on(".c", { element: (e) => void e.removeAndKeepContent() })
      .on(".d", { element: (e) => void e.setInnerContent("a < b") })
      .on(".e", { element: (e) => e.onEndTag((tag) => void tag.before(`</${tag.name}?>`).after("!")) })
      .transform(html("<p class=a>1</p><p class=b>2</p><p class=c>3</p><p class=d>4</p><p class=e>5</p>")),
  document: () => {
    const seen = [];
    return new HTMLRewriter()
      .onDocument({
        doctype: (d) => void seen.push(`doctype ${d.name} ${d.publicId} ${d.systemId}`),
        comments: (c) => void (seen.push(`comment${c.text}`), (c.text = " gone ")),
        text: (t) => void seen.push(`text ${t.text} ${t.lastInTextNode}`),
        end: (end) => void end.append(`<!-- ${seen.join("; ")} -->`, { html: true }),
      })
      .transform(html("<!DOCTYPE html><!-- here --><p>hi</p>"));
  },
  async: () =>
    rewrite("<ul><li>a</li><li>b</li><li>c</li></ul>", "li", {
      async element(element) {
        await wait(5);
        element.setAttribute("id", "late");
        const answer = await Promise.resolve(element.tagName);
        element.append(answer);
      },
    }),
  order: async () => {
    const order = [];
    const response = new HTMLRewriter()
      .on("p", { element: async () => (await wait(3), void order.push("first")) })
      .on("p", { element: () => void order.push("second") })
      .transform(html("<p></p>"));
    await response.text();
    return new Response(order.join());
  },
  streamed: () => {
    const { readable, writable } = new TransformStream();
    const writer = writable.getWriter();
    void (async () => {
      for (const part of ["<h", "1 cl", "ass=x>gr", "üße", "</h1", ">"]) await writer.write(new TextEncoder().encode(part));
      await writer.close();
    })();
    return rewrite2(readable);
  },
  contents: () =>
    rewrite("<div></div><p></p>", "div, p", {
      element(element) {
        if (element.tagName === "p") element.append(new Response("from <a> response"), { html: true });
        else
          element.append(
            new ReadableStream({
              async pull(controller) {
                await wait(2);
                controller.enqueue(new TextEncoder().encode("chunk <1>"));
                controller.close();
              },
            }),
          );
      },
    }),
  headers: async () => {
    const response = rewrite("<p>1</p>", "p", { element: (e) => void e.append("2") });
    return Response.json([response.headers.get("content-length"), response.headers.get("content-type"), await response.text()]);
  },
  nothing: () => new HTMLRewriter().on("p", {}).transform(new Response(null, { status: 204 })),
  throws: () => failing(() => rewrite("<p>", "p", { element() { throw new RangeError("mine"); } })),
  rejects: () => failing(() => rewrite("<p>", "p", { async element() { await wait(1); throw new RangeError("later"); } })),
  selector: () => failing(() => rewrite("<p>", "p:::", { element() {} })),
  stale: () => failing(async () => {
    await rewrite("<p>", "p", { element(e) { kept = e; } }).text();
    kept.tagName = "b";
    return html("");
  }),
  used: () => failing(async () => {
    const response = html("<p>");
    await response.text();
    return new HTMLRewriter().transform(response);
  }),
  end_tag: () => failing(() => rewrite("<br>", "br", { element: (e) => e.onEndTag(() => {}) })),
  names: () => failing(() => rewrite("<p>", "p", { element: (e) => { e.tagName = "a b"; } })),
  charset: async () => {
    const bytes = new Uint8Array([0x3c, 0x70, 0x3e, 0xe9]);
    const response = new Response(bytes, { headers: { "content-type": "text/html; charset=ISO-8859-1" } });
    let text = "";
    const out = new HTMLRewriter().on("p", { text: (t) => void (text += t.text) }).transform(response);
    const written = [...new Uint8Array(await out.arrayBuffer())];
    return Response.json([text, written]);
  },
  many: () => failing(async () => {
    const open = [];
    for (let i = 0; i < 1000; i++) open.push(rewrite("<p>", "p", { element: () => new Promise(() => {}) }).body.getReader().read());
    return html("");
  }),
  lies: () => failing(() => rewrite("<p>", "p", { element: (e) => void e.before({ toString() { e.remove(); throw new TypeError("liar"); } }) })),
  poisoned: () => {
    RegExp.prototype.exec = Headers.prototype.get = Response.prototype.text = () => "poison";
    return rewrite("<p>1</p>", "p", { element: (e) => void e.append("2") });
  },
  big: () => {
    const row = "<tr><td class=cell>some text</td><td><a href='/link'>and a link</a></td></tr>";
    let links = 0;
    return new HTMLRewriter()
      .on("a", { element: (e) => void (links++, e.setAttribute("rel", "nofollow")) })
      .onDocument({ end: (e) => void e.append(`${links}`) })
      .transform(html(`<table>${row.repeat(20000)}</table>`));
  },
};

function rewrite2(readable) {
  return new HTMLRewriter()
    .on("h1", { element: (e) => void e.setAttribute("class", `${e.getAttribute("class")}y`) })
    .transform(new Response(readable));
}

export default {
  fetch(request) {
    const name = new URL(request.url).pathname.slice(1);
    return cases[name]();
  },
};
