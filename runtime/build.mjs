// Bundles the runtime into `runtime.pack` in $OUT_DIR: the core (src/main.ts and all it imports), which becomes the
// startup snapshot, and each part (src/parts/*.ts), which an isolate evaluates when it first needs it.
//
// A part imports the core's modules like any others; the build turns those imports into references to the core's own
// instances. The pack is a row of entries: length and bytes of the name, length and bytes of the script (u32, little endian).
import { build } from "esbuild";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { basename, dirname, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const source = resolve(here, "src");
const out = process.env.OUT_DIR ?? resolve(here, "../target/runtime");

const options = {
  absWorkingDir: here,
  bundle: true,
  write: false,
  metafile: true,
  format: "iife",
  platform: "neutral",
  mainFields: ["module", "main"],
  target: "es2024",
  // ASCII: V8 keeps one byte a character then, and takes the text from the mapped pack without a copy.
  charset: "ascii",
  // Names that user code can see are set where things are exposed.
  minify: true,
  legalComments: "inline",
  logLevel: "warning",
};

/** Files of `src` that are in the core. */
const core = new Set(
  Object.keys((await build({ ...options, entryPoints: ["src/main.ts"] })).metafile.inputs).map((file) => resolve(here, file)),
);
/** Modules of the core that parts use, by their path under `src`. */
const shared = new Set();

/** In a part, what belongs to the core is looked up there. */
const fromCore = {
  name: "from-core",
  setup({ onResolve, onLoad, resolve: find }) {
    onResolve({ filter: /^\./ }, async ({ path, importer, resolveDir, kind, pluginData }) => {
      if (pluginData === "found" || !importer.startsWith(source)) return undefined;
      const found = await find(path, { importer, resolveDir, kind, pluginData: "found" });
      if (found.errors.length > 0 || !core.has(found.path)) return found;
      const name = relative(source, found.path);
      shared.add(name);
      return { path: name, namespace: "core" };
    });
    onLoad({ filter: /.*/, namespace: "core" }, ({ path }) => ({
      contents: `module.exports = __core[${JSON.stringify(path)}];`,
    }));
  },
};

/**
 * In a part, a module of Node is what the runtime itself provides under that name: one `EventEmitter` for all. Packages
 * ask for it with or without `node:`, or with a slash at the end to mean a copy of it.
 */
const fromNode = {
  name: "from-node",
  setup({ onResolve, onLoad }) {
    const names = [...readFileSync(resolve(source, "worker/builtins.ts"), "utf8").matchAll(/"node:([a-z_/]+)"/g)].map((m) => m[1]);
    onResolve({ filter: new RegExp(`^(node:)?(${names.join("|")})/?$`) }, ({ path }) => {
      shared.add("worker/builtins.ts");
      return { path: `node:${path.replace(/^node:|\/$/g, "")}`, namespace: "node" };
    });
    // The old `url` package wants a parser of query strings only.
    onResolve({ filter: /^qs$/ }, () => ({ path: "node:querystring", namespace: "node" }));
    // A worker has no `Atomics`, whose functions this package takes in store without a use for them.
    onLoad({ filter: /node-inspect-extracted\/dist\/inspect\.js$/ }, ({ path }) => {
      const text = readFileSync(path, "utf8");
      if (!text.includes('["Atomics",')) throw new Error("node-inspect-extracted has changed: see whether it needs Atomics");
      return { contents: text.replace('["Atomics",', "[") };
    });
    onLoad({ filter: /.*/, namespace: "node" }, ({ path }) => ({
      contents: `module.exports = __core["worker/builtins.ts"].builtin(${JSON.stringify(path)}).default;`,
    }));
  },
};

const entries = [];
const parts = resolve(source, "parts");
/** Which part each file outside the core went into. */
const homes = new Map();
for (const file of (existsSync(parts) ? readdirSync(parts) : []).filter((file) => file.endsWith(".ts")).sort()) {
  const name = basename(file, ".ts");
  const result = await build({
    ...options,
    entryPoints: [`src/parts/${file}`],
    plugins: [fromNode, fromCore],
    globalName: "__part",
    // Node's classes and functions show their names.
    keepNames: name.startsWith("node-"),
    define: { global: "globalThis" },
  });
  for (const input of Object.keys(result.metafile.inputs)) {
    if (!input.startsWith("src/") || dirname(input) === "src/internal") continue;
    if (homes.has(input)) {
      // Two copies of a class or of a table are two different things.
      throw new Error(`${input} is in the parts ${homes.get(input)} and ${name}: keep it in one, reached by loadPart`);
    }
    homes.set(input, name);
  }
  // The worker's code has run when a part does. Ours, and what the bundler adds, finds `Object` as it was before;
  // other people's code may compare with the real one.
  const foreign = Object.keys(result.metafile.inputs).some((input) => input.includes("node_modules/"));
  const head = foreign ? "" : "const Object=__core.Object;";
  entries.push([name, `(function(__core){${head}${result.outputFiles[0].text}return __part})`]);
}

/**
 * What a module of the core exports, as an object for the parts. Values, for getters would be a function each in every
 * isolate; but what may change after the core has run is read anew.
 */
async function exportsOf(name, index) {
  const file = `src/${name}`;
  const { metafile } = await build({ ...options, format: "esm", entryPoints: [file] });
  const names = Object.values(metafile.outputs)[0].exports;
  const changing = new Set(
    [...readFileSync(resolve(here, file), "utf8").matchAll(/^(?:export let (\w+)|let (\w+)[^;\n]* = )/gm)].map((m) => m[1] ?? m[2]),
  );
  const local = (exported) => `m${index}_${exported}`;
  const imports = `import { ${names.map((exported) => `${exported} as ${local(exported)}`).join(", ")} } from ${JSON.stringify(`./${name}`)};`;
  const fields = names.map((exported) =>
    changing.has(exported) ? `get ${exported}() { return ${local(exported)}; }` : `${exported}: ${local(exported)}`,
  );
  return { imports, entry: `${JSON.stringify(name)}: { __proto__: null, ${fields.join(", ")} }` };
}

const modules = await Promise.all([...shared].sort().map(exportsOf));
const main = await build({
  ...options,
  stdin: {
    contents: [
      ...modules.map(({ imports }) => imports),
      `import { setCore } from "./internal/parts.ts";`,
      `import "./main.ts";`,
      `setCore({ __proto__: null, ${modules.map(({ entry }) => entry).join(", ")} });`,
    ].join("\n"),
    resolveDir: source,
    sourcefile: "core.ts",
  },
});
entries.unshift(["runtime", main.outputFiles[0].text]);

const pack = [];
for (const [name, text] of entries) {
  for (const bytes of [Buffer.from(name), Buffer.from(text)]) {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    pack.push(length, bytes);
  }
}
mkdirSync(out, { recursive: true });
writeFileSync(resolve(out, "runtime.pack"), Buffer.concat(pack));
// The tests run the core by itself.
writeFileSync(resolve(out, "runtime.js"), entries[0][1]);
