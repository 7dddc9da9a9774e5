//! `selvedge dev --inspect`: breakpoints, stepping, console and evaluation by the Chrome DevTools protocol; a debugger
//! that others wrote; and what the debugger's port refuses.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Ongoing, eventually, selvedge};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket, client};

const CODE: &str = "\
interface Point { x: number; y: number }
function twice(n: number): number {
  const result = n * 2;
  return result;
}
export default {
  async fetch(request: Request): Promise<Response> {
    const point: Point = { x: twice(21), y: 0 };
    console.log('asked for', point);
    return new Response(String(point.x));
  },
};
";

/// `selvedge dev --inspect` with one worker.
struct Dev {
    dev: Ongoing,
    port: u16,
    debugger: String,
    dir: tempfile::TempDir,
}

impl Dev {
    fn start(code: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("w.ts"), code).unwrap();
        let arguments = ["dev", "--json", "--port=0", "--inspect=0"];
        let mut dev = Ongoing::start(selvedge().args(arguments).arg(dir.path().join("w.ts")));
        let ready = dev.document();
        let port = ready["url"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap();
        let debugger = ready["inspector"].as_str().unwrap().strip_prefix("ws://").unwrap().to_owned();
        Self { dev, port, debugger, dir }
    }

    /// `127.0.0.1:port` of the debugger.
    fn address(&self) -> &str {
        self.debugger.split('/').next().unwrap()
    }

    /// Sends a request to the worker; the answer is read by [`body`].
    fn ask(&self) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: w.localhost\r\nconnection: close\r\n\r\n").unwrap();
        stream
    }

    /// The whole answer of the debugger's port to these headers.
    fn http(&self, path: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\n{headers}connection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

fn body(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body = answer.split_once("\r\n\r\n").expect("a head").1;
    // One chunk, or none.
    body.lines()
        .next_back()
        .filter(|line| *line != "0")
        .or(body.lines().nth(1))
        .unwrap_or_default()
        .to_owned()
}

/// A client of the DevTools protocol.
struct Tool {
    socket: WebSocket<TcpStream>,
    next: i64,
    /// Notifications that nobody has asked for yet.
    seen: Vec<Value>,
}

impl Tool {
    fn connect(dev: &Dev) -> Self {
        let stream = TcpStream::connect(dev.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let (socket, _) = client(format!("ws://{}", dev.debugger), stream).unwrap();
        Self { socket, next: 0, seen: Vec::new() }
    }

    fn receive(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.socket.read().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// Calls a method; its result.
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let request = json!({ "id": self.next, "method": method, "params": params });
        self.socket.send(Message::text(request.to_string())).unwrap();
        loop {
            let mut message = self.receive();
            if message["id"] == self.next {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].take();
            }
            self.seen.push(message);
        }
    }

    /// The next notification of this method; its parameters.
    fn told(&mut self, method: &str) -> Value {
        loop {
            if let Some(at) = self.seen.iter().position(|message| message["method"] == method) {
                return self.seen.remove(at)["params"].take();
            }
            let message = self.receive();
            self.seen.push(message);
        }
    }

    /// Turns the usual domains on; the main module's `Debugger.scriptParsed`.
    fn enable(&mut self) -> Value {
        self.call("Runtime.enable", json!({}));
        self.call("Debugger.enable", json!({}));
        self.main()
    }

    fn main(&mut self) -> Value {
        loop {
            let script = self.told("Debugger.scriptParsed");
            if script["url"] == "file:///main.js" {
                return script;
            }
        }
    }

    /// Breaks at the first generated line of the main module that contains `text`.
    fn break_at(&mut self, script: &Value, text: &str) {
        let source = self.call("Debugger.getScriptSource", json!({ "scriptId": script["scriptId"] }));
        let source = source["scriptSource"].as_str().unwrap();
        let line = source.lines().position(|line| line.contains(text)).expect("is in the bundle");
        let place = json!({ "url": "file:///main.js", "lineNumber": line });
        let set = self.call("Debugger.setBreakpointByUrl", place);
        assert_eq!(set["locations"].as_array().unwrap().len(), 1, "{set}");
    }
}

#[test]
fn breakpoints_pause_show_and_go_on() {
    let dev = Dev::start(CODE);
    let mut tool = Tool::connect(&dev);
    let script = tool.enable();
    // Tools translate by the source map, whose sources are the files on this machine.
    let map = script["sourceMapURL"].as_str().unwrap();
    let map = map.strip_prefix("data:application/json;base64,").unwrap();
    let map: Value = serde_json::from_slice(&decode_base64(map)).unwrap();
    let source = map["sources"][0].as_str().unwrap().strip_prefix("file://").unwrap();
    assert_eq!(fs::canonicalize(source).unwrap(), fs::canonicalize(dev.dir.path().join("w.ts")).unwrap());

    tool.break_at(&script, "return result");
    let answer = dev.ask();
    let paused = tool.told("Debugger.paused");
    let frames = paused["callFrames"].as_array().unwrap();
    assert_eq!((&frames[0]["functionName"], &frames[1]["functionName"]), (&json!("twice"), &json!("fetch")));
    let value = tool.call(
        "Debugger.evaluateOnCallFrame",
        json!({ "callFrameId": frames[0]["callFrameId"], "expression": "n + 1" }),
    );
    assert_eq!(value["result"]["value"], 22);
    // Longer than V8 is asked to stop a turn after, and than the supervisor waits then.
    std::thread::sleep(Duration::from_secs(3));
    tool.call("Debugger.stepOut", json!({}));
    let paused = tool.told("Debugger.paused");
    assert_eq!(paused["callFrames"][0]["functionName"], "fetch");
    tool.call("Debugger.resume", json!({}));
    assert_eq!(body(answer), "42");
    let logged = tool.told("Runtime.consoleAPICalled");
    assert_eq!((&logged["type"], &logged["args"][0]["value"]), (&json!("log"), &json!("asked for")));
    // The value itself, to be opened; and where the worker logged it, not where the runtime did.
    let object = logged["args"][1]["objectId"].as_str().unwrap();
    let properties = tool.call("Runtime.getProperties", json!({ "objectId": object, "ownProperties": true }));
    assert_eq!(properties["result"][0]["value"]["value"], 42);
    assert_eq!(logged["stackTrace"]["callFrames"][0]["functionName"], "fetch");
    let sum = tool.call("Runtime.evaluate", json!({ "expression": "1 + 1" }));
    assert_eq!(sum["result"]["value"], 2);
}

#[test]
fn the_profiler_samples() {
    let dev = Dev::start(CODE);
    let mut tool = Tool::connect(&dev);
    tool.call("Profiler.enable", json!({}));
    tool.call("Profiler.start", json!({}));
    assert_eq!(body(dev.ask()), "42");
    let profile = tool.call("Profiler.stop", json!({}));
    assert!(!profile["profile"]["nodes"].as_array().unwrap().is_empty());
}

/// An edit while the debugger is connected: breakpoints hold in the new version, and a paused request is let go.
#[test]
fn a_reload_keeps_what_was_set_up() {
    let mut dev = Dev::start(CODE);
    let mut tool = Tool::connect(&dev);
    let script = tool.enable();
    tool.break_at(&script, "const result");
    let answer = dev.ask();
    tool.told("Debugger.paused");
    fs::write(dev.dir.path().join("w.ts"), CODE.replace("n * 2", "n * 3")).unwrap();
    assert!(dev.dev.document()["version"].is_string());
    assert_eq!(body(answer), "42");
    tool.told("Runtime.executionContextsCleared");
    tool.main();
    let answer = dev.ask();
    let paused = tool.told("Debugger.paused");
    assert_eq!(paused["callFrames"][0]["functionName"], "twice");
    tool.call("Debugger.resume", json!({}));
    assert_eq!(body(answer), "63");
}

#[test]
fn a_debugger_that_leaves_lets_the_worker_go_on() {
    let dev = Dev::start(CODE);
    let mut tool = Tool::connect(&dev);
    let script = tool.enable();
    tool.break_at(&script, "const result");
    let answer = dev.ask();
    tool.told("Debugger.paused");
    drop(tool);
    assert_eq!(body(answer), "42");
    // Its breakpoints went with it, and another may come.
    assert_eq!(body(dev.ask()), "42");
    let mut tool = eventually("the place is free", || {
        let stream = TcpStream::connect(dev.address()).unwrap();
        let (socket, _) = client(format!("ws://{}", dev.debugger), stream).ok()?;
        Some(Tool { socket, next: 0, seen: Vec::new() })
    });
    assert_eq!(tool.call("Runtime.evaluate", json!({ "expression": "6 * 7" }))["result"]["value"], 42);
    let refused = client(format!("ws://{}", dev.debugger), TcpStream::connect(dev.address()).unwrap());
    assert!(refused.unwrap_err().to_string().contains("409"));
}

/// Node's own debugger finds the worker, breaks and evaluates.
#[test]
fn node_inspect_debugs_it() {
    let dev = Dev::start(CODE);
    let mut debugger = Command::new("node")
        .args(["inspect", dev.address()])
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is needed");
    let mut input = debugger.stdin.take().unwrap();
    let mut output = debugger.stdout.take().unwrap();
    let mut shown = String::new();
    let mut until = |text: &str| {
        let mut byte = [0];
        while !shown.contains(text) {
            assert_ne!(output.read(&mut byte).unwrap(), 0, "ended without {text:?}: {shown}");
            shown.push(byte[0].into());
        }
        std::mem::take(&mut shown)
    };
    until("debug> ");
    writeln!(input, "setBreakpoint('main.js', 3)").unwrap();
    until("debug> ");
    let answer = dev.ask();
    until("break in");
    until("debug> ");
    writeln!(input, "exec('n')").unwrap();
    until("21");
    writeln!(input, "cont").unwrap();
    assert_eq!(body(answer), "42");
    writeln!(input, ".exit").unwrap();
    drop(input);
    let _ = debugger.kill();
    let _ = debugger.wait();
}

#[test]
fn the_port_answers_tools_on_this_machine_only() {
    let dev = Dev::start(CODE);
    let local = format!("host: {}\r\n", dev.address());
    let list = dev.http("/json/list", &local);
    assert!(list.starts_with("HTTP/1.1 200") && list.contains(&dev.debugger), "{list}");
    assert!(dev.http("/json/version", "host: localhost\r\n").contains("Protocol-Version"));
    // A page whose name was made to lead here, and one that connects from its own origin.
    assert!(dev.http("/json/list", "host: evil.example\r\n").starts_with("HTTP/1.1 403"));
    let path = format!("/{}", dev.debugger.split_once('/').unwrap().1);
    let page = format!("{local}origin: https://evil.example\r\nupgrade: websocket\r\n");
    assert!(dev.http(&path, &page).starts_with("HTTP/1.1 403"));
    assert!(dev.http("/0123", &local).starts_with("HTTP/1.1 404"));
    assert!(dev.http(&path, &local).starts_with("HTTP/1.1 400"));
}

/// Whatever a tool sends, the worker answers afterwards.
#[test]
fn nonsense_does_no_harm() {
    let dev = Dev::start(CODE);
    let mut tool = Tool::connect(&dev);
    for nonsense in [
        "",
        "{",
        "[]",
        "7",
        "{\"id\":\"x\"}",
        "{\"id\":1}",
        "{\"id\":1,\"method\":\"No.such\"}",
        "{\"id\":1,\"method\":\"Debugger.setBlackboxPatterns\",\"params\":{\"patterns\":7}}",
        "{\"id\":1,\"method\":\"Debugger.setBlackboxPatterns\",\"params\":{\"patterns\":[\"(\"]}}",
        "{\"id\":1,\"method\":\"Runtime.evaluate\",\"params\":{\"expression\":\"\\ud800\u{1f600}\"}}",
    ] {
        tool.socket.send(Message::text(nonsense)).unwrap();
    }
    tool.socket.send(Message::binary(vec![0; 10])).unwrap();
    tool.socket.send(Message::text("[".repeat(1 << 20))).unwrap();
    tool.next = 100;
    assert_eq!(tool.call("Runtime.evaluate", json!({ "expression": "3" }))["result"]["value"], 3);
    // Code that does not end is stopped, and the next isolate takes over.
    let request = json!({ "id": 200, "method": "Runtime.evaluate", "params": { "expression": "for (;;);" } });
    tool.socket.send(Message::text(request.to_string())).unwrap();
    tool.told("Runtime.executionContextsCleared");
    assert_eq!(body(dev.ask()), "42");
}

fn decode_base64(text: &str) -> Vec<u8> {
    let mut node =
        Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    node.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    node.wait_with_output().unwrap().stdout
}
