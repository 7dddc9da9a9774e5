//! The console: what it shows of values is compared with Node's, and stacks name the sources.

mod common;

use std::process::Command;

use common::{Selvedge, repository};

/// Calls of one request to the worker.
const ROUND: usize = 20;

/// The text without the frames of stacks, which differ; what follows the last frame stays.
fn without_frames(text: &str) -> String {
    let mut out = String::new();
    for line in text.split('\n') {
        if !line.trim_start().starts_with("at ") {
            out.push('\n');
            out.push_str(line);
        } else if let Some((_, rest)) =
            line.rsplit_once([')', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
        {
            out.push_str(rest);
        }
    }
    out.split_off(1)
}

#[test]
fn values_look_as_they_do_in_node() {
    let dir = repository("crates/selvedge/tests/console");
    let node = Command::new("node").arg(dir.join("node.mjs")).output().expect("node is on PATH");
    assert!(node.status.success(), "{}", String::from_utf8_lossy(&node.stderr));
    let expected: Vec<String> = serde_json::from_slice(&node.stdout).unwrap();

    let selvedge = Selvedge::start();
    let worker = dir.join("worker.mjs");
    selvedge.json(&["deploy", worker.to_str().unwrap(), "--name", "w", "--limit", "cpu_burst_ms=5000"]);
    let mut said: Vec<String> = Vec::new();
    for from in (0..expected.len()).step_by(ROUND) {
        assert_eq!(selvedge.get("w", &format!("/?from={from}")).body, expected.len().to_string());
        let wanted = expected.len().min(from + ROUND);
        said = common::eventually("everything is logged", || {
            let events = selvedge.json(&["logs", "w", "--limit", "1000"]);
            let messages = events.as_array()?.iter().filter_map(|event| event["message"].as_str());
            let messages: Vec<String> = messages.map(str::to_owned).collect();
            (messages.len() >= wanted).then_some(messages)
        });
    }
    let mut different = String::new();
    for (index, (node, worker)) in expected.iter().zip(&said).enumerate() {
        let (node, worker) = (without_frames(node), without_frames(worker));
        if node != worker {
            different += &format!("--- case {index}, in Node:\n{node}\n--- in a worker:\n{worker}\n");
        }
    }
    assert!(different.is_empty(), "{different}");
}

/// A project in TypeScript that throws in every way there is, and one line further down each time.
const INDEX: &str = r#"// A comment, so that lines move.
import { deep } from "./deep";
interface Unused { a: string }
export default {
  async fetch(request: Request, env: unknown, ctx: any): Promise<Response> {
    switch (new URL(request.url).pathname) {
      case "/thrown":
        deep("thrown");
      case "/waited":
        ctx.waitUntil((async () => { await scheduler.wait(1); deep("waited"); })());
        return new Response("ok");
      case "/rejected":
        void (async () => { await null; deep("rejected"); })();
        await scheduler.wait(1);
        return new Response("ok");
      case "/timed":
        setTimeout(() => deep("timed"), 1);
        await scheduler.wait(5);
        return new Response("ok");
      case "/listened": {
        const target = new EventTarget();
        target.addEventListener("x", () => deep("listened"));
        target.dispatchEvent(new Event("x"));
        return new Response("ok");
      }
      case "/reported":
        reportError(new Error("reported"));
        return new Response("ok");
      case "/streamed":
        return new Response(new ReadableStream({ async pull() { await null; deep("streamed"); } }));
      case "/logged":
        try { deep("logged"); } catch (error) { console.error("caught", error, { list: [error] }); }
        return new Response("ok");
      case "/caused":
        try { deep("inner"); } catch (cause) { console.warn(new Error("caused", { cause })); }
        return new Response("ok");
      default:
        console.trace("traced");
        return new Response("ok");
    }
  }
};
"#;
const DEEP: &str = "type Message = string;\n\nexport function deep(message: Message): never {\n  throw new TypeError(message);\n}\n";

#[test]
fn stacks_name_the_sources_wherever_they_are_shown() {
    let selvedge = Selvedge::start();
    for (name, minify) in [("plain", false), ("small", true)] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("src")).unwrap();
        let config = format!(r#"{{"name": "{name}", "main": "src/index.ts", "minify": {minify}}}"#);
        std::fs::write(dir.path().join("wrangler.jsonc"), config).unwrap();
        std::fs::write(dir.path().join("src/index.ts"), INDEX).unwrap();
        std::fs::write(dir.path().join("src/deep.ts"), DEEP).unwrap();
        selvedge.json(&["deploy", dir.path().to_str().unwrap()]);
        // What happens, and the lines of src/index.ts that its event names.
        let cases = [
            ("thrown", [8].as_slice()),
            ("waited", &[10]),
            ("rejected", &[13]),
            ("timed", &[17]),
            ("listened", &[22, 23]),
            ("reported", &[27]),
            ("streamed", &[30]),
            ("logged", &[32]),
            ("caused", &[35]),
            ("traced", &[38]),
        ];
        for (what, lines) in cases {
            // Held open: work for a client that has gone is stopped.
            let _held = selvedge.begin(name, &format!("/{what}"));
            let text = common::eventually(what, || {
                let events = selvedge.json(&["logs", name, "--limit", "1000"]);
                let event = events
                    .as_array()?
                    .iter()
                    .find(|event| event["message"].as_str().is_some_and(|message| message.contains(what)))?;
                Some(format!(
                    "{}\n{}",
                    event["message"].as_str()?,
                    event["stack"].as_str().unwrap_or_default()
                ))
            });
            for line in lines {
                assert!(text.contains(&format!("src/index.ts:{line}:")), "{name}, {what}: {text}");
            }
            let deep = !["reported", "traced"].contains(&what);
            assert_eq!(text.contains("src/deep.ts:4:9"), deep, "{name}, {what}: {text}");
            for never in ["main.js", "selvedge:runtime"] {
                assert!(!text.contains(never), "{name}, {what}: {text}");
            }
        }
    }
}
