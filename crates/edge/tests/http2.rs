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
