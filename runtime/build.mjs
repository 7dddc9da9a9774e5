// Bundles src/main.ts into one classic script, `runtime.js`, in $OUT_DIR.
import { build } from "esbuild";
import { fileURLToPath } from "node:url";
import { resolve } from "node:path";

const here = fileURLToPath(new URL(".", import.meta.url));

await build({
  absWorkingDir: here,
  entryPoints: ["src/main.ts"],
  outfile: resolve(process.env.OUT_DIR ?? resolve(here, "../target/runtime"), "runtime.js"),
  bundle: true,
  format: "iife",
  platform: "neutral",
  mainFields: ["module", "main"],
  target: "es2024",
  // ASCII: one other character would double the size of the source in every isolate's memory.
  charset: "ascii",
  minifyWhitespace: true,
  minifySyntax: true,
  // Each isolate holds the source. Names that user code can see are set where things are exposed.
  minifyIdentifiers: true,
  legalComments: "inline",
  logLevel: "warning",
});
