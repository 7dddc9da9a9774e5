//! WebSockets of workers' clients, with a client that is not ours.

#[path = "../common/mod.rs"]
mod common;

mod bound;
mod outgoing;

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
