/** Modules that a worker can import without deploying them, such as `cloudflare:workers`. */
import { loadPart } from "../internal/parts.ts";
import { MapPrototypeGet, MapPrototypeSet, NativeMap } from "../internal/primordials.ts";

/** What gives a module's exports; called once at most. */
const builtins = new NativeMap<string, () => object>();

/** Adds a module whose exports are those of a part. */
export function addBuiltin(specifier: string, part: string): void {
  MapPrototypeSet(builtins, specifier, () => loadPart(part));
}

addBuiltin("cloudflare:workers", "workers");

/** See `Entry.builtin`. The modules are listed for deploys in `crates/model/src/builtin.rs`. */
export function builtin(specifier: string): object | undefined {
  return (MapPrototypeGet(builtins, specifier) as (() => object) | undefined)?.();
}
