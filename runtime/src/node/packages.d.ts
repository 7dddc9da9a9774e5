/** Packages and modules of Node inside parts; `build.mjs` says what the latter become. */
declare module "node:*";
declare module "assert/build/assert.js";
declare module "buffer/index.js";
declare module "events/events.js";
declare module "node-inspect-extracted";
declare module "@chainner/node-path";
declare module "punycode/punycode.js";
declare module "readable-stream/lib/stream.js";
declare module "string_decoder/lib/string_decoder.js";
declare module "url/url.js";
