//! One client's connection of HTTP/2: all its streams in one task.
//!
//! [`serve`] is the loop. A turn reads what has arrived, polls the requests and bodies that were woken, makes frames of all
//! that is ready, the most urgent first, and writes them at once. Nothing but the tables of HPACK is kept for a connection
//! that waits: reads go into a buffer of the thread, and frames into one of its spare ones.

mod body;
mod response;
mod shared;
mod stream;
mod tunnel;
mod wake;

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use selvedge_http1::Violation;
use selvedge_http2::{Code, Connection as Http2, Event, Limits, RequestHead, StreamRef};
use selvedge_telemetry::http_metrics::{CutReason, Protocol};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::shared::Shared;
use self::stream::Slots;
use crate::body::{EdgeBody, RequestBody};
use crate::connection::Connection;
use crate::refusal::Refusal;
use crate::request;
use crate::thread::Thread;

pub(crate) use body::Http2Body;
pub(crate) use tunnel::StreamTunnel;

/// Frames are put together up to this size before they are written, bytes. With the last of them it still fits into the
/// thread's spare buffers.
const FULL: usize = 40 * 1024;
/// What is read and thrown away after the last frame, bytes, for the client to get around to reading it.
const LINGER_MAX: usize = 1 << 20;
/// Rounds of one turn, after which other connections have theirs.
const ROUNDS: usize = 16;

/// `:protocol` of an extended CONNECT, with the request.
#[derive(Clone, Debug)]
pub(crate) struct ConnectProtocol(pub(crate) Bytes);

/// Speaks with one client until it leaves, is cut, or the server drains. `received` was read before.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    io: S,
    received: Bytes,
    thread: Rc<Thread>,
    state: Rc<Connection>,
) {
    state.is_http2();
    let limits = Limits { head_bytes: thread.config.max_header_bytes, fields: thread.config.max_headers };
    let http = Http2::new(&thread.config.http2, limits, thread.clock.recent());
    let shared = Shared::new(http, state, thread);
    let mut driver = Driver {
        io,
        shared,
        // The future of a request has a type without a name: this function is what tells it.
        slots: Slots::new(request::serve),
        ahead: Vec::new(),
        writing: Vec::new(),
        written: 0,
        ending: Ending::No,
        lingered: 0,
    };
    driver.feed(&received);
    poll_fn(|cx| driver.poll(cx)).await;
    driver.close();
}

/// How the end of a connection is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    No,
    /// The client was told.
    Announced,
    /// Everything is said and written; the client is to read it.
    Lingering,
}

/// A connection's task.
struct Driver<S, F, A> {
    io: S,
    shared: Rc<Shared>,
    slots: Slots<F, A>,
    /// The beginning of a frame.
    ahead: Vec<u8>,
    /// Frames that are being written, and how much of them was.
    writing: Vec<u8>,
    written: usize,
    ending: Ending,
    lingered: usize,
}

impl<S, F, A> Driver<S, F, A>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Response<EdgeBody>>,
    A: Fn(Rc<Thread>, Rc<Connection>, Box<Request<RequestBody>>) -> F,
{
    /// One turn; ready when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.state.remember(cx);
        if self.obey() {
            return Poll::Ready(());
        }
        for _ in 0..ROUNDS {
            if self.ending == Ending::Lingering {
                return self.poll_linger(cx);
            }
            let reading = self.read(cx);
            if reading == Reading::End {
                self.note_end();
                return Poll::Ready(());
            }
            self.work();
            match self.poll_write(cx) {
                Poll::Ready(Err(_)) => {
                    self.note_end();
                    return Poll::Ready(());
                }
                // What is woken meanwhile has to wait, for the client's sake.
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
            }
            let http = self.shared.http.borrow();
            if http.is_finished() {
                self.ending = Ending::Lingering;
                self.shared.state.linger();
                continue;
            }
            let (blocked, idle) = (http.is_blocked(), self.slots.are_idle() && http.is_idle());
            drop(http);
            self.shared.state.no_window(blocked);
            if idle {
                self.rest();
                if self.ending == Ending::Announced {
                    // The client may have no answer to give; it is not waited for long.
                    self.shared.state.linger();
                }
            }
            let quiet = reading == Reading::Waiting && !self.slots.are_hungry();
            if quiet && self.shared.queue.sleep(cx) && !self.shared.http.borrow().has_work() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does as the sweeper and the server's shutdown want; true when the connection is to be cut.
    fn obey(&mut self) -> bool {
        let state = &self.shared.state;
        let mut http = self.shared.http.borrow_mut();
        match state.verdict() {
            Some(CutReason::Io) => return true,
            Some(CutReason::Stalled) if state.is_blocked() => return true,
            Some(CutReason::HeaderTimeout) => {
                http.end(Code::EnhanceYourCalm, "a request's head did not arrive in time");
            }
            Some(CutReason::IdleTimeout) => http.drain_now(),
            _ => {}
        }
        if state.is_given_up() {
            if self.ending != Ending::No {
                return true;
            }
            http.drain_now();
        }
        if (state.is_draining() || state.is_retiring()) && self.ending == Ending::No {
            self.ending = Ending::Announced;
            http.drain();
        }
        if state.asks() {
            http.ping();
        }
        state.lets_end(http.tidy(self.shared.thread.clock.recent()));
        drop(http);
        self.shared.give_up_stalled(&self.shared.thread.config);
        false
    }

    /// The client left, or the socket failed.
    fn note_end(&self) {
        let state = &self.shared.state;
        if !self.shared.http.borrow().is_idle() && state.verdict().is_none() {
            state.counters.cut(CutReason::Io);
        }
    }

    /// Reads what has arrived, unless the client should first read what it was sent.
    fn read(&mut self, cx: &mut Context<'_>) -> Reading {
        let (shared, thread) = (self.shared.clone(), self.shared.thread.clone());
        let mut any = false;
        while self.shared.http.borrow_mut().output().len() < FULL {
            let mut room = thread.scratch.room.borrow_mut();
            let mut buffer = ReadBuf::new(&mut room);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Pending => return Reading::Waiting,
                Poll::Ready(Err(_)) => return Reading::End,
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Reading::End,
                Poll::Ready(Ok(())) => {}
            }
            if !any {
                any = true;
                thread.clock.tick();
                shared.state.heard();
            }
            shared.state.counters.received.add(buffer.filled().len() as u64);
            self.feed(buffer.filled());
        }
        Reading::Held
    }

    /// Takes bytes from the client.
    fn feed(&mut self, mut bytes: &[u8]) {
        while !self.ahead.is_empty() && !bytes.is_empty() {
            // As much as completes the frame that is begun; the others are taken where they are.
            let frame = match self.ahead[..] {
                [a, b, c, _, _, _, _, _, _, ..] => 9 + u32::from_be_bytes([0, a, b, c]) as usize,
                _ => 9,
            };
            let missing = frame.saturating_sub(self.ahead.len()).clamp(1, bytes.len());
            self.ahead.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            let ahead = std::mem::take(&mut self.ahead);
            let mut rest = &ahead[..];
            self.take_events(&mut rest);
            let taken = ahead.len() - rest.len();
            self.ahead = ahead;
            self.ahead.drain(..taken);
        }
        if !bytes.is_empty() {
            self.take_events(&mut bytes);
            self.ahead.extend_from_slice(bytes);
        }
        if self.ahead.is_empty() {
            self.ahead = Vec::new();
        }
        let http = self.shared.http.borrow();
        if http.is_within_head() {
            self.shared.state.head_began();
        } else {
            self.shared.state.head_over();
        }
    }

    fn take_events(&mut self, bytes: &mut &[u8]) {
        let now = self.shared.thread.clock.recent();
        loop {
            let event = self.shared.http.borrow_mut().receive(bytes, now);
            let Some(event) = event else { break };
            match event {
                Event::Request { stream, head, end } => self.begin(stream, *head, end),
                Event::TooLarge(stream) => {
                    let Shared { thread, state, .. } = &*self.shared;
                    let refusal = Refusal::from(Violation::HeadTooLarge);
                    let answer = request::refuse(thread.clone(), state.clone(), Protocol::Http2, refusal);
                    self.slots.answer(&self.shared, stream, answer);
                }
                Event::Readable(stream) => self.shared.wake_reader(stream),
                Event::Reset(stream) => {
                    self.slots.drop_stream(stream);
                    self.shared.wake_reader(stream);
                    self.shared.wake_writer(stream);
                }
                Event::Pong | Event::GoAway => {}
                Event::Fault(fault) => {
                    tracing::debug!(client = %self.shared.state.peer(), ?fault.code, fault.words, "connection ended");
                    let calm = fault.code == Code::EnhanceYourCalm;
                    let reason = if calm { CutReason::Glitches } else { CutReason::Malformed };
                    self.shared.state.counters.cut(reason);
                }
            }
        }
        if let Some(counts) = self.shared.http.borrow_mut().take_glitches() {
            self.shared.state.counters.glitches(&counts);
        }
    }

    /// Makes a request of a head. It begins when everything that has arrived is read: one that is taken back in the same
    /// breath costs next to nothing.
    fn begin(&mut self, stream: StreamRef, head: RequestHead, end: bool) {
        let expects = head.fields.get(http::header::EXPECT);
        let asked =
            !end && expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        self.shared.open(stream);
        let body = match end {
            true => RequestBody::None,
            false => RequestBody::Http2(Http2Body::new(self.shared.clone(), stream, asked)),
        };
        let mut request = Box::new(Request::new(body));
        *request.method_mut() = head.method;
        *request.uri_mut() = head.uri;
        *request.version_mut() = http::Version::HTTP_2;
        *request.headers_mut() = head.fields;
        if let Some(protocol) = head.protocol {
            request.extensions_mut().insert(ConnectProtocol(protocol));
        }
        self.slots.begin(&self.shared, stream, request);
    }

    /// Polls who was woken and makes frames, until there is enough to write or nothing to do.
    fn work(&mut self) {
        let shared = self.shared.clone();
        if shared.http.borrow().is_over() {
            self.slots.clear();
            shared.http.borrow_mut().close_streams();
            shared.wake_all();
            return;
        }
        for _ in 0..ROUNDS {
            let busy = self.slots.run(&shared);
            let mut http = shared.http.borrow_mut();
            if http.output().capacity() == 0 {
                *http.output() = shared.thread.scratch.buffer();
            }
            let mut hungry = std::mem::take(&mut self.slots.hungry);
            let sent = http.fill(FULL, |stream| hungry.push(stream));
            let full = http.output().len() >= FULL;
            drop(http);
            if sent {
                shared.state.no_window(false);
            }
            for stream in &hungry {
                shared.wake_writer(*stream);
            }
            self.slots.hungry = hungry;
            if full || !busy && self.slots.hungry.is_empty() {
                break;
            }
        }
    }

    /// Writes all frames that there are.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        loop {
            if self.written == self.writing.len() {
                self.writing.clear();
                self.written = 0;
                std::mem::swap(&mut self.writing, self.shared.http.borrow_mut().output());
                if self.writing.is_empty() {
                    return Pin::new(&mut self.io).poll_flush(cx);
                }
            }
            let result = Pin::new(&mut self.io).poll_write(cx, &self.writing[self.written..]);
            self.shared.state.sent(&result);
            match ready!(result)? {
                0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
    }

    /// No stream is open: memory goes back to where others find it.
    fn rest(&mut self) {
        let scratch = &self.shared.thread.scratch;
        for buffer in [&mut self.writing, self.shared.http.borrow_mut().output()] {
            if buffer.is_empty() && buffer.capacity() > 0 {
                scratch.keep(std::mem::take(buffer));
            }
        }
        self.slots.rest();
        self.shared.rest();
    }

    /// After the last frame: reads until the client ends, or enough was read. What is left unread at close would void what
    /// was written.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = Pin::new(&mut self.io).poll_shutdown(cx);
        let thread = self.shared.thread.clone();
        while !self.shared.state.is_given_up() && self.lingered < LINGER_MAX {
            let mut room = thread.scratch.room.borrow_mut();
            let mut buffer = ReadBuf::new(&mut room);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => self.lingered += buffer.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(())
    }

    /// The connection is over, whatever is still going on.
    fn close(&mut self) {
        self.slots.clear();
        self.shared.http.borrow_mut().close_streams();
        self.shared.wake_all();
        self.shared.thread.scratch.keep(std::mem::take(&mut self.writing));
    }
}

/// How reading went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// Everything that has arrived was read.
    Waiting,
    /// There may be more, once the client has read more.
    Held,
    /// The client left, or the socket failed.
    End,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oddities_have_the_names_of_the_metrics() {
        assert_eq!(selvedge_http2::Glitch::NAMES, selvedge_telemetry::http_metrics::GLITCHES);
    }

    #[test]
    fn what_is_put_together_fits_a_spare_buffer() {
        let frame = selvedge_http2::MAX_PAYLOAD + 9;
        assert!((FULL + frame).next_power_of_two() <= 64 * 1024);
    }
}
