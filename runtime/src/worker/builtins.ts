/** Modules that a worker can import without deploying them, such as `cloudflare:workers`. */
import { loadPart } from "../internal/parts.ts";
import {
  MapPrototypeForEach,
  MapPrototypeGet,
  MapPrototypeSet,
  NativeMap,
  ObjectCreate,
  ObjectDefineProperty,
  ObjectKeys,
} from "../internal/primordials.ts";

/** What gives a module's exports; called once at most. */
const builtins = new NativeMap<string, () => object>();

/** Adds a module whose exports are those of a part. */
export function addBuiltin(specifier: string, part: string): void {
  MapPrototypeSet(builtins, specifier, () => loadPart(part));
}

addBuiltin("cloudflare:workers", "workers");
addBuiltin("cloudflare:sockets", "sockets");
/** What parts of Node's modules export: by the names of the modules, what `require` gives. */
interface NodePart {
  readonly modules: Record<string, object>;
}

const namespaces = new NativeMap<string, object>();

/** Adds a module of Node's: its value is the default export, the value's properties are the named ones. */
function addNode(specifier: string, part: string): void {
  MapPrototypeSet(builtins, specifier, () => {
    const known = MapPrototypeGet(namespaces, specifier) as object | undefined;
    if (known !== undefined) return known;
    const value = loadPart<NodePart>(part).modules[specifier] as Record<string, unknown>;
    const namespace = ObjectCreate(null) as object;
    const keys = ObjectKeys(value) as string[];
    for (let i = 0; i < keys.length; i++) {
      if (keys[i] !== "default") define(namespace, keys[i]!, value[keys[i]!]);
    }
    define(namespace, "default", value);
    MapPrototypeSet(namespaces, specifier, namespace);
    return namespace;
  });
}

function define(target: object, name: string, value: unknown): void {
  ObjectDefineProperty(target, name, { value, writable: true, enumerable: true, configurable: true });
}

// Which of them a worker may have says the host, by its compatibility flags.
addNode("node:assert", "node-assert");
addNode("node:assert/strict", "node-assert");
addNode("node:async_hooks", "node-async-hooks");
addNode("node:buffer", "node-buffer");
addNode("node:console", "node-console");
addNode("node:constants", "node-os");
addNode("node:crypto", "node-crypto");
addNode("node:diagnostics_channel", "node-diagnostics");
addNode("node:events", "node-events");
addNode("node:http", "node-http");
addNode("node:https", "node-http");
addNode("node:module", "node-module");
addNode("node:net", "node-net");
addNode("node:os", "node-os");
addNode("node:path", "node-path");
addNode("node:path/posix", "node-path");
addNode("node:path/win32", "node-path");
addNode("node:perf_hooks", "node-diagnostics");
addNode("node:process", "node-process");
addNode("node:punycode", "node-punycode");
addNode("node:querystring", "node-querystring");
addNode("node:stream", "node-stream");
addNode("node:stream/consumers", "node-stream");
addNode("node:stream/promises", "node-stream");
addNode("node:stream/web", "node-web");
addNode("node:string_decoder", "node-string-decoder");
addNode("node:sys", "node-util");
addNode("node:timers", "node-timers");
addNode("node:timers/promises", "node-timers");
addNode("node:tls", "node-net");
addNode("node:url", "node-url");
addNode("node:util", "node-util");
addNode("node:util/types", "node-util");
addNode("node:worker_threads", "node-web");
addNode("node:zlib", "node-zlib");

/** See `Entry.builtin`. The modules are listed for deploys in `crates/model/src/builtin.rs`. */
export function builtin(specifier: string): object | undefined {
  return (MapPrototypeGet(builtins, specifier) as (() => object) | undefined)?.();
}

/** The names of Node's modules without `node:`. */
export function nodeModules(): string[] {
  const names: string[] = [];
  MapPrototypeForEach(builtins, (_: unknown, name: string) => {
    if (name.startsWith("node:")) names.push(name.slice(5));
  });
  return names;
}
