//! The body of a response over HTTP/2.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http_body::{Body, Frame, SizeHint};

use super::Active;
use crate::body::BodyError;
use crate::endpoint::Load;
use crate::forward;
use crate::local::Watched;
use crate::pool::Pool;
use crate::upstream::Upstream;

/// The body of a response.
pub struct Http2Body {
    incoming: RecvStream,
    /// What of the announced length is still to come.
    left: Option<u64>,
    /// All bytes were given.
    trails: bool,
    watch: Watched,
    idle_timeout: Duration,
    pool: Rc<Pool>,
    _held: (Load, Active),
}

impl Http2Body {
    pub(super) fn new(
        incoming: RecvStream,
        length: Option<u64>,
        pool: &Rc<Pool>,
        upstream: &Upstream,
        held: (Load, Active),
    ) -> Self {
        Self {
            incoming,
            left: length,
            trails: false,
            watch: pool.shared.watch(),
            idle_timeout: upstream.config.idle_timeout(),
            pool: pool.clone(),
            _held: held,
        }
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.trails {
            if let Some(data) = ready!(self.incoming.poll_data(cx)) {
                let data = data?;
                // Whoever asks for a part has room for the next.
                self.incoming.flow_control().release_capacity(data.len())?;
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            self.trails = true;
        }
        match ready!(self.incoming.poll_trailers(cx))? {
            Some(mut trailers) => {
                forward::keep_trailing(&mut trailers);
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            None => Poll::Ready(None),
        }
    }
}

impl Body for Http2Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let error = match this.poll_incoming(cx) {
            // The response is whole, and the server wants no more of the request.
            Poll::Ready(Some(Err(error)))
                if error.reason() == Some(Reason::NO_ERROR) && this.left == Some(0) =>
            {
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Err(_))) => BodyError::Cut,
            Poll::Ready(frame) => {
                this.watch.disarm();
                return Poll::Ready(frame.map(|frame| frame.map_err(|_| BodyError::Cut)));
            }
            Poll::Pending => {
                if !this.watch.is_armed() {
                    this.watch.arm(this.idle_timeout);
                }
                if !this.watch.is_late(cx) {
                    return Poll::Pending;
                }
                BodyError::Stalled
            }
        };
        if let Some(upstream) = this.pool.upstream.upgrade() {
            upstream.note(&this.pool.endpoint, false, this.pool.shared.tick());
        }
        Poll::Ready(Some(Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
