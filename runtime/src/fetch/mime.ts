/** Media types (MIME Sniffing Standard, section 4). */
import {
  ArrayPrototypePush,
  RegExpPrototypeExec,
  StringPrototypeIndexOf,
  StringPrototypeSlice,
  StringPrototypeToLowerCase,
} from "../internal/primordials.ts";

export interface MimeType {
  /** Type and subtype in lower case, like `text/html`. */
  essence: string;
  /** Name, value, name, value, …; names in lower case, each once. */
  parameters: string[];
}

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const QUOTABLE = /^[\t\x20-\x7e\x80-\xff]*$/;

function isToken(text: string): boolean {
  return RegExpPrototypeExec(TOKEN, text) !== null;
}

/** Without the white space of HTTP at its ends. */
function trimmed(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isSpace(text[start]!)) start += 1;
  while (end > start && isSpace(text[end - 1]!)) end -= 1;
  return StringPrototypeSlice(text, start, end);
}

function isSpace(char: string): boolean {
  return char === " " || char === "\t" || char === "\n" || char === "\r";
}

/** Undefined for what is none. */
export function parseMime(given: string): MimeType | undefined {
  const input = trimmed(given);
  const slash = StringPrototypeIndexOf(input, "/");
  if (slash < 0) return undefined;
  let at = StringPrototypeIndexOf(input, ";", slash);
  if (at < 0) at = input.length;
  const type = StringPrototypeSlice(input, 0, slash);
  const subtype = trimmed(StringPrototypeSlice(input, slash + 1, at));
  if (!isToken(type) || !isToken(subtype)) return undefined;
  const parameters: string[] = [];
  while (at < input.length) {
    at += 1;
    while (at < input.length && isSpace(input[at]!)) at += 1;
    const start = at;
    while (at < input.length && input[at] !== ";" && input[at] !== "=") at += 1;
    const name = StringPrototypeToLowerCase(StringPrototypeSlice(input, start, at));
    if (input[at] !== "=") continue;
    at += 1;
    let value = "";
    if (input[at] === '"') {
      at += 1;
      while (at < input.length && input[at] !== '"') {
        if (input[at] === "\\" && at + 1 < input.length) at += 1;
        value += input[at];
        at += 1;
      }
      at = StringPrototypeIndexOf(input, ";", at);
      if (at < 0) at = input.length;
    } else {
      const from = at;
      at = StringPrototypeIndexOf(input, ";", at);
      if (at < 0) at = input.length;
      value = trimmed(StringPrototypeSlice(input, from, at));
      if (value === "") continue;
    }
    if (!isToken(name) || RegExpPrototypeExec(QUOTABLE, value) === null) continue;
    if (indexOf(parameters, name) < 0) ArrayPrototypePush(parameters, name, value);
  }
  return { essence: StringPrototypeToLowerCase(`${type}/${subtype}`), parameters };
}

function indexOf(parameters: readonly string[], name: string): number {
  for (let i = 0; i < parameters.length; i += 2) if (parameters[i] === name) return i;
  return -1;
}

export function mimeParameter(type: MimeType, name: string): string | undefined {
  const at = indexOf(type.parameters, name);
  return at < 0 ? undefined : type.parameters[at + 1];
}

export function serializeMime(type: MimeType): string {
  const { parameters } = type;
  let text = type.essence;
  for (let i = 0; i < parameters.length; i += 2) text += `;${parameters[i]}=${quoted(parameters[i + 1]!)}`;
  return text;
}

function quoted(value: string): string {
  if (isToken(value)) return value;
  let text = "";
  for (let i = 0; i < value.length; i++) text += value[i] === '"' || value[i] === "\\" ? `\\${value[i]}` : value[i];
  return `"${text}"`;
}

/** The media type of a `Content-Type` field, which may have been sent more than once (Fetch Standard, "extract a MIME type"). */
export function extractMime(field: string): MimeType | undefined {
  let found: MimeType | undefined;
  let charset: string | undefined;
  let start = 0;
  while (start <= field.length) {
    let end = start;
    let quote = false;
    while (end < field.length && (quote || field[end] !== ",")) {
      if (quote && field[end] === "\\") end += 1;
      else if (field[end] === '"') quote = !quote;
      end += 1;
    }
    const type = parseMime(StringPrototypeSlice(field, start, end));
    start = end + 1;
    if (type === undefined || type.essence === "*/*") continue;
    const given = mimeParameter(type, "charset");
    if (type.essence !== found?.essence) charset = given;
    else if (given === undefined && charset !== undefined) ArrayPrototypePush(type.parameters, "charset", charset);
    found = type;
  }
  return found;
}
