//! WebSockets that workers open to servers outside, under the same policy as other subrequests.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use hyper_util::rt::TokioIo;
use selvedge_model::Worker;
use selvedge_wire::message::{self, Head, Subrequest};
use tungstenite::protocol::Role;

use super::{handshake, relay, terms};
use crate::connection::Connection;
use crate::egress::{self, Failed, Outgoing, Target};
use crate::shared::Shared;
use crate::stream::Stream;

/// Takes a call for a WebSocket off the wire and serves it in the background.
pub fn begin(
    connection: &Rc<Connection>,
    shared: &Arc<Shared>,
    stream: Rc<Stream>,
    request: &Subrequest<'_>,
) {
    let (connection, shared) = (connection.clone(), shared.clone());
    let worker = shared.worker_of(request.instance, &connection.host);
    let parsed = match worker {
        Some(worker) => egress::parse(request, true, &stream).map(|request| (worker, request)),
        None => Err(egress::refused("The worker is being unloaded.")),
    };
    tokio::task::spawn_local(async move {
        let served = async {
            let (worker, request) = parsed?;
            serve(&connection, &shared, &worker, &stream, request).await
        };
        let served = tokio::select! {
            biased;
            served = served => served,
            // Nobody waits any more: everything is dropped, which closes the connection.
            () = poll_fn(|cx| stream.poll_over(cx)) => Ok(()),
        };
        if let Err(Failed(code, text)) = served {
            stream.cancel(code, &text);
        }
        connection.forget(&stream);
    });
}

async fn serve(
    connection: &Rc<Connection>,
    shared: &Arc<Shared>,
    worker: &Worker,
    stream: &Rc<Stream>,
    (target, mut request): (Target, http::Request<Outgoing>),
) -> Result<(), Failed> {
    let host = &target.host;
    let key = handshake::new_key();
    let offered = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL).cloned();
    let headers = request.headers_mut();
    handshake::OWN_FIELDS.iter().for_each(|name| drop(headers.remove(name)));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, handshake::VERSION);
    headers.insert(header::SEC_WEBSOCKET_KEY, key.clone());
    let mut response = egress::upgrade(&shared.egress, &worker.egress, &target, request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return egress::relay(connection, stream, host, response).await.map(drop);
    }
    check(&response, &key, offered.as_ref()).map_err(|text| {
        egress::unreachable(format!("{host} answered the WebSocket handshake badly: {text}"))
    })?;
    let upgraded = hyper::upgrade::on(&mut response)
        .await
        .map_err(|error| egress::unreachable(format!("{host} broke the handshake off: {error}.")))?;
    let mut fields = Vec::new();
    for (name, value) in response.headers() {
        message::put_header(&mut fields, name.as_str().as_bytes(), value.as_bytes());
    }
    connection.answer(stream, Head { status: 101, headers: &fields }, false);
    let never = std::future::pending();
    relay::relay(TokioIo::new(upgraded), Bytes::new(), Role::Client, stream, terms(shared), never).await;
    Ok(())
}

/// What a client has to check of a server's handshake (RFC 6455, section 4.1).
fn check(
    response: &http::Response<hyper::body::Incoming>,
    key: &HeaderValue,
    offered: Option<&HeaderValue>,
) -> Result<(), &'static str> {
    let headers = response.headers();
    let upgrade = headers.get(header::UPGRADE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !upgrade.eq_ignore_ascii_case(b"websocket") {
        return Err("it does not switch to websocket.");
    }
    if headers.get(header::SEC_WEBSOCKET_ACCEPT) != handshake::accept_value(key.as_bytes()).as_ref() {
        return Err("Sec-WebSocket-Accept does not match.");
    }
    if headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
        return Err("it uses an extension that was not offered.");
    }
    let mut chosen = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    match (chosen.next(), chosen.next()) {
        (None, _) => Ok(()),
        (Some(_), Some(_)) => Err("it chose several subprotocols."),
        (Some(one), None) => {
            let offered = offered.and_then(|offered| offered.to_str().ok()).unwrap_or_default();
            let found = offered.split(',').any(|name| name.trim().as_bytes() == one.as_bytes());
            if found { Ok(()) } else { Err("it chose a subprotocol that was not offered.") }
        }
    }
}
