/** `URL`. The parser is the host's; the parts are cut out of the serialised URL by the offsets that it gives. */
import { StringPrototypeCharCodeAt, StringPrototypeIndexOf, StringPrototypeSlice, uncurryGetter } from "../internal/primordials.ts";
import { finishInterface, requireArguments, toUSVString } from "../internal/webidl.ts";
import * as ops from "../host.ts";
import { linkParams, resetParams, URLSearchParams } from "./search-params.ts";

const slice = StringPrototypeSlice;

/** The offsets of `urlParse`, in its order. */
const SCHEME_END = 0;
const USERNAME_END = 1;
const HOST_START = 2;
const HOST_END = 3;
const PORT = 4;
const PATH_START = 5;
const QUERY_START = 6;
const FRAGMENT_START = 7;

let hrefOf: (url: URL) => string;
/** From the host's answer. */
let adopted: (parsed: string) => URL;

export class URL {
  #href = "";
  /** The host's answer behind the NUL, until somebody asks for a part. */
  #packed: string | undefined;
  #at: number[] | undefined;
  #params: URLSearchParams | undefined;

  constructor(input: string, base: string | undefined = undefined) {
    requireArguments(arguments.length, 1, "URL constructor");
    const text = toUSVString(input);
    const parsed = ops.urlParse(text, base === undefined ? undefined : toUSVString(base));
    if (parsed === undefined) throw invalid(text);
    this.#adopt(parsed);
  }

  static {
    hrefOf = (url) => url.#href;
    adopted = (parsed) => {
      const url = new URL("a:");
      url.#adopt(parsed);
      return url;
    };
  }

  static canParse(input: string, base: string | undefined = undefined): boolean {
    requireArguments(arguments.length, 1, "URL.canParse");
    return ops.urlParse(toUSVString(input), base === undefined ? undefined : toUSVString(base)) !== undefined;
  }

  static parse(input: string, base: string | undefined = undefined): URL | null {
    requireArguments(arguments.length, 1, "URL.parse");
    try {
      return new URL(input, base);
    } catch (error) {
      if (error instanceof InvalidUrl) return null;
      throw error;
    }
  }

  #adopt(parsed: string): void {
    const end = StringPrototypeIndexOf(parsed, "\0");
    this.#href = slice(parsed, 0, end);
    this.#packed = slice(parsed, end + 1);
    this.#at = undefined;
  }

  #offsets(): number[] {
    return (this.#at ??= unpack(this.#packed!));
  }

  #set(component: string, value: unknown): void {
    const parsed = ops.urlSet(this.#href, component, toUSVString(value));
    if (parsed === undefined) throw invalid(`${value as string}`);
    this.#adopt(parsed);
    if (this.#params !== undefined && (component === "search" || component === "href")) {
      resetParams(this.#params, slice(this.search, 1));
    }
  }

  get href(): string {
    return this.#href;
  }
  set href(value: string) {
    this.#set("href", value);
  }

  get origin(): string {
    const at = this.#offsets();
    const scheme = slice(this.#href, 0, at[SCHEME_END]);
    switch (scheme) {
      case "http":
      case "https":
      case "ws":
      case "wss":
      case "ftp":
        return `${scheme}://${this.host}`;
      case "blob": {
        const inner = URL.parse(this.pathname);
        return inner !== null && (inner.protocol === "http:" || inner.protocol === "https:") ? inner.origin : "null";
      }
      default:
        return "null";
    }
  }

  get protocol(): string {
    return slice(this.#href, 0, this.#offsets()[SCHEME_END]! + 1);
  }
  set protocol(value: string) {
    this.#set("protocol", value);
  }

  get username(): string {
    const at = this.#offsets();
    // Behind "scheme://"; without an authority there is nothing between.
    return slice(this.#href, at[SCHEME_END]! + 3, at[USERNAME_END]);
  }
  set username(value: string) {
    this.#set("username", value);
  }

  get password(): string {
    const at = this.#offsets();
    const end = at[USERNAME_END]!;
    if (end >= at[HOST_START]! || StringPrototypeCharCodeAt(this.#href, end) !== 58) return "";
    return slice(this.#href, end + 1, at[HOST_START]! - 1);
  }
  set password(value: string) {
    this.#set("password", value);
  }

  get host(): string {
    const at = this.#offsets();
    const end = at[PORT]! >= 0 ? at[HOST_END]! + 1 + `${at[PORT]}`.length : at[HOST_END]!;
    return slice(this.#href, at[HOST_START], end);
  }
  set host(value: string) {
    this.#set("host", value);
  }

  get hostname(): string {
    const at = this.#offsets();
    return slice(this.#href, at[HOST_START], at[HOST_END]);
  }
  set hostname(value: string) {
    this.#set("hostname", value);
  }

  get port(): string {
    const port = this.#offsets()[PORT]!;
    return port < 0 ? "" : `${port}`;
  }
  set port(value: string) {
    this.#set("port", value);
  }

  get pathname(): string {
    const at = this.#offsets();
    const end = at[QUERY_START]! >= 0 ? at[QUERY_START]! : at[FRAGMENT_START]!;
    return slice(this.#href, at[PATH_START], end >= 0 ? end : undefined);
  }
  set pathname(value: string) {
    this.#set("pathname", value);
  }

  get search(): string {
    const at = this.#offsets();
    const start = at[QUERY_START]!;
    if (start < 0) return "";
    const search = slice(this.#href, start, at[FRAGMENT_START]! >= 0 ? at[FRAGMENT_START]! : undefined);
    return search === "?" ? "" : search;
  }
  set search(value: string) {
    this.#set("search", value);
  }

  get searchParams(): URLSearchParams {
    if (this.#params === undefined) {
      const params = new URLSearchParams(slice(this.search, 1));
      resetParams(params, slice(this.search, 1));
      linkParams(params, (query) => {
        const parsed = ops.urlSet(this.#href, "search", query);
        if (parsed !== undefined) this.#adopt(parsed);
      });
      this.#params = params;
    }
    return this.#params;
  }

  get hash(): string {
    const start = this.#offsets()[FRAGMENT_START]!;
    if (start < 0) return "";
    const hash = slice(this.#href, start);
    return hash === "#" ? "" : hash;
  }
  set hash(value: string) {
    this.#set("hash", value);
  }

  toString(): string {
    return this.#href;
  }
  toJSON(): string {
    return this.#href;
  }
}

/** What a URL consists of, in the form of its attributes. */
const PARTS = ["protocol", "username", "password", "hostname", "port", "pathname", "search", "hash"] as const;
export type Parts = { [name in (typeof PARTS)[number]]: string };

const getters = {} as { [name in keyof Parts]: (url: unknown) => string };
for (const name of PARTS) getters[name] = uncurryGetter<string>(URL.prototype, name);
finishInterface(URL, "URL");

function partsOf(parsed: string): Parts {
  const url = adopted(parsed);
  const parts = {} as Parts;
  for (let i = 0; i < PARTS.length; i++) parts[PARTS[i]!] = getters[PARTS[i]!](url);
  return parts;
}

/** The parts of a URL, undefined when it is none. */
export function splitUrl(input: string, base?: string): Parts | undefined {
  const parsed = ops.urlParse(input, base);
  return parsed === undefined ? undefined : partsOf(parsed);
}

/** The parts of a URL after an assignment to one of them. */
export function withPart(href: string, name: keyof Parts, value: string): Parts {
  return partsOf(ops.urlSet(href, name, value)!);
}

/** The integers between the commas. */
function unpack(packed: string): number[] {
  const at = [0, 0, 0, 0, 0, 0, 0, 0];
  let field = 0;
  let value = 0;
  let negative = false;
  for (let i = 0; i < packed.length; i++) {
    const code = StringPrototypeCharCodeAt(packed, i);
    if (code === 44) {
      at[field++] = negative ? -value : value;
      value = 0;
      negative = false;
    } else if (code === 45) {
      negative = true;
    } else {
      value = value * 10 + (code - 48);
    }
  }
  at[field] = negative ? -value : value;
  return at;
}

/** Distinguishes a URL that does not parse from what a conversion of the arguments throws. */
class InvalidUrl extends TypeError {
  readonly code = "ERR_INVALID_URL";
}
Object.defineProperty(InvalidUrl.prototype, "constructor", { value: TypeError, writable: true, configurable: true });

function invalid(text: string): InvalidUrl {
  const shown = text.length > 200 ? `${slice(text, 0, 200)}…` : text;
  return new InvalidUrl(`Invalid URL: ${shown}`);
}

export { hrefOf };

/** The serialised URL, or undefined when it is none. */
export function parseHref(input: string, base?: string): string | undefined {
  const parsed = ops.urlParse(input, base);
  return parsed === undefined ? undefined : slice(parsed, 0, StringPrototypeIndexOf(parsed, "\0"));
}
