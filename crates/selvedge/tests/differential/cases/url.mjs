import { attempt, show } from "./show.mjs";

const parts = (url) => [url.href, url.origin, url.protocol, url.username, url.password, url.host, url.hostname, url.port, url.pathname, url.search, url.hash];

export default {
  "parts": show(() => parts(new URL("https://us%20er:p@EXAMPLE.com:8443/a/./b/../c?x=y#z"))),
  "base": show(() => ["b", "../c", "/d", "?e", "#f", "//g/h", ""].map((path) => new URL(path, "https://example.com/x/y?q#h").href)),
  "default-ports": show(() => ["http://a:80/", "https://a:443/", "ws://a:80/", "ftp://a:21/", "http://a:443/"].map((url) => new URL(url).href)),
  "invalid": show(async () => {
    const out = [];
    for (const url of ["", "a", "http://", "http://a b/", "http://[::1", "http://a:99999/", "http://%/", "//x"]) {
      out.push([await attempt(() => new URL(url).href), URL.canParse(url), URL.parse(url) === null]);
    }
    return out;
  }),
  "hosts": show(() => ["http://ÄÖ.example/", "http://0x7f.1/", "http://1.2.3/", "http://[::ffff:1.2.3.4]/", "http://faß.example/", "http://xn--fa-hia.example/"].map((url) => new URL(url).host)),
  "setters": show(() => {
    const url = new URL("https://example.com/");
    url.protocol = "http";
    url.port = "81x";
    url.pathname = "a b";
    url.search = "q=ä";
    url.hash = "f g";
    url.username = "u:";
    url.hostname = "other.example";
    const one = url.href;
    url.host = "third.example:82";
    url.protocol = "mailto";
    url.port = "";
    url.search = "";
    return [one, url.href];
  }),
  "search-params-are-live": show(() => {
    const url = new URL("https://example.com/?a=1");
    url.searchParams.append("b", "2 3");
    const one = url.href;
    url.search = "?c=4";
    return [one, [...url.searchParams], url.searchParams === url.searchParams];
  }),
  "opaque": show(() => parts(new URL("data:text/plain,hello world"))),
  "file": show(() => parts(new URL("file:///C|/a/../b"))),
  "blob-and-js": show(() => [new URL("blob:https://example.com/x").origin, new URL("javascript:alert(1)").origin]),
  "special-characters": show(() => new URL("https://example.com/<>\"`{}|\\^?<>\"'#<>`").href),
  "tabs-and-newlines": show(() => new URL(" ht\ntps://exa\tmple.com/\r ").href),
  "json": show(() => ({ url: new URL("https://example.com") })),
  "pattern": show(() => {
    const pattern = new URLPattern({ pathname: "/books/:id(\\d+)/*" });
    const result = pattern.exec("https://example.com/books/12/a/b");
    return [pattern.test("https://example.com/books/x/"), result.pathname.groups, pattern.pathname, pattern.hostname];
  }),
  "pattern-string": show(() => {
    const pattern = new URLPattern("https://*.example.com/:a?/x{y}?");
    return [pattern.protocol, pattern.hostname, pattern.pathname, pattern.test("https://a.example.com/xy"), pattern.test("https://a.example.com/b/x")];
  }),
  "pattern-base": show(() => new URLPattern("/a/:b", "https://example.com").exec("/a/c", "https://example.com")?.pathname.groups ?? null),
  "pattern-invalid": show(async () => [await attempt(() => new URLPattern("(")), await attempt(() => new URLPattern({ pathname: "/:a/:a" }))]),
  "pattern-ignore-case": show(() => new URLPattern({ pathname: "/ABC" }, { ignoreCase: true }).test("https://e.example/abc")),
};
