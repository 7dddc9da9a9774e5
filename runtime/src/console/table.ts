/** The text form of `console.table`. */
import { ObjectKeys, StringPrototypePadEnd, StringPrototypeRepeat } from "../internal/primordials.ts";
import { inspect } from "./inspect.ts";

const ROWS_MAX = 200;
const COLUMNS_MAX = 30;

/** Undefined for what is no table. */
export function formatTable(data: unknown, columns?: string[]): string | undefined {
  if (typeof data !== "object" || data === null) return undefined;
  const headings: string[] = ["(index)"];
  const indexes: string[] = [];
  let values = false;
  for (const key of ObjectKeys(data).slice(0, ROWS_MAX)) {
    indexes.push(key);
    const row = (data as Record<string, unknown>)[key];
    if (typeof row !== "object" || row === null) {
      values = true;
      continue;
    }
    for (const column of columns ?? ObjectKeys(row)) {
      if (headings.length < COLUMNS_MAX && !headings.includes(column)) headings.push(column);
    }
  }
  const rows = indexes.map((key) => {
    const row = (data as Record<string, unknown>)[key];
    const object = typeof row === "object" && row !== null ? (row as Record<string, unknown>) : undefined;
    const cells = [key];
    for (let i = 1; i < headings.length; i++) {
      cells.push(object !== undefined && headings[i]! in object ? inspect(object[headings[i]!], { depth: 0 }) : "");
    }
    if (values) cells.push(object === undefined ? inspect(row, { depth: 0 }) : "");
    return cells;
  });
  if (values) headings.push("Values");
  const widths = headings.map((heading, i) => Math.max(heading.length, ...rows.map((row) => row[i]!.length)) + 2);
  const line = (cells: string[]) => `│${cells.map((cell, i) => StringPrototypePadEnd(` ${cell}`, widths[i]!)).join("│")}│`;
  const rule = (left: string, middle: string, right: string) =>
    left + widths.map((width) => StringPrototypeRepeat("─", width)).join(middle) + right;
  return [rule("┌", "┬", "┐"), line(headings), rule("├", "┼", "┤"), ...rows.map(line), rule("└", "┴", "┘")].join("\n");
}
