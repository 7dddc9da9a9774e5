//! Bodies on their way through the edge: of a request from the client, of a response to it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use selvedge_engine::{EngineError, WorkerBody};
use selvedge_upstream::{BodyError, UpstreamBody};

use crate::exchange::Exchange;
use crate::file_body::FileBody;
use crate::http1::Http1Body;
use crate::http2::Http2Body;
use crate::websocket::Socket;

/// The body of a request.
pub enum RequestBody {
    /// There is none.
    None,
    /// Read from a connection of HTTP/1.
    Http1(Http1Body),
    /// From a stream of HTTP/2.
    Http2(Http2Body),
    /// All of it, read by a step.
    Bytes(Bytes),
    /// What a step makes of it.
    Boxed(Pin<Box<dyn Body<Data = Bytes, Error = BodyCut>>>),
}

impl std::fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Http1(_) => "Http1",
            Self::Http2(_) => "Http2",
            Self::Bytes(_) => "Bytes",
            Self::Boxed(_) => "Boxed",
        })
    }
}

/// A request's body did not arrive whole.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the request's body did not arrive whole")]
pub struct BodyCut;

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyCut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        match self.get_mut() {
            Self::None => Poll::Ready(None),
            Self::Http1(body) => Pin::new(body).poll_frame(cx),
            Self::Http2(body) => Pin::new(body).poll_frame(cx),
            Self::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Bytes(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Boxed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::None => true,
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::None => SizeHint::with_exact(0),
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
            Self::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Boxed(body) => body.size_hint(),
        }
    }
}

/// The body of a response.
#[derive(Default)]
pub enum Content {
    /// There is none.
    #[default]
    Empty,
    /// All of it.
    Bytes(Bytes),
    /// All of it, with a head that was made before: the response's own fields come on top of these. [`unfold`](Self::unfold) has
    /// whoever wants to see or change fields find them where they usually are.
    Prepared(Prepared),
    /// Parts of a file.
    File(Box<FileBody>),
    /// A worker's.
    Worker(WorkerBody),
    /// A server's behind this one.
    Proxied(UpstreamBody<RequestBody>),
    /// Anything else that streams.
    Boxed(Pin<Box<dyn Body<Data = Bytes, Error = Fault>>>),
}

/// A response that is there as a whole, with most of its head written.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    /// Fields, as lines of a head of HTTP/1.1, without those that tell the length.
    pub lines: Bytes,
    /// More of them.
    pub more: Bytes,
    /// `Date` is among them.
    pub dated: bool,
    /// All of the body.
    pub body: Bytes,
    /// The body is kept, and will be sent to others.
    pub kept: bool,
}

/// A response's body breaks off, for a reason with a stable code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the response broke off: {code}")]
pub struct Fault {
    /// Stable, for the log.
    pub code: &'static str,
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        Self { code: error.code() }
    }
}

impl From<BodyError> for Fault {
    fn from(error: BodyError) -> Self {
        Self { code: error.code() }
    }
}

impl Prepared {
    /// Names and values of all fields.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        [&self.lines, &self.more].into_iter().flat_map(|lines| {
            lines.split(|byte| *byte == b'\n').filter_map(|line| {
                let colon = memchr::memchr(b':', line)?;
                Some((&line[..colon], line[colon + 1..].trim_ascii()))
            })
        })
    }

    /// The value of a field, whose name is in small letters; the first where there are several.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields().find(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }
}

impl Content {
    /// Any body whose errors have codes.
    pub fn boxed<E: Into<Fault> + 'static>(body: impl Body<Data = Bytes, Error = E> + 'static) -> Self {
        Self::Boxed(Box::pin(body.map_err(Into::into)))
    }

    /// Makes fields of the lines of a head that was made before.
    pub(crate) fn unfold(response: &mut Response<Self>) {
        let Self::Prepared(prepared) = response.body_mut() else { return };
        let prepared = std::mem::take(prepared);
        for (name, value) in prepared.fields() {
            let (name, value) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value));
            if let (Ok(name), Ok(value)) = (name, value) {
                response.headers_mut().append(name, value);
            }
        }
        *response.body_mut() = prepared.body.into();
    }

    /// The WebSocket that an answer with status 101 begins.
    pub(crate) fn into_socket(self) -> Option<Socket> {
        match self {
            Self::Worker(body) => body.into_socket().map(Socket::Worker),
            Self::Proxied(UpstreamBody::Tunnel(tunnel)) => Some(Socket::Tunnel(tunnel)),
            _ => None,
        }
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Bytes(bytes) }
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Bytes(_) => "Bytes",
            Self::Prepared(_) => "Prepared",
            Self::File(_) => "File",
            Self::Worker(_) => "Worker",
            Self::Proxied(_) => "Proxied",
            Self::Boxed(_) => "Boxed",
        })
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Bytes(bytes) | Self::Prepared(Prepared { body: bytes, .. }) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::File(body) => Pin::new(&mut **body).poll_frame(cx),
            Self::Worker(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Fault::from)))
            }
            Self::Proxied(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Fault::from)))
            }
            Self::Boxed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Bytes(bytes) | Self::Prepared(Prepared { body: bytes, .. }) => bytes.is_empty(),
            Self::File(body) => body.is_end_stream(),
            Self::Worker(body) => body.is_end_stream(),
            Self::Proxied(body) => body.is_end_stream(),
            Self::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Bytes(bytes) | Self::Prepared(Prepared { body: bytes, .. }) => {
                SizeHint::with_exact(bytes.len() as u64)
            }
            Self::File(body) => body.size_hint(),
            Self::Worker(body) => body.size_hint(),
            Self::Proxied(body) => body.size_hint(),
            Self::Boxed(body) => body.size_hint(),
        }
    }
}

/// The body of a response with its request's [`Exchange`], which thereby ends when the last byte was handed over or the
/// client left.
pub(crate) struct EdgeBody {
    content: Content,
    exchange: Option<Box<Exchange>>,
}

impl EdgeBody {
    pub(crate) fn new(content: Content, exchange: Box<Exchange>) -> Self {
        Self { content, exchange: Some(exchange) }
    }

    /// Of a response that has none and is not the end of its request.
    pub(crate) fn none() -> Self {
        Self { content: Content::Empty, exchange: None }
    }

    /// The id of the request that this ends.
    pub(crate) fn request_id(&self) -> Option<&HeaderValue> {
        self.exchange.as_ref().map(|exchange| &exchange.request_id)
    }

    /// The head that was made before.
    pub(crate) fn prepared(&self) -> Option<&Prepared> {
        match &self.content {
            Content::Prepared(prepared) => Some(prepared),
            _ => None,
        }
    }

    /// The file that is to be sent, for the kernel to do it.
    pub(crate) fn file(&mut self) -> Option<&mut FileBody> {
        match &mut self.content {
            Content::File(file) => Some(file),
            _ => None,
        }
    }

    /// So many bytes went to the client, past `poll_frame`.
    pub(crate) fn sent(&mut self, count: u64) {
        let last = match &mut self.content {
            Content::File(file) => {
                file.advance(count);
                file.is_over()
            }
            _ => return,
        };
        if let Some(exchange) = &mut self.exchange {
            exchange.body_sent(count, last);
        }
    }

    /// It breaks off.
    pub(crate) fn failed(&mut self, fault: Fault) {
        if let Some(exchange) = &mut self.exchange {
            exchange.body_frame(Some(&Err(fault)), true);
        }
    }
}

impl Body for EdgeBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let frame = ready!(Pin::new(&mut self.content).poll_frame(cx));
        let last = self.content.is_end_stream();
        if let Some(exchange) = &mut self.exchange {
            exchange.body_frame(frame.as_ref(), last);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}
