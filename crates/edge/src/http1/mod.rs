//! One client's connection of HTTP/1: request by request, in order, until it ends.
//!
//! [`serve`] is the loop. Nothing is allocated for a connection that waits: reads go into a buffer of the thread, and
//! only what is left over, the beginning of a head or of the next request, is kept with the connection.

mod body;
mod head;
mod response;
mod scratch;
mod socket;

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use http::{Request, Version};
use selvedge_http1::{HeadFinder, Violation};
use selvedge_telemetry::http_metrics::{CutReason, Protocol};

pub(crate) use body::Http1Body;
pub(crate) use scratch::Scratch;
pub(crate) use socket::{First, Socket};

use crate::body::RequestBody;
use crate::client_socket::ClientSocket;
use crate::headers;
use crate::refusal::Refusal;
use crate::request::{refuse, serve as answer};
use crate::thread::Thread;

/// What comes next on a connection.
enum Next {
    Request {
        request: Box<Request<RequestBody>>,
        keep_alive: bool,
    },
    /// What arrived is no request.
    Malformed(Violation),
    /// The head of a request did not arrive in time.
    Late,
    /// The client left, or was waited for long enough.
    End,
}

/// What becomes of a connection after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// Another request may follow.
    Keep,
    /// Everything that was sent was read, and everything to say was said.
    Close,
    /// The client may still be sending: bytes that are not read would void the response.
    Linger,
    /// The client is gone, or the response broke off.
    Cut,
    /// The connection goes on as a WebSocket.
    Switch,
}

/// Speaks with one client until it leaves, is cut, or the server drains.
pub(crate) async fn serve(socket: Rc<Socket>) {
    loop {
        let mut finder = HeadFinder::default();
        let next = poll_fn(|cx| socket.poll_next(cx, &mut finder)).await;
        // Boxed, so that connections that wait do not reserve room for it.
        let after = match next {
            Next::End => After::Close,
            Next::Request { request, keep_alive } => {
                Box::pin(exchange(&socket, &socket.thread, request, keep_alive)).await
            }
            Next::Malformed(violation) => {
                socket.connection.counters.cut(CutReason::Malformed);
                Box::pin(turn_away(&socket, &socket.thread, Refusal::from(violation))).await
            }
            Next::Late => Box::pin(turn_away(&socket, &socket.thread, Refusal::HEAD_LATE)).await,
        };
        match after {
            After::Keep => {}
            After::Close => {
                socket.say_end();
                break;
            }
            After::Linger => {
                socket.connection.linger();
                poll_fn(|cx| socket.poll_linger(cx)).await;
                break;
            }
            After::Cut => {
                if socket.connection.verdict().is_none() {
                    socket.connection.counters.cut(CutReason::Io);
                }
                break;
            }
            After::Switch => {
                let (stream, received) = socket.take();
                let (Some(stream), Some(switch)) = (stream, socket.connection.take_switch()) else { break };
                let client = ClientSocket::new(stream, Bytes::new(), socket.connection.clone());
                return Box::pin(switch.run(client, received)).await;
            }
        }
    }
    // A body that somebody still holds must not keep the connection.
    socket.take();
}

/// One request and its response.
async fn exchange(
    socket: &Rc<Socket>,
    thread: &Rc<Thread>,
    request: Box<Request<RequestBody>>,
    keep_alive: bool,
) -> After {
    let terms = response::Terms {
        keep_alive,
        http10: request.version() == Version::HTTP_10,
        head: request.method() == http::Method::HEAD,
        trailers: headers::takes_trailers(request.headers()),
    };
    let answer = {
        let mut answering = pin!(answer(thread.clone(), socket.connection.clone(), request));
        poll_fn(|cx| {
            socket.connection.remember(cx);
            if let Poll::Ready(response) = answering.as_mut().poll(cx) {
                return Poll::Ready(Some(response));
            }
            if socket.connection.verdict().is_some() {
                socket.wake_reader();
            }
            if socket.poll_interim(cx).is_err() || socket.poll_ahead(cx).is_ready() {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    };
    match answer {
        Some(response) => finish(socket, thread, response, terms).await,
        None => After::Cut,
    }
}

/// Answers what is no request that a worker could see, and ends the connection.
async fn turn_away(socket: &Rc<Socket>, thread: &Rc<Thread>, refusal: Refusal) -> After {
    let response = refuse(thread.clone(), socket.connection.clone(), Protocol::Http11, refusal);
    let terms = response::Terms { keep_alive: false, http10: false, head: false, trailers: false };
    match finish(socket, thread, response, terms).await {
        After::Cut => After::Cut,
        _ => After::Linger,
    }
}

/// Sends a response and comes to the end of its request.
async fn finish(
    socket: &Rc<Socket>,
    thread: &Rc<Thread>,
    response: http::Response<crate::body::EdgeBody>,
    terms: response::Terms,
) -> After {
    match response::send(socket, thread, response, terms).await {
        After::Keep if poll_fn(|cx| socket.poll_rest(cx)).await => After::Keep,
        After::Keep => After::Linger,
        After::Close if socket.is_quiet() => After::Close,
        After::Close => After::Linger,
        after => after,
    }
}
