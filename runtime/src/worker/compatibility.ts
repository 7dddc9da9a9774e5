/** The compatibility date and flags that a version was deployed with. */
import { StringPrototypeIncludes, StringPrototypeSlice } from "../internal/primordials.ts";

let date = "";
/** With a blank before and after each. */
let flags = " ";

/** `text` is the date, or nothing, and the flags, each after a blank. */
export function setCompatibility(text: string): void {
  const dated = text[0] !== " ";
  date = dated ? StringPrototypeSlice(text, 0, 10) : "";
  flags = `${dated ? StringPrototypeSlice(text, 10) : text} `;
}

/** Whether a change holds: by its flags, else since a date. Without a date a worker gets what is newest. */
export function holds(since: string, on: string, off: string): boolean {
  if (StringPrototypeIncludes(flags, ` ${on} `)) return true;
  if (StringPrototypeIncludes(flags, ` ${off} `)) return false;
  return date === "" || date >= since;
}
