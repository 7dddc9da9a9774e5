//! Node's modules in workers, through real deploys: flags, bundling, what is refused, and stores that stay apart.

mod common;

use std::fs;

use common::Selvedge;

/// Deploys a project of these files with a flag.
fn deploy(selvedge: &Selvedge, name: &str, flags: &str, files: &[(&str, &str)]) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), name, flags, files);
    selvedge.json(&["deploy", dir.path().to_str().unwrap()]);
}

fn write(dir: &std::path::Path, name: &str, flags: &str, files: &[(&str, &str)]) {
    let config = format!(
        "name = \"{name}\"\nmain = \"index.js\"\ncompatibility_date = \"2026-01-01\"\ncompatibility_flags = [{flags}]\n[vars]\nGREETING = \"hi\"\n"
    );
    fs::write(dir.join("wrangler.toml"), config).unwrap();
    for (file, text) in files {
        let path = dir.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn refusal(selvedge: &Selvedge, flags: &str, code: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bad", flags, &[("index.js", code)]);
    let (error, _) = selvedge.refused(&["deploy", dir.path().to_str().unwrap()]);
    assert_eq!(error["code"], "unknown_import", "{error}");
    assert!(error["diagnostics"][0]["file"].as_str().unwrap().ends_with("index.js"), "{error}");
    error["diagnostics"][0]["message"].as_str().unwrap().to_owned()
}

const NODE: &str = "\"nodejs_compat\"";

#[test]
fn every_module_imports_and_works() {
    let selvedge = Selvedge::start();
    deploy(
        &selvedge,
        "all",
        NODE,
        &[(
            "index.js",
            r#"
import assert from "node:assert";
import strict from "assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { Buffer } from "buffer";
import { EventEmitter } from "events";
import { join } from "node:path";
import { win32 } from "path";
import { parse } from "node:querystring";
import { Readable, Transform } from "node:stream";
import { pipeline } from "stream/promises";
import { text } from "node:stream/consumers";
import { StringDecoder } from "node:string_decoder";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { inspect, promisify } from "node:util";
import { gzipSync, gunzipSync, brotliCompressSync, brotliDecompressSync, createGzip, createGunzip, inflate } from "node:zlib";
import process from "node:process";
import os from "node:os";
import punycode from "punycode";
import { channel } from "node:diagnostics_channel";
import { isMainThread } from "node:worker_threads";
import { createRequire } from "node:module";

export default {
  async fetch() {
    const bytes = Buffer.from("x".repeat(100000));
    const zipped = [];
    await pipeline(Readable.from([bytes]), createGzip(), createGunzip(), new Transform({ transform(c, e, d) { zipped.push(c.length); d(null, c); } }), async (s) => { for await (const c of s) void c; });
    const bad = await promisify(inflate)(Buffer.from("nonsense")).catch((e) => e.code);
    assert.ok(true);
    strict.equal(1, 1);
    await wait(1);
    return Response.json([
      process.env.GREETING, globalThis.process === process, globalThis.Buffer === Buffer, global === globalThis,
      join("a", "..", "b"), win32.sep, parse("a=1").a, await text(Readable.from(["s"])),
      new StringDecoder("utf8").write(Buffer.from([0xe2, 0x82])), fileURLToPath("file:///f"), inspect({ a: [1] }),
      gunzipSync(gzipSync("gz")).toString(), brotliDecompressSync(brotliCompressSync("br")).toString(),
      zipped.reduce((a, b) => a + b, 0), bad, os.EOL, punycode.toASCII("ü.de"), channel("c").hasSubscribers, isMainThread,
      createRequire("/")("node:events") === EventEmitter, new AsyncLocalStorage().run(7, () => 8),
      await new Promise((r) => setImmediate(r, "immediate")),
    ]);
  },
};"#,
        )],
    );
    assert_eq!(
        selvedge.get("all", "/").body,
        r#"["hi",true,true,true,"b","\\","1","s","","/f","{ a: [ 1 ] }","gz","br",100000,"Z_DATA_ERROR","\n","xn--tda.de",false,true,true,8,"immediate"]"#
    );
}

#[test]
fn packages_in_common_js_require_modules_of_node() {
    let selvedge = Selvedge::start();
    deploy(
        &selvedge,
        "cjs",
        NODE,
        &[
            (
                "index.js",
                "import Old from 'old';\nexport default { fetch() { return new Response(new Old().say()) } }",
            ),
            ("node_modules/old/package.json", r#"{"name": "old", "version": "1.0.0", "main": "main.js"}"#),
            (
                "node_modules/old/main.js",
                "var E = require('events'), util = require('util'), Stream = require('stream');\n\
                 var fs; try { fs = require('fs'); } catch (e) { fs = null; }\n\
                 function Old() { E.call(this); }\nutil.inherits(Old, E);\n\
                 Old.prototype.say = function () { var said; this.once('x', function (v) { said = v; }); this.emit('x', 'said'); return said + typeof Stream.Readable + fs; };\n\
                 module.exports = Old;",
            ),
        ],
    );
    assert_eq!(selvedge.get("cjs", "/").body, "saidfunctionnull");
}

#[test]
fn stores_follow_their_request_and_no_other() {
    let selvedge = Selvedge::start();
    deploy(
        &selvedge,
        "als",
        "\"nodejs_als\"",
        &[(
            "index.js",
            r#"
import { AsyncLocalStorage, AsyncResource } from "node:async_hooks";
const als = new AsyncLocalStorage();
let waiting = [];
async function deep(seen) {
  seen.push(als.getStore());
  await null;
  seen.push(als.getStore());
  await new Promise((r) => setTimeout(r, 1));
  seen.push(als.getStore());
  await new Promise((r) => setTimeout(() => { seen.push(als.getStore()); r(); }, 1));
  queueMicrotask(() => seen.push(als.getStore()));
  const stream = new ReadableStream({ pull(c) { c.enqueue("x"); c.close(); } });
  for await (const chunk of stream) seen.push(als.getStore());
  seen.push(als.exit(() => als.getStore()) ?? "out");
  seen.push(await als.run("inner", async () => { await null; return als.getStore(); }));
  return seen;
}
export default {
  async fetch(request) {
    const id = new URL(request.url).pathname;
    if (als.getStore() !== undefined) return new Response("leaked " + als.getStore(), { status: 500 });
    if (id === "/enter") { als.enterWith("entered"); await new Promise((r) => setTimeout(r, 1)); return new Response(als.getStore()); }
    const bound = als.run("b", () => AsyncLocalStorage.bind(() => als.getStore()));
    const snapshot = als.run("s", () => AsyncLocalStorage.snapshot());
    const resource = als.run("r", () => new AsyncResource("T"));
    const seen = await als.run(id, () => deep([]));
    return Response.json([...seen, bound(), snapshot(() => als.getStore()), resource.runInAsyncScope(() => als.getStore()), als.getStore() ?? "none"]);
  },
};"#,
        )],
    );
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let selvedge = &selvedge;
            scope.spawn(move || {
                for round in 0..10 {
                    let id = format!("/{thread}-{round}");
                    let own = |count| vec![format!("{id:?}"); count].join(",");
                    let expected = format!("[{},\"out\",\"inner\",\"b\",\"s\",\"r\",\"none\"]", own(6));
                    assert_eq!(selvedge.get("als", &id).body, expected);
                    assert_eq!(selvedge.get("als", "/enter").body, "entered");
                }
            });
        }
    });
}

#[test]
fn what_is_missing_is_told_at_deploy() {
    let selvedge = Selvedge::start();
    let plain = "export default { fetch() { return new Response(typeof x) } }";
    let import = |name: &str| format!("import x from '{name}';\n{plain}");
    for name in ["node:buffer", "buffer"] {
        let message = refusal(&selvedge, "", &import(name));
        assert!(message.contains("nodejs_compat") && message.contains(name), "{message}");
    }
    for name in ["node:fs", "fs", "node:child_process"] {
        let message = refusal(&selvedge, NODE, &import(name));
        assert!(message.contains("workers do not have") || message.contains("workers cannot"), "{message}");
        assert!(message.contains(name), "{message}");
    }
    let message = refusal(&selvedge, "\"nodejs_als\"", &import("node:buffer"));
    assert!(message.contains("nodejs_compat"), "{message}");
}

#[test]
fn unknown_flags_are_a_warning_and_dates_are_days() {
    let selvedge = Selvedge::start();
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "w",
        "\"unheard_of\"",
        &[("index.js", "export default { fetch() { return new Response(typeof process) } }")],
    );
    let path = dir.path().to_str().unwrap();
    let answer = selvedge.json(&["deploy", path]);
    assert!(answer["warnings"].to_string().contains("unheard_of"), "{answer}");
    assert_eq!(selvedge.get("w", "/").body, "undefined");
    selvedge.json(&["deploy", path, "--compatibility-flag", "nodejs_compat"]);
    assert_eq!(selvedge.get("w", "/").body, "object");
    let config = fs::read_to_string(dir.path().join("wrangler.toml")).unwrap();
    fs::write(dir.path().join("wrangler.toml"), config.replace("2026-01-01", "2026-02-30")).unwrap();
    let (error, _) = selvedge.refused(&["deploy", path]);
    assert!(error.to_string().contains("compatibility_date"), "{error}");
}

#[test]
fn zlib_flushes_where_it_is_told_to() {
    let selvedge = Selvedge::start();
    deploy(
        &selvedge,
        "zlib",
        NODE,
        &[(
            "index.js",
            r#"
import z from "node:zlib";
import { once } from "node:events";
const plain = "abcdefgh".repeat(200);
async function flushes(create, back, head) {
  const coder = create({ level: 9 });
  const out = [];
  const parts = [];
  coder.on("data", (chunk) => out.push(chunk));
  const mark = () => parts.push(Buffer.concat(out.splice(0)));
  coder.write(plain);
  await new Promise((r) => coder.flush(z.constants.Z_SYNC_FLUSH, r));
  mark();
  // It keeps its place among what is written, though nobody waits.
  coder.write(plain);
  const changed = new Promise((r) => coder.params(0, 0, r));
  coder.write(plain);
  await changed;
  mark();
  const order = z.inflateRawSync(Buffer.concat(parts).subarray(head), { finishFlush: z.constants.Z_SYNC_FLUSH }).length >= 2 * plain.length;
  await new Promise((r) => coder.params(0, 0, r));
  coder.end();
  await once(coder, "end");
  mark();
  await new Promise((r) => coder.flush(r));
  return [parts[0].length < 100, order, back(Buffer.concat(parts)).toString() === plain.repeat(3), coder._level];
}
const code = (f) => { try { return String(f()); } catch (e) { return e.code; } };
export default {
  async fetch() {
    const brotli = z.createBrotliCompress();
    brotli.write("some ");
    await new Promise((r) => brotli.flush(r));
    const early = z.brotliDecompressSync(brotli.read(), { finishFlush: z.constants.BROTLI_OPERATION_FLUSH }).toString();
    return Response.json([
      await flushes(z.createGzip, z.gunzipSync, 10), await flushes(z.createDeflateRaw, z.inflateRawSync, 0), early,
      code(() => z.brotliDecompressSync(z.brotliCompressSync("x", { finishFlush: z.constants.BROTLI_OPERATION_FINISH }))),
      code(() => z.gunzipSync(z.gzipSync("x".repeat(100)), { maxOutputLength: 10 })), code(() => z.inflateSync("x")),
      code(() => z.inflateSync(z.deflateSync("ok"), { windowBits: 0, level: NaN })),
    ]);
  },
};"#,
        )],
    );
    assert_eq!(
        selvedge.get("zlib", "/").body,
        r#"[[true,true,true,0],[true,true,true,0],"some ","x","ERR_BUFFER_TOO_LARGE","Z_BUF_ERROR","ok"]"#
    );
}
