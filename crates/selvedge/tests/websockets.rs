//! WebSockets of workers' clients, with a client that is not ours.

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use common::api::Module;
use common::{Selvedge, eventually};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame};
use tungstenite::{Error, Message, WebSocket};

type Client = WebSocket<TcpStream>;

/// Against tests that hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers by path; everything else is echoed.
const WORKER: &str = r#"
let last = "none";
export default {
  async fetch(request, env, ctx) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/last") return new Response(last);
    if (request.headers.get("Upgrade") !== "websocket") return new Response("no upgrade", { status: 426 });
    if (pathname === "/refuse") return new Response("not you", { status: 403 });
    const [client, server] = Object.values(new WebSocketPair());
    server.binaryType = "arraybuffer";
    if (pathname === "/half") server.accept({ allowHalfOpen: true });
    else server.accept();
    if (pathname === "/greet") server.send("before");
    const interval = pathname === "/ticks" ? setInterval(() => server.send("tick"), 20) : 0;
    server.addEventListener("message", ({ data }) => {
      if (data === "throw") throw new Error("thrown on purpose");
      if (data === "close") return server.close(4001, "as you wish");
      if (data === "spin") for (;;);
      if (data === "grow") { const all = []; for (;;) all.push(new Array(1e5).fill(all.length)); }
      if (data === "flood") {
        const chunk = "f".repeat(1 << 20);
        for (let i = 0; i < 100; i++) server.send(chunk);
        return;
      }
      if (data === "state") return server.send(JSON.stringify([server.readyState, server.protocol, server.bufferedAmount]));
      if (data === "work") {
        const until = performance.now();
        let x = 0;
        for (let i = 0; i < 3e7; i++) x += i;
        return server.send(`worked ${x > until}`);
      }
      server.send(data);
    });
    server.addEventListener("close", (event) => {
      clearInterval(interval);
      last = `${event.code} ${event.reason} ${event.wasClean} ${server.readyState}`;
      if (pathname === "/half") server.close(4002, "late");
      ctx.waitUntil(Promise.resolve());
    });
    const headers = {};
    const offered = request.headers.get("Sec-WebSocket-Protocol");
    if (offered) headers["Sec-WebSocket-Protocol"] = offered.split(",")[0].trim();
    return new Response(null, { status: 101, webSocket: client, headers });
  },
};
"#;

fn started() -> Selvedge {
    let selvedge = Selvedge::start();
    selvedge.deploy_limited("w", WORKER, json!({}));
    selvedge
}

/// A raw connection to the edge.
fn raw(selvedge: &Selvedge) -> TcpStream {
    let stream = TcpStream::connect(selvedge.http).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn try_connect(selvedge: &Selvedge, path: &str, protocols: &str) -> Result<Client, u16> {
    let mut request = format!("ws://w.localhost{path}").into_client_request().unwrap();
    if !protocols.is_empty() {
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
    }
    match tungstenite::client(request, raw(selvedge)) {
        Ok((client, response)) => {
            let chosen = response.headers().get("sec-websocket-protocol");
            let wanted = protocols.split(", ").next().filter(|name| !name.is_empty());
            assert_eq!(chosen.map(|name| name.to_str().unwrap()), wanted);
            Ok(client)
        }
        Err(tungstenite::HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

fn connect(selvedge: &Selvedge, path: &str) -> Client {
    try_connect(selvedge, path, "").unwrap()
}

/// The next message that is no ping.
fn next(client: &mut Client) -> Message {
    loop {
        match client.read().unwrap() {
            Message::Ping(_) | Message::Pong(_) => {}
            message => return message,
        }
    }
}

/// Reads to the close: its code and reason.
fn closed(client: &mut Client) -> (u16, String) {
    loop {
        match client.read() {
            Ok(Message::Close(frame)) => {
                let frame = frame.expect("a close with a code");
                while client.read().is_ok() {}
                return (frame.code.into(), frame.reason.as_str().to_owned());
            }
            Ok(_) => {}
            Err(error) => panic!("no close, but {error}"),
        }
    }
}

fn text(text: &str) -> Message {
    Message::text(text)
}

fn last(selvedge: &Selvedge, wanted: &str) {
    eventually(&format!("the worker sees {wanted:?}"), || {
        (selvedge.get("w", "/last").body == wanted).then_some(())
    });
}

#[test]
fn messages_are_echoed() {
    let selvedge = started();
    let mut client = connect(&selvedge, "/greet");
    assert_eq!(next(&mut client), text("before"));
    for message in [
        text("hello"),
        text(""),
        text("grüße \u{1f600}"),
        Message::binary(vec![]),
        Message::binary((0..=255).collect::<Vec<u8>>()),
        Message::binary(vec![7; 1 << 20]),
        text(&"ü".repeat(1 << 19)),
        Message::binary(vec![9; 5 << 20]),
    ] {
        client.send(message.clone()).unwrap();
        assert!(next(&mut client) == message);
    }
    // Many at once.
    for i in 0..500 {
        client.write(text(&i.to_string())).unwrap();
    }
    client.flush().unwrap();
    for i in 0..500 {
        assert_eq!(next(&mut client), text(&i.to_string()));
    }
    client.send(text("state")).unwrap();
    assert_eq!(next(&mut client), text(r#"[1,"",0]"#));
}

#[test]
fn fragments_are_joined_and_pings_answered() {
    let selvedge = started();
    let mut client = connect(&selvedge, "/");
    let part = |bytes: &[u8], first: bool, last: bool| {
        let kind = if first { Data::Text } else { Data::Continue };
        Message::Frame(Frame::message(bytes.to_vec(), OpCode::Data(kind), last))
    };
    // A character is cut in two.
    client.send(part(b"one \xc3", true, false)).unwrap();
    client.send(Message::Ping(b"are you there"[..].into())).unwrap();
    client.send(part(b"\xbc two", false, false)).unwrap();
    client.send(part(b"", false, true)).unwrap();
    assert_eq!(client.read().unwrap(), Message::Pong(b"are you there"[..].into()));
    assert_eq!(next(&mut client), text("one ü two"));
}

#[test]
fn closes_in_both_directions() {
    let selvedge = started();
    let mut client = connect(&selvedge, "/");
    client.close(Some(CloseFrame { code: CloseCode::Library(4000), reason: "bye".into() })).unwrap();
    assert_eq!(closed(&mut client), (4000, String::new()));
    last(&selvedge, "4000 bye true 3");

    let mut client = connect(&selvedge, "/");
    client.close(None).unwrap();
    while client.read().is_ok() {}
    last(&selvedge, "1005  true 3");

    let mut client = connect(&selvedge, "/");
    client.send(text("close")).unwrap();
    assert_eq!(closed(&mut client), (4001, "as you wish".into()));
    last(&selvedge, "4001 as you wish true 3");

    let mut client = connect(&selvedge, "/half");
    client.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })).unwrap();
    assert_eq!(closed(&mut client), (4002, "late".into()));
    last(&selvedge, "1000  true 2");

    drop(connect(&selvedge, "/"));
    last(&selvedge, "1006 The connection ended without a close. false 3");
    eventually("no socket is left", || (selvedge.metric("selvedge_sockets") == 0).then_some(()));
}

#[test]
fn handshakes_are_checked() {
    let selvedge = started();
    assert!(try_connect(&selvedge, "/", "chat, superchat").is_ok());
    assert_eq!(try_connect(&selvedge, "/refuse", "").err(), Some(403));
    assert_eq!(selvedge.get("w", "/").status, 426);
    let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let version = "sec-websocket-version: 13\r\n";
    for (method, fields, status) in [
        ("GET", format!("{key}{version}"), "101"),
        ("GET", version.to_owned(), "400"),
        ("GET", format!("{key}{key}{version}"), "400"),
        ("GET", format!("sec-websocket-key: short\r\n{version}"), "400"),
        ("GET", key.to_owned(), "426"),
        ("GET", format!("{key}sec-websocket-version: 8\r\n"), "426"),
        ("POST", format!("{key}{version}"), "400"),
        ("GET", format!("{key}{version}content-length: 2\r\n"), "400"),
    ] {
        let mut stream = raw(&selvedge);
        let head = format!(
            "{method} / HTTP/1.1\r\nhost: w.localhost\r\nconnection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n{fields}\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = vec![0; 4096];
        let count = stream.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..count]).to_lowercase();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{fields:?}: {answer}");
        match status {
            "101" => {
                assert!(answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{answer}")
            }
            "426" => assert!(answer.contains("sec-websocket-version: 13\r\n"), "{answer}"),
            _ => {}
        }
    }
}

#[test]
fn what_breaks_the_protocol_is_told_so() {
    let selvedge = started();
    let masked = |head: &[u8], payload: &[u8]| [head, &[0; 4], payload].concat();
    for (bytes, code) in [
        (masked(&[0x81, 0x82], &[0xc3, 0x28]), 1007),
        (vec![0x81, 0x01, b'a'], 1002),
        (masked(&[0x80, 0x81], b"a"), 1002),
        (masked(&[0xf1, 0x81], b"a"), 1002),
        (masked(&[0x83, 0x81], b"a"), 1002),
        (vec![0x82, 0xff, 0, 0, 0, 0, 2, 0, 0, 1, 0, 0, 0, 0], 1009),
    ] {
        let mut client = connect(&selvedge, "/");
        client.get_mut().write_all(&bytes).unwrap();
        assert_eq!(closed(&mut client).0, code, "{bytes:x?}");
    }
    last(&selvedge, "1006 Message is too large false 3");
    // The server is none the worse for it.
    let mut client = connect(&selvedge, "/");
    client.send(text("still here")).unwrap();
    assert_eq!(next(&mut client), text("still here"));
}

#[test]
fn a_message_has_cpu_time_of_its_own_and_no_wall_time() {
    let selvedge = Selvedge::start();
    let limits = json!({ "wall_ms": 300, "cpu_ms": 200, "cpu_burst_ms": 400, "concurrency": 2 });
    selvedge.deploy_limited("w", WORKER, limits);
    // More than the concurrency: a socket takes no request's place.
    let mut others: Vec<_> = (0..5).map(|_| connect(&selvedge, "/ticks")).collect();
    let mut client = connect(&selvedge, "/");
    for _ in 0..30 {
        client.send(text("work")).unwrap();
        assert_eq!(next(&mut client), text("worked true"));
    }
    // Their timers go on beyond the wall time.
    for other in &mut others {
        for _ in 0..40 {
            assert_eq!(next(other), text("tick"));
        }
    }
}

#[test]
fn what_a_handler_throws_is_logged_and_ends_nothing() {
    let selvedge = started();
    let mut client = connect(&selvedge, "/");
    client.send(text("throw")).unwrap();
    client.send(text("after")).unwrap();
    assert_eq!(next(&mut client), text("after"));
    eventually("the exception is logged", || {
        let logs = selvedge.logs("w");
        logs.iter().any(|log| log["message"].as_str().unwrap().contains("thrown on purpose")).then_some(())
    });
}

#[test]
fn limits_end_their_worker_and_its_bystanders_may_return() {
    let selvedge = started();
    for offence in ["spin", "grow"] {
        let mut bystander = connect(&selvedge, "/");
        bystander.send(text("hello")).unwrap();
        assert_eq!(next(&mut bystander), text("hello"));
        let mut offender = connect(&selvedge, "/");
        offender.send(text(offence)).unwrap();
        assert_eq!(closed(&mut offender).0, 1011, "{offence}");
        let told = closed(&mut bystander).0;
        // Both may run on different threads of the host, which only memory takes down whole.
        assert!(told == 1012, "{offence}: {told}");
        let mut again = connect(&selvedge, "/");
        again.send(text("again")).unwrap();
        assert_eq!(next(&mut again), text("again"));
    }
}

#[test]
fn a_lost_host_closes_its_sockets() {
    let selvedge = started();
    let mut client = connect(&selvedge, "/");
    client.send(text("hello")).unwrap();
    assert_eq!(next(&mut client), text("hello"));
    for pid in selvedge.hosts_of("account default") {
        let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    assert_eq!(closed(&mut client).0, 1012);
    let mut client = connect(&selvedge, "/");
    client.send(text("again")).unwrap();
    assert_eq!(next(&mut client), text("again"));
}

#[test]
fn a_slow_reader_costs_a_bounded_amount() {
    let selvedge = Selvedge::start();
    selvedge.deploy_limited("w", WORKER, json!({ "memory_mb": 64 }));
    let mut slow = connect(&selvedge, "/");
    slow.send(text("flood")).unwrap();
    // 100 MiB are too much to wait: the socket is given up, the worker goes on.
    last(&selvedge, "1006 The peer takes messages too slowly. false 3");
    let mut client = connect(&selvedge, "/");
    client.send(text("hello")).unwrap();
    assert_eq!(next(&mut client), text("hello"));
    let (mut code, mut total) = (0, 0);
    loop {
        match slow.read() {
            Ok(Message::Close(frame)) => code = frame.unwrap().code.into(),
            Ok(message) => total += message.len(),
            Err(_) => break,
        }
    }
    assert_eq!(code, 1013, "after {total} bytes");
}

#[test]
fn a_thousand_sockets_on_one_worker() {
    let selvedge = started();
    let mut clients: Vec<_> = (0..1000).map(|_| connect(&selvedge, "/")).collect();
    eventually("all are counted", || (selvedge.metric("selvedge_sockets") == 1000).then_some(()));
    for round in ["one", "two"] {
        clients.iter_mut().for_each(|client| client.send(text(round)).unwrap());
        clients.iter_mut().for_each(|client| assert_eq!(next(client), text(round)));
    }
    assert_eq!(selvedge.get("w", "/last").status, 200);
    drop(clients);
    eventually("none is left", || (selvedge.metric("selvedge_sockets") == 0).then_some(()));
}

#[test]
fn an_update_drains_the_old_version() {
    let selvedge = Selvedge::configured("[engine]\nsocket_drain_s = 1\n");
    selvedge.deploy_limited("w", WORKER, json!({}));
    let mut old = connect(&selvedge, "/");
    selvedge.deploy_limited(
        "w",
        &WORKER.replace("server.send(data);", "server.send(`new ${data}`);"),
        json!({}),
    );
    let mut new = connect(&selvedge, "/");
    new.send(text("hello")).unwrap();
    assert_eq!(next(&mut new), text("new hello"));
    assert_eq!(closed(&mut old), (1012, "The worker was updated.".into()));
    new.send(text("still")).unwrap();
    assert_eq!(next(&mut new), text("new still"));
}

#[test]
fn a_stopping_server_says_goodbye() {
    let selvedge = started();
    let mut client = connect(&selvedge, "/");
    selvedge.signal(rustix::process::Signal::TERM);
    assert_eq!(closed(&mut client), (1001, "The server is going down.".into()));
    selvedge.ended();
}

#[test]
fn a_pair_works_inside_of_one_worker() {
    let selvedge = Selvedge::start();
    let code = r#"
      export default {
        async fetch() {
          const { 0: a, 1: b } = new WebSocketPair();
          const seen = [];
          const done = new Promise((resolve) => b.addEventListener("close", (e) => resolve(`close ${e.code} ${e.reason} ${b.readyState}`)));
          b.addEventListener("message", async ({ data }) => seen.push(typeof data === "string" ? data : `${await data.text()}!`));
          a.accept();
          a.send("one");
          b.accept();
          a.send(new TextEncoder().encode("two"));
          a.onmessage = ({ data }) => seen.push(`a:${data}`);
          b.send("back");
          const refused = [];
          for (const attempt of [() => a.close(1006), () => a.close(999), () => a.close(3000, "x".repeat(124)), () => new WebSocket("ftp://x"),
                                 () => new WebSocket("ws://x", ["a", "a"]), () => new Response(null, { status: 101 }),
                                 () => new Response(null, { status: 200, webSocket: a })]) {
            try { attempt(); refused.push("none"); } catch (error) { refused.push(error.name); }
          }
          await new Promise((resolve) => setTimeout(resolve, 10));
          a.close(3001, "enough");
          const close = await done;
          return Response.json({ seen, close, refused, states: [a.readyState, b.readyState] });
        },
      };"#;
    selvedge.deploy_limited("w", code, json!({}));
    let answer: Value = selvedge.get("w", "/").json();
    let refused = [
        "InvalidAccessError",
        "InvalidAccessError",
        "SyntaxError",
        "SyntaxError",
        "SyntaxError",
        "RangeError",
        "RangeError",
    ];
    assert_eq!(answer["refused"], json!(refused));
    assert_eq!(answer["seen"], json!(["one", "two!", "a:back"]));
    assert_eq!(answer["close"], "close 3001 enough 3");
    assert_eq!(answer["states"], json!([2, 3]));
}

/// A server that echoes, for workers to connect to; `/refuse` is answered 403, `/bye` closed at once, `/tall` answered with
/// a wrong accept key.
fn echo_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                use tungstenite::handshake::server::{ErrorResponse, Request, Response};
                let mut path = String::new();
                #[allow(clippy::result_large_err)] // The library's own type.
                let shake = |request: &Request, mut response: Response| {
                    path = request.uri().path().to_owned();
                    if path == "/refuse" {
                        let mut refusal = ErrorResponse::new(Some("not you".into()));
                        *refusal.status_mut() = tungstenite::http::StatusCode::FORBIDDEN;
                        return Err(refusal);
                    }
                    if path == "/liar" {
                        response.headers_mut().insert("sec-websocket-accept", "bGllcw==".parse().unwrap());
                    }
                    if let Some(offered) = request.headers().get("sec-websocket-protocol") {
                        let first = offered.to_str().unwrap().split(", ").next().unwrap();
                        response.headers_mut().insert("sec-websocket-protocol", first.parse().unwrap());
                    }
                    response.headers_mut().insert("x-served-by", "echo".parse().unwrap());
                    Ok(response)
                };
                let Ok(mut socket) = tungstenite::accept_hdr(stream.unwrap(), shake) else { return };
                if path == "/bye" {
                    let _ = socket
                        .close(Some(CloseFrame { code: CloseCode::Library(4003), reason: "no".into() }));
                }
                while let Ok(message) = socket.read() {
                    if message == text("drop") {
                        return;
                    }
                    if message.is_text() || message.is_binary() {
                        socket.send(message).unwrap();
                    }
                }
            });
        }
    });
    port
}

/// Opens sockets outside, and passes clients on.
const OUTGOING: &str = r#"
const until = (target, type) => new Promise((resolve) => target.addEventListener(type, resolve, { once: true }));
export default {
  async fetch(request, env, ctx) {
    const { pathname, searchParams } = new URL(request.url);
    const server = searchParams.get("server");
    if (pathname === "/proxy") return fetch(`http://${server}/`, { headers: { Upgrade: "websocket" } });
    if (pathname === "/bridge") {
      const response = await fetch(`http://${server}/`, { headers: { Upgrade: "websocket" } });
      return new Response(null, { status: 101, webSocket: response.webSocket });
    }
    if (pathname === "/constructed") {
      const ws = new WebSocket(`ws://${server}/`, ["one", "two"]);
      ws.binaryType = "arraybuffer";
      const states = [ws.readyState];
      await until(ws, "open");
      states.push(ws.readyState);
      const got = [];
      for (const message of ["text", new Uint8Array([1, 2, 3]), new Blob(["blob"]), "x".repeat(1 << 20)]) {
        ws.send(message);
        const { data } = await until(ws, "message");
        got.push(typeof data === "string" ? data.length : [...new Uint8Array(data)].join());
      }
      ws.close(3456, "done");
      states.push(ws.readyState);
      const { code, reason, wasClean } = await until(ws, "close");
      return Response.json({ states: [...states, ws.readyState], got, protocol: ws.protocol, url: ws.url, close: [code, reason, wasClean] });
    }
    if (pathname === "/fetched") {
      const response = await fetch(`http://${server}/`, { headers: { Upgrade: "websocket" } });
      const ws = response.webSocket;
      ws.accept();
      ws.send("hello");
      const { data } = await until(ws, "message");
      ws.send("drop");
      const { code, wasClean } = await until(ws, "close");
      return Response.json({ status: response.status, by: response.headers.get("x-served-by"), data, code, wasClean });
    }
    if (pathname === "/refused") {
      const response = await fetch(`http://${server}/refuse`, { headers: { Upgrade: "websocket" } });
      const ws = new WebSocket(`ws://${server}${searchParams.get("path") ?? "/refuse"}`);
      const error = await until(ws, "error");
      const close = await until(ws, "close").catch(() => {});
      return Response.json({ status: response.status, text: await response.text(), socket: response.webSocket, error: error.message, code: close.code, state: ws.readyState });
    }
    if (pathname === "/bye") {
      const ws = new WebSocket(`ws://${server}/bye`);
      const { code, reason, wasClean } = await until(ws, "close");
      return Response.json([code, reason, wasClean, ws.readyState]);
    }
    if (pathname === "/left") {
      const ws = new WebSocket(`ws://${server}/`);
      await until(ws, "open");
      return new Response("the socket is still open");
    }
  },
};
"#;

fn outgoing() -> (Selvedge, u16) {
    let port = echo_server();
    let selvedge = Selvedge::configured(&format!("[engine]\negress_allow = [\"localhost:{port}\"]\n"));
    selvedge.deploy_limited("w", OUTGOING, json!({ "wall_ms": 2000 }));
    (selvedge, port)
}

#[test]
fn workers_connect_to_servers() {
    let (selvedge, port) = outgoing();
    let ask = |path: &str| -> Value {
        let answer = selvedge.get("w", &format!("{path}server=localhost:{port}"));
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    };
    let answer = ask("/constructed?");
    assert_eq!(answer["states"], json!([0, 1, 2, 3]));
    assert_eq!(answer["got"], json!([4, "1,2,3", "98,108,111,98", 1 << 20]));
    assert_eq!(answer["protocol"], "one");
    assert_eq!(answer["url"], format!("ws://localhost:{port}/"));
    assert_eq!(answer["close"], json!([3456, "done", true]));
    let wanted = json!({ "status": 101, "by": "echo", "data": "hello", "code": 1006, "wasClean": false });
    assert_eq!(ask("/fetched?"), wanted);
    let refused = ask("/refused?");
    assert_eq!((&refused["status"], &refused["text"]), (&json!(403), &json!("not you")));
    assert_eq!(
        (&refused["socket"], &refused["code"], &refused["state"]),
        (&Value::Null, &json!(1006), &json!(3))
    );
    assert!(refused["error"].as_str().unwrap().contains("403"), "{refused}");
    let refused = ask("/refused?path=/liar&");
    assert!(refused["error"].as_str().unwrap().contains("Sec-WebSocket-Accept"), "{refused}");
    assert_eq!(ask("/bye?"), json!([4003, "no", true, 3]));
    assert_eq!(selvedge.get("w", &format!("/left?server=localhost:{port}")).body, "the socket is still open");
    // The policy holds for them, too.
    let answer = selvedge.get("w", "/refused?server=127.0.0.1:1");
    assert_eq!(answer.status, 500, "{}", answer.body);
}

#[test]
fn clients_are_passed_on_to_servers() {
    let (selvedge, port) = outgoing();
    for path in ["/proxy", "/bridge"] {
        let mut client = connect(&selvedge, &format!("{path}?server=localhost:{port}"));
        for message in [text("hello"), Message::binary(vec![1; 1 << 20]), text("")] {
            client.send(message.clone()).unwrap();
            assert!(next(&mut client) == message, "{path}");
        }
        client.close(Some(CloseFrame { code: CloseCode::Library(4000), reason: "bye".into() })).unwrap();
        assert_eq!(closed(&mut client).0, 4000, "{path}");
        let mut client = connect(&selvedge, &format!("{path}?server=localhost:{port}"));
        client.send(text("drop")).unwrap();
        assert_eq!(closed(&mut client).0, 1011, "{path}");
    }
}

/// Extended CONNECT (RFC 8441), as browsers do it where a connection of HTTP/2 stands.
#[tokio::test]
async fn http2_carries_sockets() {
    use hyper::{Method, Request, StatusCode, ext::Protocol};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let selvedge = started();
    let stream = tokio::net::TcpStream::connect(selvedge.http).await.unwrap();
    let shake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut client, driver) = shake.await.unwrap();
    tokio::spawn(driver);
    let connect = |path: &str, protocol: &'static str, version: &str| {
        Request::builder()
            .method(Method::CONNECT)
            .uri(format!("http://w.localhost{path}"))
            .header("sec-websocket-version", version)
            .extension(Protocol::from_static(protocol))
            .body(String::new())
            .unwrap()
    };
    // Only a server that says so in its settings may be asked, and they come with the first answer.
    let first = Request::builder().uri("http://w.localhost/last").body(String::new()).unwrap();
    assert_eq!(client.send_request(first).await.unwrap().status(), StatusCode::OK);
    for (path, protocol, version, status) in
        [("/", "websocket", "8", 426), ("/", "webtransport", "13", 405), ("/refuse", "websocket", "13", 403)]
    {
        let response = client.send_request(connect(path, protocol, version)).await.unwrap();
        assert_eq!(response.status(), status, "{path} {protocol} {version}");
    }
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let response = client.send_request(connect("/", "websocket", "13")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert!(!response.headers().contains_key("sec-websocket-accept"));
        sockets.push(TokioIo::new(hyper::upgrade::on(response).await.unwrap()));
    }
    for socket in &mut sockets {
        socket.write_all(b"\x81\x85\0\0\0\0hello").await.unwrap();
        let mut frame = [0; 7];
        socket.read_exact(&mut frame).await.unwrap();
        assert_eq!(&frame, b"\x81\x05hello");
        socket.write_all(b"\x88\x82\0\0\0\0\x0f\xa0").await.unwrap();
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"\x88\x02\x0f\xa0");
    }
    let again = Request::builder().uri("http://w.localhost/last").body(String::new()).unwrap();
    assert_eq!(client.send_request(again).await.unwrap().status(), StatusCode::OK);
}

#[test]
fn compatibility_decides_how_sockets_begin() {
    let selvedge = Selvedge::start();
    let code = r#"export default {
      async fetch() {
        const { 0: a, 1: b } = new WebSocketPair();
        a.accept(); b.accept();
        a.close(1000);
        await new Promise((resolve) => b.addEventListener("close", resolve));
        return new Response(`${a.binaryType} ${b.readyState}`);
      },
    };"#;
    let old_flags = json!(["no_websocket_standard_binary_type", "web_socket_manual_reply_to_close"]);
    for (date, flags, wanted) in [
        ("2024-01-01", json!([]), "arraybuffer 2"),
        ("2026-04-01", json!([]), "blob 2"),
        ("2026-04-07", json!([]), "blob 3"),
        ("2026-04-07", old_flags, "arraybuffer 2"),
        ("2024-01-01", json!(["web_socket_auto_reply_to_close"]), "arraybuffer 3"),
    ] {
        let metadata = json!({ "compatibility_date": date, "compatibility_flags": flags });
        let answer = selvedge.upload("w", metadata, &[common::api::Module::main(code)]);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(selvedge.get("w", "/").body, wanted, "{date} {flags}");
    }
}

/// Passes everything on to another worker, but for `/own`.
const ROUTER: &str = r#"
export default {
  async fetch(request, env) {
    if (new URL(request.url).pathname !== "/own") return env.BACK.fetch(request);
    const { status, webSocket } = await env.BACK.fetch("http://back/greet", { headers: { Upgrade: "websocket" } });
    webSocket.accept();
    const got = [];
    const closed = new Promise((resolve) => webSocket.addEventListener("close", resolve));
    webSocket.addEventListener("message", ({ data }) => {
      got.push(data);
      webSocket.send(got.length === 1 ? "hello" : "close");
    });
    const { code, reason } = await closed;
    return Response.json([status, got, code, reason]);
  },
};
"#;

fn routed(settings: &str, router: &str) -> Selvedge {
    let selvedge = Selvedge::configured(settings);
    let limits = json!({ "wall_ms": 1000 });
    selvedge.deploy_limited("back", WORKER, limits.clone());
    let bindings = json!([{ "type": "service", "name": "BACK", "service": "back" }]);
    let metadata = json!({ "limits": limits, "bindings": bindings });
    let answer = selvedge.upload("w", metadata, &[Module::main(router)]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    selvedge
}

#[test]
fn a_service_binding_passes_sockets_on() {
    let selvedge = routed("", ROUTER);
    assert_eq!(selvedge.get("w", "/").status, 426);
    assert_eq!(try_connect(&selvedge, "/refuse", "").unwrap_err(), 403);
    let mut client = try_connect(&selvedge, "/greet", "one, two").unwrap();
    assert_eq!(next(&mut client), text("before"));
    client.send(text("hello")).unwrap();
    assert_eq!(next(&mut client), text("hello"));
    let large = Message::binary(vec![7; 3 << 20]);
    client.send(large.clone()).unwrap();
    assert_eq!(next(&mut client), large);
    // Beyond the wall time of both workers' requests.
    std::thread::sleep(Duration::from_millis(2500));
    client.send(text("still")).unwrap();
    assert_eq!(next(&mut client), text("still"));
    client.send(text("close")).unwrap();
    assert_eq!(closed(&mut client), (4001, "as you wish".into()));
    let mut client = connect(&selvedge, "/");
    client.close(Some(CloseFrame { code: CloseCode::Library(4005), reason: "bye".into() })).unwrap();
    assert_eq!(closed(&mut client).0, 4005);
    let seen = |wanted: &str| {
        eventually("the other worker sees the close", || {
            (selvedge.get("back", "/last").body == wanted).then_some(())
        })
    };
    seen("4005 bye true 3");
    // A client that is gone without a word.
    drop(connect(&selvedge, "/"));
    seen("1011 The other side broke off. true 3");
    assert_eq!(selvedge.get("w", "/own").body, r#"[101,["before","hello"],4001,"as you wish"]"#);
}

#[test]
fn what_breaks_behind_a_service_binding_closes_the_socket() {
    let selvedge = routed("[engine]\nsocket_drain_s = 1\n", ROUTER);
    let mut spinning = connect(&selvedge, "/");
    spinning.send(text("spin")).unwrap();
    assert_eq!(closed(&mut spinning).0, 1011);
    let mut old = connect(&selvedge, "/");
    old.send(text("here")).unwrap();
    assert_eq!(next(&mut old), text("here"));
    selvedge.deploy_limited("back", &WORKER.replace("as you wish", "anew"), json!({}));
    assert_eq!(closed(&mut old).0, 1011);
    let mut new = connect(&selvedge, "/");
    new.send(text("close")).unwrap();
    assert_eq!(closed(&mut new), (4001, "anew".into()));
    // An answer with a socket that nobody asked for.
    let router = ROUTER.replace(", { headers: { Upgrade: \"websocket\" } }", "");
    let selvedge = routed("", &router);
    let answer = selvedge.get("w", "/own");
    assert_eq!(answer.status, 500, "{answer:?}");
}
