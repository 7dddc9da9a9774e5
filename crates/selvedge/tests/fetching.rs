//! What workers fetch: real origins over HTTP/1.1, HTTP/2 and TLS, ones that misbehave, and what the policy forbids.

mod common;

use std::io::{Read, Write};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use common::api::Module;
use common::origin::{self, Authority, Origin, reply};
use common::{Answer, Selvedge};
use serde_json::json;

/// Does what the body says: fetches a URL with options, and answers with what came of it.
const FETCHER: &str = r#"
export default {
  async fetch(request, env, ctx) {
    const { url, options, read } = await request.json();
    try {
      const response = await fetch(url, options);
      if (read === 'pass') return response;
      const { status, ok, type, redirected } = response;
      const headers = Object.fromEntries(response.headers);
      const body = read === 'none' ? undefined : await response.text();
      return Response.json({ status, ok, type, redirected, url: response.url, headers, body });
    } catch (error) {
      return Response.json({ name: error.name, code: error.code, message: error.message });
    }
  },
};
"#;

/// A Selvedge with the worker above and these origins as exceptions from the policy.
struct Scene {
    selvedge: Selvedge,
}

impl Scene {
    fn new(origins: &[&Origin]) -> Self {
        Self::with(origins, json!({}), "")
    }

    fn with(origins: &[&Origin], metadata: serde_json::Value, settings: &str) -> Self {
        let allowed: Vec<String> = origins
            .iter()
            .flat_map(|origin| [format!("localhost:{}", origin.port), format!("127.0.0.1:{}", origin.port)])
            .collect();
        let selvedge = Selvedge::configured(&format!("[engine]\negress_allow = {allowed:?}\n{settings}"));
        let answer = selvedge.upload("fetcher", metadata, &[Module::main(FETCHER)]);
        assert_eq!(answer.status, 200, "{}", answer.body);
        Self { selvedge }
    }

    /// What came of a fetch.
    fn fetch(&self, url: &str, options: serde_json::Value) -> serde_json::Value {
        self.ask(&json!({ "url": url, "options": options })).json()
    }

    fn ask(&self, what: &serde_json::Value) -> Answer {
        let answer = self.selvedge.post("fetcher", "/", &what.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }

    /// The code that a failed fetch has.
    fn fails(&self, url: &str) -> (String, String) {
        let outcome = self.fetch(url, json!({}));
        assert_eq!(outcome["name"], "TypeError", "{outcome}");
        (outcome["code"].as_str().unwrap_or_default().into(), outcome["message"].as_str().unwrap().into())
    }
}

/// An origin that says what it was asked.
fn echo(tls: Option<(&Authority, &[&str])>) -> Origin {
    origin::serve(tls, |request, body| {
        let mut text = format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
        for (name, value) in request.headers() {
            text += &format!("{name}: {}\n", value.to_str().unwrap());
        }
        reply(format!("{text}\n{}", String::from_utf8_lossy(&body)))
    })
}

#[test]
fn connections_are_used_again() {
    let origin = echo(None);
    let scene = Scene::new(&[&origin]);
    for _ in 0..5 {
        assert_eq!(scene.fetch(&origin.url("http"), json!({}))["status"], 200);
    }
    // Each edge thread has connections of its own.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    assert!(origin.count() <= threads.min(5), "{}", origin.count());
}

#[test]
fn requests_arrive_as_they_were_made() {
    let origin = echo(None);
    let scene = Scene::new(&[&origin]);
    let got = scene.fetch(
        &format!("{}/a%20b?c=|d#e", origin.url("http")),
        json!({ "method": "PUT", "body": "hällo", "headers": {
            "host": "elsewhere.example", "connection": "x-secret", "x-a": "1", "transfer-encoding": "chunked",
            "upgrade": "h2c", "te": "trailers", "expect": "100-continue", "content-length": "3" } }),
    );
    let body = got["body"].as_str().unwrap();
    assert!(body.starts_with("PUT /a%20b?c=|d HTTP/1.1\n"), "{body}");
    assert!(body.contains(&format!("host: localhost:{}\n", origin.port)), "{body}");
    assert!(
        body.contains("x-a: 1\n") && body.contains("content-length: 6\n") && body.ends_with("\nhällo"),
        "{body}"
    );
    for absent in ["connection:", "transfer-encoding", "upgrade", "te:", "expect"] {
        assert!(!body.contains(absent), "{absent} in {body}");
    }
}

#[test]
fn http2_is_spoken_where_it_is_offered() {
    let authority = Authority::new(&["localhost"]);
    let two = echo(Some((&authority, &["h2", "http/1.1"])));
    let one = echo(Some((&authority, &["http/1.1"])));
    let none = echo(Some((&authority, &[])));
    let dir = tempfile::tempdir().unwrap();
    let settings = format!("egress_ca = {:?}\n", authority.write(dir.path()));
    let scene = Scene::with(&[&two, &one, &none], json!({}), &settings);
    for (origin, version) in [(&two, "HTTP/2.0"), (&one, "HTTP/1.1"), (&none, "HTTP/1.1")] {
        for _ in 0..3 {
            let got =
                scene.fetch(&origin.url("https"), json!({ "method": "POST", "body": "x".repeat(300_000) }));
            let body = got["body"].as_str().unwrap_or_else(|| panic!("{got}"));
            assert!(body.lines().next().unwrap().ends_with(version), "{got}");
            assert!(body.ends_with(&"x".repeat(300_000)));
        }
        assert!(origin.count() <= 3, "{}", origin.count());
    }
}

#[test]
fn certificates_are_checked() {
    let trusted = Authority::new(&["elsewhere.example"]);
    let strange = Authority::new(&["localhost"]);
    let wrong_name = echo(Some((&trusted, &["http/1.1"])));
    let unknown = echo(Some((&strange, &["http/1.1"])));
    let plain = echo(None);
    let dir = tempfile::tempdir().unwrap();
    let settings = format!("egress_ca = {:?}\n", trusted.write(dir.path()));
    let scene = Scene::with(&[&wrong_name, &unknown, &plain], json!({}), &settings);
    for (origin, why) in
        [(&wrong_name, "not valid for name"), (&unknown, "invalid peer certificate"), (&plain, "corrupt")]
    {
        let (code, message) = scene.fails(&origin.url("https"));
        assert_eq!(code, "tls_failed", "{message}");
        assert!(message.contains(why), "{why}: {message}");
    }
}

#[test]
fn a_connection_that_was_closed_while_idle_is_replaced() {
    // Every connection serves one request, promises to stay and closes.
    let origin = origin::raw(|_, stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        // The next request is read half and refused by a reset.
        let _ = stream.read(&mut [0; 4]);
    });
    let scene = Scene::new(&[&origin]);
    for method in ["GET", "GET", "GET", "GET"] {
        let got = scene.fetch(&origin.url("http"), json!({ "method": method }));
        assert_eq!(got["body"], "ok", "{got}");
    }
}

#[test]
fn a_request_that_may_have_been_served_is_not_repeated() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let origin = origin::raw(move |_, stream, head| {
        log.lock().unwrap().push(head.to_owned());
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let head = origin::read_head(stream);
        log.lock().unwrap().push(head);
    });
    let scene = Scene::new(&[&origin]);
    for _ in 0..6 {
        scene.fetch(&origin.url("http"), json!({ "method": "POST", "body": "order" }));
    }
    let seen = seen.lock().unwrap();
    assert!(seen.iter().filter(|head| head.starts_with("POST")).count() <= 6, "{seen:?}");
}

#[test]
fn answers_that_cannot_be_used() {
    let lines = |lines: &str| lines.replace('\n', "\r\n");
    let large = format!("HTTP/1.1 200 OK\nx: {}\n\n", "y".repeat(300_000));
    let many = format!("HTTP/1.1 200 OK\n{}\n", "x: y\n".repeat(1000));
    for (answer, code) in [
        (lines("HTTP/1.1 200 OK\ncontent-length: 100\n\nshort"), "connection_lost"),
        (lines("HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n5\nab"), "connection_lost"),
        (lines("HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\nxyz\n"), "bad_response"),
        (lines("HTTP/1.1 200 OK\ncontent-length: 5\ncontent-length: 6\n\nhello"), "bad_response"),
        (lines("HTTP/1.1 200 OK\ncontent-length: -1\n\nhello"), "bad_response"),
        (lines("this is no HTTP\n\n"), "bad_response"),
        (lines("HTTP/1.1 101 Switching Protocols\nupgrade: x\nconnection: upgrade\n\n"), "bad_response"),
        (lines(&large), "bad_response"),
        (lines(&many), "bad_response"),
        (String::new(), "connection_lost"),
    ] {
        let origin = origin::answering(answer.clone());
        let scene = Scene::new(&[&origin]);
        let (got, message) = scene.fails(&origin.url("http"));
        // Within a body an error has no code: the body's reader gets it.
        assert!(got == code || got.is_empty() && !message.is_empty(), "{answer:.60}: {got} {message}");
        assert_eq!(scene.fetch("http://localhost:1/", json!({}))["name"], "TypeError");
    }
}

#[test]
fn what_follows_an_answer_is_not_the_next_answer() {
    let origin = origin::raw(|number, stream, _| {
        let smuggled = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst\
                        HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nsmuggled";
        let honest = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecond";
        let _ = stream.write_all(if number == 0 { smuggled.as_bytes() } else { honest.as_bytes() });
    });
    let scene = Scene::new(&[&origin]);
    assert_eq!(scene.fetch(&origin.url("http"), json!({}))["body"], "first");
    assert_eq!(scene.fetch(&origin.url("http"), json!({}))["body"], "second");
}

#[test]
fn informational_answers_and_empty_ones() {
    let early = origin::answering(
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    );
    let nothing = origin::answering("HTTP/1.1 204 No Content\r\n\r\nnot a body");
    let same = origin::answering("HTTP/1.1 304 Not Modified\r\ncontent-length: 500\r\n\r\n");
    let head = origin::answering("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n");
    let trailers = origin::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n",
    );
    let until_close = origin::answering("HTTP/1.1 200 OK\r\n\r\nall of it");
    let scene = Scene::new(&[&early, &nothing, &same, &head, &trailers, &until_close]);
    let get = |origin: &Origin, method: &str| scene.fetch(&origin.url("http"), json!({ "method": method }));
    assert_eq!(get(&early, "GET")["body"], "ok");
    let got = get(&nothing, "GET");
    assert_eq!((&got["status"], &got["body"]), (&json!(204), &json!("")));
    assert_eq!(get(&same, "GET")["status"], 304);
    let got = get(&head, "HEAD");
    assert_eq!((&got["body"], &got["headers"]["content-length"]), (&json!(""), &json!("500")));
    let got = get(&trailers, "GET");
    assert_eq!((&got["body"], &got["headers"]["trailer"]), (&json!("ok"), &serde_json::Value::Null));
    assert_eq!(get(&until_close, "GET")["body"], "all of it");
}

#[test]
fn failures_have_codes_and_say_what_to_do() {
    let silent = origin::raw(|_, _, _| {});
    let scene = Scene::new(&[&silent, &Origin { port: 1, connections: Arc::default() }]);
    let (code, message) = scene.fails("http://localhost:1/");
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("connection_refused", "localhost refused the connection: nothing listens on port 1.")
    );
    assert_eq!(scene.fails("http://no-such-host.invalid/").0, "dns_failed");
    assert_eq!(scene.fails(&silent.url("http")).0, "connection_lost");
    let (code, message) = scene.fails("http://169.254.169.254/latest/meta-data");
    assert_eq!(code, "egress_refused");
    assert!(message.contains("egress_allow = [\"169.254.169.254:80\"]"), "{message}");
}

#[test]
fn a_name_that_leads_inside_is_refused() {
    let inside = echo(None);
    let scene = Scene::new(&[]);
    for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]"] {
        assert_eq!(scene.fails(&format!("http://{host}:{}/", inside.port)).0, "egress_refused", "{host}");
    }
    assert_eq!(inside.count(), 0);
}

#[test]
fn redirections_do_not_lead_inside() {
    let inside = echo(None);
    for target in ["http://169.254.169.254/".to_owned(), format!("http://127.0.0.1:{}/", inside.port)] {
        let answer = format!("HTTP/1.1 302 Found\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n");
        let outside = origin::answering(answer);
        let selvedge = Scene::with(&[], json!({}), &format!("# {}\n", outside.port));
        drop(selvedge);
        let allowed = format!("[engine]\negress_allow = [\"localhost:{}\"]\n", outside.port);
        let selvedge = Selvedge::configured(&allowed);
        selvedge.upload("fetcher", json!({}), &[Module::main(FETCHER)]);
        let scene = Scene { selvedge };
        assert_eq!(scene.fails(&outside.url("http")).0, "egress_refused", "{target}");
    }
    assert_eq!(inside.count(), 0);
}

#[test]
fn a_worker_has_rules_of_its_own() {
    let (one, two) = (echo(None), echo(None));
    let rules = |allow: &[String], deny: &[String]| {
        let scene = Scene::with(&[&one, &two], json!({ "egress": { "allow": allow, "deny": deny } }), "");
        move |url: String| {
            let outcome = scene.fetch(&url, json!({}));
            (outcome["status"] == 200, outcome["message"].as_str().unwrap_or_default().to_owned())
        }
    };
    let get = rules(&[format!("localhost:{}", one.port)], &[]);
    assert!(get(one.url("http")).0);
    let (fetched, message) = get(two.url("http"));
    assert!(!fetched && message.contains("egress.allow"), "{message}");
    let get = rules(&[], &[format!("localhost:{}", one.port), "127.0.0.9".into()]);
    let (fetched, message) = get(one.url("http"));
    assert!(!fetched && message.contains("egress.deny"), "{message}");
    // The denied one under its address is another host; the other is reached.
    assert!(get(two.url("http")).0);
    let get = rules(&[], &["127.0.0.1".into()]);
    assert!(!get(format!("http://127.0.0.1:{}/", one.port)).0);
    let get = rules(&[], &["*".into()]);
    assert!(!get(one.url("http")).0);
}

#[test]
fn rules_that_mean_nothing_are_refused() {
    let selvedge = Selvedge::configured("");
    for rules in [
        json!({ "allow": ["http://a"] }),
        json!({ "deny": ["a b"] }),
        json!({ "allows": [] }),
        json!({ "deny": vec!["a"; 200] }),
    ] {
        let answer = selvedge.upload("fetcher", json!({ "egress": rules }), &[Module::main(FETCHER)]);
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_metadata"), "{rules}");
    }
}

#[test]
fn an_aborted_fetch_closes_its_connection() {
    let (sender, closed) = mpsc::channel();
    let sender = Mutex::new(sender);
    let origin = origin::raw(move |_, stream, _| {
        // Nothing is answered; the worker's leaving is all that can end this read.
        let count = stream.read(&mut [0; 1]).unwrap_or(0);
        sender.lock().unwrap().send(count).unwrap();
    });
    let code = format!(
        "export default {{ async fetch() {{
            const controller = new AbortController();
            const answer = fetch('{}', {{ signal: controller.signal }}).catch((error) => error.name);
            await new Promise((resolve) => setTimeout(resolve, 50));
            controller.abort();
            return new Response(await answer);
        }} }}",
        origin.url("http")
    );
    let scene = Scene::new(&[&origin]);
    scene.selvedge.deploy_limited("aborter", &code, json!({}));
    assert_eq!(scene.selvedge.get("aborter", "/").body, "AbortError");
    assert_eq!(closed.recv().unwrap(), 0);
}

#[test]
fn a_canceled_body_closes_its_connection() {
    let (sender, closed) = mpsc::channel();
    let sender = Mutex::new(sender);
    let origin = origin::raw(move |_, stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
        sender.lock().unwrap().send(()).unwrap();
    });
    let code = format!(
        "export default {{ async fetch(request, env, ctx) {{
            const response = await fetch('{}');
            const reader = response.body.getReader();
            await reader.read();
            await reader.cancel();
            ctx.waitUntil(new Promise((resolve) => setTimeout(resolve, 20000)));
            return new Response('left');
        }} }}",
        origin.url("http")
    );
    let scene = Scene::new(&[&origin]);
    scene.selvedge.deploy_limited("leaver", &code, json!({}));
    assert_eq!(scene.selvedge.get("leaver", "/").body, "left");
    closed.recv().unwrap();
}

#[test]
fn bodies_stream_in_both_directions() {
    // Answers each piece that arrives before the next one is sent.
    let origin = origin::raw(|_, stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let mut line = [0; 6];
        for _ in 0..3 {
            if stream.read_exact(&mut line).is_err() {
                return;
            }
            let _ = stream.write_all(&[b"1\r\n", &line[3..4], b"\r\n"].concat());
        }
        let _ = stream.write_all(b"0\r\n\r\n");
        let _ = stream.read(&mut [0; 16]);
    });
    let code = format!(
        "export default {{ async fetch() {{
            const {{ readable, writable }} = new TransformStream();
            const writer = writable.getWriter();
            const bytes = (text) => new TextEncoder().encode(text);
            const answer = fetch('{}', {{ method: 'POST', body: readable, duplex: 'half' }});
            writer.write(bytes('a'));
            const reader = (await answer).body.getReader();
            let text = new TextDecoder().decode((await reader.read()).value);
            for (const letter of 'bc') {{
                writer.write(bytes(letter));
                text += new TextDecoder().decode((await reader.read()).value);
            }}
            await writer.close();
            return new Response(text + (await reader.read()).done);
        }} }}",
        origin.url("http")
    );
    let scene = Scene::new(&[&origin]);
    scene.selvedge.deploy_limited("talker", &code, json!({}));
    assert_eq!(scene.selvedge.get("talker", "/").body, "abctrue");
}

#[test]
fn ten_thousand_fetches_stay_bounded() {
    let most = Arc::new(Mutex::new((0usize, 0usize)));
    let counter = most.clone();
    let origin = origin::raw(move |_, stream, _| {
        {
            let mut counter = counter.lock().unwrap();
            counter.0 += 1;
            counter.1 = counter.1.max(counter.0);
        }
        loop {
            std::thread::sleep(std::time::Duration::from_millis(1));
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_err() {
                break;
            }
            if origin::read_head(stream).is_empty() {
                break;
            }
        }
        counter.lock().unwrap().0 -= 1;
    });
    let code = format!(
        "export default {{ async fetch(request) {{
            if (request.url.endsWith('/fine')) return new Response('fine');
            let good = 0;
            const all = Array.from({{ length: 10000 }}, async () => {{
                if (await (await fetch('{}')).text() === 'ok') good++;
            }});
            await Promise.all(all);
            return new Response(String(good));
        }} }}",
        origin.url("http")
    );
    let scene = Scene::new(&[&origin]);
    let limits = json!({ "subrequests": 10000, "cpu_ms": 20000, "cpu_burst_ms": 20000, "wall_ms": 60000 });
    scene.selvedge.deploy_limited("greedy", &code, limits);
    let greedy = scene.selvedge.begin("greedy", "/");
    for _ in 0..20 {
        assert_eq!(scene.fetch(&origin.url("http"), json!({}))["body"], "ok");
    }
    let answer = Answer::read(greedy);
    assert_eq!((answer.status, answer.body.as_str()), (200, "10000"), "{answer:?}");
    assert!(most.lock().unwrap().1 <= 64, "{:?}", most.lock().unwrap());
}

/// `hello` a thousand times, as `gzip -9` and brotli give it.
fn packed(encoding: &str) -> Vec<u8> {
    use std::io::Write as _;
    let text = b"hello ".repeat(1000);
    let mut command = std::process::Command::new("node");
    let function = if encoding == "br" { "brotliCompressSync" } else { "gzipSync" };
    command.args(["-e", &format!("let b=[];process.stdin.on('data',c=>b.push(c)).on('end',()=>process.stdout.write(require('zlib').{function}(Buffer.concat(b))))")]);
    let mut child =
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&text).unwrap();
    child.wait_with_output().unwrap().stdout
}

/// An origin that answers with these bytes under this encoding.
fn encoded(encoding: &'static str, bytes: Vec<u8>) -> Origin {
    origin::serve(None, move |request, _| {
        let asked = request.headers()["accept-encoding"].to_str().unwrap().to_owned();
        let mut answer = reply(bytes.clone());
        answer.headers_mut().insert("content-encoding", encoding.parse().unwrap());
        answer.headers_mut().insert("x-asked", asked.parse().unwrap());
        answer
    })
}

#[test]
fn encoded_bodies_are_decoded_for_who_reads_them() {
    let text = "hello ".repeat(1000);
    let gzip = packed("gzip");
    let twice = [gzip.clone(), gzip.clone()].concat();
    let origins = [
        (encoded("gzip", gzip.clone()), text.clone()),
        (encoded("GZip", gzip.clone()), text.clone()),
        (encoded("x-gzip", gzip.clone()), text.clone()),
        (encoded("br", packed("br")), text.clone()),
        (encoded("gzip", twice), text.repeat(2)),
        (encoded("gzip", [gzip.clone(), b"padding".to_vec()].concat()), text.clone()),
        (encoded("gzip", Vec::new()), String::new()),
        (encoded("identity", b"plain".to_vec()), "plain".into()),
        (encoded("strange", b"as it is".to_vec()), "as it is".into()),
    ];
    let scene = Scene::new(&origins.iter().map(|(origin, _)| origin).collect::<Vec<_>>());
    for (origin, expected) in &origins {
        let got = scene.fetch(&origin.url("http"), json!({}));
        assert_eq!(got["body"].as_str(), Some(expected.as_str()), "{got}");
        assert!(got["headers"]["content-encoding"].is_string(), "{got}");
        assert_eq!(got["headers"]["x-asked"], "gzip, br");
    }
    let asked = scene.fetch(&origins[7].0.url("http"), json!({ "headers": { "range": "bytes=0-1" } }));
    assert_eq!(asked["headers"]["x-asked"], "identity");
    for bytes in [gzip[..gzip.len() - 9].to_vec(), b"not gzip at all".to_vec()] {
        let broken = encoded("gzip", bytes);
        let scene = Scene::new(&[&broken]);
        let got = scene.fetch(&broken.url("http"), json!({}));
        assert_eq!(got["name"], "TypeError", "{got}");
    }
}

#[test]
fn encoded_bodies_are_passed_on_as_they_are() {
    let gzip = packed("gzip");
    let origin = encoded("gzip", gzip.clone());
    let code = format!(
        "export default {{ async fetch(request) {{
            const response = await fetch('{}');
            switch (new URL(request.url).pathname) {{
              case '/as-it-is': return response;
              case '/copied': return new Response(response.body, response);
              case '/plain': return new Response(response.body);
              case '/changed': return new Response((await response.text()).toUpperCase(), response);
              case '/through': {{
                const upper = new TransformStream({{ transform(chunk, out) {{ out.enqueue(chunk.map((byte) => byte & ~32)); }} }});
                return new Response(response.body.pipeThrough(upper), response);
              }}
              case '/bytes': {{
                const bytes = new Uint8Array(await new Response(new Blob([await response.text()]).stream()
                  .pipeThrough(new CompressionStream('gzip'))).arrayBuffer());
                return new Response(bytes, {{ headers: {{ 'content-encoding': 'gzip' }} }});
              }}
              case '/manual': return new Response('raw', {{ encodeBody: 'manual', headers: {{ 'content-encoding': 'gzip' }} }});
              case '/made': return new Response('made', {{ headers: {{ 'content-encoding': 'br' }} }});
            }}
        }} }}",
        origin.url("http")
    );
    let scene = Scene::new(&[&origin]);
    scene.selvedge.deploy_limited("proxy", &code, json!({}));
    let mut bodies = Vec::new();
    for path in ["as-it-is", "copied", "plain", "changed", "through", "bytes", "manual", "made"] {
        let (head, body) = raw_get(&scene.selvedge, "proxy", &format!("/{path}"));
        let encoding =
            head.lines().find_map(|line| line.strip_prefix("content-encoding: ")).map(str::to_owned);
        bodies.push((path, encoding, body));
    }
    let text = "hello ".repeat(1000).into_bytes();
    let unpacked = |bytes: &[u8], function: &str| {
        use std::io::Write as _;
        let mut command = std::process::Command::new("node");
        command.args(["-e", &format!("let b=[];process.stdin.on('data',c=>b.push(c)).on('end',()=>process.stdout.write(require('zlib').{function}(Buffer.concat(b))))")]);
        let mut child =
            command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        child.wait_with_output().unwrap().stdout
    };
    for (path, encoding, body) in bodies {
        let (expected, plain): (Option<&str>, Vec<u8>) = match path {
            "as-it-is" | "copied" => {
                assert_eq!(body, gzip, "{path}");
                continue;
            }
            "plain" => (None, text.clone()),
            "changed" => (Some("gzip"), text.to_ascii_uppercase()),
            "through" => (Some("gzip"), text.iter().map(|byte| byte & !32).collect()),
            "bytes" => (Some("gzip"), text.clone()),
            "manual" => (None, b"raw".to_vec()),
            _ => (Some("br"), b"made".to_vec()),
        };
        match expected {
            None => assert_eq!(body, plain, "{path}"),
            Some(name) => {
                assert_eq!(encoding.as_deref(), Some(name), "{path}");
                let function = if name == "br" { "brotliDecompressSync" } else { "gunzipSync" };
                assert_eq!(unpacked(&body, function), plain, "{path}");
            }
        }
    }
}

/// Head and body of an answer, as bytes.
fn raw_get(selvedge: &Selvedge, name: &str, path: &str) -> (String, Vec<u8>) {
    let mut stream = std::net::TcpStream::connect(selvedge.http).unwrap();
    // HTTP/1.0: the body ends where the connection does.
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {name}.localhost\r\n\r\n").unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    (String::from_utf8(all[..end].to_vec()).unwrap(), all[end + 4..].to_vec())
}

#[test]
fn data_urls_are_answered_here() {
    let scene = Scene::new(&[]);
    for (url, kind, body) in [
        ("data:,a%20b", "text/plain;charset=US-ASCII", "a b"),
        ("data:text/html;base64,aMOkbGxv#part", "text/html", "hällo"),
        ("data:;charset=utf-8,x", "text/plain;charset=utf-8", "x"),
        ("data:nonsense,%zz", "text/plain;charset=US-ASCII", "%zz"),
    ] {
        let got = scene.fetch(url, json!({}));
        assert_eq!(
            (got["status"].as_u64(), &got["headers"]["content-type"], &got["body"]),
            (Some(200), &json!(kind), &json!(body))
        );
    }
    for url in ["data:no-comma", "data:;base64,a", "blob:x", "file:///etc/passwd", "about:blank"] {
        assert_eq!(scene.fetch(url, json!({}))["name"], "TypeError", "{url}");
    }
}

#[test]
fn redirections_are_followed_as_the_standard_says() {
    let origin = origin::serve(None, |request, body| {
        let path = request.uri().path();
        let Some(rest) = path.strip_prefix("/to/") else {
            let secret = request.headers().contains_key("authorization");
            let kind = request.headers().get("content-type").map_or("none", |kind| kind.to_str().unwrap());
            return reply(format!(
                "{} {} {secret} {kind} {}",
                request.method(),
                path,
                String::from_utf8_lossy(&body)
            ));
        };
        let (status, location) = rest.split_once('/').unwrap();
        let mut answer = reply("");
        *answer.status_mut() = status.parse().unwrap();
        answer.headers_mut().insert("location", location.replace('!', "/").parse().unwrap());
        answer
    });
    let scene = Scene::new(&[&origin]);
    let base = origin.url("http");
    let other = format!("http:!!127.0.0.1:{}!end", origin.port);
    for (status, method, target, expected) in [
        (301, "GET", "!end", "GET /end true none "),
        (301, "POST", "!end", "GET /end true none "),
        (302, "PUT", "!end", "PUT /end true text/plain;charset=UTF-8 body"),
        (303, "PUT", "!end", "GET /end true none "),
        (307, "POST", "!end", "POST /end true text/plain;charset=UTF-8 body"),
        (308, "POST", other.as_str(), "POST /end false text/plain;charset=UTF-8 body"),
    ] {
        let body = (method != "GET").then_some("body");
        let options = json!({ "method": method, "headers": { "authorization": "x" }, "body": body });
        let got = scene.fetch(&format!("{base}/to/{status}/{target}"), options);
        assert_eq!(
            (&got["body"], &got["redirected"]),
            (&json!(expected), &json!(true)),
            "{status} {method} {got}"
        );
    }
    let url = format!("{base}/to/302/!end");
    let manual = scene.fetch(&url, json!({ "redirect": "manual" }));
    assert_eq!(
        (&manual["status"], &manual["headers"]["location"], &manual["url"]),
        (&json!(302), &json!("/end"), &json!(url))
    );
    assert_eq!(scene.fetch(&url, json!({ "redirect": "error" }))["name"], "TypeError");
    let loops = scene.fetch(&format!("{base}/to/302/."), json!({}));
    assert_eq!(loops["name"], "TypeError", "{loops}");
    assert_eq!(scene.fetch(&format!("{base}/to/302/file:!!!etc!passwd"), json!({}))["name"], "TypeError");
}
