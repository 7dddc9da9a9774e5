//! One call over a connection, as its caller and the connection share it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use selvedge_wire::message::{self, Head, ResetCode};
use selvedge_wire::{FIN, Kind, Overrun, RecvWindow, SendWindow, frame};

use crate::chain::Chain;
use crate::connection::{Connection, remember};
use crate::host::Offence;

/// Chunks that wait are put together up to this size, bytes: credit counts bytes, and each chunk takes some of its own.
const MERGED_MAX: usize = 512;

/// Why a stream ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The host said so.
    Reset(ResetCode, String),
    /// The host process ended; what its worker did to cause it, if it was this one's.
    HostLost(Option<Offence>),
}

/// The answer's head.
#[derive(Debug)]
pub struct ResponseHead {
    /// Status.
    pub status: StatusCode,
    /// Fields.
    pub headers: HeaderMap,
}

/// One call, as its caller and the connection share it.
#[derive(Debug)]
pub struct Stream {
    /// Its number on the connection.
    pub id: u32,
    /// Whose call it is.
    pub instance: u32,
    connection: Weak<Connection>,
    state: RefCell<StreamState>,
    /// For logs.
    pub request_id: Box<str>,
    /// What it belongs to; none for a load.
    pub chain: Option<Chain>,
}

#[derive(Debug, Default)]
struct StreamState {
    head: Option<ResponseHead>,
    /// The head has arrived; there is one.
    headed: bool,
    chunks: VecDeque<Bytes>,
    /// The host sends nothing more.
    ended: bool,
    broken: Option<Broken>,
    /// It was broken off, whether or not a reader has heard of it.
    failed: bool,
    reader: Option<Waker>,
    recv: RecvWindow,
    send: SendWindow,
    writer: Option<Waker>,
    /// Waits for the stream to break.
    watcher: Option<Waker>,
    /// Our half is closed.
    sent_all: bool,
    done: bool,
    /// Sends are not limited by credit, as for an answer to a load.
    bulk: bool,
}

impl Stream {
    /// A stream of `connection`.
    pub fn new(
        connection: &Rc<Connection>,
        id: u32,
        instance: u32,
        request_id: &str,
        chain: Option<Chain>,
    ) -> Self {
        Self {
            id,
            instance,
            connection: Rc::downgrade(connection),
            state: RefCell::default(),
            request_id: request_id.into(),
            chain,
        }
    }

    /// The host's `HEAD`.
    pub fn head_arrived(&self, head: Head<'_>) {
        let mut state = self.state.borrow_mut();
        if !std::mem::replace(&mut state.headed, true) {
            state.head = Some(parse_head(head));
        }
    }

    /// The host's `DATA`. An error when it is more than the host was allowed to send.
    pub fn data_arrived(&self, bytes: &[u8]) -> Result<(), Overrun> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut state = self.state.borrow_mut();
        if !state.bulk {
            state.recv.received(bytes.len())?;
        }
        match state.chunks.back_mut() {
            Some(last) if last.len() + bytes.len() <= MERGED_MAX => {
                let mut merged = Vec::from(std::mem::take(last));
                merged.extend_from_slice(bytes);
                *last = merged.into();
            }
            _ => state.chunks.push_back(Bytes::copy_from_slice(bytes)),
        }
        Ok(())
    }

    /// The host's `CREDIT`.
    pub fn credit_arrived(&self, bytes: u32) {
        let mut state = self.state.borrow_mut();
        state.send.granted(bytes);
        wake(&mut state.writer);
    }

    /// What a frame's flags said. True when nothing more can arrive.
    pub fn flags_arrived(&self, fin: bool, done: bool) -> bool {
        let mut state = self.state.borrow_mut();
        state.ended |= fin;
        state.done |= done;
        wake(&mut state.reader);
        let over = state.done && state.ended;
        if over {
            // Nobody will take what it still waits to send.
            wake(&mut state.writer);
        }
        over
    }

    /// Our half is closed.
    pub fn close_half(&self) {
        self.state.borrow_mut().sent_all = true;
    }

    /// Waits for the answer's head.
    pub fn poll_head(&self, cx: &Context<'_>) -> Poll<Result<ResponseHead, Broken>> {
        let mut state = self.state.borrow_mut();
        if let Some(head) = state.head.take() {
            return Poll::Ready(Ok(head));
        }
        if let Some(broken) = &state.broken {
            return Poll::Ready(Err(broken.clone()));
        }
        remember(&mut state.reader, cx);
        Poll::Pending
    }

    /// Waits for the next chunk of the answer's body; `None` at its end.
    pub fn poll_chunk(&self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        let mut state = self.state.borrow_mut();
        if let Some(chunk) = state.chunks.pop_front() {
            if let Some(credit) = state.recv.consumed(chunk.len()).filter(|_| !state.ended) {
                self.send(|out| message::put_credit(out, self.id, credit));
            }
            return Poll::Ready(Some(Ok(chunk)));
        }
        if let Some(broken) = state.broken.take() {
            state.ended = true;
            return Poll::Ready(Some(Err(broken)));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        remember(&mut state.reader, cx);
        Poll::Pending
    }

    /// Bytes of the whole rest of the body, when all of it is here.
    pub fn whole_body(&self) -> Option<u64> {
        let state = self.state.borrow();
        let whole = state.ended && state.broken.is_none();
        whole.then(|| state.chunks.iter().map(|chunk| chunk.len() as u64).sum())
    }

    /// Whether the body is at its end.
    pub fn at_end(&self) -> bool {
        let state = self.state.borrow();
        state.ended && state.chunks.is_empty() && state.broken.is_none()
    }

    /// Why it broke off, if it did; else whoever polls is woken when it does.
    pub fn poll_broken(&self, cx: &Context<'_>) -> Poll<Broken> {
        let mut state = self.state.borrow_mut();
        if let Some(broken) = &state.broken {
            return Poll::Ready(broken.clone());
        }
        remember(&mut state.reader, cx);
        Poll::Pending
    }

    /// Whether the host has sent all that it will send.
    pub fn has_ended(&self) -> bool {
        self.state.borrow().ended
    }

    /// Whether the host has finished all work on it.
    pub fn is_over(&self) -> bool {
        let state = self.state.borrow();
        state.broken.is_some() || (state.done && state.ended)
    }

    /// The answer may be larger than the usual credit.
    pub fn allow_bulk(&self) {
        self.state.borrow_mut().bulk = true;
    }

    /// Waits until the stream is broken off.
    pub fn poll_over(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        if state.failed {
            return Poll::Ready(());
        }
        remember(&mut state.watcher, cx);
        Poll::Pending
    }

    /// Waits for credit; `None` when the stream takes nothing more.
    pub fn poll_credit(&self, cx: &Context<'_>) -> Poll<Option<usize>> {
        let mut state = self.state.borrow_mut();
        if state.broken.is_some() || state.sent_all || (state.done && state.ended) {
            return Poll::Ready(None);
        }
        match state.send.available() {
            0 => {
                remember(&mut state.writer, cx);
                Poll::Pending
            }
            available => Poll::Ready(Some(available)),
        }
    }

    /// Sends body bytes, no more than [`Stream::poll_credit`] allows; `end` closes our half.
    pub fn send_data(&self, bytes: &[u8], end: bool) {
        let mut state = self.state.borrow_mut();
        state.send.sent(bytes.len());
        state.sent_all |= end;
        self.send(|out| {
            let mut chunks = bytes.chunks(selvedge_wire::DATA_MAX).peekable();
            if chunks.peek().is_none() && end {
                frame::put(out, Kind::Data, FIN, self.id, &[]);
            }
            while let Some(chunk) = chunks.next() {
                let flags = if end && chunks.peek().is_none() { FIN } else { 0 };
                frame::put(out, Kind::Data, flags, self.id, chunk);
            }
        });
    }

    /// Sends a whole body, waiting for credit as needed. False when the other side stopped taking it.
    pub async fn send_all(&self, mut bytes: &[u8], end: bool) -> bool {
        loop {
            if bytes.is_empty() {
                if end {
                    self.send_data(&[], true);
                }
                return true;
            }
            let Some(room) = poll_fn(|cx| self.poll_credit(cx)).await else { return false };
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.send_data(now, end && rest.is_empty());
            bytes = rest;
            if rest.is_empty() {
                return true;
            }
        }
    }

    /// Ends the stream from our side; the reason goes to the host and to whoever still reads.
    pub fn cancel(&self, code: ResetCode, text: &str) {
        let Some(connection) = self.connection.upgrade() else { return };
        if connection.remove(self.id) {
            connection.send(|out| message::put_reset(out, self.id, code, text));
            self.fail(Broken::Reset(code, text.into()));
        }
    }

    /// The stream ends early; whoever reads or writes learns why.
    pub fn fail(&self, broken: Broken) {
        let mut state = self.state.borrow_mut();
        state.broken = Some(broken);
        state.failed = true;
        wake(&mut state.reader);
        wake(&mut state.writer);
        wake(&mut state.watcher);
    }

    fn send(&self, encode: impl FnOnce(&mut Vec<u8>)) {
        if let Some(connection) = self.connection.upgrade() {
            connection.send(encode);
        }
    }
}

fn parse_head(head: Head<'_>) -> ResponseHead {
    let mut headers = HeaderMap::with_capacity(8);
    for (name, value) in message::header_pairs(head.headers) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            // The map has room for fewer fields than a head.
            if headers.try_append(name, value).is_err() {
                return ResponseHead { status: StatusCode::INTERNAL_SERVER_ERROR, headers: HeaderMap::new() };
            }
        }
    }
    // What a `Response` can have; a host's word for anything else is not sent on.
    let status = match head.status {
        101 | 200..=599 => StatusCode::from_u16(head.status).ok(),
        _ => None,
    };
    ResponseHead { status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), headers }
}

fn wake(slot: &mut Option<Waker>) {
    if let Some(waker) = slot.take() {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Stream {
        let state = RefCell::default();
        Stream { id: 1, instance: 1, connection: Weak::new(), state, request_id: "".into(), chain: None }
    }

    /// Credit counts bytes, so that chunks of one byte must not cost much more than one.
    #[test]
    fn small_chunks_are_put_together() {
        let stream = stream();
        let sent: Vec<u8> = (0..selvedge_wire::INITIAL_CREDIT).map(|n| n as u8).collect();
        for byte in &sent {
            stream.data_arrived(&[*byte]).unwrap();
        }
        assert_eq!(stream.data_arrived(&[1]), Err(Overrun));
        let chunks = std::mem::take(&mut stream.state.borrow_mut().chunks);
        assert!(chunks.len() <= sent.len() / MERGED_MAX, "{}", chunks.len());
        assert_eq!(chunks.iter().flatten().copied().collect::<Vec<u8>>(), sent);
    }

    #[test]
    fn there_is_one_head() {
        let stream = stream();
        stream.head_arrived(Head { status: 204, headers: b"a\0b\0" });
        stream.head_arrived(Head { status: 101, headers: b"" });
        assert_eq!(stream.state.borrow().head.as_ref().map(|head| head.status.as_u16()), Some(204));
    }

    #[test]
    fn a_status_is_one_that_a_response_has() {
        let status = |status| parse_head(Head { status, headers: b"" }).status.as_u16();
        assert_eq!([101, 200, 256, 599].map(status), [101, 200, 256, 599]);
        assert_eq!([0, 99, 100, 102, 199, 600, 999, 1000, u16::MAX].map(status), [500; 9]);
    }
}
