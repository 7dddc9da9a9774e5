/** The module `cloudflare:workers`. */
import { activeContext } from "../worker/context.ts";
import { environment } from "../worker/init.ts";
import { loopback } from "../worker/service.ts";
import { loadPart } from "../internal/parts.ts";
import { ObjectDefineProperty } from "../internal/primordials.ts";
import * as ops from "../host.ts";

export { DurableObject, RpcTarget, WorkerEntrypoint, WorkflowEntrypoint } from "../worker/entrypoint.ts";

export const env = environment;
export const exports = loopback();

/** `ctx.waitUntil` of the request that is handled now. */
export function waitUntil(promise: unknown): void {
  const context = activeContext(ops.currentRequest());
  if (context === undefined) throw new Error("waitUntil is possible only while a request or schedule is handled.");
  context.waitUntil(promise);
}

/** A stub of something of one's own, as another worker would get it. */
export class RpcStub {
  constructor(target: unknown) {
    // biome-ignore lint: what remote things look like is not a class's business.
    return loadPart<typeof import("./rpc.ts")>("rpc").newStub(target);
  }
}
ObjectDefineProperty(RpcStub, "name", { value: "RpcStub", configurable: true });
