// A server of HTTP/2 that does by the path what servers do, good and bad.
import http2 from "node:http2";

const { NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = http2.constants;
const server = http2.createServer({ settings: { maxConcurrentStreams: 4 } });
let sessions = 0;
let aborted = 0;
let refused = 0;
let most = 0;
let now = 0;
server.on("session", (session) => {
  sessions += 1;
  session.on("error", () => {});
});
server.on("stream", (stream, headers) => {
  now += 1;
  most = Math.max(most, now);
  stream.on("close", () => (now -= 1));
  stream.on("aborted", () => (aborted += 1));
  stream.on("error", () => {});
  const say = (status, text, more = {}) => {
    stream.respond({ ":status": status, "content-length": Buffer.byteLength(text), ...more });
    stream.end(headers[":method"] === "HEAD" ? undefined : text);
  };
  switch (headers[":path"]) {
    case "/echo":
      stream.respond({ ":status": 200, "content-length": headers["content-length"] });
      return stream.pipe(stream);
    case "/early":
      stream.respond({ ":status": 413, "content-length": 3 });
      stream.end("big");
      return stream.once("finish", () => stream.close(NGHTTP2_NO_ERROR));
    case "/refuse":
      refused += 1;
      return refused % 2 ? stream.close(NGHTTP2_REFUSED_STREAM) : say(200, headers[":method"]);
    case "/goaway":
      say(200, "bye");
      return stream.session.close();
    case "/die":
      stream.respond({ ":status": 200, "content-length": 100 });
      stream.write("0123456789");
      return setTimeout(() => stream.session.destroy(), 50);
    case "/cut":
      stream.respond({ ":status": 200, "content-length": 100 });
      stream.write("0123456789");
      return setTimeout(() => stream.close(NGHTTP2_NO_ERROR), 50);
    case "/reset":
      return stream.close(NGHTTP2_INTERNAL_ERROR);
    case "/never":
      return;
    case "/slow":
      return setTimeout(() => say(200, "slow"), 100);
    case "/nothing":
      return stream.respond({ ":status": 204 }, { endStream: true });
    case "/large":
      return say(200, "x".repeat(5 << 20));
    case "/trailers":
      stream.respond({ ":status": 200 }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "1", "set-cookie": "a=b", "content-type": "text/x" }));
      return stream.end("body");
    case "/seen":
      return say(200, JSON.stringify({ sessions, aborted, most, length: headers["content-length"] ?? null }));
    default:
      return say(200, "hello", { "x-host": headers[":authority"] });
  }
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume().on("end", () => process.exit(0));
