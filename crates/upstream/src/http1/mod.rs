//! HTTP/1.1 to servers: one request and its response, on the task of whoever asks.

mod head;
mod receiving;
mod sending;

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use http_body::Body;
use selvedge_http1::{HeadFinder, Limits, Version, Violation};
use tokio::io::{AsyncRead, ReadBuf};

pub use receiving::Receiving;

use crate::body::{Payload, Tunnel, UpstreamBody};
use crate::endpoint::Load;
use crate::error::UpstreamError;
use crate::http1::head::Head;
use crate::http1::receiving::Framed;
use crate::http1::sending::{Sending, Stopped};
use crate::outgoing::Outgoing;
use crate::pool::{Connection, Pool};
use crate::upstream::Upstream;

/// Responses before the response; one more is no honest server's.
pub(crate) const INTERIM_MAX: u32 = 16;
/// How long a server may think about `Expect: 100-continue` before the body is sent anyway (RFC 9110, section 10.1.1).
const CONTINUE: Duration = Duration::from_secs(1);

/// Why a request over a connection came to nothing.
pub(crate) struct Failure<B> {
    pub(crate) error: UpstreamError,
    /// Something of it was written: the server may have acted on it.
    pub(crate) sent: bool,
    /// The body, if nothing of it was taken.
    pub(crate) payload: Option<Payload<B>>,
}

/// A request under way, until the response's head is there.
struct Transfer<'a, B> {
    connection: Connection,
    sending: Sending<B>,
    /// The server takes no more of the request.
    refused: bool,
    /// Arrived and not yet looked at to its end.
    ahead: BytesMut,
    finder: HeadFinder,
    interim: u32,
    /// A response before the response left its end in doubt.
    doubtful: bool,
    limits: Limits,
    outgoing: &'a Outgoing<'a>,
    pool: &'a Rc<Pool>,
    timeout: Duration,
}

/// Sends a request and waits for the head of its response.
pub(crate) async fn exchange<B: Body<Data = Bytes> + Unpin>(
    pool: &Rc<Pool>,
    upstream: &Upstream,
    connection: Connection,
    load: Load,
    outgoing: &Outgoing<'_>,
    payload: Payload<B>,
) -> Result<Response<UpstreamBody<B>>, Failure<B>> {
    let config = &upstream.config;
    let sending = Sending::new(outgoing, &pool.endpoint, payload, pool.shared.buffer());
    let timeout = config.response_timeout();
    connection.watch.arm(if sending.held { timeout.min(CONTINUE) } else { timeout });
    let mut transfer = Transfer {
        connection,
        sending,
        refused: false,
        ahead: BytesMut::new(),
        finder: HeadFinder::default(),
        interim: 0,
        doubtful: false,
        limits: Limits { head_bytes: config.max_header_bytes, fields: config.max_headers },
        outgoing,
        pool,
        timeout,
    };
    match poll_fn(|cx| transfer.poll_head(cx)).await {
        Ok(head) => Ok(transfer.finish(head, load, upstream)),
        Err(error) => {
            let sent = transfer.sending.wrote;
            let (buffer, payload) = transfer.sending.into_parts();
            pool.shared.keep(buffer);
            Err(Failure { error, sent, payload })
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Transfer<'_, B> {
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, UpstreamError>> {
        loop {
            if !self.refused && !self.sending.is_done() {
                match self.sending.poll(cx, &mut self.connection.stream) {
                    Poll::Ready(Err(Stopped::Body)) => return Poll::Ready(Err(UpstreamError::RequestBody)),
                    // It may have answered before it closed.
                    Poll::Ready(Err(Stopped::Io)) => self.refused = true,
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                }
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(true)) => {
                    if let Some(head) = self.take_head()? {
                        return Poll::Ready(Ok(head));
                    }
                }
                Poll::Ready(Ok(false) | Err(_)) if self.ahead.is_empty() => {
                    return Poll::Ready(Err(UpstreamError::Closed));
                }
                // In the middle of a head.
                Poll::Ready(Ok(false) | Err(_)) => {
                    return Poll::Ready(Err(UpstreamError::BadResponse(None)));
                }
                Poll::Pending if self.connection.watch.is_late(cx) => {
                    if !self.sending.held {
                        return Poll::Ready(Err(UpstreamError::ResponseTimeout));
                    }
                    self.release();
                }
                Poll::Pending => {
                    if !self.refused && !self.sending.is_done() && !self.sending.held {
                        // The time for the answer begins when the request is sent.
                        self.connection.watch.arm(self.timeout);
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// The body is wanted, or has waited long enough.
    fn release(&mut self) {
        if std::mem::take(&mut self.sending.held) {
            self.connection.watch.arm(self.timeout);
        }
    }

    /// Reads what there is; false at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<bool>> {
        let mut room = self.pool.shared.room.borrow_mut();
        let mut buffer = ReadBuf::new(&mut room);
        match Pin::new(&mut self.connection.stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) => {
                self.ahead.extend_from_slice(buffer.filled());
                Poll::Ready(Ok(!buffer.filled().is_empty()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The head of the final response, once all of it is there.
    fn take_head(&mut self) -> Result<Option<Head>, UpstreamError> {
        let bad = |violation| UpstreamError::BadResponse(Some(violation));
        // An answer to a request whose head was not even sent answers something else.
        if !self.sending.wrote {
            return Err(UpstreamError::BadResponse(None));
        }
        loop {
            let Some(place) = self.finder.find(&self.ahead, &self.limits).map_err(bad)? else {
                return Ok(None);
            };
            if place.start != 0 {
                return Err(bad(Violation::StatusLine));
            }
            let bytes = std::mem::take(&mut self.ahead).freeze();
            let mut fields = self.pool.shared.fields.borrow_mut();
            let head =
                Head::parse(bytes, place.end, &self.limits, &mut fields, self.outgoing).map_err(bad)?;
            drop(fields);
            match head.status.as_u16() {
                101 if self.outgoing.websocket && head.is_websocket() => return Ok(Some(head)),
                // Nobody asked for it.
                101 => return Err(UpstreamError::BadResponse(None)),
                100..200 => {
                    self.interim += 1;
                    if self.interim > INTERIM_MAX || head.version == Version::Http10 {
                        return Err(UpstreamError::BadResponse(None));
                    }
                    self.doubtful |= head.contradicts_itself();
                    match (head.status, self.outgoing.hints) {
                        (StatusCode::CONTINUE, _) => self.release(),
                        (StatusCode::EARLY_HINTS, Some(hints)) => hints.early(head.fields()),
                        _ => {}
                    }
                    self.ahead = BytesMut::from(&head.rest[..]);
                    self.finder = HeadFinder::default();
                }
                200..600 => return Ok(Some(head)),
                _ => return Err(bad(Violation::StatusLine)),
            }
        }
    }

    /// Makes the response of its head, and decides what becomes of the connection.
    fn finish(self, mut head: Head, load: Load, upstream: &Upstream) -> Response<UpstreamBody<B>> {
        let Self { connection, sending, outgoing, pool, refused, doubtful, .. } = self;
        let lines = head.take_lines();
        let (parts, rest, framing, keep_alive) = head.into_parts(outgoing);
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            connection.watch.disarm();
            let (stream, place) = connection.into_tunnel();
            let tunnel = Tunnel::new(stream, rest, load, place);
            return Response::from_parts(parts, UpstreamBody::Tunnel(Box::new(tunnel)));
        }
        let keep_alive = keep_alive && !refused && !doubtful && !outgoing.websocket;
        let mut framed = Framed::new(framing);
        // What is here already, in one piece, if that is all.
        if let Some((body, clean)) = framed.whole(&rest) {
            if keep_alive && clean && sending.is_done() {
                pool.give_back(connection, upstream);
            }
            drop(load);
            pool.shared.keep(sending.into_parts().0);
            let body = match lines {
                None if body.is_empty() => UpstreamBody::Empty,
                lines => UpstreamBody::Whole { lines: lines.unwrap_or_default(), body },
            };
            return Response::from_parts(parts, body);
        }
        // From now on it is the body that is waited for.
        connection.watch.disarm();
        let idle_timeout = upstream.config.idle_timeout();
        let receiving = Receiving {
            connection: Some(connection),
            sending,
            refused,
            rest,
            framed,
            keep_alive,
            idle_timeout,
            pool: pool.clone(),
            _load: load,
        };
        Response::from_parts(parts, UpstreamBody::Http1(Box::new(receiving)))
    }
}
