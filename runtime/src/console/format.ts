/** The format of `console.log`: a template with placeholders, then values. */
import { JSONStringify, StringPrototypeIncludes, StringPrototypeSlice } from "../internal/primordials.ts";
import { inspect } from "./inspect.ts";

/** What `console.log` makes of its arguments. */
export function format(args: readonly unknown[]): string {
  let out = "";
  let next = 0;
  const first = args[0];
  if (typeof first === "string") {
    next = 1;
    if (args.length === 1 || !StringPrototypeIncludes(first, "%")) out = first;
    else [out, next] = substitute(first, args);
  }
  for (; next < args.length; next++) {
    const arg = args[next];
    out += `${next === 0 ? "" : " "}${typeof arg === "string" ? arg : inspect(arg)}`;
  }
  return out;
}

function substitute(template: string, args: readonly unknown[]): [string, number] {
  let out = "";
  let next = 1;
  let start = 0;
  for (let i = 0; i < template.length - 1; i++) {
    if (template[i] !== "%") continue;
    const kind = template[i + 1];
    if (kind === "%") {
      out += `${StringPrototypeSlice(template, start, i)}%`;
    } else if (next < args.length && StringPrototypeIncludes("sdifjoOc", kind)) {
      out += StringPrototypeSlice(template, start, i) + convert(kind!, args[next++]);
    } else {
      continue;
    }
    start = i + 2;
    i += 1;
  }
  return [out + StringPrototypeSlice(template, start), next];
}

function convert(kind: string, arg: unknown): string {
  switch (kind) {
    case "s":
      if (typeof arg === "string") return arg;
      return typeof arg === "object" && arg !== null ? inspect(arg, { depth: 0 }) : inspect(arg);
    case "d":
      if (typeof arg === "bigint") return `${arg}n`;
      return typeof arg === "symbol" || typeof arg === "object" ? "NaN" : `${Number(arg)}`;
    case "i":
      if (typeof arg === "bigint") return `${arg}n`;
      return typeof arg === "symbol" || typeof arg === "object" ? "NaN" : `${Number.parseInt(`${arg}`, 10)}`;
    case "f":
      return typeof arg === "symbol" ? "NaN" : `${Number.parseFloat(`${arg}`)}`;
    case "j":
      try {
        return `${JSONStringify(arg)}`;
      } catch {
        return "[Circular]";
      }
    case "o":
      return inspect(arg, { depth: 4 });
    case "O":
      return inspect(arg);
    default:
      // %c is for styles, which a log has none of.
      return "";
  }
}
