//! A request on its way to a server over HTTP/1.1.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Method, header};
use http_body::Body;
use selvedge_http1::{put_chunk_size, put_field, put_length};
use tokio::io::AsyncWrite;

use crate::body::Payload;
use crate::endpoint::Endpoint;
use crate::forward::may_trail;
use crate::outgoing::Outgoing;
use crate::stream::Stream;

/// A part of a body up to this size is copied behind what is before it; larger ones are written from where they are.
const COPIED_MAX: usize = 8 * 1024;
/// What is put together before it is written, bytes.
const FULL: usize = 16 * 1024;

/// What is being written.
pub(super) struct Sending<B> {
    /// Goes first, from `at` on.
    out: Vec<u8>,
    at: usize,
    /// Follows it.
    part: Bytes,
    payload: Payload<B>,
    delimiter: Delimiter,
    /// Nothing more of the body is to be put in.
    over: bool,
    /// The body waits for the server to ask for it.
    pub(super) held: bool,
    /// Something of the body was taken.
    pub(super) begun: bool,
    /// Something was written.
    pub(super) wrote: bool,
}

/// Where the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delimiter {
    None,
    /// After so many bytes more.
    Length(u64),
    Chunks,
}

/// Why it does not go on.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The server takes no more.
    Io,
    /// The request's body broke off, or is not as long as it said.
    Body,
}

impl From<io::Error> for Stopped {
    fn from(_: io::Error) -> Self {
        Self::Io
    }
}

impl<B: Body<Data = Bytes> + Unpin> Sending<B> {
    /// Writes the head into `out`, which is empty.
    pub(super) fn new(
        outgoing: &Outgoing<'_>,
        endpoint: &Endpoint,
        payload: Payload<B>,
        mut out: Vec<u8>,
    ) -> Self {
        outgoing.put_head(endpoint, &mut out);
        let delimiter = match payload.size_hint().exact() {
            Some(0) if payload.is_end_stream() => Delimiter::None,
            Some(length) => Delimiter::Length(length),
            None => Delimiter::Chunks,
        };
        let held = outgoing.expects_continue && delimiter != Delimiter::None;
        match delimiter {
            Delimiter::Length(length) => put_length(length, &mut out),
            Delimiter::Chunks => {
                put_field(b"transfer-encoding", b"chunked", &mut out);
                if let Some(trailer) = outgoing.headers.get(header::TRAILER) {
                    put_field(b"trailer", trailer.as_bytes(), &mut out);
                }
            }
            // Servers may wait for a body where methods usually have one (RFC 9110, section 8.6).
            Delimiter::None if matches!(*outgoing.method, Method::POST | Method::PUT | Method::PATCH) => {
                put_length(0, &mut out);
            }
            Delimiter::None => {}
        }
        if held {
            put_field(b"expect", b"100-continue", &mut out);
        }
        out.extend_from_slice(b"\r\n");
        Self {
            out,
            at: 0,
            part: Bytes::new(),
            payload,
            delimiter,
            over: delimiter == Delimiter::None,
            held,
            begun: false,
            wrote: false,
        }
    }

    /// All was written.
    pub(super) fn is_done(&self) -> bool {
        self.over && self.part.is_empty() && self.at == self.out.len()
    }

    /// The buffer, and the body if nothing of it was taken.
    pub(super) fn into_parts(self) -> (Vec<u8>, Option<Payload<B>>) {
        (self.out, (!self.begun).then_some(self.payload))
    }

    /// Writes what it can. Ready when all was written.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<Result<(), Stopped>> {
        loop {
            let mut waiting = false;
            while !self.over && !self.held && self.part.is_empty() && self.out.len() - self.at < FULL {
                self.begun = true;
                match Pin::new(&mut self.payload).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) => self.put(data)?,
                        Err(frame) => {
                            if let Ok(trailers) = frame.into_trailers() {
                                self.end(&trailers)?;
                            }
                        }
                    },
                    Poll::Ready(None) => self.end(&HeaderMap::new())?,
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(Stopped::Body)),
                    Poll::Pending => {
                        waiting = true;
                        break;
                    }
                }
            }
            ready!(self.poll_flush(cx, stream))?;
            if self.over {
                return Poll::Ready(Ok(()));
            }
            if waiting || self.held {
                return Poll::Pending;
            }
        }
    }

    fn put(&mut self, data: Bytes) -> Result<(), Stopped> {
        if let Delimiter::Length(left) = &mut self.delimiter {
            // More than was announced would be read as the next request.
            *left = left.checked_sub(data.len() as u64).ok_or(Stopped::Body)?;
            self.over = *left == 0;
        }
        if data.is_empty() {
            return Ok(());
        }
        let chunked = self.delimiter == Delimiter::Chunks;
        if chunked {
            put_chunk_size(data.len(), &mut self.out);
        }
        if data.len() > COPIED_MAX {
            self.part = data;
            return Ok(());
        }
        self.out.extend_from_slice(&data);
        if chunked {
            self.out.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    fn end(&mut self, trailers: &HeaderMap) -> Result<(), Stopped> {
        self.over = true;
        match self.delimiter {
            Delimiter::None | Delimiter::Length(0) => {}
            Delimiter::Length(_) => return Err(Stopped::Body),
            Delimiter::Chunks => {
                self.out.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.iter().filter(|(name, _)| may_trail(name)) {
                    put_field(name.as_str().as_bytes(), value.as_bytes(), &mut self.out);
                }
                self.out.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<()>> {
        loop {
            let first = &self.out[self.at..];
            let stream = Pin::new(&mut *stream);
            let count = match (first.is_empty(), self.part.is_empty()) {
                (true, true) => {
                    self.out.clear();
                    self.at = 0;
                    // TLS keeps what the socket does not take at once.
                    return stream.poll_flush(cx);
                }
                // Costs the kernel less than a `writev`.
                (false, true) => ready!(stream.poll_write(cx, first))?,
                (true, false) => ready!(stream.poll_write(cx, &self.part))?,
                (false, false) => {
                    let slices = [IoSlice::new(first), IoSlice::new(&self.part)];
                    ready!(stream.poll_write_vectored(cx, &slices))?
                }
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.wrote = true;
            let of_first = count.min(first.len());
            self.at += of_first;
            if !self.part.is_empty() {
                self.part.advance(count - of_first);
                if self.part.is_empty() {
                    self.part = Bytes::new();
                    self.out.clear();
                    self.at = 0;
                    if self.delimiter == Delimiter::Chunks {
                        self.out.extend_from_slice(b"\r\n");
                        // The next chunk's size may follow in the same write.
                        if !self.over {
                            return Poll::Ready(Ok(()));
                        }
                    }
                }
            }
        }
    }
}
