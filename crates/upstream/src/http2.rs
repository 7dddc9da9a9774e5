//! HTTP/2 to servers, which hyper speaks: one connection for each thread and server, shared by requests.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Mutex, MutexGuard};

use crate::body::{BodyError, Payload, Tunnel, UpstreamBody};
use crate::endpoint::Load;
use crate::error::UpstreamError;
use crate::forward;
use crate::http1::Failure;
use crate::local::Watched;
use crate::outgoing::{Outgoing, via};
use crate::pool::Pool;
use crate::stream::Stream;
use crate::upstream::Upstream;

/// Between pings to a quiet server.
const PING: Duration = Duration::from_secs(20);
/// Bytes of a response that a server may send before they were taken, for one stream and for all.
const WINDOW: u32 = 1 << 20;
const WINDOWS: u32 = 4 << 20;
/// How often a new connection is looked at for whether it takes WebSockets, and the pause between two looks.
const SETTINGS_LOOKS: u32 = 100;
const SETTINGS_PAUSE: Duration = Duration::from_millis(5);

type Boxed = Pin<Box<dyn Body<Data = Bytes, Error = BodyError>>>;
/// Sends requests over a connection.
pub(crate) type Sender = http2::SendRequest<Boxed>;

/// Where a server's connection is.
#[derive(Default)]
pub(crate) struct Slot {
    sender: RefCell<Option<Sender>>,
    turn: Mutex<()>,
    used: Cell<bool>,
    /// Whether the server takes WebSockets, as far as it has said.
    tunnels: RefCell<Rc<Tunnels>>,
}

/// Whether a server takes WebSockets.
#[derive(Default)]
struct Tunnels {
    taken: Cell<bool>,
    /// The connection's task, which finds out when it is woken.
    task: RefCell<Option<Waker>>,
}

impl Tunnels {
    fn look(&self) -> bool {
        if let Some(task) = &*self.task.borrow() {
            task.wake_by_ref();
        }
        self.taken.get()
    }
}

impl Slot {
    /// The connection, if it stands.
    pub(crate) fn ready(&self) -> Option<Sender> {
        let mut sender = self.sender.borrow_mut();
        if sender.as_ref().is_some_and(Sender::is_closed) {
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
        let mut builder = http2::Builder::new(LocalExecutor);
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOWS)
            .max_header_list_size(upstream.config.max_header_bytes as u32)
            .keep_alive_interval(PING)
            .keep_alive_timeout(upstream.config.connect_timeout());
        let (sender, mut connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|_| UpstreamError::BadResponse(None))?;
        let tunnels = Rc::<Tunnels>::default();
        self.tunnels.replace(tunnels.clone());
        tokio::task::spawn_local(async move {
            let ended = poll_fn(|cx| {
                let polled = Pin::new(&mut connection).poll(cx);
                tunnels.taken.set(connection.is_extended_connect_protocol_enabled());
                tunnels.task.replace(Some(cx.waker().clone()));
                polled
            });
            if let Err(error) = ended.await {
                tracing::debug!(%error, "connection of HTTP/2 to a server ended");
            }
        });
        self.used.set(true);
        *self.sender.borrow_mut() = Some(sender.clone());
        Ok(sender)
    }
}

/// Runs hyper's tasks on this thread.
#[derive(Clone, Copy)]
pub(crate) struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

/// A body that says whether anything was taken of it, and that can be had back if not.
struct Lent<B> {
    payload: Rc<RefCell<Option<Payload<B>>>>,
    begun: Rc<Cell<bool>>,
    hint: SizeHint,
    over: bool,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Lent<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.begun.set(true);
        let mut payload = self.payload.borrow_mut();
        let Some(body) = payload.as_mut() else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *body).poll_frame(cx).map(|frame| {
            frame.map(|frame| {
                frame.map(|frame| match frame.into_trailers() {
                    Ok(mut trailers) => {
                        let bad: Vec<_> =
                            trailers.keys().filter(|name| !forward::may_trail(name)).cloned().collect();
                        for name in bad {
                            trailers.remove(name);
                        }
                        Frame::trailers(trailers)
                    }
                    Err(frame) => frame,
                })
            })
        });
        let (hint, over) = (body.size_hint(), body.is_end_stream());
        drop(payload);
        (self.hint, self.over) = (hint, over);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

/// Sends a request and waits for the head of its response.
pub(crate) async fn exchange<B: Body<Data = Bytes> + Unpin + 'static>(
    pool: &Rc<Pool>,
    upstream: &Upstream,
    mut sender: Sender,
    load: Load,
    outgoing: &Outgoing<'_>,
    payload: Payload<B>,
) -> Result<Response<UpstreamBody<B>>, Failure<B>> {
    let (hint, over) = (payload.size_hint(), payload.is_end_stream());
    let payload = Rc::new(RefCell::new(Some(payload)));
    let begun = Rc::new(Cell::new(false));
    let body = Lent { payload: payload.clone(), begun: begun.clone(), hint, over };
    let fail = |error, sent| {
        let payload = if begun.get() { None } else { payload.borrow_mut().take() };
        Err(Failure { error, sent, payload })
    };
    let Some(request) = outgoing.http2(&pool.endpoint, Box::pin(body) as Boxed) else {
        return fail(UpstreamError::BadResponse(None), true);
    };
    if sender.ready().await.is_err() {
        return fail(UpstreamError::Closed, false);
    }
    let sending = sender.try_send_request(request);
    let response = match tokio::time::timeout(upstream.config.response_timeout(), sending).await {
        Ok(Ok(response)) => response,
        Ok(Err(mut error)) => {
            // It comes back when it was not sent.
            let sent = error.take_message().is_none();
            let error = error.into_error();
            tracing::debug!(server = &*pool.endpoint.label, %error, "no response over HTTP/2");
            let of_body = begun.get() && error.is_user();
            let error = if of_body { UpstreamError::RequestBody } else { UpstreamError::Closed };
            return fail(error, sent);
        }
        Err(_) => return fail(UpstreamError::ResponseTimeout, true),
    };
    answered(pool, upstream, response, load, outgoing).or_else(|error| fail(error, true))
}

/// What is passed on of a response.
fn answered<B>(
    pool: &Rc<Pool>,
    upstream: &Upstream,
    response: Response<Incoming>,
    load: Load,
    outgoing: &Outgoing<'_>,
) -> Result<Response<UpstreamBody<B>>, UpstreamError> {
    let (mut parts, incoming) = response.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(UpstreamError::BadResponse(None));
    }
    forward::strip_response(&mut parts.headers);
    parts.extensions.clear();
    if outgoing.via {
        parts.headers.append(header::VIA, http::HeaderValue::from_static(via(http::Version::HTTP_2)));
    }
    if incoming.is_end_stream() {
        return Ok(Response::from_parts(parts, UpstreamBody::Empty));
    }
    let body = Http2Body {
        incoming,
        watch: pool.shared.watch(),
        idle_timeout: upstream.config.idle_timeout(),
        pool: pool.clone(),
        _load: load,
    };
    Ok(Response::from_parts(parts, UpstreamBody::Http2(Box::new(body))))
}

/// Asks for a WebSocket on a stream of its own (RFC 8441), and waits for the head of the response. Where the server agrees, the
/// response is what HTTP/1.1 would have: 101.
pub(crate) async fn tunnel<B: Body<Data = Bytes> + Unpin + 'static>(
    pool: &Rc<Pool>,
    upstream: &Upstream,
    mut sender: Sender,
    load: Load,
    outgoing: &Outgoing<'_>,
) -> Result<Response<UpstreamBody<B>>, UpstreamError> {
    let request = outgoing.http2(&pool.endpoint, Box::pin(Payload::<B>::Empty) as Boxed);
    let mut request = request.ok_or(UpstreamError::BadResponse(None))?;
    *request.method_mut() = Method::CONNECT;
    request.headers_mut().remove(header::SEC_WEBSOCKET_KEY);
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    if sender.ready().await.is_err() {
        return Err(UpstreamError::Closed);
    }
    let mut looks = 0;
    let tunnels = pool.http2.tunnels.borrow().clone();
    while !tunnels.look() {
        // Its settings are the first that a server sends; nobody tells when they are here.
        if looks == SETTINGS_LOOKS {
            return Err(UpstreamError::NoTunnel);
        }
        looks += 1;
        tokio::time::sleep(SETTINGS_PAUSE).await;
    }
    let answer = tokio::time::timeout(upstream.config.response_timeout(), sender.send_request(request)).await;
    let mut response = match answer {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            tracing::debug!(server = &*pool.endpoint.label, %error, "no WebSocket over HTTP/2");
            return Err(UpstreamError::Closed);
        }
        Err(_) => return Err(UpstreamError::ResponseTimeout),
    };
    if !response.status().is_success() {
        return answered(pool, upstream, response, load, outgoing);
    }
    let upgraded = hyper::upgrade::on(&mut response).await.map_err(|_| UpstreamError::Closed)?;
    let (mut parts, _) = response.into_parts();
    forward::strip_response(&mut parts.headers);
    parts.extensions.clear();
    parts.status = StatusCode::SWITCHING_PROTOCOLS;
    Ok(Response::from_parts(parts, UpstreamBody::Tunnel(Box::new(Tunnel::http2(upgraded, load)))))
}

/// The body of a response.
pub struct Http2Body {
    incoming: Incoming,
    watch: Watched,
    idle_timeout: Duration,
    pool: Rc<Pool>,
    _load: Load,
}

impl Body for Http2Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let error = match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(Some(Err(_))) => BodyError::Cut,
            Poll::Ready(frame) => {
                this.watch.disarm();
                return Poll::Ready(frame.map(|frame| frame.map_err(|_| BodyError::Cut)));
            }
            Poll::Pending => {
                if !this.watch.is_armed() {
                    this.watch.arm(this.idle_timeout);
                }
                if !this.watch.is_late(cx) {
                    return Poll::Pending;
                }
                BodyError::Stalled
            }
        };
        if let Some(upstream) = this.pool.upstream.upgrade() {
            upstream.note(&this.pool.endpoint, false, this.pool.shared.tick());
        }
        Poll::Ready(Some(Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
