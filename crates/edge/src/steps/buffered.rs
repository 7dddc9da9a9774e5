//! Bodies of requests that steps read or bound.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use crate::body::{BodyCut, RequestBody};
use crate::refusal::Refusal;

/// Why a request's body is not there as a whole.
#[derive(Debug)]
pub(super) enum Lack {
    /// It is longer than allowed.
    TooLong,
    /// The client broke off.
    Cut,
}

/// Reads a body up to a length, and leaves it to be read again.
pub(super) async fn read(body: &mut RequestBody, most: u64) -> Result<Bytes, Lack> {
    if body.size_hint().lower() > most {
        return Err(Lack::TooLong);
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Lack::Cut)?.into_data() else { continue };
        if (whole.len() + data.len()) as u64 > most {
            return Err(Lack::TooLong);
        }
        whole.extend_from_slice(&data);
    }
    let whole = whole.freeze();
    *body = RequestBody::Bytes(whole.clone());
    Ok(whole)
}

/// A body that breaks off when it gets too long, and leaves the reason.
pub(super) struct Limited {
    pub(super) inner: RequestBody,
    pub(super) left: u64,
    pub(super) fault: Rc<Cell<Option<Refusal>>>,
}

impl Body for Limited {
    type Data = Bytes;
    type Error = BodyCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            match self.left.checked_sub(length) {
                Some(left) => self.left = left,
                None => {
                    self.fault.set(Some(Refusal::BODY_TOO_LARGE));
                    return Poll::Ready(Some(Err(BodyCut)));
                }
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
