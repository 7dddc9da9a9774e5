/** Recognises URLs that are in their serialised form already, as those of nearly all requests are. */
import { StringPrototypeCharCodeAt, StringPrototypeIndexOf, StringPrototypeSlice, StringPrototypeStartsWith } from "../internal/primordials.ts";

const HOST = 1;
const PATH = 2;
const QUERY = 4;

/** Where each ASCII character stands for itself. */
const allowed: number[] = [];
for (let code = 0; code < 128; code++) {
  const char = String.fromCharCode(code);
  let where = 0;
  if (/[a-z0-9_-]/.test(char)) where |= HOST;
  // A dot in a path may be a dot segment, a percent sign an escaped one, a quote is escaped in a query.
  if (/[A-Za-z0-9_~!$&()*+,;=:@-]/.test(char)) where |= PATH | QUERY;
  if (/['/]/.test(char)) where |= PATH;
  if (/[./?%]/.test(char)) where |= QUERY;
  allowed[code] = where;
}

const DOT = 46;
const SLASH = 47;
const COLON = 58;

/** False says nothing: the URL may be in its serialised form all the same. */
export function isPlainUrl(url: string): boolean {
  const start = StringPrototypeStartsWith(url, "http://") ? 7 : StringPrototypeStartsWith(url, "https://") ? 8 : 0;
  if (start === 0) return false;
  const { length } = url;
  let i = start;
  let label = i;
  for (; i < length; i++) {
    const code = StringPrototypeCharCodeAt(url, i);
    if (code === DOT) {
      if (i === label) return false;
      label = i + 1;
    } else if (code === SLASH || code === COLON) {
      break;
    } else if (code > 127 || (allowed[code]! & HOST) === 0) {
      return false;
    }
  }
  // A last label that begins with a digit may be part of an IPv4 address; an empty one is a matter of its own.
  const first = StringPrototypeCharCodeAt(url, label);
  if (i === label || !(first >= 97 && first <= 122)) return false;
  const punycode = StringPrototypeIndexOf(url, "xn--");
  if (punycode >= 0 && punycode < i) return false;
  if (StringPrototypeCharCodeAt(url, i) === COLON) {
    const portStart = ++i;
    while (i < length && StringPrototypeCharCodeAt(url, i) !== SLASH) {
      const digit = StringPrototypeCharCodeAt(url, i);
      if (digit < 48 || digit > 57 || (digit === 48 && i === portStart)) return false;
      i += 1;
    }
    const port = StringPrototypeSlice(url, portStart, i);
    if (port === "" || port.length > 4 || port === (start === 7 ? "80" : "443")) return false;
  }
  if (StringPrototypeCharCodeAt(url, i) !== SLASH) return false;
  for (let where = PATH; i < length; i++) {
    const code = StringPrototypeCharCodeAt(url, i);
    if (code === 63 && where === PATH) {
      where = QUERY;
    } else if (code === DOT && where === PATH) {
      if (StringPrototypeCharCodeAt(url, i - 1) === SLASH) return false;
    } else if (code > 127 || (allowed[code]! & where) === 0) {
      return false;
    }
  }
  return true;
}
