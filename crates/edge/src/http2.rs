//! HTTP/2, which hyper speaks, and the socket as hyper and WebSockets see it.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::server::conn::http2;
use hyper_util::rt::TokioTimer;
use selvedge_telemetry::http_metrics::CutReason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::config::EdgeConfig;
use crate::connection::Connection;
use crate::stream::Stream;

/// How HTTP/2 connections begin (RFC 9113, section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Response bytes that one stream may have waiting for its client.
const SEND_BUFFER: usize = 64 * 1024;

/// What hyper is to allow.
pub(crate) fn settings(config: &EdgeConfig) -> http2::Builder<LocalExecutor> {
    let ping = config.http2.ping_interval_ms;
    let mut http = http2::Builder::new(LocalExecutor);
    http.timer(TokioTimer::new())
        .max_concurrent_streams(config.http2.max_streams)
        .max_pending_accept_reset_streams(config.http2.max_pending_resets)
        .max_local_error_reset_streams(config.http2.max_error_resets)
        .enable_connect_protocol()
        .max_header_list_size(config.max_header_bytes as u32)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval((ping > 0).then(|| Duration::from_millis(ping)))
        .keep_alive_timeout(Duration::from_millis(config.http2.ping_timeout_ms));
    http
}

/// Runs hyper's tasks for streams on this thread.
#[derive(Clone, Copy)]
pub(crate) struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

/// The socket of a connection that does not speak HTTP/1 any more.
pub(crate) struct ClientSocket {
    stream: Stream,
    /// Bytes that were read before.
    prefix: Bytes,
    state: Rc<Connection>,
}

impl ClientSocket {
    pub(crate) fn new(stream: Stream, prefix: Bytes, state: Rc<Connection>) -> Self {
        Self { stream, prefix, state }
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.prefix.is_empty() {
            let count = self.prefix.len().min(buf.remaining());
            buf.put_slice(&self.prefix[..count]);
            self.prefix.advance(count);
            return Poll::Ready(Ok(()));
        }
        if self.state.verdict().is_some() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.state.counters.received.add((buf.filled().len() - before) as u64);
        result
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.state.sent(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.state.sent(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Runs hyper's side of a connection until it ends, is cut, or has drained. `finish` asks hyper to end it
/// after the requests in flight.
pub(crate) async fn drive<C>(state: &Connection, mut http: Pin<&mut C>, finish: impl Fn(Pin<&mut C>))
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut finishing = false;
    let ended = poll_fn(|cx| {
        state.remember(cx);
        let mut draining = state.is_draining();
        match state.verdict() {
            // It says goodbye first; at the next sweep it is cut.
            Some(CutReason::IdleTimeout) if !finishing => draining = true,
            Some(CutReason::IdleTimeout) => return Poll::Ready(Ok(())),
            Some(CutReason::Stalled) if state.is_blocked() => return Poll::Ready(Ok(())),
            _ => {}
        }
        if draining && !finishing {
            finishing = true;
            finish(http.as_mut());
        }
        http.as_mut().poll(cx)
    })
    .await;
    let Err(error) = ended else { return };
    tracing::debug!(client = %state.peer(), %error, "connection ended");
    // A verdict was counted when it was passed.
    if state.verdict().is_none() {
        let malformed = error.is_parse() || error.is_parse_too_large();
        state.counters.cut(if malformed { CutReason::Malformed } else { CutReason::Io });
    }
}
