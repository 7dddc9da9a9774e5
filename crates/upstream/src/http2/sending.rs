//! The body of a request on its way to a server, as fast as the server takes it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;

use crate::body::Payload;
use crate::forward;

/// Why the rest of a body is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// It did not arrive whole.
    Body,
    /// The server wants no more of it, or the connection ended.
    Stream,
}

/// What is left of a body.
pub(super) struct Sending<B> {
    payload: Payload<B>,
    stream: SendStream<Bytes>,
    /// Waits for the server's window.
    chunk: Bytes,
    /// Something of the body was taken.
    begun: bool,
}

impl<B> Sending<B> {
    pub(super) fn new(payload: Payload<B>, stream: SendStream<Bytes>) -> Self {
        Self { payload, stream, chunk: Bytes::new(), begun: false }
    }

    /// The body, if nothing of it was taken.
    pub(super) fn unsent(self) -> Option<Payload<B>> {
        (!self.begun).then_some(self.payload)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Sending<B> {
    /// Sends on; ready when everything is sent, or nothing more will be.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        loop {
            if !self.chunk.is_empty() {
                ready!(self.poll_chunk(cx))?;
                if self.payload.is_end_stream() {
                    return Poll::Ready(Ok(()));
                }
            }
            if self.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(Err(Stopped::Stream));
            }
            self.begun = true;
            let frame = match ready!(Pin::new(&mut self.payload).poll_frame(cx)) {
                None => {
                    return Poll::Ready(
                        self.stream.send_data(Bytes::new(), true).map_err(|_| Stopped::Stream),
                    );
                }
                Some(Err(_)) => {
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(Stopped::Body));
                }
                Some(Ok(frame)) => frame,
            };
            match frame.into_data() {
                Ok(data) => self.chunk = data,
                Err(frame) => {
                    let Ok(mut trailers) = frame.into_trailers() else { continue };
                    forward::keep_trailing(&mut trailers);
                    return Poll::Ready(self.stream.send_trailers(trailers).map_err(|_| Stopped::Stream));
                }
            }
            if self.chunk.is_empty() && self.payload.is_end_stream() {
                return Poll::Ready(self.stream.send_data(Bytes::new(), true).map_err(|_| Stopped::Stream));
            }
        }
    }

    /// Sends all of the chunk, as far as the window goes.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        while !self.chunk.is_empty() {
            self.stream.reserve_capacity(self.chunk.len());
            let mut room = self.stream.capacity();
            while room == 0 {
                match ready!(self.stream.poll_capacity(cx)) {
                    Some(Ok(more)) => room = more,
                    Some(Err(_)) | None => return Poll::Ready(Err(Stopped::Stream)),
                }
            }
            let part = self.chunk.split_to(room.min(self.chunk.len()));
            let end = self.chunk.is_empty() && self.payload.is_end_stream();
            self.stream.send_data(part, end).map_err(|_| Stopped::Stream)?;
        }
        Poll::Ready(Ok(()))
    }
}
