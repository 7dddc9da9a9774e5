//! Bodies: of a request to a server, of its response.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use crate::endpoint::Load;
use crate::http1::Receiving;
use crate::http2::{Http2Body, StreamTunnel};
use crate::stream::Stream;

/// The body of a request to a server.
#[derive(Debug)]
pub enum Payload<B> {
    /// There is none.
    Empty,
    /// All of it: it can be sent again.
    Bytes(Bytes),
    /// As it comes.
    Stream(B),
}

impl<B> Payload<B> {
    /// The same once more, if it can be had.
    pub(crate) fn again(&self) -> Option<Self> {
        match self {
            Self::Empty => Some(Self::Empty),
            Self::Bytes(bytes) => Some(Self::Bytes(bytes.clone())),
            Self::Stream(_) => None,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Payload<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Stream(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|_| BodyError::Request))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

/// Why a body broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The server closed the connection before the body's end.
    #[error("the server closed the connection before the end of its response")]
    Cut,
    /// The server sent nothing for too long.
    #[error("the server stopped in the middle of its response")]
    Stalled,
    /// The body's framing is wrong.
    #[error("the server's response is malformed")]
    Malformed,
    /// The request's body did not arrive whole.
    #[error("the request's body did not arrive whole")]
    Request,
}

impl BodyError {
    /// A code that stays.
    pub fn code(self) -> &'static str {
        match self {
            Self::Cut => "upstream_closed",
            Self::Stalled => "upstream_timeout",
            Self::Malformed => "upstream_bad_response",
            Self::Request => "body_cut_off",
        }
    }
}

/// The body of a response.
pub enum UpstreamBody<B> {
    /// There is none.
    Empty,
    /// All of it, already here.
    Whole {
        /// Fields of the head as lines of HTTP/1.1, where they were [asked for](crate::Outgoing::lines) and are not among the response's
        /// own; else empty.
        lines: Bytes,
        /// The body.
        body: Bytes,
    },
    /// From a connection of HTTP/1.1.
    Http1(Box<Receiving<B>>),
    /// From a stream of HTTP/2.
    Http2(Box<Http2Body>),
    /// Status 101: the connection speaks something else from now on.
    Tunnel(Box<Tunnel>),
}

impl<B: Body<Data = Bytes> + Unpin> Body for UpstreamBody<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Empty | Self::Tunnel(_) => Poll::Ready(None),
            Self::Whole { body: bytes, .. } => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Http1(body) => Pin::new(&mut **body).poll_frame(cx),
            Self::Http2(body) => Pin::new(&mut **body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Tunnel(_) => true,
            Self::Whole { body: bytes, .. } => bytes.is_empty(),
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Tunnel(_) => SizeHint::with_exact(0),
            Self::Whole { body: bytes, .. } => SizeHint::with_exact(bytes.len() as u64),
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

/// What a tunnel's bytes travel over.
enum Pipe {
    Connection(Stream),
    /// A stream of HTTP/2 (RFC 8441). Boxed: rare.
    Http2(Box<StreamTunnel>),
}

/// A connection to a server that does not speak HTTP any more, or a stream of one.
pub struct Tunnel {
    stream: Pipe,
    /// Read before.
    prefix: Bytes,
    _load: Load,
    _place: Option<OwnedSemaphorePermit>,
}

impl Tunnel {
    pub(crate) fn new(
        stream: Stream,
        prefix: Bytes,
        load: Load,
        place: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self { stream: Pipe::Connection(stream), prefix, _load: load, _place: place }
    }

    pub(crate) fn http2(stream: StreamTunnel, load: Load) -> Self {
        let stream = Pipe::Http2(Box::new(stream));
        Self { stream, prefix: Bytes::new(), _load: load, _place: None }
    }

    /// The server has agreed by HTTP/2, where no key is proven.
    pub fn is_http2(&self) -> bool {
        matches!(self.stream, Pipe::Http2(_))
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.prefix.is_empty() {
            let count = self.prefix.len().min(buf.remaining());
            buf.put_slice(&self.prefix[..count]);
            self.prefix.advance(count);
            return Poll::Ready(Ok(()));
        }
        match &mut self.stream {
            Pipe::Connection(stream) => Pin::new(stream).poll_read(cx, buf),
            Pipe::Http2(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Pipe::Connection(stream) => Pin::new(stream).poll_write(cx, bytes),
            Pipe::Http2(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Pipe::Connection(stream) => Pin::new(stream).poll_flush(cx),
            Pipe::Http2(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Pipe::Connection(stream) => Pin::new(stream).poll_shutdown(cx),
            Pipe::Http2(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}
