/** `node:punycode`: the package of that name. */
import punycode from "punycode/punycode.js";

export const modules = { "node:punycode": punycode };
