/** `URLPattern` (URL Pattern, section 1). */
import { ArrayPrototypePush, ObjectCreate, ObjectDefineProperty, RegExpPrototypeExec, StringPrototypeSlice, StringPrototypeStartsWith } from "../internal/primordials.ts";
import { finishInterface, toUSVString } from "../internal/webidl.ts";
import { splitUrl } from "../url/url.ts";
import * as canonical from "../urlpattern/canonical.ts";
import { type ComponentName, type Init, parseConstructorString } from "../urlpattern/constructor-string.ts";
import { compile, type Component, type Options } from "../urlpattern/pattern.ts";

const COMPONENTS: ComponentName[] = ["protocol", "username", "password", "hostname", "port", "pathname", "search", "hash"];
/** The members of URLPatternInit in the order in which WebIDL reads them. */
const MEMBERS: (keyof Init)[] = ["baseURL", "hash", "hostname", "password", "pathname", "port", "protocol", "search", "username"];

const PLAIN: Options = { delimiter: "", prefix: "", ignoreCase: false };
const HOSTNAME: Options = { delimiter: ".", prefix: "", ignoreCase: false };

type Input = string | Init;

function isObject(value: unknown): value is object {
  return (typeof value === "object" && value !== null) || typeof value === "function";
}

function toInput(input: unknown): Input {
  if (input !== undefined && input !== null && !isObject(input)) return toUSVString(input);
  const init = ObjectCreate(null) as Init;
  for (let i = 0; input !== undefined && input !== null && i < MEMBERS.length; i++) {
    const value = (input as Record<string, unknown>)[MEMBERS[i]!];
    if (value !== undefined) init[MEMBERS[i]!] = toUSVString(value);
  }
  return init;
}

function matchesSpecial(component: Component): boolean {
  for (let i = 0; i < canonical.SPECIAL.length; i++) {
    if (RegExpPrototypeExec(component.regexp, canonical.SPECIAL[i]!) !== null) return true;
  }
  return false;
}

function isIpv6(pattern: string): boolean {
  if (pattern.length < 2) return false;
  return StringPrototypeStartsWith(pattern, "[") || StringPrototypeStartsWith(pattern, "{[") || StringPrototypeStartsWith(pattern, "\\[");
}

type Compiled = { [name in ComponentName]: Component };

function compileAll(input: Input, base: string | undefined, ignoreCase: boolean): Compiled {
  let init: Init;
  if (typeof input === "string") {
    init = parseConstructorString(input, (text) => matchesSpecial(compile(text, canonical.protocol, PLAIN)));
    if (base === undefined && init.protocol === undefined) {
      throw new TypeError(`The pattern "${input}" is relative: give a base URL.`);
    }
    if (base !== undefined) init.baseURL = base;
  } else {
    if (base !== undefined) throw new TypeError("A base URL can be given with a string only; an object has it in its member baseURL.");
    init = input;
  }
  const given = canonical.processInit(init, true, ObjectCreate(null) as Init);
  const of = (name: ComponentName) => given[name] ?? "*";
  const scheme = of("protocol");
  if (canonical.isSpecialScheme(scheme) && given.port === canonical.defaultPort(scheme)) given.port = "";
  const cased: Options = { delimiter: "", prefix: "", ignoreCase };
  const protocol = compile(scheme, canonical.protocol, PLAIN);
  const host = of("hostname");
  return {
    protocol,
    username: compile(of("username"), canonical.username, PLAIN),
    password: compile(of("password"), canonical.password, PLAIN),
    hostname: compile(host, isIpv6(host) ? canonical.ipv6 : canonical.hostname, HOSTNAME),
    port: compile(of("port"), (text) => canonical.port(text), PLAIN),
    pathname: matchesSpecial(protocol)
      ? compile(of("pathname"), canonical.pathname, { delimiter: "/", prefix: "/", ignoreCase })
      : compile(of("pathname"), canonical.opaquePathname, cased),
    search: compile(of("search"), canonical.search, cased),
    hash: compile(of("hash"), canonical.hash, cased),
  };
}

/** The components of what is to be matched, undefined when it is no URL. */
function componentsOf(input: Input, base: string | undefined): Init | undefined {
  if (typeof input === "string") {
    const url = splitUrl(input, base);
    if (url === undefined) return undefined;
    const tail = (text: string) => StringPrototypeSlice(text, 1);
    return {
      ...url,
      protocol: StringPrototypeSlice(url.protocol, 0, -1),
      search: tail(url.search),
      hash: tail(url.hash),
    };
  }
  if (base !== undefined) throw new TypeError("A base URL can be given with a string only; an object has it in its member baseURL.");
  const blank: Init = { protocol: "", username: "", password: "", hostname: "", port: "", pathname: "", search: "", hash: "" };
  try {
    return canonical.processInit(input, false, blank);
  } catch {
    return undefined;
  }
}

export class URLPattern {
  #components: Compiled;

  constructor(input: unknown = undefined, baseURL: unknown = undefined, options: unknown = undefined) {
    const pattern = toInput(input);
    let base: string | undefined;
    let given = options;
    if (arguments.length < 3 && (baseURL === undefined || baseURL === null || isObject(baseURL))) given = baseURL;
    else base = toUSVString(baseURL);
    if (given !== undefined && given !== null && !isObject(given)) throw new TypeError("URLPattern options must be an object.");
    const ignoreCase = !!(given as { ignoreCase?: unknown } | null | undefined)?.ignoreCase;
    this.#components = compileAll(pattern, base, ignoreCase);
  }

  test(input: unknown = undefined, baseURL: unknown = undefined): boolean {
    return this.#match(input, baseURL) !== undefined;
  }

  exec(input: unknown = undefined, baseURL: unknown = undefined): object | null {
    const matched = this.#match(input, baseURL);
    if (matched === undefined) return null;
    const { given, values, matches } = matched;
    const result: Record<string, unknown> = { inputs: given };
    for (let i = 0; i < COMPONENTS.length; i++) {
      const name = COMPONENTS[i]!;
      const { names } = this.#components[name];
      const groups: Record<string, string | undefined> = {};
      for (let j = 0; j < names.length; j++) {
        const value = matches[i]![j + 1];
        ObjectDefineProperty(groups, names[j]!, { value, writable: true, enumerable: true, configurable: true });
      }
      result[name] = { input: values[name], groups };
    }
    return result;
  }

  #match(input: unknown, baseURL: unknown) {
    const given = toInput(input);
    const base = baseURL === undefined ? undefined : toUSVString(baseURL);
    const values = componentsOf(given, base);
    if (values === undefined) return undefined;
    const matches: RegExpExecArray[] = [];
    for (let i = 0; i < COMPONENTS.length; i++) {
      const name = COMPONENTS[i]!;
      const match = RegExpPrototypeExec(this.#components[name].regexp, values[name] ?? "");
      if (match === null) return undefined;
      ArrayPrototypePush(matches, match);
    }
    return { given: base === undefined ? [shownInput(given)] : [shownInput(given), base], values, matches };
  }

  get protocol(): string {
    return this.#components.protocol.pattern;
  }
  get username(): string {
    return this.#components.username.pattern;
  }
  get password(): string {
    return this.#components.password.pattern;
  }
  get hostname(): string {
    return this.#components.hostname.pattern;
  }
  get port(): string {
    return this.#components.port.pattern;
  }
  get pathname(): string {
    return this.#components.pathname.pattern;
  }
  get search(): string {
    return this.#components.search.pattern;
  }
  get hash(): string {
    return this.#components.hash.pattern;
  }
  get hasRegExpGroups(): boolean {
    for (let i = 0; i < COMPONENTS.length; i++) if (this.#components[COMPONENTS[i]!].hasRegexp) return true;
    return false;
  }
}
finishInterface(URLPattern, "URLPattern");

/** What was given, as an ordinary object. */
function shownInput(input: Input): unknown {
  return typeof input === "string" ? input : { ...input };
}
