// What the suite's Python handlers answer, restated: those that the tests in `areas.mjs` ask for. Each gets the request
// (`method`, `url`, `headers`, `body`) and gives `{status, reason, headers: [[name, value], …], body}`, or writes to the
// response itself and gives nothing.
import { setTimeout as sleep } from "node:timers/promises";

const stash = new Map();
const latin1 = (text) => Buffer.from(text, "latin1");

/** The query's parameters as bytes in latin1, which is how the suite's server keeps them. */
function parameters(url) {
  const found = new Map();
  for (const pair of url.search.slice(1).split("&")) {
    if (pair === "") continue;
    const [name, value = ""] = pair.split(/=(.*)/s);
    const decode = (text) =>
      text.replaceAll("+", " ").replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
    if (!found.has(decode(name))) found.set(decode(name), decode(value));
  }
  return found;
}

function corsOf(headers) {
  return headers.origin === undefined
    ? [["Access-Control-Allow-Origin", "*"]]
    : [["Access-Control-Allow-Origin", headers.origin], ["Access-Control-Allow-Credentials", "true"]];
}

const handlers = {
  "inspect-headers.py": ({ get, headers }) => {
    const checked = (get.get("headers") ?? "").split("|").filter((name) => headers[name.toLowerCase()] !== undefined);
    return { headers: [...checked.map((name) => [`x-request-${name}`, headers[name.toLowerCase()]]), ["content-type", "text/plain"]] };
  },
  "redirect.py": async ({ get, headers, method, path }) => {
    if (path.startsWith("/common/")) {
      return { status: Number(get.get("status") ?? 302), headers: [["Location", get.get("location") ?? ""]] };
    }
    const fields = [["Content-Type", "text/plain"], ["Cache-Control", "no-cache"], ["Pragma", "no-cache"], ...corsOf(headers)];
    const token = get.get("token");
    const data = stash.get(token) ?? { count: 0 };
    if (method === "OPTIONS" && !get.has("redirect_preflight")) return { headers: fields };
    data.count += 1;
    if (token !== undefined) stash.set(token, data);
    if (get.has("location")) {
      let url = get.get("location");
      if (!get.has("simple") && /^(https?:|(?![a-z][a-z0-9+.-]*:))/i.test(url)) {
        url += `${url.includes("?") ? "&" : "?"}${new URLSearchParams([...get])}&count=${data.count}`;
      }
      fields.push(["Location", url]);
    }
    if (get.has("redirect_referrerpolicy")) fields.push(["Referrer-Policy", get.get("redirect_referrerpolicy")]);
    await sleep(Number(get.get("delay") ?? 0));
    if (token !== undefined && get.has("max_count") && data.count > Number(get.get("max_count"))) {
      return { headers: [], body: String(data.count - 1) };
    }
    return { status: Number(get.get("redirect_status") ?? 302), headers: fields };
  },
  "redirect-empty-location.py": () => ({ status: 302, headers: [["Location", ""]] }),
  "clean-stash.py": ({ get }) => ({ headers: [], body: stash.delete(get.get("token")) ? "1" : "0" }),
  "stash-put.py": ({ get }) => {
    stash.set(get.get("key"), get.get("value"));
    return { headers: [], body: "done" };
  },
  "stash-take.py": ({ get }) => {
    const value = stash.get(get.get("key")) ?? null;
    stash.delete(get.get("key"));
    return { headers: [["content-type", "application/json"]], body: JSON.stringify(value) };
  },
  "trickle.py": async ({ get, response }) => {
    const delay = Number(get.get("ms") ?? 500);
    await sleep(delay);
    response.writeHead(200, get.has("notype") ? {} : { "content-type": "text/plain" });
    response.flushHeaders();
    for (let i = Number(get.get("count") ?? 50); i > 0 && !response.destroyed; i--) {
      await sleep(delay);
      response.write("TEST_TRICKLE\n");
    }
    response.end();
  },
  "bad-chunk-encoding.py": async ({ get, response }) => {
    const delay = Number(get.get("ms") ?? 1000);
    await sleep(delay);
    const { socket } = response;
    socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    for (let i = Number(get.get("count") ?? 50); i > 0 && !socket.destroyed; i--) {
      await sleep(delay);
      socket.write("a\r\nTEST_CHUNK\r\n");
    }
    socket.end("garbage");
  },
  "infinite-slow-response.py": async ({ get, response }) => {
    const [state, abort] = [get.get("stateKey"), get.get("abortKey")];
    if (state) stash.set(state, "open");
    response.writeHead(200, { "content-type": "text/plain" });
    response.write(".".repeat(2048));
    while (!response.destroyed && !response.socket?.destroyed && !(abort && stash.delete(abort))) {
      response.write(".");
      await sleep(10);
    }
    if (state) stash.set(state, "closed");
    response.end();
  },
  "echo-content.py": ({ method, headers, body }) => ({ headers: [...echoed(method, headers), ["Content-Type", "text/plain"]], body }),
  "echo-content-escaped.py": ({ method, headers, body }) => {
    let text = "";
    for (const byte of body) {
      text += byte < 0x20 || byte >= 0x7f ? `\\x${byte.toString(16).padStart(2, "0")}` : byte === 0x5c ? "\\\\" : String.fromCharCode(byte);
    }
    return {
      headers: [...echoed(method, headers), ["Content-Type", "text/plain; charset=UTF-8"]],
      body: text.replaceAll("\\x0d\\x0a", "\r\n"),
    };
  },
  "method.py": ({ method, headers, body }) => ({
    headers: [
      ["x-request-method", method],
      ...["content-type", "content-length", "content-encoding", "content-language", "content-location"]
        .map((name) => [`x-request-${name}`, headers[name] ?? "NO"]),
    ],
    body,
  }),
  "status.py": ({ get, method }) => ({
    status: Number(get.get("code") ?? 200),
    reason: get.get("text") ?? "OMG",
    headers: [["Content-Type", get.get("type") ?? ""], ["X-Request-Method", method]],
    body: latin1(get.get("content") ?? ""),
  }),
  "cache.py": ({ headers }) =>
    headers["if-none-match"] === '"123abc"'
      ? { status: 304, headers: [["X-HTTP-STATUS", "304"]] }
      : { headers: [["ETag", '"123abc"'], ["Content-Type", "text/plain"]], body: "lorem ipsum dolor sit amet" },
  "authentication.py": ({ get, headers }) =>
    headers.authorization === `Basic ${btoa("user:password")}`
      ? { headers: [], body: "Authentication done" }
      : {
          status: 401,
          headers: [["WWW-Authenticate", `Basic realm="${get.get("realm") ?? "test"}"`]],
          body: "Please login with credentials 'user' and 'password'",
        },
  "dump-authorization-header.py": ({ headers }) => ({
    headers: [["Content-Type", "text/html"], ["Cache-Control", "no-cache"], ...corsOf(headers)],
    body: headers.authorization ?? "none",
  }),
  "slow.py": async ({ get }) => {
    await sleep(Number(get.get("delay") ?? 2000));
    return { headers: [] };
  },
  // How often it was asked, and over how many connections.
  "network-partition-key.py": ({ get, response }) => {
    const key = `connections ${get.get("uuid")}`;
    const seen = stash.get(key) ?? { requests: 0, sockets: new Set() };
    stash.set(key, seen);
    seen.requests += 1;
    seen.sockets.add(response.socket);
    if (get.get("dispatch") === "clean_up") stash.delete(key);
    const count = get.has("addcounter")
      ? `. Request was sent ${seen.requests} times. ${seen.sockets.size} connections were created.`
      : "";
    return { status: Number(get.get("status") ?? 200), headers: [["Cache-Control", "no-store"]], body: `ok${count}` };
  },
  "parse-headers.py": ({ get, response }) => {
    response.socket.end(`HTTP/1.1 200 OK\r\nMy-Custom-Header: ${get.get("my-custom-header")}\r\nContent-Length: 0\r\n\r\n`);
  },

  // Of eventsource/.
  "message.py": async ({ get }) => {
    await sleep(Number(get.get("sleep") ?? 0));
    const end = get.get("newline") === "none" ? "" : "\n\n";
    return {
      headers: [["Content-Type", get.get("mime") ?? "text/event-stream"]],
      body: latin1(`${get.get("message") ?? "data: data"}${end}\n`),
    };
  },
  "message2.py": async ({ response }) => {
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
    while (!response.destroyed) {
      response.write("data:msg\ndata: msg\n\n:\nfalsefield:msg\n\nfalsefield:msg\nData:data\n\ndata\n\ndata:end\n\n");
      await sleep(2000);
    }
  },
  "last-event-id.py": ({ get, headers }) => {
    const last = headers["last-event-id"];
    const fresh = `id: ${get.get("idvalue") ?? "\xe2\x80\xa6"}\nretry: 200\ndata: hello\n\n`;
    return { headers: [["Content-Type", "text/event-stream"]], body: latin1(last ? `data: ${last}\n\n` : fresh) };
  },
  "last-event-id2.py": ({ get }) => ({
    headers: [["Content-Type", "text/event-stream"]],
    body: {
      1: "id: 1\ndata: 1\n\ndata: 2\n\nid: 2\ndata:3\n\ndata:4\n\n",
      2: "id: 1\ndata: 1\n\nid:\ndata:2\n\ndata:3\n\n",
      3: "id: 1\ndata: 1\n\nid\ndata:2\n\ndata:3\n\n",
    }[get.get("type") ?? 1] ?? "data: invalid_test\n\n",
  }),
  "status-error.py": ({ get }) => {
    const status = Number(get.get("status") ?? 404);
    const empty = status === 204 || status === 205;
    return { status, reason: "HAHAHAHA", headers: [["Content-Type", "text/event-stream"]], body: empty ? "" : "data: data\n\n" };
  },
  "cors.py": (request) => handlers[`${request.get.get("run")}.py`]?.(request) ?? { headers: [] },
};

function echoed(method, headers) {
  return [
    ["X-Request-Method", method],
    ["X-Request-Content-Length", headers["content-length"] ?? "NO"],
    ["X-Request-Content-Type", headers["content-type"] ?? "NO"],
  ];
}

/** Answers a request for a `.py` file; false when no handler has that name. */
export async function handle(name, request, response) {
  const handler = Object.hasOwn(handlers, name) ? handlers[name] : undefined;
  if (handler === undefined) return false;
  const url = new URL(request.url, "http://localhost");
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const { method, headers } = request;
  const answer = await handler({ method, path: url.pathname, get: parameters(url), headers, body: Buffer.concat(chunks), response });
  if (answer === undefined) return true;
  const fields = answer.headers.flat();
  const body = Buffer.from(answer.body ?? "");
  response.writeHead(answer.status ?? 200, answer.reason ?? "OK", [...fields, "content-length", String(body.length)]);
  response.end(method === "HEAD" ? undefined : body);
  return true;
}
