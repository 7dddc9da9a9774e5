/** What bodies are encoded in (RFC 9110, section 8.4), as far as the runtime can decode and encode it. */
import {
  StringPrototypeIndexOf,
  StringPrototypeSlice,
  StringPrototypeToLowerCase,
  StringPrototypeTrim,
} from "../internal/primordials.ts";
import type { Head } from "../ops.d.ts";

export type Encoding = "gzip" | "deflate" | "br";

const FIELD = "content-encoding\0";

/** The encoding that a head names; undefined when it names none, several, or one that is not known. */
export function encodingIn(head: Head): Encoding | undefined {
  let at = StringPrototypeIndexOf(head, FIELD);
  // Values cannot hold NUL: what follows one is a name.
  while (at > 0 && head[at - 1] !== "\0") at = StringPrototypeIndexOf(head, FIELD, at + 1);
  if (at < 0) return undefined;
  const start = at + FIELD.length;
  const end = StringPrototypeIndexOf(head, "\0", start);
  const value = StringPrototypeToLowerCase(StringPrototypeTrim(StringPrototypeSlice(head, start, end)));
  if (value === "gzip" || value === "x-gzip") return "gzip";
  return value === "br" || value === "deflate" ? value : undefined;
}
