/** Strings and keys as they stand in source text. */
import {
  ArrayPrototypeJoin,
  ArrayPrototypePush,
  NumberPrototypeToString,
  RegExpPrototypeExec,
  StringPrototypeCharCodeAt,
  StringPrototypeIncludes,
  StringPrototypeIndexOf,
  StringPrototypePadStart,
  StringPrototypeRepeat,
  StringPrototypeSlice,
  StringPrototypeToUpperCase,
} from "../internal/primordials.ts";
import { WIDTH } from "./layout.ts";
import { SymbolToString } from "./natives.ts";

/** Longest string that is shown whole, UTF-16 code units. */
const STRING_MAX = 10_000;
/** A string of this length stays on its line, however narrow that is. */
const UNBROKEN_MAX = 16;

const IDENTIFIER = /^[a-zA-Z_][a-zA-Z_0-9]*$/;
/** What needs an escape within single quotes: controls, quotes, backslashes and halves of characters. */
const SPECIAL = /[\0-\x1f\x27\\\x7f-\x9f\ud800-\udfff]/;

function escape(text: string, quote: string): string {
  if (RegExpPrototypeExec(SPECIAL, text) === null) return quote + text + quote;
  let out = quote;
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const code = StringPrototypeCharCodeAt(text, i);
    let instead: string;
    if (code === 92 || code === StringPrototypeCharCodeAt(quote, 0)) {
      instead = `\\${StringPrototypeSlice(text, i, i + 1)}`;
    } else if (code < 32 || (code >= 127 && code <= 159)) {
      instead = control(code);
    } else if (code >= 0xd800 && code <= 0xdfff) {
      const next = code < 0xdc00 && i + 1 < text.length ? StringPrototypeCharCodeAt(text, i + 1) : 0;
      if (next >= 0xdc00 && next <= 0xdfff) {
        i += 1;
        continue;
      }
      instead = `\\u${NumberPrototypeToString(code, 16)}`;
    } else {
      continue;
    }
    out += StringPrototypeSlice(text, start, i) + instead;
    start = i + 1;
  }
  return out + StringPrototypeSlice(text, start) + quote;
}

function control(code: number): string {
  switch (code) {
    case 8:
      return "\\b";
    case 9:
      return "\\t";
    case 10:
      return "\\n";
    case 12:
      return "\\f";
    case 13:
      return "\\r";
    default:
      return `\\x${StringPrototypePadStart(StringPrototypeToUpperCase(NumberPrototypeToString(code, 16)), 2, "0")}`;
  }
}

/** In the quotes that need the fewest escapes. */
export function quoted(text: string): string {
  let quote = "'";
  if (StringPrototypeIncludes(text, "'")) {
    if (!StringPrototypeIncludes(text, '"')) quote = '"';
    else if (!StringPrototypeIncludes(text, "`") && !StringPrototypeIncludes(text, "${")) quote = "`";
  }
  return escape(text, quote);
}

/** A string in an object: long ones are cut off, and those with several lines are broken at their ends. */
export function shownString(text: string, indent: number): string {
  let more = "";
  if (text.length > STRING_MAX) {
    const left = text.length - STRING_MAX;
    more = `... ${left} more character${left > 1 ? "s" : ""}`;
    text = StringPrototypeSlice(text, 0, STRING_MAX);
  }
  const newline = StringPrototypeIndexOf(text, "\n");
  if (newline < 0 || newline === text.length - 1 || text.length <= UNBROKEN_MAX || text.length <= WIDTH - indent - 4) {
    return quoted(text) + more;
  }
  const lines: string[] = [];
  for (let start = 0; start < text.length; ) {
    const end = StringPrototypeIndexOf(text, "\n", start);
    const next = end < 0 ? text.length : end + 1;
    ArrayPrototypePush(lines, quoted(StringPrototypeSlice(text, start, next)));
    start = next;
  }
  return ArrayPrototypeJoin(lines, ` +\n${StringPrototypeRepeat(" ", indent + 2)}`) + more;
}

export function shownSymbol(symbol: symbol): string {
  return SymbolToString(symbol);
}

/** A property's name before its colon; one that is not enumerable stands in brackets. */
export function shownKey(key: string | symbol, enumerable: boolean): string {
  if (typeof key === "symbol") return `[${SymbolToString(key)}]`;
  if (key === "__proto__") return "['__proto__']";
  if (!enumerable) return `[${StringPrototypeSlice(escape(key, "'"), 1, -1)}]`;
  return RegExpPrototypeExec(IDENTIFIER, key) === null ? quoted(key) : key;
}
