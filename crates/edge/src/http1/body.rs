//! A request's body, read from the socket by whoever consumes it: no task hands it over.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use selvedge_http1::{ChunkedDecoder, Violation};

use super::scratch::READ;
use super::socket::{Interim, Socket};
use crate::body::BodyCut;

/// What of a body that nobody wants is read and thrown away after its response, bytes, for the sake of the next request.
const DRAIN_MAX: u64 = 256 * 1024;

/// What of the request's body is still to come.
#[derive(Debug)]
pub(super) enum Receiving {
    /// Nothing.
    Over,
    /// So many bytes, at least one.
    Length(u64),
    /// Chunks.
    Chunks(Box<ChunkedDecoder>),
    /// Nobody knows.
    Failed(Violation),
}

impl Receiving {
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// Takes the body's next bytes out of what has arrived: how much of it was dealt with, and the body's bytes.
    fn decode(&mut self, arrived: &[u8]) -> (usize, Bytes) {
        match self {
            Self::Over | Self::Failed(_) => (0, Bytes::new()),
            Self::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(arrived.len());
                *left -= count as u64;
                if *left == 0 {
                    *self = Self::Over;
                }
                (count, Bytes::copy_from_slice(&arrived[..count]))
            }
            Self::Chunks(decoder) => {
                let (mut taken, mut data) = (0, BytesMut::new());
                while taken < arrived.len() && !decoder.is_over() {
                    match decoder.next(&arrived[taken..]) {
                        Ok(step) => {
                            data.extend_from_slice(&arrived[taken..][step.data]);
                            taken += step.taken;
                        }
                        Err(violation) => {
                            *self = Self::Failed(violation);
                            return (arrived.len(), Bytes::new());
                        }
                    }
                }
                if decoder.is_over() {
                    *self = Self::Over;
                }
                (taken, data.freeze())
            }
        }
    }
}

impl Socket {
    /// The body's next bytes; `None` at its end.
    fn poll_body(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyCut>>> {
        loop {
            match &*self.receiving.borrow() {
                Receiving::Over => return Poll::Ready(None),
                Receiving::Failed(_) => return Poll::Ready(Some(Err(BodyCut))),
                Receiving::Length(_) | Receiving::Chunks(_) => {}
            }
            if self.connection.verdict().is_some() {
                return Poll::Ready(Some(Err(BodyCut)));
            }
            let mut ahead = self.ahead.borrow_mut();
            let data = if ahead.is_empty() {
                drop(ahead);
                match ready!(self.poll_body_read(cx)) {
                    Some(data) => data,
                    None => {
                        self.note_closed();
                        self.fail(Violation::BodyCut);
                        continue;
                    }
                }
            } else {
                let (taken, data) = self.receiving.borrow_mut().decode(&ahead);
                ahead.advance(taken);
                drop(ahead);
                self.free_ahead();
                data
            };
            let fault = match &*self.receiving.borrow() {
                Receiving::Failed(violation) => Some(*violation),
                Receiving::Over => {
                    // The connection may read ahead again, or go on to the next request.
                    self.connection.wake();
                    None
                }
                _ => None,
            };
            if let Some(violation) = fault {
                self.fail(violation);
            } else if !data.is_empty() {
                return Poll::Ready(Some(Ok(data)));
            }
        }
    }

    /// Reads from the socket; `None` when it ends or fails.
    fn poll_body_read(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.interim.get() == Interim::Owed {
            self.interim.set(Interim::Due(0));
            self.connection.wake();
        }
        let most = match &*self.receiving.borrow() {
            Receiving::Length(left) => usize::try_from(*left).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        let read = self.poll_read(cx, most.min(READ), |arrived| {
            self.connection.body_arrived(arrived.len());
            let (taken, data) = self.receiving.borrow_mut().decode(arrived);
            self.ahead.borrow_mut().extend_from_slice(&arrived[taken..]);
            data
        });
        match read {
            Poll::Ready(Ok(data)) => Poll::Ready(data),
            Poll::Ready(Err(_)) => Poll::Ready(None),
            Poll::Pending => {
                self.connection.body_awaited();
                Poll::Pending
            }
        }
    }

    fn fail(&self, violation: Violation) {
        *self.receiving.borrow_mut() = Receiving::Failed(violation);
        self.connection.found_fault(violation);
    }

    /// Whether the rest of the body may be read for the sake of the next request.
    pub(super) fn may_go_on(&self) -> bool {
        match &*self.receiving.borrow() {
            Receiving::Over | Receiving::Chunks(_) => true,
            Receiving::Length(left) => *left <= DRAIN_MAX || self.held.get(),
            Receiving::Failed(_) => false,
        }
    }

    /// After a response: waits until the body was read to its end, by its reader or for nobody. False when it cannot be.
    pub(super) fn poll_rest(&self, cx: &mut Context<'_>) -> Poll<bool> {
        self.connection.remember(cx);
        let mut thrown = 0;
        loop {
            if self.receiving.borrow().is_over() {
                return Poll::Ready(true);
            }
            if self.connection.verdict().is_some() || self.connection.is_given_up() {
                return Poll::Ready(false);
            }
            // Its reader says when it is done.
            if self.held.get() {
                return Poll::Pending;
            }
            match ready!(self.poll_body(cx)) {
                Some(Ok(data)) if thrown + data.len() as u64 <= DRAIN_MAX => thrown += data.len() as u64,
                Some(_) => return Poll::Ready(false),
                None => return Poll::Ready(true),
            }
        }
    }
}

/// A handle on the body of the request under way.
pub struct Http1Body(Rc<Socket>);

impl Http1Body {
    pub(super) fn of(socket: Rc<Socket>) -> Self {
        socket.held.set(true);
        Self(socket)
    }
}

impl std::fmt::Debug for Http1Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Http1Body").field(&self.0.receiving.borrow()).finish()
    }
}

impl Body for Http1Body {
    type Data = Bytes;
    type Error = BodyCut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        let socket = &self.0;
        let mut reader = socket.reader.borrow_mut();
        if !reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            *reader = Some(cx.waker().clone());
        }
        drop(reader);
        socket.poll_body(cx).map(|data| data.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.receiving.borrow().is_over()
    }

    fn size_hint(&self) -> SizeHint {
        match &*self.0.receiving.borrow() {
            Receiving::Over => SizeHint::with_exact(0),
            Receiving::Length(left) => SizeHint::with_exact(*left),
            Receiving::Chunks(_) | Receiving::Failed(_) => SizeHint::default(),
        }
    }
}

impl Drop for Http1Body {
    fn drop(&mut self) {
        self.0.held.set(false);
        self.0.reader.take();
        self.0.connection.body_left();
        self.0.connection.wake();
    }
}
