import decode, { init as initPng } from "@jsquash/png/decode.js";
import png from "@jsquash/png/codec/pkg/squoosh_png_bg.wasm";
import { Resvg, initWasm } from "@resvg/resvg-wasm";
import resvg from "@resvg/resvg-wasm/index_bg.wasm";
import { Hono } from "hono";

let ready: Promise<unknown> | undefined;

const images = new Hono();
export default images;

/** Draws an SVG as PNG; with `?decode` another codec reads the picture and tells its pixel in the middle. */
images.post("/image", async (c) => {
  await (ready ??= Promise.all([initWasm(resvg), initPng(png)]));
  const drawn = new Resvg(await c.req.text(), { fitTo: { mode: "width", value: 64 } }).render().asPng();
  if (c.req.query("decode") === undefined) return c.body(drawn as Uint8Array<ArrayBuffer>, 200, { "content-type": "image/png" });
  const { width, height, data } = await decode(drawn.slice().buffer);
  const middle = (Math.floor(height / 2) * width + Math.floor(width / 2)) * 4;
  return c.json({ width, height, pixel: Array.from(data.slice(middle, middle + 4)) });
});
