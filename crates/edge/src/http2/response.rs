//! A response on its way to its stream: head, body and trailers.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Response, StatusCode, header};
use http_body::Body;
use selvedge_http2::StreamRef;

use super::shared::Shared;
use crate::body::EdgeBody;

/// What is still to be sent of a response.
pub(super) struct Outgoing {
    body: EdgeBody,
    /// Of the body, where its length was announced.
    left: Option<u64>,
}

impl Outgoing {
    /// Writes a response's head. `None` when there is nothing more to send from here: the response has no body, or a
    /// WebSocket goes on with the stream.
    pub(super) fn begin(
        shared: &Shared,
        stream: StreamRef,
        response: Response<EdgeBody>,
        head_only: bool,
    ) -> Option<Self> {
        let (mut head, body) = response.into_parts();
        let date = shared.thread.scratch.date(shared.thread.clock.since_epoch(shared.thread.clock.recent()));
        let mut http = shared.http.borrow_mut();
        if let Some(wish) = head.headers.get("priority")
            && let Some(priority) = http.priority(stream)
        {
            // The server may know better what it makes (RFC 9218, section 8).
            http.prioritize(stream, priority.with(wish.as_bytes()));
        }
        if shared.is_tunnel(stream) {
            http.respond(stream, head.status, &head.headers, None, Some(&date), false);
            return None;
        }
        let empty = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let exact = body.size_hint().exact();
        let length = exact.filter(|_| !empty && !head_only);
        if head.status == StatusCode::NO_CONTENT {
            head.headers.remove(header::CONTENT_LENGTH);
        }
        let end = empty || head_only || exact == Some(0);
        let told = || head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        let left = length.or_else(told);
        http.respond(stream, head.status, &head.headers, length, Some(&date), end);
        drop(http);
        // Dropped here, the body counts the request before its client can have read the whole response.
        (!end).then_some(Self { body, left })
    }

    /// Puts in more of the body for as long as the stream takes it; ready when that was all.
    pub(super) fn poll(&mut self, shared: &Shared, stream: StreamRef, cx: &mut Context<'_>) -> Poll<()> {
        while shared.http.borrow().wants(stream) {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(mut data) => {
                        if let Some(left) = &mut self.left {
                            // More than was announced is not sent.
                            data.truncate(usize::try_from(*left).unwrap_or(usize::MAX).min(data.len()));
                            *left -= data.len() as u64;
                        }
                        let all = self.body.is_end_stream();
                        if all && self.left.is_some_and(|left| left > 0) {
                            shared.http.borrow_mut().abort(stream);
                            return Poll::Ready(());
                        }
                        shared.http.borrow_mut().send(stream, data, all);
                        if all {
                            return Poll::Ready(());
                        }
                    }
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            shared.http.borrow_mut().finish(stream, Some(trailers));
                            return Poll::Ready(());
                        }
                    }
                },
                None if self.left.is_none_or(|left| left == 0) => {
                    shared.http.borrow_mut().finish(stream, None);
                    return Poll::Ready(());
                }
                None | Some(Err(_)) => {
                    shared.http.borrow_mut().abort(stream);
                    return Poll::Ready(());
                }
            }
        }
        // Without the stream there is nobody to send to.
        if shared.http.borrow().is_sending(stream) { Poll::Pending } else { Poll::Ready(()) }
    }
}
