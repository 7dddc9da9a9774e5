// Runs every case on workerd and on Selvedge and compares what comes back.
// node run.mjs WORKERD API TOKEN SELVEDGE_HTTP
//
// known.json names the cases that differ, each with the reason. A difference that is not there fails, and so does one that
// is there and is gone.
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [workerd, api, token, selvedge] = process.argv.slice(2);
const here = new URL(".", import.meta.url);
const read = (name) => readFileSync(new URL(name, here), "utf8");
const only = process.env.ONLY;

const cases = [];
for (const file of readdirSync(new URL("cases/", here)).filter((file) => file !== "show.mjs")) {
  const area = file.replace(".mjs", "");
  const { default: all } = await import(new URL(`cases/${file}`, here));
  for (const [name, { requests, statusOnly }] of Object.entries(all)) {
    const id = `${area}-${name}`.toLowerCase();
    if (only === undefined || id.startsWith(only)) cases.push({ id, area, name, requests: requests ?? [{}], statusOnly });
  }
}

const main = ({ area, name }) =>
  `import cases from "./${area}.mjs";\nexport default { fetch: (...given) => cases[${JSON.stringify(name)}].fetch(...given) };\n`;

async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.on("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** All cases as services of one workerd; one in front of them picks by host name. */
async function startWorkerd(dir) {
  const port = await freePort();
  const write = (name, text) => writeFileSync(join(dir, name), text);
  write("show.mjs", read("cases/show.mjs"));
  const areas = [...new Set(cases.map(({ area }) => area))];
  for (const area of areas) write(`${area}.mjs`, read(`cases/${area}.mjs`));
  cases.forEach((one, i) => write(`main${i}.mjs`, main(one)));
  write("front.mjs", `export default { fetch: (request, env) => env[new URL(request.url).hostname.split(".")[0]].fetch(request) };`);
  const date = `compatibilityDate = "2026-11-01"`;
  const services = cases.map(
    ({ id, area }, i) => `(name = "${id}", worker = (${date}, modules = [
      (name = "main.mjs", esModule = embed "main${i}.mjs"), (name = "${area}.mjs", esModule = embed "${area}.mjs"),
      (name = "show.mjs", esModule = embed "show.mjs")]))`,
  );
  const bindings = cases.map(({ id }) => `(name = "${id}", service = "${id}")`);
  write(
    "config.capnp",
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "front", worker = (${date}, modules = [(name = "front.mjs", esModule = embed "front.mjs")], bindings = [${bindings.join(", ")}])),
    ${services.join(",\n    ")}],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "front")],
);`,
  );
  const process = spawn(workerd, ["serve", join(dir, "config.capnp")], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  process.stderr.on("data", (chunk) => (said = (said + chunk).slice(-4000)));
  process.on("exit", (code) => code && console.error(`workerd ended with ${code}: ${said}`));
  for (let i = 0; ; i++) {
    const open = await new Promise((resolve) => {
      const socket = net.connect(port, "127.0.0.1", () => (socket.destroy(), resolve(true))).on("error", () => resolve(false));
    });
    if (open) return { process, port };
    if (i > 300) throw new Error(`workerd does not answer: ${said}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function deploy(one) {
  const form = new FormData();
  const part = (name, type, text) => form.append(name, new Blob([text], { type }), name);
  form.append("metadata", new Blob([JSON.stringify({ main_module: "main.mjs", compatibility_date: "2026-11-01" })], { type: "application/json" }));
  part("main.mjs", "application/javascript+module", main(one));
  part(`${one.area}.mjs`, "application/javascript+module", read(`cases/${one.area}.mjs`));
  part("show.mjs", "application/javascript+module", read("cases/show.mjs"));
  const url = `${api}/api/v1/accounts/default/scripts/${one.id}`;
  const answer = await fetch(url, { method: "PUT", body: form, headers: { authorization: `Bearer ${token}` } });
  if (!answer.ok) throw new Error(`${one.id}: ${await answer.text()}`);
}

/** Fields that say nothing about the worker. */
const NOT_COMPARED = ["date", "connection", "keep-alive", "transfer-encoding", "x-request-id", "server", "content-length"];

function ask(port, id, { method = "GET", path = "/", headers = {}, body }) {
  return new Promise((resolve) => {
    const options = { host: "127.0.0.1", port, method, path, headers: { host: `${id}.localhost`, ...headers }, agent: false, timeout: 20_000 };
    if (body !== undefined) options.headers["content-length"] = Buffer.byteLength(body);
    const request = http.request(options, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      const done = (broken) => {
        const fields = {};
        for (const [name, value] of Object.entries(response.headers).sort()) if (!NOT_COMPARED.includes(name)) fields[name] = value;
        resolve({ status: response.statusCode, fields, body: Buffer.concat(chunks).toString("latin1"), broken });
      };
      response.on("end", () => done(false));
      response.on("error", () => done(true));
    });
    request.on("error", (error) => resolve({ status: 0, fields: {}, body: String(error) }));
    request.end(body);
  });
}

const known = JSON.parse(read("known.json"));
const dir = mkdtempSync(join(tmpdir(), "selvedge-differential-"));
const peer = await startWorkerd(dir);
let [compared, failed] = [0, 0];
try {
  const port = Number(selvedge.split(":").pop());
  const queue = [...cases];
  const work = async () => {
    for (let one = queue.shift(); one !== undefined; one = queue.shift()) {
      let difference;
      try {
        await deploy(one);
        for (const request of one.requests) {
          const [theirs, ours] = await Promise.all([ask(peer.port, one.id, request), ask(port, one.id, request)]);
          const shown = ({ status, fields, body, broken }) => (one.statusOnly ? status : JSON.stringify([status, fields, body, broken]));
          if (shown(theirs) !== shown(ours)) difference ??= [shown(theirs), shown(ours)];
        }
      } catch (error) {
        difference = ["", String(error)];
      }
      compared += 1;
      const expected = one.id in known;
      if (expected === (difference !== undefined)) continue;
      failed += 1;
      if (expected) console.log(`${one.id}: no longer differs; take it out of known.json`);
      else console.log(`${one.id}\n  workerd:  ${String(difference[0]).slice(0, 1500)}\n  selvedge: ${String(difference[1]).slice(0, 1500)}`);
    }
  };
  await Promise.all([work(), work(), work(), work()]);
} finally {
  peer.process.kill();
  rmSync(dir, { recursive: true, force: true });
}
console.log(`${compared} modules compared, ${Object.keys(known).length} known differences, ${failed} surprises`);
process.exitCode = failed > 0 || (only === undefined && compared < 150) ? 1 : 0;
