//! Sockets that workers open themselves.

use super::*;

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
