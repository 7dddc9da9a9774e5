//! The body of a response, read from the connection by whoever consumes it.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use selvedge_http1::{ChunkedDecoder, Limits, ResponseFraming, parse_trailers};
use tokio::io::{AsyncRead, ReadBuf};

use super::sending::{Sending, Stopped};
use crate::body::BodyError;
use crate::endpoint::Load;
use crate::forward::may_trail;
use crate::pool::{Connection, Pool};

/// Trailer sections; the decoder bounds their length.
const TRAILERS: Limits = Limits { head_bytes: 16 * 1024, fields: 100 };

/// What of a body is still to come.
pub(super) enum Framed {
    Over,
    /// So many bytes, at least one.
    Length(u64),
    Chunks {
        decoder: Box<ChunkedDecoder>,
        trailers: Vec<u8>,
    },
    /// Until the connection ends.
    Close,
}

impl Framed {
    pub(super) fn new(framing: ResponseFraming) -> Self {
        match framing {
            ResponseFraming::Length(0) => Self::Over,
            ResponseFraming::Length(length) => Self::Length(length),
            ResponseFraming::Chunked => Self::Chunks { decoder: Box::default(), trailers: Vec::new() },
            ResponseFraming::Close => Self::Close,
        }
    }

    fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// The body, if all of it is in `rest`, and whether nothing else is. Bodies with trailers do not count.
    pub(super) fn whole(&mut self, rest: &Bytes) -> Option<(Bytes, bool)> {
        match self {
            Self::Over => Some((Bytes::new(), rest.is_empty())),
            Self::Length(length) => {
                let length = usize::try_from(*length).ok().filter(|length| *length <= rest.len())?;
                Some((rest.slice(..length), length == rest.len()))
            }
            Self::Chunks { .. } if !rest.ends_with(b"0\r\n\r\n") => None,
            Self::Chunks { .. } => {
                let mut decoder = ChunkedDecoder::default();
                let (mut body, mut at) = (Bytes::new(), 0);
                let mut joined = BytesMut::new();
                while at < rest.len() && !decoder.is_over() {
                    let step = decoder.next(&rest[at..]).ok()?;
                    if step.trailers.len() > 2 {
                        return None;
                    }
                    if !step.data.is_empty() {
                        let data = rest.slice(at + step.data.start..at + step.data.end);
                        // One chunk needs no copy.
                        if !body.is_empty() {
                            joined.extend_from_slice(&std::mem::take(&mut body));
                        }
                        match joined.is_empty() {
                            true => body = data,
                            false => joined.extend_from_slice(&data),
                        }
                    }
                    at += step.taken;
                }
                let body = if joined.is_empty() { body } else { joined.freeze() };
                decoder.is_over().then(|| (body, at == rest.len()))
            }
            Self::Close => None,
        }
    }

    /// Takes the body's next bytes out of what has arrived. What is left over after the end stays in `arrived`.
    fn decode(&mut self, arrived: &mut Bytes) -> Result<Option<Frame<Bytes>>, BodyError> {
        match self {
            Self::Over => Ok(None),
            Self::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(arrived.len());
                *left -= count as u64;
                if *left == 0 {
                    *self = Self::Over;
                }
                Ok((count > 0).then(|| Frame::data(arrived.split_to(count))))
            }
            Self::Close => {
                let data = std::mem::take(arrived);
                Ok((!data.is_empty()).then(|| Frame::data(data)))
            }
            Self::Chunks { decoder, trailers } => {
                // Chunks that are here are joined: a frame for each would be a chunk for each again.
                let mut joined = BytesMut::new();
                while !arrived.is_empty() && !decoder.is_over() {
                    let step = decoder.next(arrived).map_err(|_| BodyError::Malformed)?;
                    joined.extend_from_slice(&arrived[step.data]);
                    trailers.extend_from_slice(&arrived[step.trailers]);
                    arrived.advance(step.taken);
                }
                if !joined.is_empty() {
                    return Ok(Some(Frame::data(joined.freeze())));
                }
                if !decoder.is_over() {
                    return Ok(None);
                }
                let fields = if trailers.len() > 2 { read_trailers(trailers)? } else { HeaderMap::new() };
                *self = Self::Over;
                Ok((!fields.is_empty()).then(|| Frame::trailers(fields)))
            }
        }
    }
}

fn read_trailers(section: &[u8]) -> Result<HeaderMap, BodyError> {
    let mut fields = Vec::new();
    parse_trailers(section, &TRAILERS, &mut fields).map_err(|_| BodyError::Malformed)?;
    let mut headers = HeaderMap::new();
    for field in fields {
        let name = HeaderName::from_bytes(field.name.of(section)).map_err(|_| BodyError::Malformed)?;
        let value = HeaderValue::from_bytes(field.value.of(section)).map_err(|_| BodyError::Malformed)?;
        if may_trail(&name) {
            headers.append(name, value);
        }
    }
    Ok(headers)
}

/// A response's body on its way, and what of the request is still being sent.
pub struct Receiving<B> {
    pub(super) connection: Option<Connection>,
    pub(super) sending: Sending<B>,
    /// The server takes no more of the request.
    pub(super) refused: bool,
    /// Arrived and not yet handed on.
    pub(super) rest: Bytes,
    pub(super) framed: Framed,
    pub(super) keep_alive: bool,
    pub(super) idle_timeout: Duration,
    pub(super) pool: Rc<Pool>,
    pub(super) _load: Load,
}

impl<B: Body<Data = Bytes> + Unpin> Receiving<B> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, BodyError>> {
        loop {
            if let Some(frame) = self.framed.decode(&mut self.rest)? {
                if self.framed.is_over() {
                    self.end();
                }
                return Poll::Ready(Ok(Some(frame)));
            }
            if self.framed.is_over() {
                self.end();
                return Poll::Ready(Ok(None));
            }
            let Some(connection) = &mut self.connection else { return Poll::Ready(Err(BodyError::Cut)) };
            if !self.refused && !self.sending.is_done() {
                match self.sending.poll(cx, &mut connection.stream) {
                    Poll::Ready(Err(Stopped::Body)) => return Poll::Ready(Err(BodyError::Request)),
                    Poll::Ready(Err(Stopped::Io)) => self.refused = true,
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                }
            }
            let mut room = self.pool.shared.room.borrow_mut();
            let mut buffer = ReadBuf::new(&mut room);
            match Pin::new(&mut connection.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    connection.watch.disarm();
                    self.rest = Bytes::copy_from_slice(buffer.filled());
                }
                Poll::Ready(Ok(())) if matches!(self.framed, Framed::Close) => {
                    self.framed = Framed::Over;
                    self.keep_alive = false;
                }
                Poll::Ready(Ok(()) | Err(_)) => return Poll::Ready(Err(BodyError::Cut)),
                Poll::Pending => {
                    if !connection.watch.is_armed() {
                        connection.watch.arm(self.idle_timeout);
                    }
                    return match connection.watch.is_late(cx) {
                        true => Poll::Ready(Err(BodyError::Stalled)),
                        false => Poll::Pending,
                    };
                }
            }
        }
    }

    /// The body was read to its end: the connection may serve others, unless something is in doubt.
    fn end(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let clean = self.keep_alive && self.rest.is_empty() && !self.refused && self.sending.is_done();
        if clean && let Some(upstream) = self.pool.upstream.upgrade() {
            self.pool.give_back(connection, &upstream);
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Receiving<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = this.poll(cx);
        if let Poll::Ready(Err(error)) = &polled {
            this.connection = None;
            if *error != BodyError::Request
                && let Some(upstream) = this.pool.upstream.upgrade()
            {
                upstream.note(&this.pool.endpoint, false, this.pool.shared.tick());
            }
        }
        polled.map(Result::transpose)
    }

    fn is_end_stream(&self) -> bool {
        self.framed.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        match self.framed {
            Framed::Over => SizeHint::with_exact(0),
            Framed::Length(left) => SizeHint::with_exact(left),
            Framed::Chunks { .. } | Framed::Close => SizeHint::default(),
        }
    }
}
