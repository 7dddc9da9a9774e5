// A running `selvedge` with data of its own, and workers on it for as long as one test takes.
import { spawn } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import readline from "node:readline";

/** Generous: what is measured is behaviour, and several tests share a processor. */
const LIMITS = { cpu_ms: 60_000, cpu_burst_ms: 60_000, wall_ms: 60_000, subrequests: 1000 };

export async function startSelvedge(executable, ports) {
  const data = fs.mkdtempSync(path.join(os.tmpdir(), "selvedge-wpt-"));
  const allowed = ports.flatMap((port) => [`"localhost:${port}"`, `"127.0.0.1:${port}"`]);
  const settings = path.join(data, "settings.toml");
  fs.writeFileSync(settings, `[engine]\negress_allow = [${allowed.join(", ")}]\n`);
  const options = ["up", "--json", "--http=127.0.0.1:0", "--admin=127.0.0.1:0", "--access-log=off", "--data", data, "--config", settings];
  const child = spawn(executable, options, { stdio: ["ignore", "pipe", "pipe"] });
  let complaints = "";
  child.stderr.on("data", (chunk) => (complaints = (complaints + chunk).slice(-4000)));
  const line = await new Promise((resolve) => {
    readline.createInterface({ input: child.stdout }).once("line", resolve);
    child.once("exit", () => resolve(undefined));
  });
  if (line === undefined) throw new Error(`selvedge did not start: ${complaints}`);
  const ready = JSON.parse(line);
  const api = `http://${ready.admin}/api/v1/accounts/default/scripts`;
  const headers = { authorization: `Bearer ${fs.readFileSync(path.join(data, "token"), "utf8").trim()}` };
  const [host, port] = ready.http[0].split(":");
  const agent = new http.Agent({ keepAlive: true });

  const get = (name, milliseconds) =>
    new Promise((resolve, reject) => {
      const request = http.get({ host, port, agent, headers: { host: `${name}.localhost` } }, (response) => {
        const chunks = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("end", () => resolve({ status: response.statusCode, body: Buffer.concat(chunks).toString() }));
        response.on("error", reject);
      });
      request.setTimeout(milliseconds, () => request.destroy(new Error("no answer")));
      request.on("error", reject);
    });

  return {
    /** Runs a module, with WebAssembly modules (hexadecimal digits), as a worker that is asked once; gives its answer. */
    async once(name, code, milliseconds, digits = []) {
      const form = new FormData();
      form.set("metadata", JSON.stringify({ main_module: "main.js", limits: LIMITS }));
      form.set("main.js", new Blob([code], { type: "application/javascript+module" }), "main.js");
      for (const [i, key] of digits.entries()) {
        const name = `module${i}.wasm`;
        form.set(name, new Blob([Buffer.from(key, "hex")], { type: "application/wasm" }), name);
      }
      const upload = await fetch(`${api}/${name}`, { method: "PUT", headers, body: form });
      if (!upload.ok) {
        const { error } = await upload.json();
        throw new Error(`${error.message} ${error.diagnostic?.message ?? ""} ${error.diagnostic?.excerpt ?? ""}`);
      }
      await upload.arrayBuffer();
      try {
        return await get(name, milliseconds);
      } finally {
        await fetch(`${api}/${name}`, { method: "DELETE", headers }).then((response) => response.arrayBuffer());
      }
    },
    async stop() {
      agent.destroy();
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      const patience = setTimeout(() => child.kill("SIGKILL"), 5000);
      await ended;
      clearTimeout(patience);
      fs.rmSync(data, { recursive: true, force: true });
    },
  };
}
