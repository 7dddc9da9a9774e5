/**
 * What of WebAssembly's JavaScript interface is not V8's: no shared memory, and compiling from responses. The host looks for
 * shared memories in the modules themselves.
 */
import { ObjectCreate, ObjectDefineProperty, ReflectConstruct } from "./internal/primordials.ts";
import { loadPart } from "./internal/parts.ts";

type Namespace = Record<string, unknown> & { Memory: { prototype: object }; CompileError: new (message: string) => Error };

/** In the order in which the standard reads them; what V8 does not know costs nothing. */
const MEMBERS = ["address", "initial", "maximum", "minimum"] as const;
const SHARED =
  "A WebAssembly.Memory cannot be shared here: there are no other threads, and shared memory would make a clock. Leave out `shared`.";

let NativeMemory: { prototype: object };
/** V8's own, whatever the worker makes of the namespace. */
export let CompileError: new (message: string) => Error;

/** Takes each member once, so that no getter says one thing here and another one to V8. */
function Memory(this: unknown, descriptor: unknown): unknown {
  if (new.target === undefined) throw new TypeError("WebAssembly.Memory must be called with `new`.");
  if (typeof descriptor !== "object" && typeof descriptor !== "function") return ReflectConstruct(NativeMemory as never, [descriptor], new.target);
  if (descriptor === null) return ReflectConstruct(NativeMemory as never, [descriptor], new.target);
  const given = descriptor as Record<string, unknown>;
  const taken: Record<string, unknown> = ObjectCreate(null);
  for (let i = 0; i < MEMBERS.length; i++) {
    let value = given[MEMBERS[i]!];
    if (value === undefined) continue;
    // An object becomes a number before the next member is read; sizes of 64 bits are V8's matter.
    if (i > 0 && typeof value === "object" && taken.address !== "i64") value = +(value as unknown as number);
    taken[MEMBERS[i]!] = value;
  }
  if (given.shared) throw new TypeError(SHARED);
  return ReflectConstruct(NativeMemory as never, [taken], new.target);
}

type Streaming = typeof import("./parts/wasm-streaming.ts");

function compileStreaming(source: unknown): Promise<never> {
  return loadPart<Streaming>("wasm-streaming").refuse(source, "compileStreaming");
}

function instantiateStreaming(source: unknown): Promise<never> {
  return loadPart<Streaming>("wasm-streaming").refuse(source, "instantiateStreaming");
}

/** V8 makes the namespace anew when a context leaves the snapshot, so this is done when the worker begins. */
export function installWasm(): void {
  const wasm = (globalThis as { WebAssembly?: Namespace }).WebAssembly;
  if (wasm === undefined || NativeMemory !== undefined) return;
  NativeMemory = wasm.Memory;
  CompileError = wasm.CompileError;
  ObjectDefineProperty(Memory, "name", { value: "Memory", configurable: true });
  ObjectDefineProperty(Memory, "prototype", { value: NativeMemory.prototype, writable: false });
  const hidden = { writable: true, enumerable: false, configurable: true };
  ObjectDefineProperty(NativeMemory.prototype, "constructor", { value: Memory, ...hidden });
  ObjectDefineProperty(wasm, "Memory", { value: Memory, ...hidden });
  const functions: Record<string, Function> = { compileStreaming, instantiateStreaming };
  for (const name in functions) {
    ObjectDefineProperty(functions[name]!, "name", { value: name, configurable: true });
    ObjectDefineProperty(wasm, name, { value: functions[name], writable: true, enumerable: true, configurable: true });
  }
}
