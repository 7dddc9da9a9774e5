import { attempt, show } from "./show.mjs";

export default {
  "order": show(() => [...new Headers({ B: "1", a: "2", C: "3" })]),
  "append": show(() => {
    const headers = new Headers([["x", "1"]]);
    headers.append("X", "2");
    headers.append("y", " padded\t");
    return [...headers];
  }),
  "set-and-delete": show(() => {
    const headers = new Headers({ a: "1", b: "2" });
    headers.set("A", "3");
    headers.delete("B");
    return [...headers, headers.has("b"), headers.get("none")];
  }),
  "set-cookie": show(() => {
    const headers = new Headers();
    headers.append("Set-Cookie", "a=1");
    headers.append("Set-Cookie", "b=2, c");
    return [headers.getSetCookie(), headers.get("set-cookie"), [...headers]];
  }),
  "set-cookie-sent": show(() => {
    const response = new Response("x");
    response.headers.append("Set-Cookie", "a=1; Path=/");
    response.headers.append("Set-Cookie", "b=2");
    return response;
  }),
  "bad-names": show(async () => {
    const out = [];
    for (const name of ["", "a b", "a:b", "ä", "\n", "a\0"]) out.push(await attempt(() => new Headers({ [name]: "x" }).has("x")));
    return out;
  }),
  "bad-values": show(async () => {
    const out = [];
    for (const value of ["a\nb", "a\0b", "a\rb", "ok", " trim ", "\u00e9"]) {
      out.push(await attempt(() => new Headers({ a: value }).get("a")));
    }
    return out;
  }),
  "iteration-while-changing": show(() => {
    const headers = new Headers({ a: "1", b: "2", c: "3" });
    const seen = [];
    for (const [name] of headers) {
      seen.push(name);
      if (name === "a") headers.delete("b");
    }
    return seen;
  }),
  "for-each": show(() => {
    const out = [];
    new Headers({ b: "1", a: "2" }).forEach((value, name, all) => out.push([value, name, all instanceof Headers]));
    return out;
  }),
  "keys-values-entries": show(() => {
    const headers = new Headers({ b: "1", a: "2" });
    return [[...headers.keys()], [...headers.values()], [...headers.entries()]];
  }),
  "from-headers": show(() => [...new Headers(new Headers({ a: "1" })), ...new Headers(new Map([["m", "2"]]))]),
  "odd-initialisers": show(async () => {
    const out = [];
    for (const value of [null, 1, "text", [["a"]], [["a", "b", "c"]], [1], new Set([["s", "1"]])]) {
      out.push(await attempt(() => [...new Headers(value)]));
    }
    return out;
  }),
  "incoming": show((request) => [request.headers.get("x-one"), request.headers.get("X-TWO"), request.headers.get("cookie")], [
    { headers: { "x-one": "1", "x-two": "a, b", cookie: "c=d" } },
  ]),
  "incoming-are-immutable": show((request) => attempt(() => request.headers.set("x", "y"))),
  "tag": show(() => [Object.prototype.toString.call(new Headers()), Headers.name, Headers.length]),
};
