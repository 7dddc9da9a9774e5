//! HTTP/2 by prior knowledge, with hyper's client and by hand.

mod support;

use std::io::{Read, Write};

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{config, runtime, start};

type Sender = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

async fn connect(server: &support::Server) -> Sender {
    let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

fn request(method: &str, path: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .version(Version::HTTP_2)
        .uri(format!("http://test.localhost{path}"))
        .body(Full::from(body))
        .unwrap()
}

#[test]
fn many_streams_share_a_connection() {
    let server = start(config());
    runtime().block_on(async {
        let mut sender = connect(&server).await;
        sender.ready().await.unwrap();
        let mut replies = Vec::new();
        for n in 0..50 {
            let path = if n % 5 == 0 { "/slow" } else { "/" };
            replies.push(sender.send_request(request("GET", path, "")));
        }
        for (n, reply) in replies.into_iter().enumerate() {
            let reply = reply.await.unwrap();
            assert_eq!(reply.status(), StatusCode::OK);
            assert!(reply.headers().contains_key("x-request-id"));
            let body = reply.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, if n % 5 == 0 { "slow" } else { "hello from test" });
        }
    });
    server.wait_for_metric("selvedge_http_requests_total{protocol=\"http/2\",status=\"2xx\"} 50");
    server.wait_for_metric("selvedge_http_connections_opened_total 1");
}

#[test]
fn bodies_heads_and_errors_work_as_with_http_1() {
    let server = start(config());
    runtime().block_on(async {
        let mut sender = connect(&server).await;
        let reply = sender.send_request(request("POST", "/echo", "body")).await.unwrap();
        assert_eq!(reply.into_body().collect().await.unwrap().to_bytes(), "body");
        let reply = sender.send_request(request("HEAD", "/", "")).await.unwrap();
        assert_eq!(reply.headers()["content-length"], "15");
        assert!(reply.into_body().collect().await.unwrap().to_bytes().is_empty());
        let reply = sender.send_request(request("GET", "/panic", "")).await.unwrap();
        assert_eq!(reply.status(), 500);
        let reply = sender.send_request(request("GET", "/hop", "")).await.unwrap();
        assert_eq!(reply.into_body().collect().await.unwrap().to_bytes(), "hop");
        let mut odd = request("GET", "/", "");
        odd.headers_mut().insert("host", "other.localhost".parse().unwrap());
        assert_eq!(sender.send_request(odd).await.unwrap().status(), 400);
        let reply = sender.send_request(request("GET", "/", "")).await.unwrap();
        assert_eq!(reply.status(), 200, "the connection outlives refused requests");
    });
}

#[test]
fn a_preface_in_pieces_is_understood() {
    let server = start(config());
    let mut stream = server.connect();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for byte in preface {
        stream.write_all(&[*byte]).unwrap();
    }
    // An empty SETTINGS frame, which the server answers with its own and an acknowledgement.
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).unwrap();
    assert_eq!(frame[3], 4, "SETTINGS");
}

#[test]
fn a_flood_of_resets_ends_the_connection() {
    let server = start(config());
    let mut stream = server.connect();
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    flood.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    for n in 0..2000u32 {
        let id = (2 * n + 1).to_be_bytes();
        // HEADERS: GET, http, /, and `:authority` as a literal; then RST_STREAM.
        let block = [&[0x82, 0x86, 0x84, 0x41, 14][..], b"test.localhost"].concat();
        flood.extend([0, 0, block.len() as u8, 1, 5]);
        flood.extend(id);
        flood.extend(&block);
        flood.extend([0, 0, 4, 3, 0]);
        flood.extend(id);
        flood.extend([0, 0, 0, 8]);
    }
    // The server may stop reading before everything was sent.
    let _ = stream.write_all(&flood);
    let end = stream.read_to_end(&mut Vec::new());
    // Closed or reset, but not still open when the client's patience ends.
    assert!(!end.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
    server.wait_for_metric("selvedge_http_connections 0");
    server.wait_for_metric("selvedge_http_requests_in_flight 0");
    assert_eq!(server.get("/").status, 200);
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

/// A client that writes frames by hand.
struct Raw(std::net::TcpStream);

#[derive(Debug)]
struct RawFrame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Raw {
    fn connect(server: &support::Server) -> Self {
        let mut raw = Self(server.connect());
        raw.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        raw.send(SETTINGS, 0, 0, &[]);
        raw
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = vec![0, (payload.len() >> 8) as u8, payload.len() as u8, kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).unwrap();
    }

    /// `http` and a method of the static table; the path as a literal.
    fn request(&mut self, stream: u32, method: u8, path: &str, end: bool) {
        let mut block = vec![method, 0x86, 0x01, 14];
        block.extend(b"test.localhost");
        block.extend([0x04, path.len() as u8]);
        block.extend(path.bytes());
        self.send(HEADERS, 4 | u8::from(end), stream, &block);
    }

    fn read(&mut self) -> Option<RawFrame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(RawFrame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Reads up to a frame of a kind.
    fn find(&mut self, kind: u8) -> RawFrame {
        loop {
            let frame = self.read().expect("the connection ended");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Reads everything up to the end of the connection; the last GOAWAY's code.
    fn end(mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.read() {
            if frame.kind == GOAWAY {
                code = Some(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()));
            }
        }
        code
    }
}

const GET: u8 = 0x82;
const POST: u8 = 0x83;

#[test]
fn large_bodies_go_both_ways() {
    let server = start(config());
    runtime().block_on(async {
        let mut sender = connect(&server).await;
        let reply = sender.send_request(request("GET", "/big", "")).await.unwrap();
        assert_eq!(reply.into_body().collect().await.unwrap().to_bytes().len(), 8 << 20);
        let body: Bytes = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect::<Vec<_>>().into();
        let mut upload = request("POST", "/echo", "");
        *upload.body_mut() = Full::new(body.clone());
        let reply = sender.send_request(upload).await.unwrap();
        assert_eq!(reply.into_body().collect().await.unwrap().to_bytes(), body);
        let reply = sender.send_request(request("GET", "/stream?length=6", "")).await.unwrap();
        assert_eq!(reply.headers()["content-length"], "6");
        assert_eq!(reply.into_body().collect().await.unwrap().to_bytes(), "onetwo");
        // Shorter than announced: broken off, so that nobody takes it for whole.
        let reply = sender.send_request(request("GET", "/stream?length=9", "")).await.unwrap();
        assert!(reply.into_body().collect().await.is_err());
        for status in [204, 304] {
            let reply = sender.send_request(request("GET", &format!("/status/{status}"), "")).await.unwrap();
            assert_eq!(reply.status().as_u16(), status);
            assert!(reply.into_body().collect().await.unwrap().to_bytes().is_empty());
        }
    });
    server.wait_for_metric("selvedge_http_requests_in_flight 0");
}

#[test]
fn resets_and_oddities_are_counted() {
    let server = start(config());
    let mut raw = Raw::connect(&server);
    raw.request(1, GET, "/never", true);
    server.wait_for_metric("selvedge_http_requests_in_flight 1");
    raw.send(RST_STREAM, 0, 1, &8u32.to_be_bytes());
    server.wait_for_metric("selvedge_http_requests_in_flight 0");
    raw.send(PING, 0, 0, b"12345678");
    assert_eq!(raw.find(PING).payload, b"12345678");
    server.wait_for_metric("selvedge_http2_glitches_total{kind=\"reset\"} 1");
    server.wait_for_metric("selvedge_http2_glitches_total{kind=\"ping\"} 1");
    for _ in 0..2000 {
        if raw.0.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).is_err() {
            break;
        }
    }
    server.wait_for_metric("selvedge_http_connections_cut_total{reason=\"glitches\"} 1");
    drop(raw);
    server.wait_for_metric("selvedge_http_connections 0");
}

#[test]
fn malformed_frames_end_the_connection_with_a_reason() {
    let server = start(config());
    let mut raw = Raw::connect(&server);
    raw.send(DATA, 0, 1, b"x");
    assert_eq!(raw.end(), Some(1), "PROTOCOL_ERROR");
    server.wait_for_metric("selvedge_http_connections_cut_total{reason=\"malformed\"} 1");
}

#[test]
fn large_heads_are_answered_431() {
    let server = start(config());
    let mut raw = Raw::connect(&server);
    let mut block = vec![GET, 0x86, 0x84, 0x01, 14];
    block.extend(b"test.localhost");
    // 8,000 bytes put into the table would not stay there; 3,000 do, and come again and again.
    block.extend([0x40, 1, b'x', 0x7f, 0xb9, 0x16]);
    block.extend(vec![b'a'; 3000]);
    block.extend([0xbe; 20]);
    raw.send(HEADERS, 5, 1, &block);
    let head = raw.find(HEADERS);
    // `:status` as a literal behind the size of the table.
    assert!(head.payload.windows(3).any(|part| part == b"431"), "{head:?}");
    raw.request(3, GET, "/", true);
    assert_eq!(raw.find(HEADERS).stream, 3);
    server.wait_for_metric("selvedge_http_requests_total{protocol=\"http/2\",status=\"4xx\"} 1");
}

#[test]
fn a_body_that_stops_arriving_costs_its_stream_only() {
    let mut config = config();
    config.stall_timeout_ms = 200;
    let server = start(config);
    let mut raw = Raw::connect(&server);
    raw.request(1, POST, "/echo", false);
    raw.send(DATA, 0, 1, b"abc");
    let head = raw.find(HEADERS);
    assert_eq!(head.stream, 1);
    assert!(head.payload.windows(3).any(|part| part == b"408"), "{head:?}");
    raw.request(3, GET, "/", true);
    let head = raw.find(HEADERS);
    assert_eq!((head.stream, head.payload.contains(&0x88)), (3, true));
    server.wait_for_metric("selvedge_http_connections_cut_total{reason=\"stalled\"} 1");
}

#[test]
fn a_client_that_opens_no_window_is_cut() {
    let mut config = config();
    config.stall_timeout_ms = 200;
    let server = start(config);
    let mut raw = Raw::connect(&server);
    raw.request(1, GET, "/endless", true);
    while raw.read().is_some() {}
    server.wait_for_metric("selvedge_http_connections_cut_total{reason=\"stalled\"} 1");
    server.wait_for_metric("selvedge_http_requests_in_flight 0");
}

#[test]
fn a_quiet_connection_is_told_to_go() {
    let mut config = config();
    config.idle_timeout_ms = 200;
    let server = start(config);
    let mut raw = Raw::connect(&server);
    raw.request(1, GET, "/", true);
    assert_eq!(raw.end(), Some(0));
    server.wait_for_metric("selvedge_http_connections_cut_total{reason=\"idle_timeout\"} 1");
    server.wait_for_metric("selvedge_http_connections 0");
}

#[test]
fn a_head_in_pieces_has_its_time() {
    let mut config = config();
    config.header_timeout_ms = 200;
    let server = start(config);
    let mut raw = Raw::connect(&server);
    raw.send(HEADERS, 0, 1, &[GET, 0x86]);
    assert_eq!(raw.end(), Some(11), "ENHANCE_YOUR_CALM");
    server.wait_for_metric("selvedge_http_connections_cut_total{reason=\"header_timeout\"} 1");
}

#[test]
fn a_client_without_a_sign_of_life_is_given_up() {
    let mut config = config();
    config.http2.ping_interval_ms = 100;
    config.http2.ping_timeout_ms = 100;
    let server = start(config);
    let mut raw = Raw::connect(&server);
    raw.request(1, GET, "/never", true);
    // The first ping is answered, the second one is not.
    let ping = raw.find(PING);
    raw.send(PING, 1, 0, &ping.payload);
    assert_eq!(raw.find(PING).flags, 0);
    assert_eq!(raw.end(), None);
    server.wait_for_metric("selvedge_http_requests_in_flight 0");
    server.wait_for_metric("selvedge_http_connections 0");
}

#[test]
fn shutdown_lets_streams_finish() {
    let server = start(config());
    let mut raw = Raw::connect(&server);
    raw.request(1, GET, "/slow", true);
    server.wait_for_metric("selvedge_http_requests_in_flight 1");
    let stopping = std::thread::spawn(move || server.shutdown(std::time::Duration::from_secs(30)));
    let goodbye = raw.find(GOAWAY);
    assert_eq!(goodbye.payload[..4], [0x7f, 0xff, 0xff, 0xff]);
    let ping = raw.find(PING);
    raw.send(PING, 1, 0, &ping.payload);
    let body = raw.find(DATA);
    assert_eq!((body.flags, &body.payload[..]), (1, &b"slow"[..]));
    assert_eq!(raw.end(), None, "the last stream was named before");
    stopping.join().unwrap();
}

#[test]
fn clients_are_told_to_go_on_with_their_body() {
    let server = start(config());
    let mut raw = Raw::connect(&server);
    let mut block = vec![POST, 0x86, 0x04, 5];
    block.extend(b"/echo");
    block.extend([0x01, 14]);
    block.extend(b"test.localhost");
    block.extend([0x0f, 35 - 15, 12]);
    block.extend(b"100-continue");
    raw.send(HEADERS, 4, 1, &block);
    let interim = raw.find(HEADERS);
    assert!(interim.flags & 1 == 0 && interim.payload.ends_with(b"100"), "{interim:?}");
    raw.send(DATA, 1, 1, b"body");
    assert_eq!(raw.find(DATA).payload, b"body");
}

#[test]
fn the_urgent_overtake() {
    let server = start(config());
    let mut raw = Raw::connect(&server);
    // Windows for everything, later: first both responses wait.
    raw.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    raw.request(1, GET, "/big", true);
    raw.request(3, GET, "/", true);
    // RFC 9218: stream 1 may wait, stream 3 must not.
    raw.send(16, 0, 0, b"\0\0\0\x01u=7");
    raw.send(16, 0, 0, b"\0\0\0\x03u=0");
    for _ in 0..2 {
        raw.find(HEADERS);
    }
    raw.send(PING, 0, 0, b"settled?");
    while raw.find(PING).flags == 0 {}
    raw.send(SETTINGS, 0, 0, &[0, 4, 0, 0x10, 0, 0]);
    raw.send(WINDOW_UPDATE, 0, 0, &0x10_0000u32.to_be_bytes());
    assert_eq!(raw.find(DATA).stream, 3);
    assert_eq!(raw.find(DATA).stream, 1);
}

/// What answers does not read the body: what comes of it all the same has to be right, and to come soon.
#[test]
fn early_answers_leave_clients_a_moment() {
    let mut settings = config();
    // Has the sweeper look often.
    settings.http2.ping_interval_ms = 400;
    let server = start(settings);
    let code = |frame: RawFrame| u32::from_be_bytes(frame.payload.try_into().unwrap());
    let mut raw = Raw::connect(&server);
    raw.request(1, POST, "/", false);
    assert_eq!(raw.find(DATA).flags, 1, "the whole response");
    raw.send(HEADERS, 4, 1, &[0x82]);
    assert_eq!(code(raw.find(RST_STREAM)), 1, "a second head is none: PROTOCOL_ERROR");
    raw.request(3, POST, "/", false);
    raw.find(DATA);
    raw.send(DATA, 1, 3, b"whole");
    raw.request(5, POST, "/", false);
    raw.find(DATA);
    let reset = raw.find(RST_STREAM);
    assert_eq!((reset.stream, code(reset)), (5, 0), "the one that does not end: NO_ERROR");
    raw.request(7, GET, "/", true);
    assert_eq!(raw.find(HEADERS).stream, 7);
}

/// A real client.
#[test]
fn curl_understands() {
    let server = start(config());
    let url = format!("http://test.localhost:{}/echo", server.address.port());
    let output = std::process::Command::new("curl")
        .args(["--silent", "--http2-prior-knowledge", "--max-time", "30", "--data", "from curl"])
        .args(["--resolve", &format!("test.localhost:{}:127.0.0.1", server.address.port())])
        .args(["--write-out", " %{http_version} %{http_code}", &url])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "from curl 2 200");
}

/// Extended CONNECT (RFC 8441): the client's stream becomes a WebSocket, here one of a server behind the edge.
#[test]
fn streams_become_websockets() {
    let behind = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = support::start_sites(&format!(
        "[[sites]]\nhosts = [\"ws.example\"]\n[[sites.routes]]\npath = \"/*\"\nproxy = {{ to = [\"http://{}\"] }}\n",
        behind.local_addr().unwrap()
    ));
    let echo = std::thread::spawn(move || {
        let (mut stream, _) = behind.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("GET /chat HTTP/1.1") && head.contains("upgrade: websocket"), "{head}");
        let mut fields = http::HeaderMap::new();
        for name in ["sec-websocket-key", "sec-websocket-version"] {
            let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name)).unwrap();
            fields.insert(name, line.split_once(": ").unwrap().1.parse().unwrap());
        }
        let accept = selvedge_engine::websocket::handshake::accept(&fields).unwrap();
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: {}\r\n\r\n",
            accept.to_str().unwrap()
        );
        stream.write_all(answer.as_bytes()).unwrap();
        let mut bytes = vec![0; 1 << 16];
        loop {
            let count = stream.read(&mut bytes).unwrap();
            if count == 0 {
                break;
            }
            stream.write_all(&bytes[..count]).unwrap();
        }
    });
    runtime().block_on(async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut sender = connect(&server).await;
        // Only a server that says so in its settings may be asked, and they come with the first answer.
        sender.send_request(request("GET", "/", "")).await.unwrap();
        let ask = |protocol: &'static str| {
            Request::builder()
                .method("CONNECT")
                .uri("http://ws.example/chat")
                .header("sec-websocket-version", "13")
                .extension(hyper::ext::Protocol::from_static(protocol))
                .body(Full::default())
                .unwrap()
        };
        assert_eq!(sender.send_request(ask("webtransport")).await.unwrap().status(), 405);
        let reply = sender.send_request(ask("websocket")).await.unwrap();
        assert_eq!(reply.status(), 200);
        assert!(!reply.headers().contains_key("sec-websocket-accept"));
        let mut socket = TokioIo::new(hyper::upgrade::on(reply).await.unwrap());
        // More than a window in both directions.
        let sent: Vec<u8> = (0..300_000u32).map(|n| (n % 253) as u8).collect();
        let (mut from, mut to) = tokio::io::split(&mut socket);
        let mut received = vec![0; sent.len()];
        let (written, read) = tokio::join!(to.write_all(&sent), from.read_exact(&mut received));
        written.unwrap();
        read.unwrap();
        assert!(received == sent);
        to.shutdown().await.unwrap();
        let mut rest = Vec::new();
        from.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    });
    echo.join().unwrap();
    server.wait_for_metric("selvedge_http_requests_in_flight 0");
}
