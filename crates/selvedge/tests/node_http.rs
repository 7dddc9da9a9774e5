//! The clients of `node:http` and `node:https` against real origins.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use common::api::Module;
use common::origin::{self, Authority, Origin, reply};
use common::{Answer, Selvedge};
use serde_json::{Value, json};

/// What the programs below have in common: requests as promises of what came of them.
const HEAD: &str = r#"
import http from "node:http";
import https from "node:https";
import { once } from "node:events";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { text, buffer } from "node:stream/consumers";
import zlib from "node:zlib";

/** All events of a request and its response, in their order. */
function watch(req) {
  const log = [];
  for (const name of ["socket", "response", "error", "abort", "timeout", "close", "continue", "finish"]) {
    req.on(name, (x) => log.push(name === "error" ? `error ${x.code}` : name));
  }
  req.on("response", (res) => {
    for (const name of ["aborted", "end", "error", "close"]) res.on(name, (x) => log.push(name === "error" ? `res error ${x.code}` : `res ${name}`));
  });
  return log;
}
async function answer(req) {
  const [res] = await once(req, "response");
  return { status: res.statusCode, message: res.statusMessage, headers: res.headers, body: await text(res) };
}
const tried = (f) => { try { f(); return "nothing"; } catch (e) { return `${e.name} ${e.code}: ${e.message}`; } };
"#;

struct Scene {
    selvedge: Selvedge,
}

impl Scene {
    /// A worker that answers with what this program, which knows `url`, returns.
    fn new(origins: &[&Origin], settings: &str, program: &str) -> Self {
        let allowed: Vec<String> = origins
            .iter()
            .flat_map(|origin| [format!("localhost:{}", origin.port), format!("127.0.0.1:{}", origin.port)])
            .collect();
        let selvedge = Selvedge::configured(&format!("[engine]\negress_allow = {allowed:?}\n{settings}"));
        let code = format!(
            "{HEAD}export default {{ async fetch(request) {{ const url = await request.text();\nreturn Response.json(await (async () => {{ {program} }})()); }} }};"
        );
        let metadata = json!({"compatibility_flags": ["nodejs_compat"], "limits": {"subrequests": 1000}});
        let answer = selvedge.upload("client", metadata, &[Module::main(&code)]);
        assert_eq!(answer.status, 200, "{}", answer.body);
        Self { selvedge }
    }

    fn run(&self, url: &str) -> Value {
        let answer: Answer = self.selvedge.post("client", "/", url);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }
}

/// Runs a program once.
fn run(origin: &Origin, program: &str) -> Value {
    Scene::new(&[origin], "", program).run(&origin.url("http"))
}

/// An origin that says what it was asked.
fn echo(tls: Option<(&Authority, &[&str])>) -> Origin {
    origin::serve(tls, |request, body| {
        let headers: Vec<(String, String)> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let told = json!({
            "method": request.method().as_str(),
            "path": request.uri().path_and_query().unwrap().as_str(),
            "headers": headers,
            "body": String::from_utf8_lossy(&body),
        });
        let mut answer = reply(told.to_string());
        let headers = answer.headers_mut();
        headers.append("set-cookie", "a=1; Path=/".parse().unwrap());
        headers.append("set-cookie", "b=2".parse().unwrap());
        headers.append("x-two", "one".parse().unwrap());
        headers.append("x-two", "two".parse().unwrap());
        answer
    })
}

/// The values of a header among those that `echo` told of, one a line.
fn header(told: &Value, name: &str) -> String {
    let pairs = told["headers"].as_array().unwrap().iter().filter(|pair| pair[0] == name);
    pairs.map(|pair| pair[1].as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

#[test]
fn requests_in_all_forms() {
    let origin = echo(None);
    let answers = run(
        &origin,
        r#"
        const { hostname, port } = new URL(url);
        const send = (...args) => new Promise((ok, no) => {
          const req = http.request(...args, async (res) => ok(JSON.parse(await text(res))));
          req.on("error", no).end();
        });
        const all = [
          await send(url + "/string?q=1"),
          await send(new URL("/url", url), { method: "DELETE" }),
          await send({ hostname, port, path: "/options", headers: { "X-Mine": 7, Cookie: ["a=1", "b=2"], "X-List": ["1", "2"] }, auth: "me:secret" }),
          await send(url.replace("//", "//us%20er:pass@") + "/auth"),
          await send({ host: hostname, port: Number(port), path: "/raw", agent: new http.Agent({ keepAlive: true }), headers: ["X-Raw", "1", "X-Raw", "2"] }),
        ];
        all.push(await new Promise((ok) => http.get(url + "/get", async (res) => ok(JSON.parse(await text(res))))));
        return all;"#,
    );
    let paths: Vec<&str> =
        answers.as_array().unwrap().iter().map(|told| told["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/string?q=1", "/url", "/options", "/auth", "/raw", "/get"]);
    assert_eq!((&answers[0]["method"], &answers[1]["method"]), (&json!("GET"), &json!("DELETE")));
    let host = format!("localhost:{}", origin.port);
    assert_eq!(header(&answers[0], "host"), host);
    assert_eq!(header(&answers[0], "accept-encoding"), "identity");
    assert_eq!(header(&answers[2], "x-mine"), "7");
    assert_eq!(header(&answers[2], "cookie"), "a=1; b=2");
    assert_eq!(header(&answers[2], "x-list"), "1\n2");
    assert_eq!(header(&answers[2], "authorization"), "Basic bWU6c2VjcmV0");
    assert_eq!(header(&answers[3], "authorization"), "Basic dXMgZXI6cGFzcw==");
    assert_eq!(header(&answers[4], "x-raw"), "1\n2");
}

#[test]
fn responses_have_their_head_and_their_events() {
    let origin = echo(None);
    let seen = run(
        &origin,
        r#"
        const req = http.request(url + "/x", { method: "POST" });
        const log = watch(req);
        req.setHeader("X-A", "1");
        const before = [req.getHeader("x-a"), req.hasHeader("X-a"), req.getHeaderNames(), req.getRawHeaderNames(), req.method, req.path, req.host, req.protocol];
        req.end("hello");
        const [res] = await once(req, "response");
        const late = tried(() => req.setHeader("y", "1"));
        res.setEncoding("utf8");
        let body = "";
        for await (const chunk of res) body += chunk;
        await new Promise((r) => setTimeout(r, 1));
        const raw = res.rawHeaders.filter((_, i) => i % 2 === 0 && res.rawHeaders[i] === "set-cookie").length;
        return { before, late, log, raw, told: JSON.parse(body), status: [res.statusCode, res.statusMessage, res.httpVersion, res.complete], cookies: res.headers["set-cookie"],
          two: res.headers["x-two"], same: res.req === req && req.res === res, over: [req.destroyed, res.destroyed, req.writableFinished] };"#,
    );
    let before = json!(["1", true, ["host", "x-a"], ["Host", "X-A"], "POST", "/x", "localhost", "http:"]);
    assert_eq!(seen["before"], before);
    assert_eq!(
        seen["late"],
        "Error ERR_HTTP_HEADERS_SENT: Cannot set headers after they are sent to the client"
    );
    assert_eq!(seen["log"], json!(["socket", "finish", "response", "res end", "res close", "close"]));
    assert_eq!(seen["status"], json!([200, "OK", "1.1", true]));
    assert_eq!(seen["cookies"], json!(["a=1; Path=/", "b=2"]));
    assert_eq!((&seen["raw"], &seen["two"], &seen["same"]), (&json!(2), &json!("one, two"), &json!(true)));
    assert_eq!(seen["over"], json!([true, true, true]));
    assert_eq!(
        (&seen["told"]["body"], header(&seen["told"], "content-length")),
        (&json!("hello"), "5".into())
    );
}

#[test]
fn bodies_stream_both_ways() {
    let origin = echo(None);
    let seen = run(
        &origin,
        r#"
        const piped = http.request(url, { method: "PUT" });
        const answered = answer(piped);
        await pipeline(Readable.from(Array.from({ length: 40 }, (_, i) => Buffer.alloc(10000, 97 + (i % 26)))), piped);
        const long = JSON.parse((await answered).body);
        const sized = http.request(url, { method: "POST", headers: { "Content-Length": 6 } });
        sized.write("abc");
        await new Promise((r) => setTimeout(r, 1));
        sized.end("def");
        const known = JSON.parse((await answer(sized)).body);
        const waits = http.request(url, { method: "POST", headers: { Expect: "100-continue" } });
        waits.flushHeaders();
        await once(waits, "continue");
        waits.end("now");
        const late = JSON.parse((await answer(waits)).body);
        const empty = http.request(url, { method: "POST" });
        empty.end();
        return { length: long.body.length, ends: long.body[0] + long.body.at(-1), chunked: long.headers, known, late: late.body, empty: JSON.parse((await answer(empty)).body) };"#,
    );
    assert_eq!((&seen["length"], &seen["ends"]), (&json!(400_000), &json!("an")));
    assert_eq!(header(&json!({"headers": seen["chunked"]}), "transfer-encoding"), "chunked");
    assert_eq!(header(&seen["known"], "content-length"), "6");
    assert_eq!((&seen["known"]["body"], &seen["late"]), (&json!("abcdef"), &json!("now")));
    assert_eq!((&seen["empty"]["body"], header(&seen["empty"], "content-length")), (&json!(""), "0".into()));
}

#[test]
fn the_response_comes_while_the_request_goes_on() {
    // Answers each line as it comes.
    let origin = origin::raw(|_, stream, head| {
        assert!(head.to_lowercase().contains("transfer-encoding: chunked"), "{head}");
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
        for _ in 0..2 {
            let line = chunk(stream);
            stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).unwrap();
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
    });
    let seen = run(
        &origin,
        r#"
        const req = http.request(url, { method: "POST" });
        req.write("first");
        const [res] = await once(req, "response");
        const [one] = await once(res, "data");
        req.end("second");
        const [two] = await once(res, "data");
        return [String(one), String(two)];"#,
    );
    assert_eq!(seen, json!(["first", "second"]));
}

/// Reads one chunk of a chunked body.
fn chunk(stream: &mut TcpStream) -> String {
    let mut size = Vec::new();
    let mut byte = [0];
    while !size.ends_with(b"\r\n") {
        stream.read_exact(&mut byte).unwrap();
        size.push(byte[0]);
    }
    let size = usize::from_str_radix(String::from_utf8_lossy(&size).trim(), 16).unwrap();
    let mut text = vec![0; size + 2];
    stream.read_exact(&mut text).unwrap();
    String::from_utf8_lossy(&text[..size]).into_owned()
}

#[test]
fn encoded_bodies_come_as_they_are_and_redirections_are_not_followed() {
    let origin = origin::serve(None, |request, _| {
        if request.uri().path() == "/moved" {
            let mut answer = reply("gone there");
            *answer.status_mut() = hyper::StatusCode::FOUND;
            answer.headers_mut().insert("location", "/zipped".parse().unwrap());
            return answer;
        }
        assert_eq!(request.headers()["accept-encoding"], "gzip");
        // gzip of "zipped", stored without compression.
        let mut answer =
            reply(&b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x01\x06\0\xf9\xffzipped\x57\x68\xc2\xe2\x06\0\0\0"[..]);
        answer.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        answer
    });
    let seen = run(
        &origin,
        r#"
        const [moved] = await once(http.get(url + "/moved"), "response");
        const [res] = await once(http.get(url + "/zipped", { headers: { "Accept-Encoding": "gzip" } }), "response");
        const raw = await buffer(res);
        return [moved.statusCode, moved.statusMessage, moved.headers.location, await text(moved), res.headers["content-encoding"], raw[0], raw.length,
          zlib.gunzipSync(raw, { finishFlush: 2 }).toString()];"#,
    );
    assert_eq!(seen, json!([302, "Found", "/zipped", "gone there", "gzip", 31, 29, "zipped"]));
}

#[test]
fn https_is_verified() {
    let authority = Authority::new(&["localhost"]);
    let dir = tempfile::tempdir().unwrap();
    let file = authority.write(dir.path());
    let origin = echo(Some((&authority, &["h2", "http/1.1"])));
    let program = r#"
        const req = https.request(url, { method: "POST" });
        const log = watch(req);
        req.end("safe");
        const done = await answer(req).catch((e) => e.code);
        return [done.body ? JSON.parse(done.body).body : done, log, req.socket.encrypted];"#;
    let trusting = Scene::new(&[&origin], &format!("egress_ca = {file:?}\n"), program);
    let seen = trusting.run(&origin.url("https"));
    assert_eq!((&seen[0], &seen[2]), (&json!("safe"), &json!(true)));
    let strange = Scene::new(&[&origin], "", program).run(&origin.url("https"));
    assert_eq!(strange[0], "EPROTO");
}

#[test]
fn failures_have_the_codes_of_node() {
    let broken = origin::answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this");
    let nonsense = origin::answering("what?\r\n\r\n");
    let closed = Origin { port: free_port(), connections: std::sync::Arc::default() };
    let program = format!(
        r#"
        const failed = async (url) => {{
          const req = http.get(url);
          const log = watch(req);
          const [error] = await once(req, "error");
          await new Promise((r) => setTimeout(r, 1));
          return [error.code, error.syscall, error instanceof Error, error.cause !== undefined, log];
        }};
        const half = http.get("http://localhost:{}/");
        const log = watch(half);
        const [res] = await once(half, "response");
        const read = await text(res).catch((e) => [e.code, e.message]);
        await new Promise((r) => setTimeout(r, 1));
        return {{ refused: await failed("http://localhost:{}/"), name: await failed("http://nowhere.invalid/"), policy: await failed("http://10.0.0.1/"),
          nonsense: await failed("http://localhost:{}/"), read, complete: res.complete, log }};"#,
        broken.port, closed.port, nonsense.port
    );
    let seen = Scene::new(&[&broken, &nonsense, &closed], "", &program).run("");
    let log = json!(["socket", "finish", "error ECONNREFUSED", "close"]);
    assert_eq!(seen["refused"], json!(["ECONNREFUSED", "connect", true, true, log]));
    assert_eq!((&seen["name"][0], &seen["name"][1]), (&json!("ENOTFOUND"), &json!("getaddrinfo")));
    assert_eq!(seen["policy"][0], "EACCES");
    assert!(
        ["HPE_INVALID_CONSTANT", "ECONNRESET"].contains(&seen["nonsense"][0].as_str().unwrap()),
        "{seen}"
    );
    assert_eq!((&seen["read"], &seen["complete"]), (&json!(["ECONNRESET", "aborted"]), &json!(false)));
    let log =
        json!(["socket", "finish", "response", "res aborted", "res error ECONNRESET", "res close", "close"]);
    assert_eq!(seen["log"], log);
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn requests_are_aborted() {
    // Never answers, but for how many it keeps waiting; tells when the other side has gone.
    let (gone, hears) = mpsc::channel();
    let kept = AtomicUsize::new(0);
    let silent = origin::raw(move |_, stream, head| {
        if head.starts_with("GET /kept") {
            let count = kept.load(Ordering::SeqCst).to_string();
            let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{count}", count.len());
            return;
        }
        kept.fetch_add(1, Ordering::SeqCst);
        let _ = stream.read_to_end(&mut Vec::new());
        let _ = gone.send(());
    });
    let seen = run(
        &silent,
        r#"
        let waiting = 0;
        const ends = async (act, options = {}) => {
          waiting++;
          const req = http.get(url, options);
          const log = watch(req);
          const closed = new Promise((r) => req.on("close", r));
          req.on("error", () => 0);
          while ((await (await fetch(url + "/kept")).text()) !== String(waiting)) await new Promise((r) => setTimeout(r, 5));
          act(req, log);
          await closed;
          return [log.filter((l) => l !== "socket" && l !== "finish"), req.destroyed, req.aborted];
        };
        const controller = new AbortController();
        return {
          abort: await ends((req) => req.abort()),
          destroy: await ends((req) => req.destroy(Object.assign(new Error("mine"), { code: "MINE" }))),
          signal: await ends(() => controller.abort(), { signal: controller.signal }),
          timeout: await ends(async (req, log) => { if (!log.includes("timeout")) await once(req, "timeout"); req.destroy(); }, { timeout: 30 }),
          set: await ends((req) => req.setTimeout(1, () => req.abort())),
          before: tried(() => { const req = http.get(url, { signal: AbortSignal.abort() }); req.on("error", () => 0); }),
        };"#,
    );
    assert_eq!(seen["abort"], json!([["abort", "error ECONNRESET", "close"], true, true]));
    assert_eq!(seen["destroy"], json!([["error MINE", "close"], true, false]));
    assert_eq!(seen["signal"], json!([["error ABORT_ERR", "close"], true, false]));
    assert_eq!(seen["timeout"], json!([["timeout", "error ECONNRESET", "close"], true, false]));
    assert_eq!(seen["set"], json!([["timeout", "abort", "error ECONNRESET", "close"], true, true]));
    assert_eq!(seen["before"], "nothing");
    for _ in 0..5 {
        hears.recv_timeout(std::time::Duration::from_secs(30)).expect("the connection is given up");
    }
}

#[test]
fn a_response_that_nobody_reads_is_let_go() {
    let (gone, hears) = mpsc::channel();
    let endless = origin::raw(move |_, stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
        let _ = gone.send(());
    });
    let seen = run(
        &endless,
        r#"
        const req = http.get(url);
        const log = watch(req);
        const [res] = await once(req, "response");
        const [chunk] = await once(res, "data");
        res.destroy();
        await once(req, "close");
        return [chunk.length > 0, res.complete, log.filter((l) => l.startsWith("res ")), log.at(-1)];"#,
    );
    assert_eq!(seen, json!([true, false, ["res aborted", "res error ECONNRESET", "res close"], "close"]));
    hears.recv_timeout(std::time::Duration::from_secs(30)).expect("the connection is given up");
}

#[test]
fn what_cannot_be_is_refused() {
    let origin = echo(None);
    let seen = run(
        &origin,
        r#"
        const late = (f) => new Promise((r) => f().on("error", (e) => r(e.message)));
        return {
          node: [
            tried(() => http.request({ method: "A B" })), tried(() => http.request({ path: "/a b" })), tried(() => http.request("https://x")),
            tried(() => https.request("http://x")), tried(() => http.request({ method: 3 })), tried(() => http.request({ headers: { "a b": 1 } })),
            tried(() => http.request({ headers: { a: "\n" } })), tried(() => http.request({ timeout: "x" })), tried(() => http.request({ hostname: 3 })),
            tried(() => http.request({ agent: 3 })), tried(() => http.validateHeaderValue("a")), tried(() => http.validateHeaderName("")),
          ],
          url: tried(() => http.request("nope")),
          own: [tried(() => http.createServer()), tried(() => new https.Server()), tried(() => http.request({ socketPath: "/x" })), tried(() => https.request({ key: "k" }))],
          body: await late(() => { const req = http.request(url); req.end("x"); return req; }),
          upgrade: await late(() => http.get(url, { headers: { Upgrade: "websocket", Connection: "Upgrade" } })),
          shape: [http.METHODS.includes("PATCH"), http.STATUS_CODES[418], http.maxHeaderSize, http.globalAgent instanceof http.Agent, https.globalAgent.defaultPort,
            http.globalAgent.protocol, new https.Agent({ maxSockets: 3 }).maxSockets, http.ClientRequest.name, https.Agent === http.Agent],
        };"#,
    );
    // As Node 20 says it.
    assert_eq!(
        seen["node"],
        json!([
            "TypeError ERR_INVALID_HTTP_TOKEN: Method must be a valid HTTP token [\"A B\"]",
            "TypeError ERR_UNESCAPED_CHARACTERS: Request path contains unescaped characters",
            "TypeError ERR_INVALID_PROTOCOL: Protocol \"https:\" not supported. Expected \"http:\"",
            "TypeError ERR_INVALID_PROTOCOL: Protocol \"http:\" not supported. Expected \"https:\"",
            "TypeError ERR_INVALID_ARG_TYPE: The \"options.method\" property must be of type string. Received type number (3)",
            "TypeError ERR_INVALID_HTTP_TOKEN: Header name must be a valid HTTP token [\"a b\"]",
            "TypeError ERR_INVALID_CHAR: Invalid character in header content [\"a\"]",
            "TypeError ERR_INVALID_ARG_TYPE: The \"timeout\" argument must be of type number. Received type string ('x')",
            "TypeError ERR_INVALID_ARG_TYPE: The \"options.hostname\" property must be of type string or one of undefined or null. Received type number (3)",
            "TypeError ERR_INVALID_ARG_TYPE: The \"options.agent\" property must be one of Agent-like Object, undefined, or false. Received type number (3)",
            "TypeError ERR_HTTP_INVALID_HEADER_VALUE: Invalid value \"undefined\" for header \"a\"",
            "TypeError ERR_INVALID_HTTP_TOKEN: Header name must be a valid HTTP token [\"\"]",
        ])
    );
    assert!(seen["url"].as_str().unwrap().starts_with("TypeError ERR_INVALID_URL"), "{seen}");
    for (refusal, word) in seen["own"].as_array().unwrap().iter().zip([
        "fetch handler",
        "fetch handler",
        "name a host",
        "certificates",
    ]) {
        let text = refusal.as_str().unwrap();
        assert!(text.contains("ERR_METHOD_NOT_IMPLEMENTED") && text.contains(word), "{text}");
    }
    assert!(seen["body"].as_str().unwrap().contains("GET request with a body"), "{seen}");
    assert!(seen["upgrade"].as_str().unwrap().contains("use WebSocket"), "{seen}");
    assert_eq!(
        seen["shape"],
        json!([true, "I'm a Teapot", 16384, true, 443, "http:", 3, "ClientRequest", false])
    );
}
