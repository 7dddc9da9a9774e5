//! The body of a worker's request, as hyper sends it.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::stream::{Broken, Stream};

/// The worker's request body.
#[derive(Debug)]
pub struct Outgoing(pub Option<Rc<Stream>>);

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(stream) = &self.0 else { return Poll::Ready(None) };
        stream.poll_chunk(cx).map(|chunk| {
            chunk.map(|chunk| match chunk {
                Ok(bytes) => Ok(Frame::data(bytes)),
                Err(Broken::Reset(_, text)) => Err(io::Error::other(text)),
                Err(Broken::HostLost(_)) => Err(io::Error::other("the worker's sandbox stopped")),
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|stream| stream.at_end())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Some(stream) => stream.whole_body().map_or_else(SizeHint::default, SizeHint::with_exact),
            None => SizeHint::with_exact(0),
        }
    }
}
