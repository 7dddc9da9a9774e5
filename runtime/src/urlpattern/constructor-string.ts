/** Patterns of whole URLs, cut into components (URL Pattern, section 2.1.9). */
import { StringPrototypeSlice } from "../internal/primordials.ts";
import { type Token, tokenize } from "./tokenizer.ts";

export type ComponentName = "protocol" | "username" | "password" | "hostname" | "port" | "pathname" | "search" | "hash";
export type Init = { [name in ComponentName | "baseURL"]?: string | undefined };

type State = ComponentName | "init" | "authority" | "done";

/** The order of states, to compare them by. */
const ORDER = {
  __proto__: null,
  init: 0,
  protocol: 1,
  authority: 2,
  username: 3,
  password: 4,
  hostname: 5,
  port: 6,
  pathname: 7,
  search: 8,
  hash: 9,
  done: 10,
} as unknown as Record<State, number>;

class Parser {
  readonly #input: string;
  readonly #tokens: Token[];
  /** Whether a pattern for protocols matches one of the special schemes. */
  readonly #isSpecial: (protocol: string) => boolean;
  readonly result: Init = { __proto__: null } as Init;
  #state: State = "init";
  #index = 0;
  #increment = 1;
  #start = 0;
  #depth = 0;
  #brackets = 0;
  #special = false;

  constructor(input: string, isSpecial: (protocol: string) => boolean) {
    this.#input = input;
    this.#tokens = tokenize(input, true);
    this.#isSpecial = isSpecial;
  }

  parse(): Init {
    for (; this.#index < this.#tokens.length; this.#index += this.#increment) {
      this.#increment = 1;
      const { type } = this.#tokens[this.#index]!;
      if (type === "end") {
        if (this.#state === "init") {
          this.#rewind("init");
          if (this.#is("#")) this.#change("hash", 1);
          else if (this.#isSearch()) this.#change("search", 1);
          else this.#change("pathname", 0);
          continue;
        }
        if (this.#state === "authority") {
          this.#rewind("hostname");
          continue;
        }
        this.#change("done", 0);
        break;
      }
      if (type === "open") {
        this.#depth += 1;
        continue;
      }
      if (this.#depth > 0) {
        if (type !== "close") continue;
        this.#depth -= 1;
      }
      this.#step();
    }
    const { result } = this;
    if (result.hostname !== undefined && result.port === undefined) result.port = "";
    return result;
  }

  #step(): void {
    switch (this.#state) {
      case "init":
        if (this.#is(":")) this.#rewind("protocol");
        break;
      case "protocol":
        if (this.#is(":")) {
          this.#special = this.#isSpecial(this.#text());
          const slashes = this.#is("/", 1) && this.#is("/", 2);
          if (slashes) this.#change("authority", 3);
          else this.#change(this.#special ? "authority" : "pathname", 1);
        }
        break;
      case "authority":
        if (this.#is("@")) this.#rewind("username");
        else if (this.#is("/") || this.#isSearch() || this.#is("#")) this.#rewind("hostname");
        break;
      case "username":
        if (this.#is(":")) this.#change("password", 1);
        else if (this.#is("@")) this.#change("hostname", 1);
        break;
      case "password":
        if (this.#is("@")) this.#change("hostname", 1);
        break;
      case "hostname":
        if (this.#is("[")) this.#brackets += 1;
        else if (this.#is("]")) this.#brackets -= 1;
        else if (this.#is(":") && this.#brackets === 0) this.#change("port", 1);
        else this.#afterAuthority();
        break;
      case "port":
        this.#afterAuthority();
        break;
      case "pathname":
        if (this.#isSearch()) this.#change("search", 1);
        else if (this.#is("#")) this.#change("hash", 1);
        break;
      case "search":
        if (this.#is("#")) this.#change("hash", 1);
        break;
    }
  }

  #afterAuthority(): void {
    if (this.#is("/")) this.#change("pathname", 0);
    else if (this.#isSearch()) this.#change("search", 1);
    else if (this.#is("#")) this.#change("hash", 1);
  }

  #text(): string {
    return StringPrototypeSlice(this.#input, this.#tokens[this.#start]!.index, this.#tokens[this.#index]!.index);
  }

  #rewind(state: State): void {
    this.#index = this.#start;
    this.#increment = 0;
    this.#state = state;
  }

  #change(state: State, skip: number): void {
    const { result } = this;
    const from = ORDER[this.#state];
    const to = ORDER[state];
    if (this.#state !== "init" && this.#state !== "authority") result[this.#state as ComponentName] = this.#text();
    if (from !== ORDER.init && to !== ORDER.done) {
      if (from <= ORDER.password && to >= ORDER.port) result.hostname ??= "";
      if (from <= ORDER.port && to >= ORDER.search) result.pathname ??= this.#special ? "/" : "";
      if (from <= ORDER.pathname && to === ORDER.hash) result.search ??= "";
    }
    this.#state = state;
    this.#index += skip;
    this.#start = this.#index;
    this.#increment = 0;
  }

  #at(index: number): Token {
    return this.#tokens[index] ?? this.#tokens[this.#tokens.length - 1]!;
  }

  /** Whether a token stands for this character itself. */
  #is(character: string, ahead = 0): boolean {
    const { type, value } = this.#at(this.#index + ahead);
    return value === character && (type === "char" || type === "escaped-char" || type === "invalid-char");
  }

  /** A question mark that is no modifier. */
  #isSearch(): boolean {
    if (this.#is("?")) return true;
    if (this.#at(this.#index).value !== "?") return false;
    if (this.#index === 0) return true;
    const { type } = this.#at(this.#index - 1);
    return type !== "name" && type !== "regexp" && type !== "close" && type !== "asterisk";
  }
}

export function parseConstructorString(input: string, isSpecial: (protocol: string) => boolean): Init {
  return new Parser(input, isSpecial).parse();
}
