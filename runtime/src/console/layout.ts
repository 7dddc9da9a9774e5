/** How the parts of a value are put on lines: one, several, or columns. The rules are those of Node's `util.inspect`. */
import {
  ArrayPrototypeJoin,
  ArrayPrototypePush,
  MathFloor,
  MathMax,
  MathMin,
  MathSqrt,
  StringPrototypeIncludes,
  StringPrototypePadEnd,
  StringPrototypePadStart,
  StringPrototypeRepeat,
} from "../internal/primordials.ts";

/** Width of a line, UTF-16 code units. */
export const WIDTH = 80;
/** Levels of nesting that share a line. */
const LEVELS_ON_A_LINE = 3;
/** Items of a list from which on they stand in columns. */
const LIST_MIN = 7;
const COLUMNS_MAX = 12;
/** A character is about so much higher than wide. */
const CHARACTER_RATIO = 2.5;

/** Where a value stands. */
export interface Place {
  /** Columns that are indented. */
  indent: number;
  /** Level of the object that was described last. */
  deepest: number;
}

/** What a value consists of. */
export interface Parts {
  /** What stands before the opening brace, such as an error's stack; or nothing. */
  base: string;
  open: string;
  close: string;
  items: string[];
  /** A list, whose items may stand in columns: its items, to tell numbers, which are aligned at their end. */
  list: ArrayLike<unknown> | undefined;
  /** The last item says what was left out. */
  cut: boolean;
}

/** The parts as text; `level` is the object's own. */
export function lay(parts: Parts, place: Place, level: number): string {
  const { base, open, close, items } = parts;
  const start = base === "" ? open : `${base} ${open}`;
  const shown = parts.list !== undefined && items.length >= LIST_MIN ? inColumns(items, parts, place) : items;
  if (place.deepest - level < LEVELS_ON_A_LINE && shown === items && fits(parts, place)) {
    const line = ArrayPrototypeJoin(items, ", ");
    if (!StringPrototypeIncludes(line, "\n")) return `${start} ${line} ${close}`;
  }
  const end = `\n${StringPrototypeRepeat(" ", place.indent)}`;
  return `${start}${end}  ${ArrayPrototypeJoin(shown, `,${end}  `)}${end}${close}`;
}

function fits({ base, open, items }: Parts, place: Place): boolean {
  // Each item has a comma and a space behind it, and a line of this length looks full already.
  let length = items.length * 2 + place.indent + open.length + base.length + 10;
  for (let i = 0; i < items.length; i++) length += items[i]!.length;
  return length <= WIDTH && !StringPrototypeIncludes(base, "\n");
}

/** Short items in columns, about as high as wide; the same array where they do not lend themselves to it. */
function inColumns(items: string[], { list, cut }: Parts, { indent }: Place): string[] {
  const count = cut ? items.length - 1 : items.length;
  let total = 0;
  let longest = 0;
  for (let i = 0; i < count; i++) {
    total += items[i]!.length + 2;
    longest = MathMax(longest, items[i]!.length);
  }
  const widest = longest + 2;
  if (widest * 3 + indent >= WIDTH || (total / widest <= 5 && longest > 6)) return items;
  const typical = MathMax(widest - 3 - MathSqrt(widest - total / items.length), 1);
  const square = MathSqrt(CHARACTER_RATIO * typical * count) / typical;
  const columns = MathMin(MathFloor(square + 0.5), MathFloor((WIDTH - indent) / widest), COLUMNS_MAX);
  if (columns <= 1) return items;
  const widths: number[] = [];
  for (let column = 0; column < columns; column++) {
    let width = 0;
    for (let i = column; i < count; i += columns) width = MathMax(width, items[i]!.length);
    ArrayPrototypePush(widths, width + 2);
  }
  const atEnd = onlyNumbers(list!, count);
  const lines: string[] = [];
  for (let first = 0; first < count; first += columns) {
    const last = MathMin(first + columns, count) - 1;
    let line = "";
    for (let i = first; i < last; i++) {
      const text = `${items[i]!}, `;
      line += atEnd ? StringPrototypePadStart(text, widths[i - first]!) : StringPrototypePadEnd(text, widths[i - first]!);
    }
    line += atEnd ? StringPrototypePadStart(items[last]!, widths[last - first]! - 2) : items[last]!;
    ArrayPrototypePush(lines, line);
  }
  if (cut) ArrayPrototypePush(lines, items[count]!);
  return lines;
}

function onlyNumbers(list: ArrayLike<unknown>, count: number): boolean {
  for (let i = 0; i < count; i++) {
    const item = list[i];
    if (typeof item !== "number" && typeof item !== "bigint") return false;
  }
  return true;
}
