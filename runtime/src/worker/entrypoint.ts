/** The classes that workers extend: entry points, and objects that are called from afar. */
import { ObjectDefineProperty } from "../internal/primordials.ts";

let isEntrypoint: (value: unknown) => boolean;
let isTarget: (value: unknown) => boolean;

/** A property of its own, so that nobody reaches it from afar. */
function own(target: object, name: string, value: unknown): void {
  ObjectDefineProperty(target, name, { value, writable: true, enumerable: true, configurable: true });
}

/** One is made for each call. */
export class WorkerEntrypoint {
  #brand = true;

  constructor(ctx: unknown, env: unknown) {
    own(this, "ctx", ctx);
    own(this, "env", env);
  }

  static {
    isEntrypoint = (value) => typeof value === "object" && value !== null && #brand in value && value.#brand;
  }
}

/** An object whose methods are called from afar instead of it being copied. */
export class RpcTarget {
  #brand = true;

  static {
    isTarget = (value) => typeof value === "object" && value !== null && #brand in value && value.#brand;
  }
}

/** To be extended only: nothing makes an instance here. */
export class DurableObject {
  constructor(ctx: unknown, env: unknown) {
    own(this, "ctx", ctx);
    own(this, "env", env);
  }
}

/** To be extended only: nothing makes an instance here. */
export class WorkflowEntrypoint {
  constructor(ctx: unknown, env: unknown) {
    own(this, "ctx", ctx);
    own(this, "env", env);
  }
}

const classes: Record<string, Function> = { WorkerEntrypoint, RpcTarget, DurableObject, WorkflowEntrypoint };
for (const name in classes) ObjectDefineProperty(classes[name], "name", { value: name, configurable: true });

/** What calls from afar never reach beyond. */
export const entrypointPrototype: object = WorkerEntrypoint.prototype;
export const targetPrototype: object = RpcTarget.prototype;

export { isEntrypoint, isTarget };
