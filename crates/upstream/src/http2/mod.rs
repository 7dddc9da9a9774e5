//! HTTP/2 to servers, by the `h2` crate: one connection for each thread and server, shared by requests.

mod receiving;
mod sending;
mod tunnel;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::{Ping, PingPong, Reason, RecvStream};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use tokio::sync::{Mutex, MutexGuard};

pub use receiving::Http2Body;
pub(crate) use tunnel::StreamTunnel;

use crate::body::{Payload, Tunnel, UpstreamBody};
use crate::endpoint::Load;
use crate::error::UpstreamError;
use crate::forward;
use crate::http1::{Failure, INTERIM_MAX};
use crate::http2::sending::{Sending, Stopped};
use crate::local::Watched;
use crate::outgoing::{Outgoing, via};
use crate::pool::Pool;
use crate::stream::Stream;
use crate::upstream::Upstream;

/// Between pings to a server that requests wait for.
const PING: Duration = Duration::from_secs(20);
/// Bytes of a response that a server may send before they were taken, for one stream and for all.
const WINDOW: u32 = 1 << 20;
const WINDOWS: u32 = 4 << 20;
/// Requests at a time before the server has said how many it takes.
const STREAMS: usize = 100;
/// How often a new connection is looked at for whether it takes WebSockets, and the pause between two looks.
const SETTINGS_LOOKS: u32 = 100;
const SETTINGS_PAUSE: Duration = Duration::from_millis(5);

/// A connection, as its requests see it.
#[derive(Clone)]
pub(crate) struct Sender {
    requests: SendRequest<Bytes>,
    state: Rc<State>,
    /// It stood before this request.
    pub(crate) reused: bool,
}

/// What a connection's task and its requests share.
#[derive(Default)]
struct State {
    closed: Cell<bool>,
    /// Requests under way.
    active: Cell<u32>,
}

/// A request under way.
pub(crate) struct Active(Rc<State>);

impl Active {
    fn on(sender: &Sender) -> Self {
        sender.state.active.set(sender.state.active.get() + 1);
        Self(sender.state.clone())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get() - 1);
    }
}

/// Where a server's connection is.
#[derive(Default)]
pub(crate) struct Slot {
    sender: RefCell<Option<Sender>>,
    turn: Mutex<()>,
    used: Cell<bool>,
}

impl Slot {
    /// The connection, if it stands.
    pub(crate) fn ready(&self) -> Option<Sender> {
        let mut sender = self.sender.borrow_mut();
        if sender.as_ref().is_some_and(|sender| sender.state.closed.get()) {
            *sender = None;
        }
        sender.clone()
    }

    /// There was one before: the next will be one as well.
    pub(crate) fn was_used(&self) -> bool {
        self.used.get()
    }

    /// Whoever has it makes the connection.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Begins HTTP/2 on a connection.
    pub(crate) async fn begin(&self, stream: Stream, upstream: &Upstream) -> Result<Sender, UpstreamError> {
        let mut builder = h2::client::Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOWS)
            .initial_max_send_streams(STREAMS)
            .max_header_list_size(upstream.config.max_header_bytes as u32);
        let (requests, mut connection) =
            builder.handshake(stream).await.map_err(|_| UpstreamError::BadResponse(None))?;
        let state = Rc::<State>::default();
        let (pings, patience) = (connection.ping_pong(), upstream.config.connect_timeout());
        let ends = state.clone();
        tokio::task::spawn_local(async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "connection of HTTP/2 to a server ended");
                },
                () = silence(pings, patience, &ends) => {
                    tracing::debug!("a server of HTTP/2 gives no sign of life");
                }
            }
            ends.closed.set(true);
        });
        self.used.set(true);
        let sender = Sender { requests, state, reused: false };
        *self.sender.borrow_mut() = Some(Sender { reused: true, ..sender.clone() });
        Ok(sender)
    }
}

/// Ends when a server that requests wait for does not answer pings.
async fn silence(pings: Option<PingPong>, patience: Duration, state: &State) {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        tokio::time::sleep(PING).await;
        if state.active.get() == 0 {
            continue;
        }
        match tokio::time::timeout(patience, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            // The connection has ended, and says so itself.
            Ok(Err(_)) => return std::future::pending().await,
            Err(_) => return,
        }
    }
}

/// Runs hyper's tasks on this thread, for health checks.
#[derive(Clone, Copy)]
pub(crate) struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

/// A request under way, until the response's head is there.
struct Transfer<'a, B> {
    response: ResponseFuture,
    sending: Option<Sending<B>>,
    interim: u32,
    watch: Watched,
    timeout: Duration,
    outgoing: &'a Outgoing<'a>,
}

impl<B: Body<Data = Bytes> + Unpin> Transfer<'_, B> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<RecvStream>, Broken>> {
        if let Some(sending) = &mut self.sending {
            match sending.poll(cx) {
                Poll::Ready(Err(Stopped::Body)) => {
                    return Poll::Ready(Err(UpstreamError::RequestBody.into()));
                }
                // It may have answered before it wanted no more.
                Poll::Ready(Ok(()) | Err(Stopped::Stream)) => self.sending = None,
                Poll::Pending => {}
            }
            // The time for the answer begins when the request is sent.
            self.watch.arm(self.timeout);
        }
        while let Poll::Ready(Some(interim)) = self.response.poll_informational(cx) {
            let Ok(interim) = interim else { break };
            self.interim += 1;
            if self.interim > INTERIM_MAX || interim.status() == StatusCode::SWITCHING_PROTOCOLS {
                return Poll::Ready(Err(UpstreamError::BadResponse(None).into()));
            }
            if let Some(hints) = self.outgoing.hints.filter(|_| interim.status() == StatusCode::EARLY_HINTS) {
                hints.early(interim.headers());
            }
        }
        match Pin::new(&mut self.response).poll(cx) {
            Poll::Ready(Ok(response)) => Poll::Ready(Ok(response)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(Broken::from(&error))),
            Poll::Pending if self.watch.is_late(cx) => {
                Poll::Ready(Err(UpstreamError::ResponseTimeout.into()))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Why a stream came to nothing.
struct Broken {
    error: UpstreamError,
    /// The server says that it did nothing.
    refused: bool,
}

impl From<UpstreamError> for Broken {
    fn from(error: UpstreamError) -> Self {
        Self { error, refused: false }
    }
}

impl From<&h2::Error> for Broken {
    fn from(error: &h2::Error) -> Self {
        tracing::debug!(%error, "no response over HTTP/2");
        // What the library itself finds wrong is a response that is none.
        let bad = error.is_library() && error.reason() == Some(Reason::PROTOCOL_ERROR);
        let refused = error.reason() == Some(Reason::REFUSED_STREAM);
        let error = if bad { UpstreamError::BadResponse(None) } else { UpstreamError::Closed };
        Self { error, refused }
    }
}

/// Sends a request and waits for the head of its response.
pub(crate) async fn exchange<B: Body<Data = Bytes> + Unpin + 'static>(
    pool: &Rc<Pool>,
    upstream: &Upstream,
    sender: Sender,
    load: Load,
    outgoing: &Outgoing<'_>,
    payload: Payload<B>,
) -> Result<Response<UpstreamBody<B>>, Failure<B>> {
    let fail = |error, sent, payload| Err(Failure { error, sent, payload });
    let Some(mut request) = outgoing.http2(&pool.endpoint, ()) else {
        return fail(UpstreamError::BadResponse(None), true, None);
    };
    let end = payload.is_end_stream();
    // Of an empty body only where the method is expected to have one.
    let told = payload.size_hint().exact().filter(|length| *length > 0 || means_payload(outgoing.method));
    if let Some(length) = told {
        request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let active = Active::on(&sender);
    let begun = tokio::time::timeout(upstream.config.response_timeout(), begin(sender, request, end)).await;
    let (response, stream) = match begun {
        Ok(Ok(begun)) => begun,
        Ok(Err(error)) => return fail(error, false, Some(payload)),
        Err(_) => return fail(UpstreamError::ResponseTimeout, false, Some(payload)),
    };
    let timeout = upstream.config.response_timeout();
    let watch = pool.shared.watch();
    watch.arm(timeout);
    let sending = (!end).then(|| Sending::new(payload, stream));
    let mut transfer = Transfer { response, sending, interim: 0, watch, timeout, outgoing };
    match poll_fn(|cx| transfer.poll(cx)).await {
        Ok(response) => {
            if let Some(mut sending) = transfer.sending {
                // Servers may answer while they are still sent to.
                tokio::task::spawn_local(async move {
                    let _ = poll_fn(|cx| sending.poll(cx)).await;
                });
            }
            answered(pool, upstream, response, (load, active), outgoing)
                .or_else(|error| fail(error, true, None))
        }
        Err(Broken { error, refused }) => {
            let payload = match transfer.sending {
                Some(sending) => sending.unsent(),
                None => end.then_some(Payload::Empty),
            };
            fail(error, !refused, payload)
        }
    }
}

/// Whether a request of this method is expected to have a body (RFC 9110, section 8.6).
fn means_payload(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// Opens a stream, once the server takes another. The error means that nothing was sent.
async fn begin(
    sender: Sender,
    request: Request<()>,
    end: bool,
) -> Result<(ResponseFuture, h2::SendStream<Bytes>), UpstreamError> {
    let closed = |error: &h2::Error| {
        tracing::debug!(%error, "no stream on a connection of HTTP/2");
        // Another connection is made for the next.
        sender.state.closed.set(true);
        UpstreamError::Closed
    };
    let mut requests = sender.requests.clone().ready().await.map_err(|error| closed(&error))?;
    requests.send_request(request, end).map_err(|error| closed(&error))
}

/// What is passed on of a response.
fn answered<B>(
    pool: &Rc<Pool>,
    upstream: &Upstream,
    response: Response<RecvStream>,
    held: (Load, Active),
    outgoing: &Outgoing<'_>,
) -> Result<Response<UpstreamBody<B>>, UpstreamError> {
    let (mut parts, incoming) = response.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(UpstreamError::BadResponse(None));
    }
    forward::strip_response(&mut parts.headers);
    parts.extensions.clear();
    if outgoing.via {
        parts.headers.append(header::VIA, HeaderValue::from_static(via(http::Version::HTTP_2)));
    }
    if incoming.is_end_stream() {
        return Ok(Response::from_parts(parts, UpstreamBody::Empty));
    }
    let length = parts.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let body = Http2Body::new(incoming, length, pool, upstream, held);
    Ok(Response::from_parts(parts, UpstreamBody::Http2(Box::new(body))))
}

/// Asks for a WebSocket on a stream of its own (RFC 8441), and waits for the head of the response. Where the server agrees, the
/// response is what HTTP/1.1 would have: 101.
pub(crate) async fn tunnel<B: Body<Data = Bytes> + Unpin + 'static>(
    pool: &Rc<Pool>,
    upstream: &Upstream,
    sender: Sender,
    load: Load,
    outgoing: &Outgoing<'_>,
) -> Result<Response<UpstreamBody<B>>, UpstreamError> {
    let request = outgoing.http2(&pool.endpoint, ());
    let mut request = request.ok_or(UpstreamError::BadResponse(None))?;
    *request.method_mut() = Method::CONNECT;
    request.headers_mut().remove(header::SEC_WEBSOCKET_KEY);
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    let mut looks = 0;
    while !sender.requests.is_extended_connect_protocol_enabled() {
        // Its settings are the first that a server sends; nobody tells when they are here.
        if looks == SETTINGS_LOOKS || sender.state.closed.get() {
            return Err(UpstreamError::NoTunnel);
        }
        looks += 1;
        tokio::time::sleep(SETTINGS_PAUSE).await;
    }
    let active = Active::on(&sender);
    let answer = async {
        let (response, stream) = begin(sender, request, false).await?;
        let response = response.await.map_err(|error| Broken::from(&error).error)?;
        Ok((response, stream))
    };
    let answer = tokio::time::timeout(upstream.config.response_timeout(), answer).await;
    let (response, stream) = answer.unwrap_or(Err(UpstreamError::ResponseTimeout))?;
    if !response.status().is_success() {
        return answered(pool, upstream, response, (load, active), outgoing);
    }
    let (mut parts, incoming) = response.into_parts();
    forward::strip_response(&mut parts.headers);
    parts.extensions.clear();
    parts.status = StatusCode::SWITCHING_PROTOCOLS;
    let stream = StreamTunnel::new(stream, incoming, active);
    Ok(Response::from_parts(parts, UpstreamBody::Tunnel(Box::new(Tunnel::http2(stream, load)))))
}
