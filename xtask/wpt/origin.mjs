// The origin that tests fetch from: the suite's files, their `.headers`, and the handlers.
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { handle } from "./handlers.mjs";
import { socketServer } from "./sockets.mjs";
import { substitute } from "./substitute.mjs";

const TYPES = {
  ".html": "text/html", ".htm": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".json": "application/json",
  ".txt": "text/plain", ".xml": "text/xml", ".css": "text/css", ".png": "image/png", ".idl": "text/plain", ".wasm": "application/wasm",
  ".event_stream": "text/event-stream",
};

function listening(server) {
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port)));
}

/** Fields from the `.headers` file beside a file. */
function fieldsBeside(file, fill) {
  const fields = {};
  for (const name of [`${file}.headers`, `${file}.sub.headers`]) {
    if (!fs.existsSync(name)) continue;
    const text = fs.readFileSync(name, "utf8");
    for (const line of (name.endsWith(".sub.headers") ? fill(text) : text).split("\n")) {
      const [field, value] = line.split(/:(.*)/s);
      if (value !== undefined) fields[field.trim()] = value.trim();
    }
  }
  return fields;
}

function file(suite, addresses, request, response) {
  const url = new URL(request.url, `http://${request.headers.host ?? "localhost"}`);
  const name = path.join(suite, path.posix.normalize(decodeURIComponent(url.pathname)));
  if (!name.startsWith(suite) || !fs.existsSync(name) || !fs.statSync(name).isFile()) {
    response.writeHead(404, { "content-type": "text/plain" }).end("no such file");
    return;
  }
  if (name.endsWith(".asis")) {
    const text = fs.readFileSync(name, "latin1");
    // Some have no empty line after their head.
    response.socket.end(/\r?\n\r?\n/.test(text) ? text : `${text.trimEnd()}\r\n\r\n`, "latin1");
    return;
  }
  const fill = (text) => substitute(text, addresses, { url, headers: request.headers });
  let body = fs.readFileSync(name);
  if (/\.sub\./.test(path.basename(name)) || url.searchParams.get("pipe")?.includes("sub")) {
    body = Buffer.from(fill(body.toString("latin1")), "latin1");
  }
  const headers = { "content-type": TYPES[path.extname(name)] ?? "application/octet-stream", ...fieldsBeside(name, fill) };
  let status = 200;
  // `?pipe=header(name,value)|status(code)|…`, as far as it is used.
  for (const [, pipe, list] of (url.searchParams.get("pipe") ?? "").matchAll(/(\w+)\(([^)]*)\)/g)) {
    const [first, second] = list.split(/,(.*)/s);
    if (pipe === "header") headers[first] = fill(second ?? "");
    if (pipe === "status") status = Number(first);
  }
  response.writeHead(status, { ...headers, "content-length": body.length });
  response.end(request.method === "HEAD" ? undefined : body);
}

/** Starts it on free ports; `addresses` is what `substitute` takes. */
export async function startOrigin(suite) {
  const addresses = { host: "localhost", ports: { http: [], ws: [] } };
  const serve = (request, response) => {
    request.on("error", () => {});
    response.on("error", () => {});
    const { pathname } = new URL(request.url, "http://localhost");
    const answered = pathname.endsWith(".py") ? handle(path.basename(pathname), request, response) : Promise.resolve(false);
    answered
      .then((done) => done || file(suite, addresses, request, response))
      .catch((error) => {
        if (response.headersSent) response.destroy();
        else response.writeHead(500).end(String(error));
      });
  };
  const servers = [http.createServer(serve), http.createServer(serve), socketServer()];
  for (const server of servers.slice(0, 2)) addresses.ports.http.push(await listening(server));
  addresses.ports.ws.push(await listening(servers[2]));
  const stop = () => {
    for (const server of servers) {
      server.close();
      server.closeAllConnections();
    }
  };
  return { addresses, stop };
}
