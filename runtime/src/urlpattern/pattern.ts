/** Patterns of one component: parts, regular expression, normal form (URL Pattern, sections 2.1.3 to 2.1.8). */
import {
  ArrayPrototypePush,
  NativeRegExp,
  StringPrototypeIncludes,
  StringPrototypeSlice,
} from "../internal/primordials.ts";
import { characterAt, isNameCharacter, type Token, tokenize, type TokenType } from "./tokenizer.ts";

export interface Options {
  /** What ends a segment, and what may stand before a group and belongs to it. */
  delimiter: string;
  prefix: string;
  ignoreCase: boolean;
}

const TEXT = 0;
const REGEXP = 1;
const SEGMENT = 2;
const FULL = 3;

interface Part {
  type: number;
  value: string;
  modifier: "" | "?" | "*" | "+";
  name: string;
  prefix: string;
  suffix: string;
}

/** A compiled pattern. */
export interface Component {
  pattern: string;
  regexp: RegExp;
  names: string[];
  hasRegexp: boolean;
}

function escapeWith(text: string, special: string): string {
  let out = "";
  for (let i = 0; i < text.length; i++) {
    const character = text[i]!;
    out += StringPrototypeIncludes(special, character) ? `\\${character}` : character;
  }
  return out;
}

const escapeRegexp = (text: string) => escapeWith(text, ".+*?^${}()[]|/\\");
export const escapePattern = (text: string) => escapeWith(text, "+*?:{}()\\");

function segmentWildcard(options: Options): string {
  return `[^${escapeRegexp(options.delimiter)}]+?`;
}

/** Parses; `encode` brings fixed text into the component's normal form. */
class Parser {
  readonly parts: Part[] = [];
  readonly #tokens: Token[];
  readonly #segment: string;
  #index = 0;
  #pending = "";
  #number = 0;

  constructor(
    readonly input: string,
    readonly options: Options,
    readonly encode: (text: string) => string,
  ) {
    this.#tokens = tokenize(input, false);
    this.#segment = segmentWildcard(options);
  }

  parse(): Part[] {
    while (this.#index < this.#tokens.length) {
      const char = this.#take("char");
      const name = this.#take("name");
      const group = this.#takeGroup(name);
      if (name !== undefined || group !== undefined) {
        let prefix = char?.value ?? "";
        if (prefix !== "" && prefix !== this.options.prefix) {
          this.#pending += prefix;
          prefix = "";
        }
        this.#flush();
        this.#add(prefix, name, group, "", this.#takeModifier());
        continue;
      }
      const fixed = char ?? this.#take("escaped-char");
      if (fixed !== undefined) {
        this.#pending += fixed.value;
        continue;
      }
      if (this.#take("open") !== undefined) {
        const prefix = this.#text();
        const inner = this.#take("name");
        const wildcard = this.#takeGroup(inner);
        const suffix = this.#text();
        this.#require("close");
        this.#add(prefix, inner, wildcard, suffix, this.#takeModifier());
        continue;
      }
      this.#flush();
      this.#require("end");
    }
    return this.parts;
  }

  #take(type: TokenType): Token | undefined {
    const token = this.#tokens[this.#index];
    if (token === undefined || token.type !== type) return undefined;
    this.#index += 1;
    return token;
  }

  #require(type: TokenType): void {
    if (this.#take(type) === undefined) throw new TypeError(`The pattern "${this.input}" is malformed.`);
  }

  #takeGroup(name: Token | undefined): Token | undefined {
    return this.#take("regexp") ?? (name === undefined ? this.#take("asterisk") : undefined);
  }

  #takeModifier(): Part["modifier"] {
    return ((this.#take("other-modifier") ?? this.#take("asterisk"))?.value ?? "") as Part["modifier"];
  }

  #text(): string {
    let text = "";
    for (;;) {
      const token = this.#take("char") ?? this.#take("escaped-char");
      if (token === undefined) return text;
      text += token.value;
    }
  }

  #push(type: number, value: string, modifier: Part["modifier"], name = "", prefix = "", suffix = ""): void {
    ArrayPrototypePush(this.parts, { type, value, modifier, name, prefix, suffix });
  }

  #flush(): void {
    if (this.#pending === "") return;
    const text = this.encode(this.#pending);
    this.#pending = "";
    this.#push(TEXT, text, "");
  }

  #add(prefix: string, name: Token | undefined, group: Token | undefined, suffix: string, modifier: Part["modifier"]): void {
    if (name === undefined && group === undefined && modifier === "") {
      this.#pending += prefix;
      return;
    }
    this.#flush();
    if (name === undefined && group === undefined) {
      if (prefix !== "") this.#push(TEXT, this.encode(prefix), modifier);
      return;
    }
    let value = group === undefined ? this.#segment : group.type === "asterisk" ? ".*" : group.value;
    let type = REGEXP;
    if (value === this.#segment) type = SEGMENT;
    else if (value === ".*") type = FULL;
    if (type !== REGEXP) value = "";
    const known = name === undefined ? `${this.#number++}` : name.value;
    for (let i = 0; i < this.parts.length; i++) {
      if (this.parts[i]!.name === known) throw new TypeError(`The name "${known}" is there twice.`);
    }
    this.#push(type, value, modifier, known, this.encode(prefix), this.encode(suffix));
  }
}

/** A group's regular expression. */
function valueOf(part: Part, options: Options): string {
  return part.type === SEGMENT ? segmentWildcard(options) : part.type === FULL ? ".*" : part.value;
}

function toRegexp(parts: Part[], options: Options): string {
  let out = "^";
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i]!;
    const { modifier } = part;
    if (part.type === TEXT) {
      const text = escapeRegexp(part.value);
      out += modifier === "" ? text : `(?:${text})${modifier}`;
      continue;
    }
    const value = valueOf(part, options);
    const repeats = modifier === "*" || modifier === "+";
    if (part.prefix === "" && part.suffix === "") {
      out += repeats ? `((?:${value})${modifier})` : `(${value})${modifier}`;
      continue;
    }
    const prefix = escapeRegexp(part.prefix);
    const suffix = escapeRegexp(part.suffix);
    out += repeats
      ? `(?:${prefix}((?:${value})(?:${suffix}${prefix}(?:${value}))*)${suffix})${modifier === "*" ? "?" : ""}`
      : `(?:${prefix}(${value})${suffix})${modifier}`;
  }
  return `${out}$`;
}

function isDigit(character: string): boolean {
  return character >= "0" && character <= "9";
}

/** The pattern in its normal form. */
function toPattern(parts: Part[], options: Options): string {
  let out = "";
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i]!;
    const { type, prefix, suffix, modifier } = part;
    const before = parts[i - 1];
    const next = parts[i + 1];
    if (type === TEXT) {
      const text = escapePattern(part.value);
      out += modifier === "" ? text : `{${text}}${modifier}`;
      continue;
    }
    const named = !isDigit(part.name[0]!);
    let grouped = suffix !== "" || (prefix !== "" && prefix !== options.prefix);
    if (!grouped && named && type === SEGMENT && modifier === "" && next !== undefined && next.prefix === "" && next.suffix === "") {
      grouped = next.type === TEXT ? isNameCharacter(characterAt(next.value, 0), false) : isDigit(next.name[0]!);
    }
    if (!grouped && prefix === "" && before !== undefined && before.type === TEXT) {
      const { value } = before;
      grouped = options.prefix !== "" && StringPrototypeSlice(value, value.length - 1) === options.prefix;
    }
    if (grouped) out += "{";
    out += escapePattern(prefix);
    if (named) out += `:${part.name}`;
    if (type === REGEXP) {
      out += `(${part.value})`;
    } else if (type === SEGMENT) {
      if (!named) out += `(${segmentWildcard(options)})`;
    } else {
      const bare = before === undefined || before.type === TEXT || before.modifier !== "" || grouped || prefix !== "";
      out += !named && bare ? "*" : "(.*)";
    }
    if (type === SEGMENT && named && suffix !== "" && isNameCharacter(characterAt(suffix, 0), false)) out += "\\";
    out += escapePattern(suffix);
    if (grouped) out += "}";
    out += modifier;
  }
  return out;
}

/** Compiles the pattern of one component. Throws a `TypeError` when it is malformed. */
export function compile(input: string, encode: (text: string) => string, options: Options): Component {
  const parts = new Parser(input, options, (text) => (text === "" ? "" : encode(text))).parse();
  const names: string[] = [];
  let hasRegexp = false;
  for (let i = 0; i < parts.length; i++) {
    if (parts[i]!.type !== TEXT) ArrayPrototypePush(names, parts[i]!.name);
    if (parts[i]!.type === REGEXP) hasRegexp = true;
  }
  let regexp: RegExp;
  try {
    regexp = new NativeRegExp(toRegexp(parts, options), options.ignoreCase ? "vi" : "v");
  } catch {
    throw new TypeError(`The pattern "${input}" has a malformed regular expression.`);
  }
  return { pattern: toPattern(parts, options), regexp, names, hasRegexp };
}
