//! One client's connection: its socket as hyper sees it, and what the sweeper needs to know to end it.
//!
//! Timeouts cost nothing per request: reads and requests note what the connection waits for and since when,
//! and a sweep over all connections of the thread, once a second, cuts those whose time is up.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use selvedge_telemetry::HttpCounters;
use selvedge_telemetry::http_metrics::CutReason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::config::EdgeConfig;
use crate::thread::Clock;
use crate::websocket::Switch;

/// A response of up to so many bytes is joined on the stack: one plain `send` costs the kernel less than a `writev`.
const JOINED_MAX: usize = 2048;

/// How HTTP/2 connections begin (RFC 9113, section 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Room for a first read: most request heads fit.
const FIRST_READ: usize = 2048;
/// For a client whose request's head did not arrive in time.
const HEADER_TIMEOUT_RESPONSE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\
    content-type: application/json\r\ncontent-length: 91\r\n\r\n\
    {\"error\":{\"code\":\"request_timeout\",\"message\":\"The request's head did not arrive in time.\"}}";

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The first byte ever.
    New,
    /// The next request's first byte.
    Idle,
    /// The rest of a request's head.
    Head,
    /// Responses.
    Busy,
}

/// What is known of the request body that a connection of HTTP/1 receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    /// Nothing, or not known.
    Nothing,
    /// At least so many bytes.
    Bytes(u64),
    /// Chunks until the last one.
    Chunks,
}

/// State shared by a connection's socket, its requests and the sweeper.
pub(crate) struct Connection {
    /// Address, for the log.
    pub(crate) client: String,
    counters: Arc<HttpCounters>,
    clock: Rc<Clock>,
    h2: Cell<bool>,
    phase: Cell<Phase>,
    /// When the wait began, or its last byte arrived.
    since: Cell<Instant>,
    in_flight: Cell<u32>,
    awaited: Cell<Awaited>,
    /// hyper asked for bytes and there were none.
    reading: Cell<bool>,
    /// Bytes read since the last request's head was parsed.
    unclaimed: Cell<u64>,
    /// The last four bytes read.
    tail: Cell<[u8; 4]>,
    /// Since when the client takes no bytes.
    blocked: Cell<Option<Instant>>,
    verdict: Cell<Option<CutReason>>,
    draining: Cell<bool>,
    task: RefCell<Option<Waker>>,
    /// The WebSocket that follows the last response.
    switch: RefCell<Option<Switch>>,
}

impl Connection {
    pub(crate) fn new(client: String, clock: Rc<Clock>, counters: Arc<HttpCounters>) -> Self {
        Self {
            client,
            counters,
            h2: Cell::new(false),
            phase: Cell::new(Phase::New),
            since: Cell::new(clock.tick()),
            clock,
            in_flight: Cell::new(0),
            awaited: Cell::new(Awaited::Nothing),
            reading: Cell::new(false),
            unclaimed: Cell::new(0),
            tail: Cell::new([0; 4]),
            blocked: Cell::new(None),
            verdict: Cell::new(None),
            draining: Cell::new(false),
            task: RefCell::new(None),
            switch: RefCell::new(None),
        }
    }

    /// A request's head was parsed. `least_head` is the fewest bytes it can have taken on the wire.
    pub(crate) fn begin_request(&self, now: Instant, least_head: u64, length: Option<u64>, chunked: bool) {
        self.in_flight.set(self.in_flight.get() + 1);
        self.phase.set(Phase::Busy);
        self.since.set(now);
        let unclaimed = self.unclaimed.replace(0);
        // Bytes beyond the head belong to the body. Where the head itself was read before (pipelining), it
        // is not known how much of the body was; the worker's time limit ends such a request.
        let ahead = unclaimed.checked_sub(least_head);
        self.awaited.set(match (ahead, length) {
            _ if self.h2.get() => Awaited::Nothing,
            (None, _) => Awaited::Nothing,
            (Some(_), _) if chunked => Awaited::Chunks,
            (Some(ahead), Some(length)) if length > ahead => Awaited::Bytes(length - ahead),
            (Some(_), _) => Awaited::Nothing,
        });
    }

    /// A response ended.
    pub(crate) fn end_request(&self, now: Instant) {
        let left = self.in_flight.get().saturating_sub(1);
        self.in_flight.set(left);
        if left == 0 {
            self.phase.set(Phase::Idle);
            self.since.set(now);
            self.awaited.set(Awaited::Nothing);
        }
    }

    /// HTTP/1 ends with this response; the connection goes on as a WebSocket.
    pub(crate) fn switch(&self, switch: Switch) {
        *self.switch.borrow_mut() = Some(switch);
    }

    /// The WebSocket that HTTP/1 made way for.
    pub(crate) fn take_switch(&self) -> Option<Switch> {
        self.switch.borrow_mut().take()
    }

    /// True when the request's body stopped arriving and is given up.
    pub(crate) fn body_stalled(&self) -> bool {
        self.verdict.get() == Some(CutReason::Stalled)
    }

    /// No further requests are wanted.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        self.wake();
    }

    /// Decides whether the connection's time is up, and wakes its task if so.
    pub(crate) fn check(&self, now: Instant, config: &EdgeConfig) {
        let waited = now.saturating_duration_since(self.since.get());
        let blocked = self.blocked.get().map(|since| now.saturating_duration_since(since));
        let verdict = match self.phase.get() {
            _ if blocked.is_some_and(|time| time >= config.stall_timeout()) => CutReason::Stalled,
            Phase::New | Phase::Head if waited >= config.header_timeout() => CutReason::HeaderTimeout,
            Phase::Idle if waited >= config.idle_timeout() => CutReason::IdleTimeout,
            Phase::Busy if self.awaits_body() && waited >= config.stall_timeout() => CutReason::Stalled,
            _ => return,
        };
        if self.verdict.replace(Some(verdict)).is_none() {
            self.counters.cut(verdict);
        }
        self.wake();
    }

    fn awaits_body(&self) -> bool {
        self.reading.get()
            && match self.awaited.get() {
                Awaited::Nothing => false,
                Awaited::Bytes(left) => left > 0,
                // The last chunk ends so, with trailers or without.
                Awaited::Chunks => self.tail.get() != *b"\r\n\r\n",
            }
    }

    fn wake(&self) {
        if let Some(task) = &*self.task.borrow() {
            task.wake_by_ref();
        }
    }

    fn remember(&self, context: &Context<'_>) {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|task| task.will_wake(context.waker())) {
            *task = Some(context.waker().clone());
        }
    }

    /// Bytes arrived.
    fn received(&self, bytes: &[u8]) {
        let count = bytes.len() as u64;
        self.counters.received.add(count);
        if self.h2.get() {
            return;
        }
        self.reading.set(false);
        self.unclaimed.set(self.unclaimed.get() + count);
        match self.phase.get() {
            Phase::New | Phase::Idle => {
                self.phase.set(Phase::Head);
                self.since.set(self.clock.recent());
            }
            // The time for a head runs from its first byte.
            Phase::Head => {}
            Phase::Busy => {
                self.since.set(self.clock.recent());
                if let Awaited::Bytes(left) = self.awaited.get() {
                    self.awaited.set(Awaited::Bytes(left.saturating_sub(count)));
                }
            }
        }
        match bytes.last_chunk() {
            Some(tail) => self.tail.set(*tail),
            None => {
                let mut tail = self.tail.get();
                tail.rotate_left(bytes.len());
                tail[4 - bytes.len()..].copy_from_slice(bytes);
                self.tail.set(tail);
            }
        }
    }
}

impl Connection {
    /// hyper wants bytes and there are none.
    fn starved(&self) {
        if !self.reading.replace(true) && self.phase.get() == Phase::Busy {
            self.since.set(self.clock.recent());
        }
    }

    /// The client took bytes, or did not.
    fn sent(&self, result: &Poll<io::Result<usize>>) {
        match result {
            Poll::Ready(Ok(count)) => {
                self.counters.sent.add(*count as u64);
                self.blocked.set(None);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending if self.blocked.get().is_none() => self.blocked.set(Some(self.clock.recent())),
            Poll::Pending => {}
        }
    }
}

/// What a connection turned out to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    Http1,
    Http2,
    /// It was closed, or cut, before it said anything.
    Nothing,
}

/// The socket, as hyper sees it.
pub(crate) struct ClientSocket {
    stream: TcpStream,
    /// Bytes read before it was known what they are.
    prefix: Vec<u8>,
    state: Rc<Connection>,
}

impl ClientSocket {
    pub(crate) fn new(stream: TcpStream, state: Rc<Connection>) -> Self {
        Self { stream, prefix: Vec::new(), state }
    }

    /// Reads until it is clear which HTTP the client speaks. A connection that stays silent costs no buffer.
    pub(crate) async fn sniff(&mut self) -> Spoken {
        poll_fn(|cx| {
            self.state.remember(cx);
            loop {
                if self.state.draining.get() && self.prefix.is_empty() {
                    return Poll::Ready(Spoken::Nothing);
                }
                let mut room = [0; FIRST_READ];
                let mut read = ReadBuf::new(&mut room);
                match ready!(self.poll_socket(cx, &mut read)) {
                    Ok(()) if !read.filled().is_empty() => self.prefix.extend_from_slice(read.filled()),
                    Ok(()) | Err(_) => return Poll::Ready(Spoken::Nothing),
                }
                let shared = self.prefix.len().min(H2_PREFACE.len());
                if self.prefix[..shared] != H2_PREFACE[..shared] {
                    return Poll::Ready(Spoken::Http1);
                }
                if shared == H2_PREFACE.len() {
                    self.state.h2.set(true);
                    self.state.phase.set(Phase::Idle);
                    return Poll::Ready(Spoken::Http2);
                }
            }
        })
        .await
    }

    fn poll_socket(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.state.verdict.get() {
            Some(CutReason::HeaderTimeout) => {
                if self.state.phase.get() == Phase::Head {
                    // Whether it still gets there does not matter: the connection ends now.
                    let _ = self.stream.try_write(HEADER_TIMEOUT_RESPONSE);
                }
                return Poll::Ready(Ok(()));
            }
            Some(_) => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            None => {}
        }
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        match &result {
            Poll::Ready(Ok(())) => self.state.received(&buf.filled()[before..]),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.state.starved(),
        }
        result
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return self.poll_socket(cx, buf);
        }
        let count = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix[..count]);
        self.prefix.drain(..count);
        if self.prefix.is_empty() {
            self.prefix = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.state.sent(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        let result = if slices.len() > 1 && length <= JOINED_MAX {
            let mut joined = [0; JOINED_MAX];
            let mut at = 0;
            for slice in slices {
                joined[at..at + slice.len()].copy_from_slice(slice);
                at += slice.len();
            }
            Pin::new(&mut self.stream).poll_write(cx, &joined[..at])
        } else {
            Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
        };
        self.state.sent(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Runs hyper's side of a connection until it ends, is cut, or has drained. `finish` asks hyper to end it
/// after the requests in flight.
pub(crate) async fn drive<C>(state: &Connection, mut http: Pin<&mut C>, finish: impl Fn(Pin<&mut C>))
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut finishing = false;
    let ended = poll_fn(|cx| {
        state.remember(cx);
        match state.verdict.get() {
            // HTTP/2 says goodbye first; at the next sweep it is cut.
            Some(CutReason::IdleTimeout) if state.h2.get() && !finishing => state.draining.set(true),
            Some(CutReason::IdleTimeout) => return Poll::Ready(Ok(())),
            Some(CutReason::Stalled) if state.blocked.get().is_some() => return Poll::Ready(Ok(())),
            _ => {}
        }
        if state.draining.get() && !finishing {
            finishing = true;
            finish(http.as_mut());
        }
        http.as_mut().poll(cx)
    })
    .await;
    let Err(error) = ended else { return };
    tracing::debug!(client = state.client, %error, "connection ended");
    // A verdict was counted when it was passed.
    if state.verdict.get().is_none() {
        let malformed = error.is_parse() || error.is_parse_too_large();
        state.counters.cut(if malformed { CutReason::Malformed } else { CutReason::Io });
    }
}
