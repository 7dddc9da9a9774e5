//! What arrives on a connection: heads, bodies, and what a client sends ahead of its turn.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use selvedge_http1::HeadFinder;
use selvedge_http2::PREFACE;
use selvedge_telemetry::http_metrics::CutReason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Next;
use super::body::Receiving;
use super::head::take_request;
use crate::connection::Connection;
use crate::hints;
use crate::stream::Stream;
use crate::thread::Thread;

/// What is read at once where a head is expected, bytes.
const HEAD_READ: usize = 16 * 1024;
/// What is read ahead of its turn while a request is answered, bytes.
const AHEAD_MAX: usize = 32 * 1024;
/// What is read and thrown away after the last response, bytes, for the client to get around to reading it.
const LINGER_MAX: usize = 1 << 20;
/// The interim response to `Expect: 100-continue` (RFC 9110, section 15.2.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A client's socket. It is shared by the connection's task and the request's body, which read in turns.
pub(crate) struct Socket {
    pub(crate) connection: Rc<Connection>,
    pub(crate) thread: Rc<Thread>,
    /// `None` once the connection is over.
    stream: RefCell<Option<Stream>>,
    /// Read, and not yet anybody's.
    pub(super) ahead: RefCell<BytesMut>,
    pub(super) receiving: RefCell<Receiving>,
    /// Somebody has the body of the request under way.
    pub(super) held: Cell<bool>,
    /// Whoever reads the body.
    pub(super) reader: RefCell<Option<Waker>>,
    pub(super) interim: Cell<Interim>,
    /// Hints that are being sent, and how much of them was.
    informing: RefCell<Vec<u8>>,
    informed: Cell<usize>,
    /// The client has closed its half.
    closed: Cell<bool>,
    /// Thrown away after the last response.
    lingered: Cell<usize>,
}

/// How far `100 Continue` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interim {
    /// Not asked for, sent, or too late.
    Done,
    /// To be sent once the body is wanted.
    Owed,
    /// To be sent, after so many of its bytes.
    Due(usize),
}

/// What a connection turned out to speak.
pub(crate) enum First {
    Http1,
    Http2,
    /// It was closed, or cut, before it said anything.
    Nothing,
}

impl Socket {
    /// A socket of which `received` was read already.
    pub(crate) fn new(
        stream: Stream,
        received: BytesMut,
        connection: Rc<Connection>,
        thread: Rc<Thread>,
    ) -> Rc<Self> {
        Rc::new(Self {
            connection,
            thread,
            stream: RefCell::new(Some(stream)),
            ahead: RefCell::new(received),
            receiving: RefCell::new(Receiving::Over),
            held: Cell::new(false),
            reader: RefCell::default(),
            interim: Cell::new(Interim::Done),
            informing: RefCell::default(),
            informed: Cell::new(0),
            closed: Cell::new(false),
            lingered: Cell::new(0),
        })
    }

    /// Reads until it is clear which HTTP the client speaks.
    pub(crate) fn poll_first(&self, cx: &mut Context<'_>) -> Poll<First> {
        self.connection.remember(cx);
        loop {
            {
                let ahead = self.ahead.borrow();
                let shared = ahead.len().min(PREFACE.len());
                if ahead[..shared] != PREFACE[..shared] {
                    return Poll::Ready(First::Http1);
                }
                if shared == PREFACE.len() {
                    return Poll::Ready(First::Http2);
                }
                let waiting = self.connection.is_draining() && ahead.is_empty();
                // It gets no answer to what it never asked.
                if waiting || self.connection.verdict().is_some() && ahead.is_empty() {
                    return Poll::Ready(First::Nothing);
                }
            }
            if self.connection.verdict().is_some() {
                return Poll::Ready(First::Http1);
            }
            match ready!(self.poll_read(cx, HEAD_READ, |bytes| self.keep_ahead(bytes))) {
                Ok(Some(())) => self.connection.head_began(),
                Ok(None) | Err(_) => return Poll::Ready(First::Nothing),
            }
        }
    }

    /// Waits for the next request's head. `finder` is to be new for each.
    pub(super) fn poll_next(self: &Rc<Self>, cx: &mut Context<'_>, finder: &mut HeadFinder) -> Poll<Next> {
        self.connection.remember(cx);
        if !self.ahead.borrow().is_empty() {
            self.connection.head_began();
            let found = {
                let mut ahead = self.ahead.borrow_mut();
                let found = take_request(&ahead, finder, self);
                if let Some((taken, _)) = &found {
                    ahead.advance(*taken);
                }
                found
            };
            if let Some((_, next)) = found {
                self.free_ahead();
                return Poll::Ready(next);
            }
        }
        loop {
            let began = !self.ahead.borrow().is_empty();
            match self.connection.verdict() {
                Some(CutReason::HeaderTimeout) if began => return Poll::Ready(Next::Late),
                Some(_) => return Poll::Ready(Next::End),
                None => {}
            }
            if self.connection.is_draining() && !began || self.closed.get() {
                return Poll::Ready(Next::End);
            }
            let read = self.poll_read(cx, HEAD_READ, |bytes| {
                let mut ahead = self.ahead.borrow_mut();
                if began {
                    ahead.extend_from_slice(bytes);
                    let (taken, next) = take_request(&ahead, finder, self)?;
                    ahead.advance(taken);
                    return Some(next);
                }
                match take_request(bytes, finder, self) {
                    Some((taken, next)) => {
                        ahead.extend_from_slice(&bytes[taken..]);
                        Some(next)
                    }
                    None => {
                        ahead.extend_from_slice(bytes);
                        None
                    }
                }
            });
            match ready!(read) {
                Ok(Some(Some(next))) => {
                    self.free_ahead();
                    return Poll::Ready(next);
                }
                Ok(Some(None)) => self.connection.head_began(),
                Ok(None) | Err(_) => {
                    if began {
                        self.connection.counters.cut(CutReason::Io);
                    }
                    return Poll::Ready(Next::End);
                }
            }
        }
    }

    /// While a request is answered: reads what the client sends ahead, up to a bound, and notices when it leaves. Ready
    /// when it is gone.
    pub(super) fn poll_ahead(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.connection.is_given_up() {
            return Poll::Ready(());
        }
        // Else it is the body's turn to read.
        if self.closed.get() || !self.receiving.borrow().is_over() {
            return Poll::Pending;
        }
        while self.ahead.borrow().len() < AHEAD_MAX {
            match ready!(self.poll_read(cx, HEAD_READ, |bytes| self.keep_ahead(bytes))) {
                Ok(Some(())) => {}
                Ok(None) => {
                    self.note_closed();
                    return Poll::Pending;
                }
                Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// Tells a client that speaks TLS that nothing more comes: otherwise it cannot tell an end from a connection that somebody
    /// cut (RFC 8446, section 6.1).
    pub(super) fn say_end(&self) {
        if let Some(Stream::Tls(stream)) = &mut *self.stream.borrow_mut() {
            // At once; whether it still gets there does not matter.
            let _ = stream.poll_end(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// After the last response: reads until the client ends, or enough was read.
    pub(super) fn poll_linger(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.remember(cx);
        if let Some(stream) = &mut *self.stream.borrow_mut() {
            // At once; whether it still gets there does not matter.
            let _ = Pin::new(stream).poll_shutdown(cx);
        }
        while !self.connection.is_given_up() && self.lingered.get() < LINGER_MAX && !self.closed.get() {
            match ready!(self.poll_read(cx, HEAD_READ, <[u8]>::len)) {
                Ok(Some(count)) => self.lingered.set(self.lingered.get() + count),
                Ok(None) | Err(_) => break,
            }
        }
        Poll::Ready(())
    }

    /// True when everything that the client has sent, as far as is known, was read.
    pub(super) fn is_quiet(&self) -> bool {
        self.receiving.borrow().is_over() && self.ahead.borrow().is_empty()
    }

    /// Ends the connection; gives the socket, and what was read of it and is nobody's.
    pub(crate) fn take(&self) -> (Option<Stream>, Bytes) {
        let stream = self.stream.take();
        self.wake_reader();
        (stream, self.ahead.borrow_mut().split().freeze())
    }

    /// The body's reader is to look again.
    pub(super) fn wake_reader(&self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// The client sends nothing more.
    pub(super) fn note_closed(&self) {
        self.closed.set(true);
        self.connection.client_closed_half();
    }

    fn keep_ahead(&self, bytes: &[u8]) {
        self.ahead.borrow_mut().extend_from_slice(bytes);
    }

    /// Memory that nothing is in goes back.
    pub(super) fn free_ahead(&self) {
        let mut ahead = self.ahead.borrow_mut();
        if ahead.is_empty() && ahead.capacity() > 0 {
            *ahead = BytesMut::new();
        }
    }

    /// One read of at most `most` bytes into the thread's buffer; `None` at the client's end.
    pub(super) fn poll_read<T>(
        &self,
        cx: &mut Context<'_>,
        most: usize,
        take: impl FnOnce(&[u8]) -> T,
    ) -> Poll<io::Result<Option<T>>> {
        let mut stream = self.stream.borrow_mut();
        let Some(stream) = &mut *stream else { return Poll::Ready(Ok(None)) };
        let mut room = self.thread.scratch.room.borrow_mut();
        let most = most.min(room.len());
        // A read that does not fill it needs no second system call to learn that nothing is left.
        let mut buffer = ReadBuf::new(&mut room[..most]);
        ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        self.connection.counters.received.add(read.len() as u64);
        Poll::Ready(Ok(if read.is_empty() { None } else { Some(take(read)) }))
    }

    /// Writes some of `slices`.
    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut stream = self.stream.borrow_mut();
        let Some(stream) = &mut *stream else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        let result = match slices {
            // Costs the kernel less than a `writev`.
            [one] => Pin::new(stream).poll_write(cx, one),
            _ => Pin::new(stream).poll_write_vectored(cx, slices),
        };
        self.connection.sent(&result);
        result
    }

    /// Has the kernel send bytes of a file, from `offset` on.
    pub(super) fn poll_send_file(
        &self,
        cx: &mut Context<'_>,
        file: std::os::fd::BorrowedFd<'_>,
        offset: u64,
        count: usize,
    ) -> Poll<io::Result<usize>> {
        let stream = self.stream.borrow();
        let Some(stream) = &*stream else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        let result = match stream {
            Stream::Plain(stream) => stream.poll_send_file(cx, file, offset, count),
            Stream::Tls(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        };
        self.connection.sent(&result);
        result
    }

    /// Whether the kernel can send files: it does not encrypt.
    pub(super) fn sends_files(&self) -> bool {
        matches!(&*self.stream.borrow(), Some(Stream::Plain(_)))
    }

    /// So many bytes, the next that are written, are the last.
    pub(super) fn ends_after(&self, count: usize) {
        if let Some(Stream::Tls(stream)) = &mut *self.stream.borrow_mut() {
            stream.ends_after(count);
        }
    }

    /// Sends what was written and is not yet sent. Without TLS there is nothing to do.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = self.stream.borrow_mut();
        let Some(stream) = &mut *stream else { return Poll::Ready(Ok(())) };
        let flushed = Pin::new(stream).poll_flush(cx);
        if flushed.is_pending() {
            self.connection.sent(&Poll::Pending);
        }
        flushed
    }

    /// Sends interim responses: `100 Continue` when the body is wanted, and hints. The error is the socket's.
    pub(super) fn poll_interim(&self, cx: &mut Context<'_>) -> io::Result<()> {
        // One that was begun goes on before another is.
        if self.informed.get() > 0 && !self.poll_hints(cx)? {
            return Ok(());
        }
        self.poll_continue(cx)?;
        if !self.connection.hints.is_empty() && !matches!(self.interim.get(), Interim::Due(_)) {
            for fields in self.connection.hints.take() {
                hints::put(&fields, &mut self.informing.borrow_mut());
            }
            self.poll_hints(cx)?;
        }
        Ok(())
    }

    /// True when no hints are left to send.
    fn poll_hints(&self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut informing = self.informing.borrow_mut();
        while self.informed.get() < informing.len() {
            match self.poll_write(cx, &[io::IoSlice::new(&informing[self.informed.get()..])])? {
                Poll::Ready(count) => self.informed.set(self.informed.get() + count),
                Poll::Pending => return Ok(false),
            }
        }
        self.informed.set(0);
        *informing = Vec::new();
        match self.poll_flush(cx) {
            Poll::Ready(Err(error)) => Err(error),
            _ => Ok(true),
        }
    }

    fn poll_continue(&self, cx: &mut Context<'_>) -> io::Result<()> {
        let due = matches!(self.interim.get(), Interim::Due(_));
        while let Interim::Due(sent) = self.interim.get() {
            match self.poll_write(cx, &[io::IoSlice::new(&CONTINUE[sent..])])? {
                Poll::Ready(count) if sent + count < CONTINUE.len() => {
                    self.interim.set(Interim::Due(sent + count));
                }
                Poll::Ready(_) => self.interim.set(Interim::Done),
                Poll::Pending => break,
            }
        }
        match due {
            true if let Poll::Ready(Err(error)) = self.poll_flush(cx) => Err(error),
            _ => Ok(()),
        }
    }

    /// The final response begins: what is left of an interim response goes first, one that was not begun is too late.
    /// True when the client may still wait for it.
    pub(super) fn end_interim(&self, out: &mut Vec<u8>) -> bool {
        let informing = self.informing.take();
        out.extend_from_slice(&informing[self.informed.take()..]);
        let asked = self.end_continue(out);
        if !self.connection.hints.is_empty() {
            for fields in self.connection.hints.take() {
                hints::put(&fields, out);
            }
        }
        asked
    }

    fn end_continue(&self, out: &mut Vec<u8>) -> bool {
        match self.interim.replace(Interim::Done) {
            Interim::Done => false,
            Interim::Owed | Interim::Due(0) => !self.receiving.borrow().is_over(),
            Interim::Due(sent) => {
                out.extend_from_slice(&CONTINUE[sent..]);
                false
            }
        }
    }
}
