// Both ends of WebSockets over HTTP/2, spoken by Node.js: servers behind the edge, and its client.
//
// Prints the ports of the servers as one line of JSON, reads the edge's port, goes through all cases and ends with 0 when all are
// well.
import { createHash, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import http2 from "node:http2";
import { createInterface } from "node:readline";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

// A frame of a client, which masks it (RFC 6455, section 5.2).
function masked(opcode, payload) {
  const mask = randomBytes(4);
  const length =
    payload.length < 126
      ? Buffer.from([0x80 | payload.length])
      : payload.length < 65536
        ? Buffer.from([0xfe, payload.length >> 8, payload.length & 255])
        : Buffer.concat([Buffer.from([0xff, 0, 0, 0, 0]), uint32(payload.length)]);
  const body = Buffer.from(payload.map((byte, n) => byte ^ mask[n & 3]));
  return Buffer.concat([Buffer.from([0x80 | opcode]), length, mask, body]);
}

function uint32(number) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(number);
  return bytes;
}

// Takes frames apart and answers each with the same, unmasked; close with close.
function echo(stream) {
  let ahead = Buffer.alloc(0);
  stream.on("data", (data) => {
    ahead = Buffer.concat([ahead, data]);
    for (;;) {
      const frame = take(ahead);
      if (!frame) return;
      ahead = frame.rest;
      stream.write(bare(frame.opcode, frame.payload));
      if (frame.opcode === 8) return stream.end();
    }
  });
  stream.on("end", () => stream.end());
  stream.on("error", () => {});
}

function take(bytes) {
  if (bytes.length < 2) return null;
  let length = bytes[1] & 127;
  let at = 2;
  if (length === 126) {
    if (bytes.length < 4) return null;
    length = bytes.readUInt16BE(2);
    at = 4;
  } else if (length === 127) {
    if (bytes.length < 10) return null;
    length = bytes.readUInt32BE(6);
    at = 10;
  }
  const masks = (bytes[1] & 128) !== 0;
  const start = at + (masks ? 4 : 0);
  if (bytes.length < start + length) return null;
  let payload = bytes.subarray(start, start + length);
  if (masks) payload = Buffer.from(payload.map((byte, n) => byte ^ bytes[at + (n & 3)]));
  return { opcode: bytes[0] & 15, payload, rest: bytes.subarray(start + length) };
}

function bare(opcode, payload) {
  const length =
    payload.length < 126
      ? Buffer.from([payload.length])
      : payload.length < 65536
        ? Buffer.from([126, payload.length >> 8, payload.length & 255])
        : Buffer.concat([Buffer.from([127, 0, 0, 0, 0]), uint32(payload.length)]);
  return Buffer.concat([Buffer.from([0x80 | opcode]), length, payload]);
}

let openSockets = 0;
const h2c = http2.createServer({ settings: { enableConnectProtocol: true } });
h2c.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  const asked = headers[":protocol"] === "websocket" && headers[":method"] === "CONNECT";
  if (!asked) return stream.respond({ ":status": 418 }, { endStream: true });
  if (headers[":path"] === "/h2c/no") {
    stream.respond({ ":status": 403, "x-why": "no" });
    return stream.end("refused");
  }
  const good = headers["sec-websocket-version"] === "13" && !("sec-websocket-key" in headers) && !("upgrade" in headers);
  if (!good) return stream.respond({ ":status": 400 }, { endStream: true });
  openSockets += 1;
  stream.on("close", () => (openSockets -= 1));
  const protocol = headers["sec-websocket-protocol"];
  stream.respond({ ":status": 200, ...(protocol && { "sec-websocket-protocol": protocol.split(",")[0] }) });
  if (headers[":path"] === "/h2c/cut") {
    stream.write(bare(1, Buffer.from("begun")));
    setTimeout(() => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR), 50);
    return;
  }
  echo(stream);
});
const without = http2.createServer();
without.on("stream", (stream) => stream.respond({ ":status": 200 }, { endStream: true }));
const h1 = createServer((_, response) => response.end("plain"));
h1.on("upgrade", (request, socket, head) => {
  const accept = createHash("sha1").update(request.headers["sec-websocket-key"] + GUID).digest("base64");
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
  );
  socket.unshift(head);
  echo(socket);
});

const listen = (server) => new Promise((done) => server.listen(0, "127.0.0.1", () => done(server.address().port)));
const [a, b, c] = await Promise.all([listen(h2c), listen(without), listen(h1)]);
console.log(JSON.stringify({ h2c: a, without: b, h1: c }));
const [edge] = await new Promise((done) => createInterface({ input: process.stdin }).once("line", (line) => done([line])));

const session = http2.connect(`http://127.0.0.1:${edge}`);
await new Promise((done) => session.once("remoteSettings", done));
check("the edge offers extended CONNECT", session.remoteSettings.enableConnectProtocol === true);

function open(path, fields = {}) {
  const stream = session.request({
    ":method": "CONNECT",
    ":protocol": "websocket",
    ":scheme": "http",
    ":authority": "a.test",
    ":path": path,
    "sec-websocket-version": "13",
    ...fields,
  });
  const answer = new Promise((done) => {
    stream.once("response", (headers) => done(headers));
    stream.once("error", (error) => done({ error }));
    stream.once("close", () => done({ closed: true }));
  });
  return { stream, answer };
}

// The next frames of a stream, as they come.
async function* frames(stream) {
  let ahead = Buffer.alloc(0);
  for await (const data of stream) {
    ahead = Buffer.concat([ahead, data]);
    for (let frame = take(ahead); frame; frame = take(ahead)) {
      ahead = frame.rest;
      yield frame;
    }
  }
}

let failed = 0;
function check(what, good, found) {
  if (!good) failed += 1;
  console.log(`${good ? "good" : "BAD"}: ${what}${good || found === undefined ? "" : ` ${JSON.stringify(found)}`}`);
}

for (const kind of ["h1", "h2c"]) {
  const { stream, answer } = open(`/${kind}/chat`, kind === "h2c" ? { "sec-websocket-protocol": "chat,other" } : {});
  const headers = await answer;
  check(`${kind}: accepted`, headers[":status"] === 200, headers);
  check(`${kind}: no fields of HTTP/1.1`, !headers.upgrade && !headers.connection && !headers["sec-websocket-accept"], headers);
  if (kind === "h2c") check("h2c: protocol", headers["sec-websocket-protocol"] === "chat", headers);
  const incoming = frames(stream);
  stream.write(masked(1, Buffer.from("hello")));
  const hello = (await incoming.next()).value;
  check(`${kind}: text comes back`, hello?.opcode === 1 && hello.payload.toString() === "hello", hello);
  const large = randomBytes(3 << 20);
  stream.write(masked(2, large));
  const back = (await incoming.next()).value;
  check(`${kind}: 3 MiB come back through all windows`, back?.payload.equals(large));
  stream.write(masked(9, Buffer.from("ping")));
  check(`${kind}: ping`, (await incoming.next()).value?.opcode === 9);
  stream.write(masked(8, Buffer.from([3, 232])));
  check(`${kind}: close`, (await incoming.next()).value?.opcode === 8);
  check(`${kind}: the stream ends`, (await incoming.next()).done === true);
  stream.end();
}

// Many at once, over one connection to the edge.
const many = Array.from({ length: 20 }, (_, n) => {
  const { stream } = open(`/${n % 2 ? "h1" : "h2c"}/chat`);
  stream.write(masked(1, Buffer.from(`n${n}`)));
  return frames(stream)
    .next()
    .then(({ value }) => {
      stream.close();
      return value?.payload.toString() === `n${n}`;
    });
});
check("twenty at once", (await Promise.all(many)).every(Boolean));

const refused = open("/h2c/no");
const no = await refused.answer;
check("a refusal is passed on", no[":status"] === 403 && no["x-why"] === "no", no);
refused.stream.resume();
const status = async (path, fields) => {
  const { stream, answer } = open(path, fields);
  const headers = await answer;
  stream.on("error", () => {});
  stream.close();
  return headers[":status"] ?? "reset";
};
check("a server without extended CONNECT", (await status("/without/chat")) === 501);
check("another protocol", [400, 405, 501, "reset"].includes(await status("/h2c/chat", { ":protocol": "connect-udp" })));
check("another version", (await status("/h2c/chat", { "sec-websocket-version": "12" })) === 426);
check("no version", [400, 426].includes(await status("/h2c/chat", { "sec-websocket-version": undefined })));

const cut = open("/h2c/cut");
await cut.answer;
let ended = "open";
cut.stream.on("error", () => {});
const begun = [];
try {
  for await (const frame of frames(cut.stream)) begun.push(frame.payload.toString());
  ended = "ended";
} catch {
  ended = "reset";
}
check("what came before a reset arrives", begun[0] === "begun", begun);
check("a reset of the server ends the stream", ended !== "open", ended);

const until = async (good) => {
  for (let n = 0; n < 500 && !good(); n += 1) await new Promise((done) => setTimeout(done, 20));
};
await until(() => openSockets === 0);
check("sockets that ended are gone for the server", openSockets === 0, openSockets);
const leaving = open("/h2c/chat");
await leaving.answer;
check("one is open", openSockets === 1, openSockets);
leaving.stream.on("error", () => {});
leaving.stream.close(http2.constants.NGHTTP2_CANCEL);
await until(() => openSockets === 0);
check("a client that leaves is gone for the server, too", openSockets === 0, openSockets);

const plain = session.request({ ":path": "/h1/", ":authority": "a.test" });
const plainly = await new Promise((done) => plain.once("response", done));
plain.resume();
check("the connection is good for other requests", plainly[":status"] === 200, plainly);
process.exit(failed === 0 ? 0 : 1);
