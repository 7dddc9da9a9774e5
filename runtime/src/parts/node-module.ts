/** `node:module`: `require` of what the runtime provides; there are no files to load modules from. */
import { coded, wrongType } from "../internal/node-errors.ts";
import { builtin, nodeModules } from "../worker/builtins.ts";

const bare = (id: string) => id.replace(/^node:/, "").replace(/\/$/, "");
const isBuiltin = (id: unknown) => typeof id === "string" && nodeModules().includes(bare(id));

function load(id: unknown): unknown {
  if (typeof id !== "string") throw wrongType("id", "of type string", id);
  if (isBuiltin(id)) return (builtin(`node:${bare(id)}`) as { default: unknown }).default;
  throw coded(
    new Error(`Cannot find module '${id}': workers can require only those modules of Node that the runtime provides; bundle packages into the worker.`),
    "MODULE_NOT_FOUND",
  );
}

function createRequire(path: unknown): Function {
  if (typeof path !== "string" && typeof (path as { href?: unknown })?.href !== "string") {
    throw wrongType("filename", "of type string or an instance of URL", path);
  }
  const require = (id: unknown) => load(id);
  return Object.assign(require, {
    resolve: (id: unknown) => {
      load(id);
      return id;
    },
    cache: Object.create(null) as object,
    main: undefined,
  });
}

const module = {
  createRequire,
  isBuiltin,
  get builtinModules() {
    return nodeModules();
  },
};

export const modules = { "node:module": module };
