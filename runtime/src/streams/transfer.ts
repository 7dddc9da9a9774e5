/** What transferring and cloning have to do with streams. */
import * as ops from "../host.ts";

/** A copy of a chunk for the other branch of a tee. */
export function structuredCopy(chunk: unknown): unknown {
  return ops.structuredClone(chunk, []);
}
