//! Carries messages between a WebSocket connection and a worker.
//!
//! Both directions run at once and neither buffers more than a message: from the worker, frames are written before more
//! of its stream is taken, which holds back its credit; from the connection, nothing is read while a message waits for
//! credit. Large messages of a worker go out in fragments as they come.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use selvedge_wire::socket::{self, BROKEN, MessageKind, Splitter};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep, interval_at, sleep};
use tungstenite::protocol::Role;

use super::protocol::{Protocol, Received};
use crate::stream::{Broken, Stream};

/// Read at a time, bytes.
const READ: usize = 16 << 10;
/// No more of the worker's messages are taken while so much waits to be written, bytes.
const OUT_MAX: usize = 64 << 10;
/// What a connection may keep of an unfinished message at nobody's expense, bytes.
const KEPT_FREE: usize = 64 << 10;
/// What all connections together may keep beyond that, bytes.
const KEPT_MAX: usize = 256 << 20;
/// For a peer, or a worker, to answer a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// For a peer that is turned away to notice.
const LINGER: Duration = Duration::from_secs(2);
/// A message up to this size goes to the worker in one frame with its prefix, bytes.
const JOINED_MAX: usize = 8 << 10;

/// Why a socket is closed from our side, for both the peer and the worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// RFC 6455, section 7.4, and the IANA registry of close codes.
    pub code: u16,
    /// In words.
    pub reason: &'static str,
}

/// What a relay needs to know beside its two ends.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Largest message that is taken from the connection, bytes.
    pub message_max: usize,
    /// Between two signs of life of the peer.
    pub ping: Duration,
    /// What all connections keep of unfinished messages, bytes.
    pub kept: &'a AtomicUsize,
}

/// How it went.
#[derive(Debug)]
pub struct Ended {
    /// Bytes written to the connection.
    pub sent: u64,
    /// The close code: of the peer, else ours.
    pub code: u16,
    /// The worker's stream broke.
    pub broken: Option<Broken>,
}

/// Which side has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Open,
    /// Said its close.
    Closed,
    /// Broke off.
    Gone,
}

/// A message on its way to the worker.
struct Inbound {
    head: Bytes,
    payload: Bytes,
    last: bool,
}

struct Relay<'a, S> {
    io: S,
    stream: &'a Stream,
    protocol: Protocol,
    /// Read from the connection and not yet looked at.
    inbox: Bytes,
    inbound: Option<Inbound>,
    splitter: Splitter,
    /// Came from the worker and was not yet looked at.
    chunk: Bytes,
    /// The payload of the worker's close, which may come in parts.
    close: Vec<u8>,
    written: usize,
    peer: Side,
    worker: Side,
    /// The worker knows that nothing more comes from the peer.
    told: bool,
    /// A sign of life came since the last tick, or was asked for.
    alive: bool,
    pinged: bool,
    /// The peer may still be sending, and would lose our close if its bytes were left unread.
    linger: bool,
    pings: Interval,
    deadline: Option<Pin<Box<Sleep>>>,
    kept: Kept<'a>,
    ended: Ended,
}

/// Relays until both sides have closed or one is gone. `received` was read from the connection before; `closing` tells
/// when and why to close from our side.
pub async fn relay<S: AsyncRead + AsyncWrite + Unpin>(
    io: S,
    received: Bytes,
    role: Role,
    stream: &Stream,
    terms: Terms<'_>,
    closing: impl Future<Output = Closing>,
) -> Ended {
    let mut pings = interval_at(Instant::now() + terms.ping, terms.ping);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut relay = Relay {
        io,
        stream,
        protocol: Protocol::new(role, terms.message_max),
        inbox: received,
        inbound: None,
        splitter: Splitter::default(),
        chunk: Bytes::new(),
        close: Vec::new(),
        written: 0,
        peer: Side::Open,
        worker: Side::Open,
        told: false,
        alive: true,
        pinged: false,
        linger: false,
        pings,
        deadline: None,
        kept: Kept { total: terms.kept, own: 0 },
        ended: Ended { sent: 0, code: BROKEN, broken: None },
    };
    let mut closing = pin!(closing);
    let mut asked = false;
    poll_fn(|cx| {
        if !asked && let Poll::Ready(closing) = closing.as_mut().poll(cx) {
            asked = true;
            relay.close_from_here(&closing);
        }
        relay.poll(cx)
    })
    .await;
    let _ = poll_fn(|cx| Pin::new(&mut relay.io).poll_shutdown(cx)).await;
    if relay.linger {
        let _ = tokio::time::timeout(LINGER, poll_fn(|cx| relay.discard(cx))).await;
    }
    relay.ended
}

impl<S: AsyncRead + AsyncWrite + Unpin> Relay<'_, S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let moved = self.take_from_worker(cx)
                | self.write(cx)
                | self.give_to_worker(cx)
                | self.read(cx)
                | self.tick(cx);
            if self.is_over() {
                return Poll::Ready(());
            }
            if !moved {
                return Poll::Pending;
            }
        }
    }

    fn is_over(&mut self) -> bool {
        let flushed = self.written == self.protocol.out.len();
        match (self.peer, self.worker) {
            (Side::Closed, Side::Closed) => flushed && self.inbound.is_none(),
            // The worker is told before it is left alone.
            (Side::Gone, Side::Closed | Side::Gone) => self.inbound.is_none() || self.worker == Side::Gone,
            (Side::Closed, Side::Gone) => flushed,
            _ => false,
        }
    }

    /// Closes for a reason that lies with neither side.
    fn close_from_here(&mut self, closing: &Closing) {
        if self.worker == Side::Open {
            self.protocol.send_close(closing.code, closing.reason);
            self.worker = Side::Closed;
        }
        self.tell_worker(closing.code, closing.reason);
        self.ended.code = closing.code;
        self.wait_at_most(CLOSE_TIMEOUT);
    }

    /// Turns what the worker sends into frames.
    fn take_from_worker(&mut self, cx: &Context<'_>) -> bool {
        let mut moved = false;
        while self.worker == Side::Open && self.protocol.out.len() < OUT_MAX {
            if self.chunk.is_empty() {
                match self.stream.poll_chunk(cx) {
                    Poll::Pending => break,
                    Poll::Ready(Some(Ok(chunk))) => self.chunk = chunk,
                    Poll::Ready(Some(Err(broken))) => {
                        self.worker_broke(broken);
                        return true;
                    }
                    // It is done and has closed nothing: a worker that never accepted, or ran out of time.
                    Poll::Ready(None) => {
                        self.worker_closed(1011, "The worker let go of the WebSocket.");
                        return true;
                    }
                }
            }
            moved = true;
            self.encode();
        }
        // Once it has closed, all that can come is its end.
        if self.worker == Side::Closed
            && let Poll::Ready(Some(Err(broken))) = self.stream.poll_chunk(cx)
        {
            self.ended.broken.get_or_insert(broken);
            self.worker = Side::Gone;
            moved = true;
        }
        moved
    }

    fn encode(&mut self) {
        let chunk = std::mem::take(&mut self.chunk);
        let mut bytes: &[u8] = &chunk;
        loop {
            match self.splitter.next(&mut bytes) {
                Ok(None) => return,
                Ok(Some(part)) if part.kind == MessageKind::Close => {
                    self.close.extend_from_slice(part.bytes);
                    if self.close.len() > 1024 {
                        return self.worker_closed(1011, "");
                    }
                    if part.last {
                        let close = std::mem::take(&mut self.close);
                        let (code, reason) = socket::decode_close(&close).unwrap_or((1011, ""));
                        return self.worker_closed(code, reason);
                    }
                }
                Ok(Some(part)) => {
                    self.protocol.send(part.kind, part.first, part.last, part.bytes);
                    if self.protocol.out.len() >= OUT_MAX {
                        let at = chunk.len() - bytes.len();
                        self.chunk = chunk.slice(at..);
                        return;
                    }
                }
                // Only a host that is out of its mind sends this; its own client bears it.
                Err(_) => return self.worker_closed(1011, ""),
            }
        }
    }

    fn worker_closed(&mut self, code: u16, reason: &str) {
        self.protocol.send_close(code, reason);
        self.worker = Side::Closed;
        if self.peer == Side::Open {
            self.ended.code = code;
        }
        self.wait_at_most(CLOSE_TIMEOUT);
    }

    fn worker_broke(&mut self, broken: Broken) {
        let closing = super::closing_of(&broken);
        self.protocol.send_close(closing.code, closing.reason);
        self.ended.code = closing.code;
        self.ended.broken = Some(broken);
        self.worker = Side::Gone;
        self.inbound = None;
        self.wait_at_most(CLOSE_TIMEOUT);
    }

    /// Writes frames to the connection.
    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while self.written < self.protocol.out.len() {
            let bytes = &self.protocol.out[self.written..];
            match Pin::new(&mut self.io).poll_write(cx, bytes) {
                Poll::Pending => return moved,
                Poll::Ready(Ok(count)) if count > 0 => {
                    self.written += count;
                    self.ended.sent += count as u64;
                    moved = true;
                }
                Poll::Ready(_) => {
                    self.peer_gone("");
                    return true;
                }
            }
        }
        if self.written > 0 {
            self.written = 0;
            self.protocol.out.clear();
            if self.protocol.out.capacity() > READ {
                self.protocol.out = Vec::new();
            }
            if self.peer == Side::Open {
                self.protocol.flush();
            }
        }
        if let Poll::Ready(Err(_)) = Pin::new(&mut self.io).poll_flush(cx) {
            self.peer_gone("");
            return true;
        }
        moved
    }

    /// Sends the waiting message on, as far as credit goes.
    fn give_to_worker(&mut self, cx: &Context<'_>) -> bool {
        let Some(inbound) = &mut self.inbound else { return false };
        let room = match self.stream.poll_credit(cx) {
            Poll::Pending => return false,
            Poll::Ready(Some(room)) => room,
            Poll::Ready(None) => {
                self.inbound = None;
                return true;
            }
        };
        let from = if inbound.head.is_empty() { &mut inbound.payload } else { &mut inbound.head };
        let now = room.min(from.len());
        let end = inbound.last && now == from.len();
        let bytes = from.split_to(now);
        let whole = inbound.head.is_empty() && inbound.payload.is_empty();
        self.stream.send_data(&bytes, end && whole);
        if whole {
            self.inbound = None;
            self.kept.set(0);
        }
        true
    }

    /// Reads from the connection until a message is whole.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        if self.inbound.is_some() || self.peer == Side::Gone {
            return false;
        }
        if self.inbox.is_empty() {
            let mut room = [std::mem::MaybeUninit::uninit(); READ];
            let mut buffer = ReadBuf::uninit(&mut room);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Pending => return false,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.inbox = Bytes::copy_from_slice(buffer.filled());
                }
                Poll::Ready(_) => {
                    self.peer_gone("The connection ended without a close.");
                    return true;
                }
            }
            self.alive = true;
        }
        // After its close a peer has nothing to say.
        if self.peer == Side::Closed {
            self.inbox = Bytes::new();
            return true;
        }
        let mut bytes: &[u8] = &self.inbox;
        let received = self.protocol.receive(&mut bytes);
        let taken = self.inbox.len() - bytes.len();
        self.inbox.advance(taken);
        if self.inbox.is_empty() {
            self.inbox = Bytes::new();
        }
        match received {
            Ok(None) => {
                if !self.kept.set(self.protocol.kept()) {
                    self.fail(1013, "The server has no room for messages of this size now.");
                }
            }
            Ok(Some(Received::Message(kind, payload))) if !self.told => {
                self.kept.set(payload.len());
                if let Some(chain) = &self.stream.chain {
                    chain.refill();
                }
                self.inbound = Some(Inbound::message(kind, payload));
            }
            Ok(Some(Received::Message(..))) => {}
            Ok(Some(Received::Close(code, reason))) => {
                self.peer = Side::Closed;
                self.ended.code = code;
                self.tell_worker(code, &reason);
            }
            Err(violation) => self.fail(violation.code, &violation.text),
        }
        true
    }

    /// The peer broke the rules or is too much: it is told, and the worker learns that the connection broke.
    fn fail(&mut self, code: u16, text: &str) {
        if self.worker == Side::Open {
            self.protocol.send_close(code, text);
            self.worker = Side::Closed;
        }
        self.ended.code = code;
        self.peer = Side::Closed;
        self.linger = true;
        self.inbox = Bytes::new();
        self.kept.set(0);
        self.tell_worker(BROKEN, text);
    }

    /// After the end: reads what still comes.
    fn discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut room = [std::mem::MaybeUninit::uninit(); READ];
            let mut buffer = ReadBuf::uninit(&mut room);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
    }

    fn peer_gone(&mut self, text: &str) {
        self.tell_worker(BROKEN, text);
        self.peer = Side::Gone;
        self.linger = false;
        self.written = 0;
        self.protocol.out.clear();
        if self.worker == Side::Open {
            self.wait_at_most(CLOSE_TIMEOUT);
        }
    }

    fn tell_worker(&mut self, code: u16, reason: &str) {
        if self.worker == Side::Gone || std::mem::replace(&mut self.told, true) {
            return;
        }
        let mut head = Vec::new();
        socket::put_close(&mut head, code, reason);
        let head = Inbound { head: head.into(), payload: Bytes::new(), last: true };
        // A message that waits for credit goes first: its worker is slow, not gone.
        match &mut self.inbound {
            Some(inbound) => {
                inbound.payload = [&inbound.payload[..], &head.head[..]].concat().into();
                inbound.last = true;
            }
            None => self.inbound = Some(head),
        }
    }

    /// Sends pings, and notices peers that are gone without a word and sides that do not answer a close.
    fn tick(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            self.deadline = None;
            self.peer = Side::Gone;
            if self.worker == Side::Open {
                self.worker = Side::Gone;
            }
            self.inbound = None;
            return true;
        }
        if self.pings.poll_tick(cx).is_pending() {
            return false;
        }
        let dead = !std::mem::take(&mut self.alive) && std::mem::take(&mut self.pinged);
        // While a message waits for its worker nothing is read.
        if dead && self.peer == Side::Open && self.inbound.is_none() {
            self.peer_gone("The peer does not answer any more.");
        } else if self.worker == Side::Open && self.peer == Side::Open && self.protocol.out.is_empty() {
            self.protocol.ping();
            self.pinged = true;
        }
        true
    }

    fn wait_at_most(&mut self, time: Duration) {
        if self.deadline.is_none() {
            self.deadline = Some(Box::pin(sleep(time)));
        }
    }
}

impl Inbound {
    fn message(kind: MessageKind, payload: Bytes) -> Self {
        let mut head = Vec::with_capacity(
            socket::PREFIX_LEN + if payload.len() <= JOINED_MAX { payload.len() } else { 0 },
        );
        socket::put_prefix(&mut head, kind, payload.len());
        if payload.len() <= JOINED_MAX {
            head.extend_from_slice(&payload);
            return Self { head: head.into(), payload: Bytes::new(), last: false };
        }
        Self { head: head.into(), payload, last: false }
    }
}

/// A connection's share of what is kept of unfinished messages.
struct Kept<'a> {
    total: &'a AtomicUsize,
    own: usize,
}

impl Kept<'_> {
    /// False when all connections together keep too much.
    fn set(&mut self, bytes: usize) -> bool {
        let wanted = bytes.saturating_sub(KEPT_FREE);
        let before = std::mem::replace(&mut self.own, wanted);
        if wanted >= before {
            let total = self.total.fetch_add(wanted - before, Ordering::Relaxed) + (wanted - before);
            wanted == before || total <= KEPT_MAX
        } else {
            self.total.fetch_sub(before - wanted, Ordering::Relaxed);
            true
        }
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.set(0);
    }
}
