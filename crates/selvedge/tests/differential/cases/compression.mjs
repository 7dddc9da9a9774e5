import { attempt, bytes, hex, show, text, unhex } from "./show.mjs";

const through = async (data, ...streams) => {
  let stream = new Blob([data]).stream();
  for (const next of streams) stream = stream.pipeThrough(next);
  return new Uint8Array(await new Response(stream).arrayBuffer());
};
const formats = ["gzip", "deflate", "deflate-raw"];

export default {
  "round-trip": show(async () => {
    const out = [];
    for (const format of formats) {
      out.push(text(await through("hello ".repeat(100), new CompressionStream(format), new DecompressionStream(format))).length);
    }
    return out;
  }),
  "decompress": show(async () => text(await through(unhex("4b4c4a06 00".replace(" ", "")), new DecompressionStream("deflate-raw")))),
  "zlib-header": show(async () => hex((await through("a", new CompressionStream("deflate"))).slice(0, 1))),
  "gzip-header": show(async () => hex((await through("a", new CompressionStream("gzip"))).slice(0, 3))),
  "empty": show(async () => (await through("", new CompressionStream("gzip"), new DecompressionStream("gzip"))).length),
  "junk": show(async () => {
    const out = [];
    for (const format of formats) out.push(await attempt(() => through(bytes("not compressed"), new DecompressionStream(format))));
    return out;
  }),
  "truncated": show(async () => {
    const whole = await through("hello hello hello", new CompressionStream("gzip"));
    return attempt(() => through(whole.slice(0, -4), new DecompressionStream("gzip")));
  }),
  "trailing": show(async () => {
    const whole = await through("hello", new CompressionStream("gzip"));
    return attempt(() => through(new Blob([whole, "x"]), new DecompressionStream("gzip")));
  }),
  "bad-format": show(() => attempt(() => new CompressionStream("rar"))),
  "bad-chunk": show(async () => {
    const stream = new CompressionStream("gzip");
    stream.readable.getReader().read().catch(() => {});
    return attempt(() => stream.writable.getWriter().write("text"));
  }),
};
