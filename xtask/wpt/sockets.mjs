// The suite's WebSocket handlers, restated, over a plain implementation of RFC 6455 for the server's side.
import { createHash } from "node:crypto";
import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const [TEXT, BINARY, CLOSE, PING, PONG] = [1, 2, 8, 9, 10];

function frame(opcode, payload) {
  const data = Buffer.from(payload);
  const head = data.length < 126 ? [data.length] : data.length < 65536 ? [126, data.length >> 8, data.length & 255] : null;
  if (head !== null) return Buffer.concat([Buffer.from([0x80 | opcode, ...head]), data]);
  const long = Buffer.alloc(10);
  long[0] = 0x80 | opcode;
  long[1] = 127;
  long.writeBigUInt64BE(BigInt(data.length), 2);
  return Buffer.concat([long, data]);
}

const closing = (code, reason = "") =>
  code === undefined ? frame(CLOSE, "") : frame(CLOSE, Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]));

/** The messages that arrive: `{opcode, data}`; the last is a close or undefined. */
async function* messages(socket, head) {
  let buffered = head;
  let parts = [];
  let kind = TEXT;
  const iterator = socket[Symbol.asyncIterator]();
  const need = async (length) => {
    while (buffered.length < length) {
      const { done, value } = await iterator.next();
      if (done) return false;
      buffered = Buffer.concat([buffered, value]);
    }
    return true;
  };
  const take = (length) => {
    const taken = buffered.subarray(0, length);
    buffered = buffered.subarray(length);
    return taken;
  };
  while (await need(2)) {
    const [first, second] = take(2);
    let length = second & 127;
    if (length === 126) {
      if (!(await need(2))) return;
      length = take(2).readUInt16BE();
    } else if (length === 127) {
      if (!(await need(8))) return;
      length = Number(take(8).readBigUInt64BE());
    }
    if (!(second & 128) || !(await need(4 + length))) return;
    const mask = take(4);
    const data = Buffer.from(take(length));
    for (let i = 0; i < length; i++) data[i] ^= mask[i & 3];
    const opcode = first & 15;
    if (opcode === PING) socket.write(frame(PONG, data));
    else if (opcode === CLOSE) return yield { opcode, data };
    else if (opcode !== PONG) {
      if (opcode !== 0) kind = opcode;
      parts.push(data);
      if (first & 128) {
        yield { opcode: kind, data: Buffer.concat(parts) };
        parts = [];
      }
    }
  }
}

/** What each handler sends after the handshake; its return value "abort" drops the connection. */
const handlers = {
  echo: async ({ socket, incoming }) => {
    for await (const { opcode, data } of incoming) {
      if (opcode === CLOSE) return void socket.write(frame(CLOSE, data));
      socket.write(frame(opcode, data));
      if (opcode === TEXT && data.toString() === "Goodbye") break;
    }
    socket.write(closing(1000));
  },
  echo_close_data: async ({ socket, incoming }) => {
    for await (const { opcode, data } of incoming) {
      if (opcode === CLOSE) return void socket.write(frame(CLOSE, data));
      if (data.toString() === "Goodbye") break;
    }
    socket.write(closing(1000));
  },
  "echo-query": ({ socket, query }) => void socket.write(Buffer.concat([frame(TEXT, query), closing(1000)])),
  protocol: ({ socket, protocol }) => void socket.write(Buffer.concat([frame(TEXT, protocol), closing(1000)])),
  origin: ({ socket, headers }) => void socket.write(Buffer.concat([frame(TEXT, headers.origin ?? ""), closing(1000)])),
  referrer: ({ socket, headers }) =>
    void socket.write(Buffer.concat([frame(TEXT, headers.referer ?? "MISSING AS PER FETCH"), closing(1000)])),
  "empty-message": async ({ socket, incoming }) => {
    const { value } = await incoming.next();
    socket.write(Buffer.concat([frame(TEXT, value?.data.length === 0 ? "pass" : "fail"), closing(1000)]));
  },
  "remote-close": ({ socket, query }) => {
    const options = new URLSearchParams(query);
    if (options.has("abrupt")) {
      socket.write(frame(PING, "ping"));
      return "abort";
    }
    socket.write(options.has("code") ? closing(Number(options.get("code")), options.get("reason") ?? "") : closing());
  },
  "delayed-passive-close": async ({ socket, incoming }) => {
    for await (const { opcode, data } of incoming) {
      if (opcode !== CLOSE) continue;
      await sleep(1000);
      socket.write(frame(CLOSE, data));
    }
  },
  "passive-close-abort": async ({ incoming }) => {
    for await (const { opcode } of incoming) if (opcode === CLOSE) break;
    return "abort";
  },
  "send-backpressure": ({ socket }) => void socket.write(closing(1000)),
  handshake_no_extensions: ({ socket }) => void socket.write(closing(1000)),
};
handlers["echo-query_v13"] = handlers["echo-query"];
handlers.protocol_array = handlers.protocol;
for (const name of ["handshake_protocol", "handshake_no_protocol", "basic_auth", "simple_handshake"]) {
  handlers[name] = handlers.handshake_no_extensions;
}
handlers.echo_exit = handlers.echo_close_data;

async function upgrade(request, socket, head) {
  socket.on("error", () => {});
  const url = new URL(request.url, "http://localhost");
  const name = url.pathname.slice(1);
  const { headers } = request;
  if (name === "invalid") return socket.end("FOO BAR BAZ\r\n\r\n");
  if (name === "basic_auth" && headers.authorization !== "Basic Zm9vOmJhcg==") {
    return socket.end('HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nwww-authenticate: Basic realm="camelot"\r\n\r\n');
  }
  const handler = handlers[name];
  if (handler === undefined) return socket.end("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
  const wanted = headers["sec-websocket-protocol"];
  const offered = (wanted ?? "").split(",").map((word) => word.trim());
  const protocol = {
    echo: offered.includes("echo") ? "echo" : undefined,
    protocol: wanted,
    protocol_array: offered[0],
    handshake_protocol: "foobar",
  }[name];
  const accept = createHash("sha1").update(headers["sec-websocket-key"] + GUID).digest("base64");
  const lines = ["HTTP/1.1 101 Switching Protocols", "upgrade: websocket", "connection: Upgrade", `sec-websocket-accept: ${accept}`];
  if (protocol) lines.push(`sec-websocket-protocol: ${protocol}`);
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  const incoming = messages(socket, head);
  const query = request.url.split(/\?(.*)/s)[1] ?? "";
  if ((await handler({ socket, incoming, query, headers, protocol: protocol ?? "" })) === "abort") return socket.destroy();
  // The other side's answer to the close.
  const patience = setTimeout(() => socket.destroy(), 5000);
  for await (const message of incoming) if (message.opcode === CLOSE) break;
  clearTimeout(patience);
  socket.end();
}

/** The server of `ws:` URLs, not yet listening. */
export function socketServer() {
  const server = http.createServer((_, response) => response.writeHead(400).end());
  server.on("upgrade", (request, socket, head) => upgrade(request, socket, head).catch(() => socket.destroy()));
  return server;
}
