//! A stream as a pipe in both directions: what follows an extended CONNECT (RFC 8441).

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use selvedge_http2::{Code, MAX_PAYLOAD, Received, StreamRef};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::shared::Shared;

/// One stream. Until it is [accepted](Self::accept) its request may still be answered otherwise.
pub(crate) struct StreamTunnel {
    shared: Rc<Shared>,
    stream: StreamRef,
    accepted: bool,
    finished: bool,
    /// Read, and not yet taken.
    ahead: Bytes,
}

impl StreamTunnel {
    pub(super) fn new(shared: Rc<Shared>, stream: StreamRef) -> Self {
        Self { shared, stream, accepted: false, finished: false, ahead: Bytes::new() }
    }

    /// The answer is a success without an end: the stream belongs to this pipe.
    pub(crate) fn accept(&mut self) {
        self.accepted = true;
        self.shared.becomes_tunnel(self.stream);
    }

    fn is_open(&self) -> bool {
        !self.finished && self.shared.http.borrow().is_sending(self.stream)
    }
}

impl AsyncRead for StreamTunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            let received = self.shared.http.borrow_mut().read(self.stream);
            match received {
                Received::Data(data) => {
                    self.shared.bytes_came(self.stream, data.len() as u64);
                    self.shared.queue.wake();
                    self.ahead = data;
                }
                Received::Trailers(_) | Received::End => return Poll::Ready(Ok(())),
                Received::Cut => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Received::Nothing => {
                    self.shared.await_bytes(self.stream, cx);
                    return Poll::Pending;
                }
            }
        }
        let count = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead[..count]);
        self.ahead.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for StreamTunnel {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.is_open() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut http = self.shared.http.borrow_mut();
        if !http.wants(self.stream) {
            drop(http);
            self.shared.await_room(self.stream, cx);
            return Poll::Pending;
        }
        let count = bytes.len().min(MAX_PAYLOAD);
        http.send(self.stream, Bytes::copy_from_slice(&bytes[..count]), false);
        drop(http);
        self.shared.queue.wake();
        Poll::Ready(Ok(count))
    }

    /// What was written is on its way; how far does not matter to a WebSocket.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_open() {
            self.finished = true;
            self.shared.http.borrow_mut().finish(self.stream, None);
            self.shared.queue.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for StreamTunnel {
    fn drop(&mut self) {
        self.shared.bytes_came(self.stream, 0);
        let mut http = self.shared.http.borrow_mut();
        if self.accepted && !self.finished {
            http.reset(self.stream, Code::Cancel);
        }
        http.release(self.stream);
        drop(http);
        self.shared.queue.wake();
    }
}
