/** How `console` shows what is more than text. */
import { describeInterfaces } from "../console/interfaces.ts";

export { format } from "../console/format.ts";
export { inspect } from "../console/inspect.ts";
export { formatTable } from "../console/table.ts";

describeInterfaces();
