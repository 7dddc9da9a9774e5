/** `node:url`: the package `url` for the old functions, the runtime's own classes. */
import legacy from "url/url.js";
import { URL } from "../url/url.ts";
import { URLSearchParams } from "../url/search-params.ts";
import { coded, wrongType } from "../internal/node-errors.ts";
import { builtin } from "../worker/builtins.ts";

function fileURLToPath(value: unknown): string {
  const url = typeof value === "string" ? new URL(value) : (value as URL);
  if (typeof url?.href !== "string") throw wrongType("path", "of type string or an instance of URL", value);
  if (url.protocol !== "file:") throw coded(new TypeError("The URL must be of scheme file"), "ERR_INVALID_URL_SCHEME");
  if (url.hostname !== "") {
    throw coded(new TypeError('File URL host must be "localhost" or empty on linux'), "ERR_INVALID_FILE_URL_HOST");
  }
  if (/%2f/i.test(url.pathname)) {
    throw coded(new TypeError("File URL path must not include encoded / characters"), "ERR_INVALID_FILE_URL_PATH");
  }
  return decodeURIComponent(url.pathname);
}

function pathToFileURL(path: unknown): URL {
  if (typeof path !== "string") throw wrongType("path", "of type string", path);
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  const slash = path.endsWith("/") && parts.length > 0 ? "/" : "";
  const text = `/${parts.join("/")}${slash}`;
  const escaped = text.replace(/[%\\\n\r\t?#]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`);
  return new URL(`file://${escaped}`);
}

function domain(name: unknown): string {
  try {
    return new URL(`ws://${name}`).hostname;
  } catch {
    return "";
  }
}

function toUnicode(name: unknown): string {
  const ascii = domain(name);
  return ascii === "" || !ascii.includes("xn--") ? ascii : punycode().toUnicode(ascii);
}
const punycode = () => (builtin("node:punycode") as { default: { toUnicode(name: string): string } }).default;

function urlToHttpOptions(url: URL): Record<string, unknown> {
  const { protocol, hostname, hash, search, pathname, href, port, username, password } = url;
  const options: Record<string, unknown> = {
    __proto__: null,
    protocol,
    hostname: hostname.startsWith("[") ? hostname.slice(1, -1) : hostname,
    hash,
    search,
    pathname,
    path: `${pathname}${search}`,
    href,
  };
  if (port !== "") options.port = Number(port);
  if (username || password) options.auth = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return options;
}

interface FormatOptions {
  auth?: boolean;
  fragment?: boolean;
  search?: boolean;
  unicode?: boolean;
}

function format(value: unknown, options: FormatOptions = {}): string {
  if (!(value instanceof URL)) return legacy.format(value) as string;
  const url = new URL(value.href);
  if (options.auth === false) url.username = url.password = "";
  if (options.fragment === false) url.hash = "";
  if (options.search === false) url.search = "";
  return options.unicode ? url.href.replace(url.hostname, toUnicode(url.hostname)) : url.href;
}

const url = {
  Url: legacy.Url,
  parse: legacy.parse,
  resolve: legacy.resolve,
  resolveObject: legacy.resolveObject,
  format,
  URL,
  URLSearchParams,
  domainToASCII: domain,
  domainToUnicode: toUnicode,
  fileURLToPath,
  pathToFileURL,
  urlToHttpOptions,
};

export const modules = { "node:url": url };
