/** Components in their normal form (URL Pattern, section 3). */
import {
  RegExpPrototypeExec,
  StringPrototypeLastIndexOf,
  StringPrototypeSlice,
  StringPrototypeStartsWith,
  StringPrototypeToLowerCase,
} from "../internal/primordials.ts";
import { splitUrl, withPart } from "../url/url.ts";
import type { ComponentName, Init } from "./constructor-string.ts";
import { escapePattern } from "./pattern.ts";

const DUMMY = "https://dummy.invalid/";
const PORTS: Record<string, string> = { __proto__: null as never, http: "80", https: "443", ws: "80", wss: "443", ftp: "21", file: "" };
export const SPECIAL = ["ftp", "file", "http", "https", "ws", "wss"] as const;

function invalid(component: string, text: string): TypeError {
  return new TypeError(`"${text}" is no ${component} of a URL.`);
}

export function isSpecialScheme(protocol: string): boolean {
  return PORTS[protocol] !== undefined;
}

export function defaultPort(protocol: string): string | undefined {
  return PORTS[protocol];
}

export function protocol(text: string): string {
  if (text === "") return "";
  const parts = splitUrl(`${text}://dummy.invalid/`);
  if (parts === undefined) throw invalid("protocol", text);
  return StringPrototypeSlice(parts.protocol, 0, -1);
}

export function username(text: string): string {
  return text === "" ? "" : withPart(DUMMY, "username", text).username;
}

export function password(text: string): string {
  return text === "" ? "" : withPart(DUMMY, "password", text).password;
}

export function hostname(text: string): string {
  if (text === "") return "";
  const host = withPart(DUMMY, "hostname", text).hostname;
  // An assignment that fails leaves what was there.
  if (host === "dummy.invalid" && StringPrototypeToLowerCase(text) !== host) throw invalid("host name", text);
  return host;
}

export function ipv6(text: string): string {
  if (RegExpPrototypeExec(/^[0-9a-fA-F:[\]]*$/, text) === null) throw invalid("IPv6 address", text);
  return StringPrototypeToLowerCase(text);
}

export function port(text: string, scheme = ""): string {
  if (text === "") return "";
  const digits = RegExpPrototypeExec(/^[\t\n\r]*[0-9][0-9\t\n\r]*/, text)?.[0];
  let number = 0;
  for (let i = 0; digits !== undefined && i < digits.length && number <= 65535; i++) {
    if (digits[i]! >= "0") number = number * 10 + +digits[i]!;
  }
  if (digits === undefined || number > 65535) throw invalid("port", text);
  return defaultPort(scheme) === `${number}` ? "" : `${number}`;
}

export function pathname(text: string): string {
  if (text === "") return "";
  const absolute = StringPrototypeStartsWith(text, "/");
  const path = withPart(DUMMY, "pathname", absolute ? text : `/-${text}`).pathname;
  return absolute ? path : StringPrototypeSlice(path, 2);
}

export function opaquePathname(text: string): string {
  if (text === "") return "";
  const parts = splitUrl(`data:${text}`);
  if (parts === undefined) throw invalid("path", text);
  return parts.pathname;
}

export function search(text: string): string {
  return text === "" ? "" : StringPrototypeSlice(withPart(DUMMY, "search", text).search, 1);
}

export function hash(text: string): string {
  return text === "" ? "" : StringPrototypeSlice(withPart(DUMMY, "hash", text).hash, 1);
}

/** Without a character at its beginning. */
function without(character: string, text: string): string {
  return StringPrototypeStartsWith(text, character) ? StringPrototypeSlice(text, 1) : text;
}

function isAbsolute(path: string, isPattern: boolean): boolean {
  if (StringPrototypeStartsWith(path, "/")) return true;
  return isPattern && (StringPrototypeStartsWith(path, "\\/") || StringPrototypeStartsWith(path, "{/"));
}

/** Which components make a base's one irrelevant, by being given. */
const BEFORE: ComponentName[] = ["protocol", "hostname", "port", "pathname", "search", "hash"];

/** Processes a URLPatternInit; `isPattern` tells patterns from URLs to be matched. */
export function processInit(init: Init, isPattern: boolean, result: Init): Init {
  let opaqueBase = true;
  let basePath = "";
  const { baseURL } = init;
  if (baseURL !== undefined) {
    const base = splitUrl(baseURL);
    if (base === undefined) throw invalid("base", baseURL);
    const take = (text: string) => (isPattern ? escapePattern(text) : text);
    opaqueBase = !StringPrototypeStartsWith(base.pathname, "/");
    basePath = take(base.pathname);
    const values: Init = {
      protocol: take(StringPrototypeSlice(base.protocol, 0, -1)),
      hostname: take(base.hostname),
      port: base.port,
      pathname: basePath,
      search: take(without("?", base.search)),
      hash: take(without("#", base.hash)),
    };
    for (let i = 0; i < BEFORE.length && init[BEFORE[i]!] === undefined; i++) result[BEFORE[i]!] = values[BEFORE[i]!]!;
    const bare = init.protocol === undefined && init.hostname === undefined && init.port === undefined && init.username === undefined;
    if (!isPattern && bare) {
      result.username = base.username;
      if (init.password === undefined) result.password = base.password;
    }
  }
  if (init.protocol !== undefined) {
    const text = init.protocol[init.protocol.length - 1] === ":" ? StringPrototypeSlice(init.protocol, 0, -1) : init.protocol;
    result.protocol = isPattern ? text : protocol(text);
  }
  if (init.username !== undefined) result.username = isPattern ? init.username : username(init.username);
  if (init.password !== undefined) result.password = isPattern ? init.password : password(init.password);
  if (init.hostname !== undefined) result.hostname = isPattern ? init.hostname : hostname(init.hostname);
  const scheme = result.protocol ?? "";
  if (init.port !== undefined) result.port = isPattern ? init.port : port(init.port, scheme);
  if (init.pathname !== undefined) {
    let path = init.pathname;
    if (!opaqueBase && !isAbsolute(path, isPattern)) {
      const slash = StringPrototypeLastIndexOf(basePath, "/");
      if (slash >= 0) path = StringPrototypeSlice(basePath, 0, slash + 1) + path;
    }
    if (isPattern) result.pathname = path;
    else result.pathname = scheme === "" || isSpecialScheme(scheme) ? pathname(path) : opaquePathname(path);
  }
  if (init.search !== undefined) {
    const text = without("?", init.search);
    result.search = isPattern ? text : search(text);
  }
  if (init.hash !== undefined) {
    const text = without("#", init.hash);
    result.hash = isPattern ? text : hash(text);
  }
  return result;
}
