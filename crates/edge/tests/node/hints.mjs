// A server of HTTP/2 that hints before it answers: as often as `x-times` says.
import http2 from "node:http2";

const server = http2.createServer();
server.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  for (let n = 0; n < Number(headers["x-times"] ?? 1) && !stream.destroyed; n += 1) {
    stream.additionalHeaders({ ":status": n % 2 ? 102 : 103, link: `</${n}.css>; rel=preload`, "set-cookie": "a=b" });
  }
  // The client has the hint before the page is there.
  setTimeout(() => {
    if (stream.destroyed) return;
    stream.respond({ ":status": 200, "content-length": 4 });
    stream.end("page");
  }, 100);
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume().on("end", () => process.exit(0));
