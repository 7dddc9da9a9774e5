//! A stream as a pipe in both directions: what follows an extended CONNECT that a server has agreed to (RFC 8441).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Active;

/// What is written at once, bytes.
const WRITE_MAX: usize = 16 * 1024;

/// One stream. Dropped before both sides have ended, it is reset.
pub(crate) struct StreamTunnel {
    outgoing: SendStream<Bytes>,
    incoming: RecvStream,
    /// Read, and not yet taken.
    ahead: Bytes,
    finished: bool,
    _active: Active,
}

impl StreamTunnel {
    pub(super) fn new(outgoing: SendStream<Bytes>, incoming: RecvStream, active: Active) -> Self {
        Self { outgoing, incoming, ahead: Bytes::new(), finished: false, _active: active }
    }
}

fn broken(error: &h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error.to_string())
}

impl AsyncRead for StreamTunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.ahead.is_empty() {
            match ready!(self.incoming.poll_data(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(Err(error)) if error.reason() == Some(Reason::NO_ERROR) => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(broken(&error))),
                Some(Ok(data)) => self.ahead = data,
            }
        }
        let count = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead[..count]);
        self.ahead.advance(count);
        // The server may send as much again.
        let released = self.incoming.flow_control().release_capacity(count);
        Poll::Ready(released.map_err(|error| broken(&error)))
    }
}

impl AsyncWrite for StreamTunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let most = bytes.len().min(WRITE_MAX);
        self.outgoing.reserve_capacity(most);
        let mut room = self.outgoing.capacity();
        while room == 0 {
            match ready!(self.outgoing.poll_capacity(cx)) {
                Some(Ok(more)) => room = more,
                Some(Err(error)) => return Poll::Ready(Err(broken(&error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let count = room.min(most);
        let sent = self.outgoing.send_data(Bytes::copy_from_slice(&bytes[..count]), false);
        Poll::Ready(sent.map(|()| count).map_err(|error| broken(&error)))
    }

    /// What was written is on its way; how far does not matter to a WebSocket.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.finished, true) {
            // Where the server has reset it, there is nothing to end.
            let _ = self.outgoing.send_data(Bytes::new(), true);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for StreamTunnel {
    fn drop(&mut self) {
        if !self.finished {
            self.outgoing.send_reset(Reason::CANCEL);
        }
    }
}
