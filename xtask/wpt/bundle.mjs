// Makes one worker out of a test, its `META` scripts and testharness.js.
import fs from "node:fs";
import path from "node:path";
import { substitute } from "./substitute.mjs";

/** Served under a second name by the suite's own server. */
const ALIASES = { "resources/WebIDLParser.js": "resources/webidl2/lib/webidl2.js" };

/** What is fine in scripts and throws in modules, such as assignments to getters: `[file, from, to]`. */
const SLOPPY = [
  ["fetch/api/request/request-structure.any.js", /(\w+)\[(\w+)\] = (\w+);/g, "Reflect.set($1, $2, $3);"],
  ["wasm/jsapi/constructor/instantiate-bad-imports.any.js", /\.\.\.arguments/g, "...rest"],
  ["wasm/jsapi/instance/constructor-bad-imports.any.js", /\.\.\.arguments/g, "...rest"],
  ["wasm/jsapi/jspi/rejects.any.js", /$/, "\nvar tag_index;"],
];

/**
 * There is no shared memory, and files that make some before their tests would have none. What they test with it is not
 * counted.
 */
const SHARED = [/sabConstructor = null;/, "sabConstructor = class SharedArrayBuffer extends ArrayBuffer {};"];

const ADAPTER = fs.readFileSync(new URL("./adapter.js", import.meta.url), "utf8");
/** What tests get to run, milliseconds; `META: timeout=long` triples it. */
const TIMEOUT = 10_000;

/** The `// META: key=value` lines of a test: `[[key, value], …]`. */
export function metaOf(source) {
  const found = [];
  for (const line of source.split("\n")) {
    const match = /^\/\/ META:\s*(\w+)=(.*?)\s*$/.exec(line);
    if (match !== null) found.push([match[1], match[2]]);
    else if (line.trim() !== "" && !line.startsWith("//")) break;
  }
  return found;
}

/** All tests in a directory of the suite that may run in a worker: `[{file, variant, id}]`. */
export function testsBelow(suite, root) {
  const tests = [];
  const walk = (dir) => {
    for (const entry of fs.readdirSync(path.join(suite, dir), { withFileTypes: true })) {
      const file = `${dir}/${entry.name}`;
      if (entry.isDirectory()) walk(file);
      else if (/\.(any|worker)\.js$/.test(entry.name)) {
        const variants = metaOf(fs.readFileSync(path.join(suite, file), "utf8")).filter(([key]) => key === "variant");
        for (const variant of variants.length === 0 ? [""] : variants.map(([, value]) => value)) {
          tests.push({ file, variant, id: file + variant });
        }
      }
    }
  };
  if (fs.existsSync(path.join(suite, root))) walk(root);
  return tests.sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** Whether the test says that it is for a kind of global that a worker here resembles. */
export function forWorkers(source) {
  const globals = metaOf(source).filter(([key]) => key === "global").flatMap(([, value]) => value.split(","));
  if (globals.length === 0) return true;
  const wanted = globals.map((name) => name.trim());
  return wanted.some((name) => /^(worker|dedicatedworker.*|serviceworker.*|sharedworker.*|jsshell|shadowrealm.*)$/.test(name)) ||
    wanted.length > 1;
}

/**
 * Names that the scripts assign and nobody declares. That makes them globals in scripts, but modules are strict: there they
 * must exist before.
 */
function undeclared(source) {
  const names = new Set();
  for (const [, name] of source.matchAll(/(?:^|[;{(])\s*([A-Za-z_$][\w$]*)\s*=(?![=>])/gm)) names.add(name);
  for (const [, name] of source.matchAll(/for\s*\(\s*([A-Za-z_$][\w$]*)\s+(?:in|of)\s/g)) names.add(name);
  const declared = (name) => new RegExp(`\\b(?:var|let|const|function|class)\\s+${name.replaceAll("$", "\\$&")}\\b`).test(source);
  return [...names].filter((name) => !declared(name) && !/^(self|window|this|on\w+)$/.test(name));
}

/** Functions that scripts declare at their top; in a browser these are properties of the global object. */
function declaredFunctions(source) {
  return [...new Set([...source.matchAll(/^(?:async\s+)?function\s*\*?\s*([A-Za-z_$][\w$]*)\s*\(/gm)].map(([, name]) => name))];
}

/** The expressions that a test has idlharness.js evaluate, as functions: there is no eval. */
function evaluated(source) {
  const cases = [];
  for (const [, block] of source.matchAll(/add_objects\(\{([\s\S]*?)\n\s*\}\)/g)) {
    for (const [literal] of block.matchAll(/"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/g)) {
      const expression = literal.slice(1, -1).replace(/\\(.)/g, "$1");
      cases.push(`${JSON.stringify(expression)}: () => (${expression}),`);
    }
  }
  return `const __expressions = { ${cases.join("\n")} };`;
}

/** The worker's main module and how long its test may take; `digits` are the WebAssembly modules uploaded with it, as hexadecimal digits. */
export function bundle(suite, test, addresses, digits = []) {
  const read = (file) => {
    const text = fs.readFileSync(path.join(suite, ALIASES[file] ?? file), "utf8");
    if (file === "common/sab.js") return text.replace(...SHARED);
    return /\.sub\./.test(file) ? substitute(text, addresses, {}) : text;
  };
  const resolve = (name) => (name.startsWith("/") ? name.slice(1) : path.posix.join(path.posix.dirname(test.file), name));
  const source = SLOPPY.reduce(
    (text, [file, from, to]) => (file === test.file ? text.replace(from, to) : text),
    read(test.file),
  );
  const meta = metaOf(source);
  const scripts = meta.filter(([key]) => key === "script").map(([, value]) => resolve(value));
  if (test.file.endsWith(".worker.js")) {
    for (const [call] of source.matchAll(/importScripts\([^)]*\)/g)) {
      for (const [, name] of call.matchAll(/["']([^"']+)["']/g)) scripts.push(resolve(name));
    }
  }
  const wanted = [...new Set(scripts)].filter((file) => !/^resources\/testharness(report)?\.js$/.test(file));
  const idl = wanted.includes("resources/idlharness.js");
  const long = meta.some(([key, value]) => key === "timeout" && value === "long");
  const milliseconds = TIMEOUT * (long ? 3 : 1);
  const page = test.file.replace(/\.any\.js$/, ".any.worker.html").replace(/\.worker\.js$/, ".worker.html");
  const href = `http://${addresses.host}:${addresses.ports.http[0]}/${page}${test.variant}`;
  const title = meta.find(([key]) => key === "title")?.[1];
  const bodies = wanted.map((file) =>
    file === "resources/idlharness.js" ? read(file).replace(/\beval\((\w+)\)/g, "(__expressions[$1]())") : read(file),
  );
  const all = [...bodies, source].join("\n");
  const loose = undeclared(all);
  const functions = declaredFunctions(all);
  const code = [
    ...digits.map((_, i) => `import __module${i} from "./module${i}.wasm";`),
    ADAPTER,
    "export default { async fetch() {",
    `__adapt(${JSON.stringify(href)});`,
    title === undefined ? "" : `globalThis.META_TITLE = ${JSON.stringify(title)};`,
    // Where it finds the scope of a worker, the harness would wait for its page or for an event `install`.
    'const __scopes = ["WorkerGlobalScope", "ServiceWorkerGlobalScope"].map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);',
    "for (const [name] of __scopes) delete globalThis[name];",
    `(function () {${read("resources/testharness.js")}\n}).call(globalThis);`,
    "for (const [name, scope] of __scopes) if (scope !== undefined) Object.defineProperty(globalThis, name, scope);",
    `for (const name of ${JSON.stringify(loose)}) if (!(name in globalThis)) globalThis[name] = undefined;`,
    idl ? "__pretendWorkerScope();" : "",
    /^wasm\//.test(test.file) ? `__uploadedModules({ ${digits.map((key, i) => `"${key}": __module${i}`).join(", ")} });` : "",
    "const NativeResponse = Response;",
    "return new NativeResponse(await __collect(() => (function () {",
    ...functions.map((name) => `if (typeof ${name} === "function" && !(${JSON.stringify(name)} in globalThis)) globalThis.${name} = ${name};`),
    idl ? evaluated(source) : "",
    ...wanted.map((file, i) => `/* ${file} */\n${bodies[i]}\n;`),
    `/* ${test.file} */\n${source}`,
    `\n}).call(globalThis), ${milliseconds}));`,
    "} };",
  ];
  return { code: code.join("\n"), milliseconds };
}
