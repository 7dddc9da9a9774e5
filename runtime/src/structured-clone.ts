/** `structuredClone`. */
import { ArrayPrototypePush, isArrayBuffer } from "./internal/primordials.ts";
import { requireArguments, toDictionary } from "./internal/webidl.ts";
import { DOMException } from "./dom/exception.ts";
import * as ops from "./host.ts";

export function structuredClone(value: unknown, options?: { transfer?: Iterable<unknown> }): unknown {
  requireArguments(arguments.length, 1, "structuredClone");
  const given = toDictionary<{ transfer: Iterable<unknown> }>(options, "structuredClone options").transfer;
  const transfer: unknown[] = [];
  if (given !== undefined) {
    for (const item of given) {
      if (!isArrayBuffer(item)) throw new DOMException("Only ArrayBuffers can be transferred.", "DataCloneError");
      ArrayPrototypePush(transfer, item);
    }
  }
  try {
    return ops.structuredClone(value, transfer);
  } catch (error) {
    if (error instanceof Error && error.name === "DataCloneError") throw new DOMException(error.message, "DataCloneError");
    throw error;
  }
}
