//! A request's body: what of a stream its reader has not taken yet.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use selvedge_http2::{Received, StreamRef};

use super::shared::Shared;
use super::tunnel::StreamTunnel;
use crate::body::BodyCut;

/// A handle on the body of a request.
pub struct Http2Body {
    shared: Rc<Shared>,
    stream: StreamRef,
    over: bool,
    /// The client waits to be told to go on (RFC 9110, section 10.1.1).
    asked_for_word: bool,
    /// The handle went over to a [`StreamTunnel`].
    passed_on: bool,
}

impl Http2Body {
    pub(super) fn new(shared: Rc<Shared>, stream: StreamRef, asked_for_word: bool) -> Self {
        Self { shared, stream, over: false, asked_for_word, passed_on: false }
    }

    /// The stream as a pipe, for what comes after an extended CONNECT.
    pub(crate) fn into_tunnel(mut self) -> StreamTunnel {
        self.passed_on = true;
        StreamTunnel::new(self.shared.clone(), self.stream)
    }
}

impl std::fmt::Debug for Http2Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Http2Body").field(&self.stream.id()).finish()
    }
}

impl Body for Http2Body {
    type Data = Bytes;
    type Error = BodyCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let (shared, stream) = (self.shared.clone(), self.stream);
        let received = shared.http.borrow_mut().read(stream);
        match received {
            Received::Data(data) => {
                shared.bytes_came(stream, data.len() as u64);
                // The client's window may have to be opened again.
                shared.queue.wake();
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Received::Trailers(trailers) => {
                self.over = true;
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Received::End => {
                self.over = true;
                Poll::Ready(None)
            }
            Received::Cut => Poll::Ready(Some(Err(BodyCut))),
            Received::Nothing => {
                if std::mem::take(&mut self.asked_for_word) {
                    shared.http.borrow_mut().inform(stream, StatusCode::CONTINUE, &HeaderMap::new());
                    shared.queue.wake();
                }
                if shared.await_bytes(stream, cx) { Poll::Pending } else { Poll::Ready(Some(Err(BodyCut))) }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.shared.http.borrow().is_read(self.stream)
    }

    fn size_hint(&self) -> SizeHint {
        if self.over {
            return SizeHint::with_exact(0);
        }
        self.shared
            .http
            .borrow()
            .length_left(self.stream)
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Http2Body {
    fn drop(&mut self) {
        self.shared.bytes_came(self.stream, 0);
        if !self.passed_on {
            self.shared.http.borrow_mut().release(self.stream);
            self.shared.queue.wake();
        }
    }
}
