// Expectations, and docs/conformance.md.
import fs from "node:fs";
import path from "node:path";
import { AREAS, INAPPLICABLE, reasonOf } from "./areas.mjs";

/** Beyond so many names of one test and reason, their number stands for them. */
const NAMES_MAX = 30;
const HERE = path.dirname(new URL(import.meta.url).pathname);
const DIRECTORY = path.join(HERE, "expectations");
const PAGE = path.join(HERE, "../../docs/conformance.md");

const fileOf = (area) => path.join(DIRECTORY, `${area.replaceAll("/", "-")}.json`);

/** Failures of a test by reason: `{reason: [name, …] | number}`. */
function grouped(id, result) {
  const groups = {};
  for (const [name, passed] of result.tests) if (!passed) (groups[reasonOf(id, name)] ??= []).push(name);
  for (const reason in groups) if (groups[reason].length > NAMES_MAX) groups[reason] = groups[reason].length;
  return groups;
}

/** `{suite, tests, passed, files, skipped: {reason: files}, fail: {id: {reason: names}}}`, or undefined. */
export function expectedOf(area) {
  return fs.existsSync(fileOf(area)) ? JSON.parse(fs.readFileSync(fileOf(area), "utf8")) : undefined;
}

export function summarize(suite, results, skipped) {
  const summary = { suite, files: results.size, tests: 0, passed: 0, skipped, fail: {} };
  for (const [id, result] of results) {
    summary.tests += result.tests.length;
    summary.passed += result.tests.filter(([, passed]) => passed).length;
    const groups = grouped(id, result);
    if (Object.keys(groups).length > 0) summary.fail[id] = groups;
  }
  return summary;
}

/** Failures of a test that are not expected. */
export function surprises(expected, id, result) {
  const groups = expected?.fail[id] ?? {};
  const known = new Set(Object.values(groups).filter(Array.isArray).flat());
  let free = Object.values(groups).filter((group) => typeof group === "number").reduce((sum, n) => sum + n, 0);
  return result.tests.filter(([name, passed]) => !passed && !known.has(name) && --free < 0);
}

export function writeExpectations(area, summary) {
  fs.mkdirSync(DIRECTORY, { recursive: true });
  fs.writeFileSync(fileOf(area), `${JSON.stringify(summary, null, 1)}\n`);
}

const percent = ({ passed, tests }) => (tests === 0 ? "–" : `${(Math.floor((passed / tests) * 1000) / 10).toFixed(1)} %`);
const countOf = (group) => (typeof group === "number" ? group : group.length);

export function writePage() {
  const areas = Object.keys(AREAS).map((area) => [area, expectedOf(area)]).filter(([, summary]) => summary !== undefined);
  const total = { tests: 0, passed: 0, files: 0 };
  for (const [, summary] of areas) for (const key in total) total[key] += summary[key];
  const lines = [
    "# Conformance",
    "",
    "How the runtime does in web-platform-tests, those that run in workers (`.any.js`, `.worker.js`). Written by",
    "`cargo xtask wpt --suite PATH --update`; what fails by name stands in `xtask/wpt/expectations/`, and a failure that does",
    "not stand there fails the run. Tests run on a real server, each as a worker of its own. Relative URLs are resolved by the",
    "harness, since a worker has no location. The HTTP front: [conformance-http.md](conformance-http.md).",
    "",
    `Suite: web-platform-tests ${[...new Set(areas.map(([, summary]) => summary.suite))].join(", ")}.`,
    "",
    "| area | files | tests | passed | |",
    "|---|--:|--:|--:|--:|",
    ...areas.map(([area, s]) => `| ${area} | ${s.files} | ${s.tests} | ${s.passed} | ${percent(s)} |`),
    `| **all** | ${total.files} | ${total.tests} | ${total.passed} | ${percent(total)} |`,
    "",
    "## What fails",
    "",
  ];
  for (const [area, summary] of areas) {
    const reasons = {};
    for (const [id, groups] of Object.entries(summary.fail)) {
      for (const [reason, group] of Object.entries(groups)) (reasons[reason] ??= []).push(`\`${id}\` ${countOf(group)}`);
    }
    if (Object.keys(reasons).length === 0) continue;
    lines.push(`### ${area}`, "");
    for (const reason of Object.keys(reasons).sort()) lines.push(`- **${reason}**: ${reasons[reason].join(", ")}`);
    lines.push("");
  }
  lines.push("## What does not apply", "", "Test files that are not run, by reason:", "");
  const skipped = {};
  for (const [area, summary] of areas) {
    for (const [reason, count] of Object.entries(summary.skipped)) (skipped[reason] ??= []).push(`${area} ${count}`);
  }
  for (const reason of Object.keys(skipped).sort()) lines.push(`- ${reason}: ${skipped[reason].join(", ")}`);
  const single = [...new Set(INAPPLICABLE.map(([, , reason]) => reason))].sort();
  lines.push("", "Single tests of other files are left out for these reasons (`INAPPLICABLE` in `xtask/wpt/areas.mjs`):", "");
  for (const reason of single) lines.push(`- ${reason}`);
  fs.writeFileSync(PAGE, `${lines.join("\n")}\n`);
}
