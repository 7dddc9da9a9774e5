//! A request's body, read from the socket by whoever consumes it: no task hands it over.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use selvedge_http1::{ChunkedDecoder, Limits, Violation, parse_trailers};
use selvedge_upstream::forward::may_trail;

use super::scratch::READ;
use super::socket::{Interim, Socket};
use crate::body::BodyCut;

/// What of a body that nobody wants is read and thrown away after its response, bytes, for the sake of the next request.
const DRAIN_MAX: u64 = 256 * 1024;
/// Trailer sections; the decoder bounds their length.
const TRAILERS: Limits = Limits { head_bytes: 16 * 1024, fields: 100 };

/// What of the request's body is still to come.
#[derive(Debug)]
pub(super) enum Receiving {
    /// Nothing.
    Over,
    /// So many bytes, at least one.
    Length(u64),
    /// Chunks, and the trailer section as far as it is here.
    Chunks(Box<(ChunkedDecoder, Vec<u8>)>),
    /// Trailer fields only.
    Trailers(Box<HeaderMap>),
    /// Nobody knows.
    Failed(Violation),
}

impl Receiving {
    /// What follows the last chunk. An empty section is its empty line.
    fn after_chunks(section: &[u8]) -> Self {
        if section.len() <= 2 {
            return Self::Over;
        }
        match read_trailers(section) {
            Ok(fields) if fields.is_empty() => Self::Over,
            Ok(fields) => Self::Trailers(Box::new(fields)),
            Err(violation) => Self::Failed(violation),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// Takes the body's next bytes out of what has arrived: how much of it was dealt with, and the body's bytes.
    fn decode(&mut self, arrived: &[u8]) -> (usize, Bytes) {
        match self {
            Self::Over | Self::Trailers(_) | Self::Failed(_) => (0, Bytes::new()),
            Self::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(arrived.len());
                *left -= count as u64;
                if *left == 0 {
                    *self = Self::Over;
                }
                (count, Bytes::copy_from_slice(&arrived[..count]))
            }
            Self::Chunks(chunks) => {
                let (decoder, trailers) = &mut **chunks;
                let (mut taken, mut data) = (0, BytesMut::new());
                while taken < arrived.len() && !decoder.is_over() {
                    match decoder.next(&arrived[taken..]) {
                        Ok(step) => {
                            data.extend_from_slice(&arrived[taken..][step.data]);
                            trailers.extend_from_slice(&arrived[taken..][step.trailers]);
                            taken += step.taken;
                        }
                        Err(violation) => {
                            *self = Self::Failed(violation);
                            return (arrived.len(), Bytes::new());
                        }
                    }
                }
                if decoder.is_over() {
                    *self = Self::after_chunks(trailers);
                }
                (taken, data.freeze())
            }
        }
    }
}

/// The fields that may be passed on.
fn read_trailers(section: &[u8]) -> Result<HeaderMap, Violation> {
    let mut fields = Vec::new();
    parse_trailers(section, &TRAILERS, &mut fields)?;
    let mut headers = HeaderMap::new();
    for field in fields {
        let name = HeaderName::from_bytes(field.name.of(section)).map_err(|_| Violation::Trailers)?;
        let value = HeaderValue::from_bytes(field.value.of(section)).map_err(|_| Violation::Trailers)?;
        if may_trail(&name) {
            headers.append(name, value);
        }
    }
    Ok(headers)
}

impl Socket {
    /// The body's next bytes; `None` at its end.
    fn poll_body(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyCut>>> {
        loop {
            match &*self.receiving.borrow() {
                Receiving::Over | Receiving::Trailers(_) => return Poll::Ready(None),
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

    /// The trailer fields, once all that is before them was read.
    fn take_trailers(&self) -> Option<HeaderMap> {
        let mut receiving = self.receiving.borrow_mut();
        if !matches!(&*receiving, Receiving::Trailers(_)) {
            return None;
        }
        let taken = std::mem::replace(&mut *receiving, Receiving::Over);
        drop(receiving);
        self.connection.wake();
        match taken {
            Receiving::Trailers(fields) => Some(*fields),
            _ => None,
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
            Receiving::Over | Receiving::Chunks(_) | Receiving::Trailers(_) => true,
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
                None => {
                    self.take_trailers();
                    return Poll::Ready(true);
                }
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
        let data = ready!(socket.poll_body(cx));
        let trailers = if data.is_none() { socket.take_trailers() } else { None };
        Poll::Ready(match trailers {
            Some(trailers) => Some(Ok(Frame::trailers(trailers))),
            None => data.map(|data| data.map(Frame::data)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.receiving.borrow().is_over()
    }

    fn size_hint(&self) -> SizeHint {
        match &*self.0.receiving.borrow() {
            Receiving::Over | Receiving::Trailers(_) => SizeHint::with_exact(0),
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
