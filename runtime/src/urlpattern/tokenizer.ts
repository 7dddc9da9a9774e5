/** Tokens of patterns (URL Pattern, section 2.1.2). */
import { ArrayPrototypePush, RegExpPrototypeExec, StringPrototypeCodePointAt, StringPrototypeSlice } from "../internal/primordials.ts";

export type TokenType =
  | "open"
  | "close"
  | "regexp"
  | "name"
  | "char"
  | "escaped-char"
  | "other-modifier"
  | "asterisk"
  | "end"
  | "invalid-char";

export interface Token {
  type: TokenType;
  /** Where it begins. */
  index: number;
  value: string;
}

const NAME_START = /^[$_\p{ID_Start}]$/u;
const NAME_PART = /^[$_\u200c\u200d\p{ID_Continue}]$/u;

/** Whether a character may stand in a name, as its first one or later. */
export function isNameCharacter(character: string, first: boolean): boolean {
  return RegExpPrototypeExec(first ? NAME_START : NAME_PART, character) !== null;
}

/** The whole character at an index, surrogate pairs together. */
export function characterAt(text: string, index: number): string {
  const code = StringPrototypeCodePointAt(text, index);
  if (code === undefined) return "";
  return StringPrototypeSlice(text, index, index + (code > 0xffff ? 2 : 1));
}

const SINGLE: Record<string, TokenType> = {
  __proto__: null as never,
  "*": "asterisk",
  "+": "other-modifier",
  "?": "other-modifier",
  "{": "open",
  "}": "close",
};

/** Splits a pattern; what is malformed becomes "invalid-char" when `lenient`, else a `TypeError`. */
export function tokenize(input: string, lenient: boolean): Token[] {
  const tokens: Token[] = [];
  let index = 0;
  const add = (type: TokenType, next: number, value: string) => {
    ArrayPrototypePush(tokens, { type, index, value });
    index = next;
  };
  const fail = (next: number, from: number) => {
    if (!lenient) throw new TypeError(`The pattern "${input}" is malformed at offset ${index}.`);
    add("invalid-char", next, StringPrototypeSlice(input, from, next));
  };
  while (index < input.length) {
    const character = characterAt(input, index);
    const next = index + character.length;
    const single = SINGLE[character];
    if (single !== undefined) {
      add(single, next, character);
    } else if (character === "\\") {
      const escaped = characterAt(input, next);
      if (escaped === "") fail(next, index);
      else add("escaped-char", next + escaped.length, escaped);
    } else if (character === ":") {
      let end = next;
      for (;;) {
        const part = characterAt(input, end);
        if (part === "" || !isNameCharacter(part, end === next)) break;
        end += part.length;
      }
      if (end === next) fail(next, index);
      else add("name", end, StringPrototypeSlice(input, next, end));
    } else if (character === "(") {
      const end = endOfRegexp(input, next);
      if (end < 0) fail(next, index);
      else add("regexp", end, StringPrototypeSlice(input, next, end - 1));
    } else {
      add("char", next, character);
    }
  }
  add("end", index, "");
  return tokens;
}

/** Behind the parenthesis that closes a regular expression, -1 when it is malformed. */
function endOfRegexp(input: string, start: number): number {
  let depth = 1;
  for (let at = start; at < input.length; at++) {
    const character = input[at]!;
    if (character > "\x7f" || (at === start && character === "?")) return -1;
    if (character === "\\") {
      at += 1;
      if (at >= input.length || input[at]! > "\x7f") return -1;
    } else if (character === ")") {
      depth -= 1;
      if (depth === 0) return at === start ? -1 : at + 1;
    } else if (character === "(") {
      depth += 1;
      // Groups that capture would shift the numbers of the pattern's own.
      if (input[at + 1] !== "?") return -1;
    }
  }
  return -1;
}
