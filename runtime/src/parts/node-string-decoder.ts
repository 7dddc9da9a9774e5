/** `node:string_decoder`: the package of that name. */
import decoder from "string_decoder/lib/string_decoder.js";

export const modules = { "node:string_decoder": { StringDecoder: decoder.StringDecoder } };
