//! WebSockets: the client's handshake, over HTTP/1.1 (RFC 6455, section 4.2) and HTTP/2 (RFC 8441), and the switch when
//! the worker accepts. What follows is the engine's (`selvedge_engine::websocket`).

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use selvedge_engine::WorkerSocket;
use selvedge_engine::websocket::handshake::{self, BadHandshake};
use selvedge_upstream::Tunnel;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::body::{Content, EdgeBody, RequestBody};
use crate::exchange::Exchange;
use crate::headers;
use crate::http2::{ConnectProtocol, StreamTunnel};
use crate::refusal::Refusal;
use crate::tunnel;

/// A handshake that a worker may accept.
pub(crate) enum Handshake {
    /// What `Sec-WebSocket-Accept` has to say.
    Http1(HeaderValue),
    /// The stream, once it is answered 200.
    Http2(StreamTunnel),
}

/// Whether a request is one, and whether it is right. An extended CONNECT becomes the GET that it would be over HTTP/1.1,
/// so that workers need not know of it.
pub(crate) fn handshake(request: &mut Request<RequestBody>) -> Result<Option<Handshake>, Refusal> {
    if request.version() == Version::HTTP_2 {
        let asked = request.extensions().get::<ConnectProtocol>();
        if *request.method() != Method::CONNECT || asked.is_none_or(|asked| asked.0 != "websocket") {
            return Ok(None);
        }
        let RequestBody::Http2(stream) = std::mem::replace(request.body_mut(), RequestBody::None) else {
            return Ok(None);
        };
        let stream = stream.into_tunnel();
        *request.method_mut() = Method::GET;
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        request.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        handshake::check_version(request.headers()).map_err(refusal)?;
        return Ok(Some(Handshake::Http2(stream)));
    }
    if request.version() != Version::HTTP_11 || !headers::asks_for_websocket(request.headers()) {
        return Ok(None);
    }
    let has_body = request.headers().contains_key(header::TRANSFER_ENCODING)
        || request.headers().get(header::CONTENT_LENGTH).is_some_and(|length| *length != "0");
    if *request.method() != Method::GET || has_body {
        return Err(Refusal::bad_request("The handshake of a WebSocket must be a GET without a body."));
    }
    let accept = handshake::accept(request.headers()).map_err(refusal)?;
    Ok(Some(Handshake::Http1(accept)))
}

fn refusal(bad: BadHandshake) -> Refusal {
    match bad {
        BadHandshake::Version => Refusal::WEBSOCKET_VERSION,
        BadHandshake::Key => Refusal::bad_request(
            "The handshake of a WebSocket needs one Sec-WebSocket-Key of 16 bytes in base64.",
        ),
    }
}

/// Who is on the other side of a WebSocket.
pub(crate) enum Socket {
    Worker(WorkerSocket),
    /// A server behind this one: bytes go through as they are.
    Tunnel(Box<Tunnel>),
}

/// A socket that waits for its connection, and its request, which goes on as long as the socket does.
pub(crate) struct Switch {
    socket: Socket,
    exchange: Box<Exchange>,
}

impl Switch {
    /// Serves the socket to its end.
    pub(crate) async fn run<S: AsyncRead + AsyncWrite + Unpin>(self, io: S, received: Bytes) {
        let Self { socket, mut exchange } = self;
        let thread = exchange.thread.clone();
        match socket {
            Socket::Worker(socket) => {
                let end = socket.serve(io, received, thread.going_down()).await;
                exchange.socket_ended(end);
            }
            Socket::Tunnel(tunnel) => {
                let (sent, code) = tunnel::run(io, received, *tunnel).await;
                exchange.bytes = sent;
                exchange.code = code;
            }
        }
    }
}

/// The worker has accepted: answers the handshake and has the socket served after it.
pub(crate) fn switch(
    mut exchange: Box<Exchange>,
    handshake: Handshake,
    answer: Response<Content>,
) -> Result<Response<EdgeBody>, (Box<Exchange>, Refusal)> {
    let (mut head, body) = answer.into_parts();
    let tunnelled = matches!(body, Content::Proxied(_));
    let Some(socket) = body.into_socket() else { return Err((exchange, Refusal::INTERNAL)) };
    headers::strip_response(&mut head.headers);
    strip_handshake(&mut head.headers, tunnelled);
    head.extensions.clear();
    head.version = Version::HTTP_11;
    exchange.decorate(&mut head.headers);
    match handshake {
        Handshake::Http1(accept) => {
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            head.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            head.headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
            exchange.status = head.status;
            let connection = exchange.connection.clone();
            connection.switch(Switch { socket, exchange });
        }
        Handshake::Http2(mut stream) => {
            head.status = StatusCode::OK;
            exchange.status = head.status;
            stream.accept();
            let switch = Switch { socket, exchange };
            tokio::task::spawn_local(async move { switch.run(stream, Bytes::new()).await });
        }
    }
    Ok(Response::from_parts(head, EdgeBody::none()))
}

/// Removes what is not the worker's to say, as when it passes on another server's answer.
fn strip_handshake(headers: &mut HeaderMap, tunnelled: bool) {
    if !tunnelled {
        // Both ends agree on extensions only where nobody stands between them.
        headers.remove(header::SEC_WEBSOCKET_EXTENSIONS);
    }
    for name in [
        header::SEC_WEBSOCKET_ACCEPT,
        header::SEC_WEBSOCKET_KEY,
        header::SEC_WEBSOCKET_VERSION,
        header::CONTENT_LENGTH,
    ] {
        headers.remove(name);
    }
}
