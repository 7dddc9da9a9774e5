import { TextDecoder, TextEncoder } from "../encoding/text.ts";

/** `node:querystring`. */

/** Decodes `%xx`, leaving what is malformed. */
function unescapeText(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    const bytes: number[] = [];
    const encoded = new TextEncoder().encode(text);
    for (let i = 0; i < encoded.length; i++) {
      const hex = encoded[i] === 37 ? String.fromCharCode(encoded[i + 1] ?? 0, encoded[i + 2] ?? 0) : "";
      if (/^[0-9a-f]{2}$/i.test(hex)) {
        bytes.push(parseInt(hex, 16));
        i += 2;
      } else bytes.push(encoded[i]!);
    }
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(new Uint8Array(bytes));
  }
}

function escapeText(text: unknown): string {
  const string = typeof text === "string" ? text : typeof text === "object" ? String(text) : `${text as string}`;
  try {
    return encodeURIComponent(string).replace(/%(?:27|28|29|2A|21)/g, (code) => unescapeText(code));
  } catch {
    throw Object.assign(new URIError("URI malformed"), { code: "ERR_INVALID_URI" });
  }
}

interface ParseOptions {
  maxKeys?: number;
  decodeURIComponent?: (text: string) => string;
}

function parse(text: unknown, separator?: unknown, equals?: unknown, options: ParseOptions = {}): Record<string, string | string[]> {
  const found: Record<string, string | string[]> = Object.create(null);
  if (typeof text !== "string" || text === "") return found;
  const sep = typeof separator === "string" && separator !== "" ? separator : "&";
  const eq = typeof equals === "string" && equals !== "" ? equals : "=";
  const decode = (part: string) => {
    const plain = part.replaceAll("+", " ");
    if (!options.decodeURIComponent) return querystring.unescape(plain);
    try {
      return options.decodeURIComponent(plain);
    } catch {
      return unescapeText(plain);
    }
  };
  const max = typeof options.maxKeys === "number" ? options.maxKeys : 1000;
  let pairs = text.split(sep).filter((pair) => pair !== "");
  if (max > 0) pairs = pairs.slice(0, max);
  for (const pair of pairs) {
    const at = pair.indexOf(eq);
    const name = decode(at < 0 ? pair : pair.slice(0, at));
    const value = at < 0 ? "" : decode(pair.slice(at + eq.length));
    const known = found[name];
    if (known === undefined) found[name] = value;
    else if (Array.isArray(known)) known.push(value);
    else found[name] = [known, value];
  }
  return found;
}

function primitive(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "number") return Number.isFinite(value) ? `${value}` : "";
  return typeof value === "bigint" || typeof value === "boolean" ? `${value}` : "";
}

interface StringifyOptions {
  encodeURIComponent?: (text: string) => string;
}

function stringify(values: unknown, separator?: unknown, equals?: unknown, options?: StringifyOptions): string {
  if (typeof values !== "object" || values === null) return "";
  const sep = typeof separator === "string" && separator !== "" ? separator : "&";
  const eq = typeof equals === "string" && equals !== "" ? equals : "=";
  const encode = options?.encodeURIComponent ?? querystring.escape;
  const out: string[] = [];
  for (const [name, value] of Object.entries(values)) {
    const key = encode(name) + eq;
    if (Array.isArray(value)) for (const item of value) out.push(key + encode(primitive(item)));
    else out.push(key + encode(primitive(value)));
  }
  return out.join(sep);
}

const querystring = {
  parse,
  stringify,
  decode: parse,
  encode: stringify,
  escape: escapeText,
  unescape: unescapeText,
  unescapeBuffer: (text: string) =>
    (globalThis as unknown as { Buffer: { from(text: string): object } }).Buffer.from(unescapeText(text)),
};

export const modules = { "node:querystring": querystring };
