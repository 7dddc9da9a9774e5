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
  charset: "utf8",
  minifyWhitespace: true,
  minifySyntax: true,
  // Identifiers stay: class and function names are visible to user code.
  minifyIdentifiers: false,
  legalComments: "inline",
  logLevel: "warning",
});
