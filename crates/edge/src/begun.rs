//! The beginning of a request's body, looked at before somebody else reads all of it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use crate::body::{BodyCut, RequestBody};

/// Reads up to about `most` bytes and puts them back; true when that is all there is.
pub(crate) async fn peek(body: &mut RequestBody, most: usize) -> Result<(Bytes, bool), BodyCut> {
    let mut begun = VecDeque::new();
    let mut seen = BytesMut::new();
    while seen.len() < most && !body.is_end_stream() {
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
        let Some(frame) = frame else { break };
        let frame = frame?;
        if let Some(data) = frame.data_ref() {
            seen.extend_from_slice(&data[..data.len().min(most - seen.len())]);
        }
        begun.push_back(frame);
    }
    let held: usize = begun.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
    let whole = body.is_end_stream() && held == seen.len();
    if !begun.is_empty() {
        let rest = std::mem::replace(body, RequestBody::None);
        *body = RequestBody::Boxed(Box::pin(Begun { begun, rest }));
    }
    Ok((seen.freeze(), whole))
}

/// What was read, and what follows it.
struct Begun {
    begun: VecDeque<Frame<Bytes>>,
    rest: RequestBody,
}

impl Body for Begun {
    type Data = Bytes;
    type Error = BodyCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        match self.begun.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.begun.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let held: u64 = self.begun.iter().filter_map(Frame::data_ref).map(|data| data.len() as u64).sum();
        match self.rest.size_hint().exact() {
            Some(rest) => SizeHint::with_exact(held + rest),
            None => SizeHint::default(),
        }
    }
}
