//! Bodies on their way through the edge: of a request from the client, of a response to it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use selvedge_engine::EngineError;

use crate::exchange::Exchange;
use crate::http1::Http1Body;

/// The body of a request.
#[derive(Debug)]
pub enum RequestBody {
    /// There is none.
    None,
    /// Read from a connection of HTTP/1.
    Http1(Http1Body),
    /// From a stream of HTTP/2.
    Http2(Incoming),
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
            Self::Http2(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(|_| BodyCut)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::None => true,
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::None => SizeHint::with_exact(0),
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

pin_project! {
    /// A worker's body or one of the edge's own. It carries the request's [`Exchange`], which thereby ends
    /// when the last byte was handed over or the client left.
    pub(crate) struct EdgeBody<B> {
        #[pin]
        content: Content<B>,
        exchange: Option<Box<Exchange>>,
    }
}

pin_project! {
    #[project = ContentProjection]
    enum Content<B> {
        Worker { #[pin] body: B },
        Text { text: Option<Bytes> },
    }
}

impl<B> EdgeBody<B> {
    pub(crate) fn worker(body: B, exchange: Box<Exchange>) -> Self {
        Self { content: Content::Worker { body }, exchange: Some(exchange) }
    }

    pub(crate) fn text(text: Bytes, exchange: Box<Exchange>) -> Self {
        let text = (!text.is_empty()).then_some(text);
        Self { content: Content::Text { text }, exchange: Some(exchange) }
    }

    /// Of a response that has none and is not the end of its request.
    pub(crate) fn none() -> Self {
        Self { content: Content::Text { text: None }, exchange: None }
    }
}

impl<B: Body<Data = Bytes, Error = EngineError>> Body for EdgeBody<B> {
    type Data = Bytes;
    type Error = EngineError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EngineError>>> {
        let this = self.project();
        let (frame, last) = match this.content.project() {
            ContentProjection::Text { text } => (text.take().map(|text| Ok(Frame::data(text))), true),
            ContentProjection::Worker { mut body } => {
                let frame = ready!(body.as_mut().poll_frame(cx));
                let last = body.is_end_stream();
                (frame, last)
            }
        };
        if let Some(exchange) = this.exchange {
            exchange.body_frame(frame.as_ref(), last);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Worker { body } => body.is_end_stream(),
            Content::Text { text } => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Worker { body } => body.size_hint(),
            Content::Text { text } => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
        }
    }
}
