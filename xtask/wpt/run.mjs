// Runs web-platform-tests against a `selvedge`: `cargo xtask wpt`, or node run.mjs --selvedge EXECUTABLE --suite PATH.
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { AREAS, inapplicable, NO_DOCUMENT, skipOf } from "./areas.mjs";
import { bundle, forWorkers, testsBelow } from "./bundle.mjs";
import { startOrigin } from "./origin.mjs";
import { expectedOf, summarize, surprises, writeExpectations, writePage } from "./report.mjs";
import { startSelvedge } from "./server.mjs";

const { values: options } = parseArgs({
  options: {
    selvedge: { type: "string" },
    suite: { type: "string" },
    area: { type: "string", multiple: true },
    filter: { type: "string" },
    jobs: { type: "string", default: "4" },
    update: { type: "boolean", default: false },
    verbose: { type: "boolean", default: false },
  },
});
if (!options.selvedge || !options.suite) {
  console.error("usage: --suite PATH [--area AREA]… [--filter REGEXP] [--jobs N] [--update] [--verbose]");
  process.exit(2);
}
const suite = fs.realpathSync(options.suite);
const names = options.area ?? Object.keys(AREAS);
for (const name of names) {
  if (!Object.hasOwn(AREAS, name)) {
    console.error(`no area ${name}; there are ${Object.keys(AREAS).join(", ")}`);
    process.exit(2);
  }
}
if (options.update && options.filter) {
  console.error("--update writes whole areas; leave --filter out.");
  process.exit(2);
}

const PASS = 0;
/** A subtest says itself that it is about an optional feature that is absent. */
const NOT_APPLICABLE = 4;

/** How often a test is run again with the modules that it made in the run before. */
const UPLOADS_MAX = 4;

/** What one test gave: `{tests: [[name, passed, message], …]}`. */
async function run(server, origin, test, name, digits = [], uploads = 0) {
  const failed = (message) => ({ tests: [["(whole file)", false, message]] });
  let answer;
  try {
    const { code, milliseconds } = bundle(suite, test, origin.addresses, digits);
    answer = await server.once(name, code, milliseconds + 10_000, digits);
  } catch (error) {
    return failed(error.message);
  }
  let result;
  try {
    result = JSON.parse(answer.body);
  } catch {
    return failed(`${answer.status} ${answer.body}`);
  }
  if (answer.status !== 200) return failed(`${answer.status} ${result.error?.message}`);
  const missing = (result.missing ?? []).filter((key) => WebAssembly.validate(Buffer.from(key, "hex")));
  if (missing.length > 0 && uploads < UPLOADS_MAX) {
    return run(server, origin, test, name, [...new Set([...digits, ...missing])], uploads + 1);
  }
  const tests = result.tests
    .filter(([title, status]) => status !== NOT_APPLICABLE && inapplicable(test.id, title) === undefined)
    .map(([title, status, message]) => [title, status === PASS, message ?? ["", "", "timed out", "not run"][status]]);
  if (result.status === 1 || (result.tests.length === 0 && result.status !== 3)) tests.push(["(whole file)", false, result.message ?? "no result"]);
  return { tests };
}

/** Calls `work` for each item, so many at a time. */
async function inParallel(items, count, work) {
  const rest = items.slice();
  const worker = async () => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: count }, worker));
}

const commit = execFileSync("git", ["-C", suite, "log", "-1", "--format=%h of %cs"]).toString().trim();
const origin = await startOrigin(suite);
const server = await startSelvedge(options.selvedge, [...origin.addresses.ports.http, ...origin.addresses.ports.ws]);
const filter = new RegExp(options.filter ?? "");
let regressions = 0;
let serial = 0;
for (const area of names) {
  const started = Date.now();
  const skipped = {};
  const tests = AREAS[area].roots.flatMap((root) => testsBelow(suite, root)).filter((test) => {
    if (!filter.test(test.id)) return false;
    const source = fs.readFileSync(path.join(suite, test.file), "utf8");
    const reason = skipOf(area, test.id) ?? (forWorkers(source) ? undefined : NO_DOCUMENT);
    if (reason !== undefined) skipped[reason] = (skipped[reason] ?? 0) + 1;
    return reason === undefined;
  });
  const expected = expectedOf(area);
  const found = new Map();
  const attempt = async (test) => found.set(test.id, await run(server, origin, test, `t${++serial}`));
  await inParallel(tests, Number(options.jobs), attempt);
  // What failed unexpectedly gets a second chance alone: the machine may have been busy.
  for (const test of tests) {
    const first = found.get(test.id);
    if (surprises(expected, test.id, first).length > 0 && first.tests.some(([, , message]) => /time|not run|no answer/.test(message ?? ""))) {
      await attempt(test);
    }
  }
  const results = new Map(tests.map((test) => [test.id, found.get(test.id)]));
  const summary = summarize(commit, results, skipped);
  for (const [id, result] of results) {
    const news = options.verbose ? result.tests.filter(([, passed]) => !passed) : surprises(expected, id, result);
    regressions += surprises(expected, id, result).length;
    if (options.update && !options.verbose) continue;
    for (const [title, , message] of news) console.log(`${id} | ${title}\n    ${String(message).split("\n")[0]}`);
  }
  const better = expected !== undefined && options.filter === undefined && summary.passed > expected.passed;
  const seconds = ((Date.now() - started) / 1000).toFixed(0);
  console.log(
    `${area}: ${summary.passed} of ${summary.tests} passed in ${summary.files} files, ${seconds} s` +
      (better ? `; more than the ${expected.passed} expected, write them down with --update` : ""),
  );
  if (options.update) writeExpectations(area, summary);
}
await server.stop();
origin.stop();
if (options.update) writePage();
else if (regressions > 0) console.error(`${regressions} failures are not in xtask/wpt/expectations`);
process.exit(options.update || regressions === 0 ? 0 : 1);
