//! What else than plain HTTP/1.1 passes: trailers, streams, WebSockets, HTTP/2, TLS, Unix sockets.

#[path = "support/origin.rs"]
mod origin;
mod support;

use std::io::{Read, Write};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::ext::Protocol;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use origin::{Origin, ok};
use selvedge_engine::websocket::handshake;
use support::{Server, read_head_reply, read_reply, runtime, start_sites};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn proxy(settings: &str) -> Server {
    start_sites(&format!(
        "[[sites]]\nhosts = [\"a.test\"]\n[[sites.routes]]\npath = \"/*\"\nproxy = {{ {settings} }}"
    ))
}

fn to(origin: &Origin) -> Server {
    proxy(&format!("to = [\"{}\"]", origin.url()))
}

fn read_until(stream: &mut impl Read, end: &str) -> String {
    let mut all = Vec::new();
    while !all.ends_with(end.as_bytes()) {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&all));
        all.push(byte[0]);
    }
    String::from_utf8(all).unwrap()
}

#[test]
fn trailers_pass_both_ways() {
    let origin = Origin::start(|connection| {
        while connection.request().is_some() {
            connection.send(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\n\
                 x-sum: 7\r\ncontent-length: 9\r\n\r\n",
            );
        }
    });
    let server = to(&origin);
    let mut client = server.connect();
    for te in ["te: trailers\r\n", ""] {
        write!(
            client,
            "POST / HTTP/1.1\r\nhost: a.test\r\n{te}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\
             x-mine: 1\r\nhost: evil\r\n\r\n"
        )
        .unwrap();
        read_until(&mut client, "\r\n\r\n2\r\nok\r\n0\r\n");
        let rest = if te.is_empty() { "\r\n" } else { "x-sum: 7\r\n\r\n" };
        assert_eq!(read_until(&mut client, rest), rest);
        assert!(origin.last().ends_with("3\r\nabc\r\n0\r\nx-mine: 1\r\n\r\n"), "{}", origin.last());
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn events_pass_as_they_come() {
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let origin = Origin::start(move |connection| {
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n");
        for event in 0..3 {
            connection.send(format!("data: {event}\n\n"));
            // Not before the client has seen this one.
            told.lock().unwrap().recv().unwrap();
        }
        connection.close();
    });
    let server = to(&origin);
    let mut client = server.connect();
    write!(client, "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").unwrap();
    for event in 0..3 {
        read_until(&mut client, &format!("data: {event}\n\n"));
        tell.send(()).unwrap();
    }
    read_until(&mut client, "0\r\n\r\n");
}

#[test]
fn large_bodies_pass_both_ways_at_once() {
    let origin = Origin::start(|connection| {
        let head = connection.head().unwrap();
        assert!(head.contains("content-length: 8388608\r\n"), "{head}");
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 8388608\r\n\r\n");
        let ahead = connection.take_ahead();
        connection.send(&ahead);
        let mut left = (8 << 20) - ahead.len();
        let mut part = vec![0; 64 * 1024];
        while left > 0 {
            let count = connection.stream.read(&mut part).unwrap();
            assert!(count > 0);
            connection.send(&part[..count]);
            left -= count;
        }
    });
    let server = to(&origin);
    let client = server.connect();
    let mut writer = client.try_clone().unwrap();
    let sent: Vec<u8> = (0..8u32 << 20).map(|n| ((n * 7) >> 3) as u8).collect();
    let body = sent.clone();
    let writing = std::thread::spawn(move || {
        write!(writer, "PUT / HTTP/1.1\r\nhost: a.test\r\ncontent-length: {}\r\n\r\n", body.len()).unwrap();
        writer.write_all(&body).unwrap();
    });
    let mut client = client;
    let reply = read_reply(&mut client);
    writing.join().unwrap();
    assert!(reply.body == sent);
}

#[test]
fn a_server_may_refuse_a_body_before_it_is_sent() {
    let origin = Origin::start(|connection| {
        while let Some(head) = connection.head() {
            assert!(head.contains("\r\nexpect: 100-continue\r\n"), "{head}");
            match head.starts_with("PUT /no") {
                true => {
                    connection.send("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno");
                    return connection.close();
                }
                false => {
                    connection.send("HTTP/1.1 100 Continue\r\n\r\n");
                    let mut body = [0; 4];
                    connection.stream.read_exact(&mut body).unwrap();
                    connection.send(ok(std::str::from_utf8(&body).unwrap()));
                }
            }
        }
    });
    let server = to(&origin);
    let request = |path: &str| {
        format!("PUT {path} HTTP/1.1\r\nhost: a.test\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n")
    };
    let mut client = server.connect();
    client.write_all(request("/yes").as_bytes()).unwrap();
    assert_eq!(read_head_reply(&mut client).status, 100);
    client.write_all(b"body").unwrap();
    assert_eq!(read_reply(&mut client).text(), "body");
    client.write_all(request("/no").as_bytes()).unwrap();
    assert_eq!(read_reply(&mut client).status, 413);
}

/// Agrees to be a WebSocket, and gives every byte back.
fn echoing() -> Origin {
    Origin::start(|connection| {
        let Some(request) = connection.request() else { return };
        let field = |name: &str| {
            request.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned).unwrap_or_default()
        };
        let mut headers = HeaderMap::new();
        headers.insert("sec-websocket-key", field("sec-websocket-key: ").parse().unwrap());
        headers.insert("sec-websocket-version", field("sec-websocket-version: ").parse().unwrap());
        let mut accept = handshake::accept(&headers).unwrap().to_str().unwrap().to_owned();
        if request.contains("/forged") {
            accept = "forged".into();
        }
        connection.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: WebSocket\r\n\
             sec-websocket-accept: {accept}\r\nsec-websocket-protocol: chat\r\n\r\nhello"
        ));
        let mut part = [0; 1024];
        while let Ok(count @ 1..) = connection.stream.read(&mut part) {
            connection.send(&part[..count]);
        }
    })
}

const HANDSHAKE: &str = "host: a.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[test]
fn websockets_pass_over_http_1() {
    let origin = echoing();
    let server = to(&origin);
    let mut client = server.connect();
    write!(client, "GET /chat HTTP/1.1\r\n{HANDSHAKE}early").unwrap();
    let reply = read_head_reply(&mut client);
    assert_eq!((reply.status, reply.header("sec-websocket-protocol")), (101, Some("chat")));
    assert_eq!(reply.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(read_until(&mut client, "helloearly"), "helloearly");
    let sent = vec![b'x'; 300_000];
    let mut writer = client.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&sent).unwrap());
    let mut back = vec![0; 300_000];
    client.read_exact(&mut back).unwrap();
    writing.join().unwrap();
    let reply = server.send(format!("GET /forged HTTP/1.1\r\n{HANDSHAKE}"));
    assert_eq!((reply.status, &*reply.code()), (502, "upstream_bad_response"));
}

#[test]
fn websockets_pass_from_http_2() {
    let origin = echoing();
    let server = to(&origin);
    runtime().block_on(async {
        let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = Request::builder()
            .method(Method::CONNECT)
            .uri("http://a.test/chat")
            .header("sec-websocket-version", "13")
            .extension(Protocol::from_static("websocket"))
            .body(Empty::<Bytes>::new())
            .unwrap();
        sender.ready().await.unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
        let mut tunnel = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
        tunnel.write_all(b" and back").await.unwrap();
        let mut back = [0; 14];
        tunnel.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"hello and back");
    });
}

/// A server of HTTP/2 that answers as gRPC does: with trailers, and with as many messages as it gets.
async fn grpc(
    request: Request<Incoming>,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = hyper::Error>>, hyper::Error> {
    assert_eq!(request.version(), Version::HTTP_2);
    assert_eq!(request.headers()["te"], "trailers");
    let path = request.uri().to_string();
    let frames = futures(request.into_body());
    Ok(Response::builder()
        .header("content-type", "application/grpc")
        .header("x-path", path)
        .body(StreamBody::new(frames))
        .unwrap())
}

/// Each part of a body back, then trailers.
fn futures(mut body: Incoming) -> impl futures_core::Stream<Item = Result<Frame<Bytes>, hyper::Error>> {
    let mut over = false;
    PollFn(move |cx: &mut std::task::Context<'_>| {
        if over {
            return std::task::Poll::Ready(None);
        }
        let frame = std::task::ready!(hyper::body::Body::poll_frame(std::pin::Pin::new(&mut body), cx));
        std::task::Poll::Ready(Some(match frame {
            Some(frame) => frame,
            None => {
                over = true;
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                Ok(Frame::trailers(trailers))
            }
        }))
    })
}

struct PollFn<F>(F);

impl<F: FnMut(&mut std::task::Context<'_>) -> std::task::Poll<Option<T>> + Unpin, T> futures_core::Stream
    for PollFn<F>
{
    type Item = T;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<T>> {
        (self.0)(cx)
    }
}

#[test]
fn grpc_passes_from_http_2_to_http_2() {
    runtime().block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service_fn(grpc));
                tokio::spawn(serving);
            }
        });
        let server = proxy(&format!("to = [\"h2c://{address}\"]"));
        let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        for round in 0..3 {
            let (send, receive) = tokio::sync::mpsc::channel::<Bytes>(4);
            let mut receive = receive;
            let body = StreamBody::new(PollFn(move |cx: &mut std::task::Context<'_>| {
                receive.poll_recv(cx).map(|data| data.map(|data| Ok::<_, std::io::Error>(Frame::data(data))))
            }));
            let request = Request::builder()
                .method(Method::POST)
                .uri(format!("http://a.test/echo.Echo/{round}"))
                .header("te", "trailers")
                .header("content-type", "application/grpc")
                .body(body)
                .unwrap();
            sender.ready().await.unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.headers()["x-path"], format!("http://a.test/echo.Echo/{round}"));
            let mut body = response.into_body();
            // Both directions at once: the next message is sent after the answer to the one before.
            for message in ["one", "two", "three"] {
                send.send(Bytes::from_static(message.as_bytes())).await.unwrap();
                let frame = body.frame().await.unwrap().unwrap();
                assert_eq!(frame.into_data().unwrap(), message);
            }
            drop(send);
            let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
            assert_eq!(trailers["grpc-status"], "0");
        }
    });
}

#[test]
fn unix_sockets_are_servers_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // One for each of the edge's threads.
            std::thread::spawn(move || {
                let mut part = [0; 4096];
                while let Ok(1..) = stream.read(&mut part) {
                    stream.write_all(ok("unix").as_bytes()).unwrap();
                }
            });
        }
    });
    let server = proxy(&format!("to = [\"unix:{}\"]", path.display()));
    for _ in 0..2 {
        assert_eq!(server.send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").text(), "unix");
    }
}
