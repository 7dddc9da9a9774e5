//! A response on its way to the client: head and body in as few writes as they fit in.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Response, StatusCode, header, response};
use http_body::{Body, Frame};
use selvedge_files::Changed;
use selvedge_http1::{put_chunk_size, put_field, put_length, put_status};
use selvedge_upstream::forward::may_trail;

use super::After;
use super::socket::Socket;
use crate::body::{EdgeBody, Fault};
use crate::file_body::ToSend;
use crate::headers::REQUEST_ID;
use crate::thread::Thread;

/// A part of a body up to this size is copied behind what is before it; larger ones are written from where they are.
const COPIED_MAX: usize = 8 * 1024;
/// What is put together before it is written, bytes.
const FULL: usize = 16 * 1024;

/// What of the request decides how its response travels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) keep_alive: bool,
    /// Without chunks.
    pub(super) http10: bool,
    /// Without a body.
    pub(super) head: bool,
    /// The client takes trailer fields.
    pub(super) trailers: bool,
}

/// Where a response's body ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delimiter {
    /// There is none.
    None,
    /// After so many bytes more.
    Length(u64),
    Chunks,
    /// With the connection.
    Close,
}

/// Sends a whole response, as fast as the client takes it and the worker makes it.
pub(super) async fn send(
    socket: &Rc<Socket>,
    thread: &Rc<Thread>,
    response: Response<EdgeBody>,
    terms: Terms,
) -> After {
    let (head, body) = response.into_parts();
    let mut out = thread.scratch.buffer();
    let unasked = socket.end_interim(&mut out);
    let delimiter = delimiter(&head, &body, terms);
    let connection = &socket.connection;
    // Of a connection that retires, not before everything that was sent ahead is answered.
    let last = connection.is_draining() || (connection.is_retiring() && socket.is_quiet());
    let keep = terms.keep_alive
        && !unasked
        && !last
        && delimiter != Delimiter::Close
        && !head.headers.contains_key(header::CONNECTION)
        && socket.may_go_on();
    let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
    put_head(&head, &body, delimiter, keep || switches, terms, thread, &mut out);
    drop(head);
    let mut body = pin!(Some(body));
    let mut sending = Sending {
        out,
        at: 0,
        part: Bytes::new(),
        delimiter,
        over: delimiter == Delimiter::None,
        broken: false,
        last: !keep && !switches,
        trailers: terms.trailers.then(Vec::new),
    };
    let sent = poll_fn(|cx| sending.poll(cx, socket, body.as_mut())).await;
    thread.scratch.keep(sending.out);
    match sent {
        Err(_) => After::Cut,
        Ok(()) if switches => After::Switch,
        Ok(()) if keep => After::Keep,
        Ok(()) => After::Close,
    }
}

fn delimiter(head: &response::Parts, body: &impl Body, terms: Terms) -> Delimiter {
    let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if terms.head || bodiless || head.status.is_informational() {
        return Delimiter::None;
    }
    let told = || head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    match body.size_hint().exact().or_else(told) {
        Some(length) => Delimiter::Length(length),
        None if terms.http10 => Delimiter::Close,
        None => Delimiter::Chunks,
    }
}

/// Appends the head. What delimits the body is said here and nowhere else.
fn put_head(
    head: &response::Parts,
    body: &EdgeBody,
    delimiter: Delimiter,
    keep: bool,
    terms: Terms,
    thread: &Thread,
    out: &mut Vec<u8>,
) {
    put_status(head.status.as_u16(), head.status.canonical_reason().unwrap_or_default(), out);
    // The length that a body would have may be told where there is none, except where there never is one.
    let tells = delimiter == Delimiter::None && head.status != StatusCode::NO_CONTENT;
    for (name, value) in &head.headers {
        let own = body.request_id().is_some()
            && (*name == REQUEST_ID || *name == header::SERVER && thread.server_header.is_some());
        if (*name != header::CONTENT_LENGTH || tells) && !own {
            put_field(name.as_str().as_bytes(), value.as_bytes(), out);
        }
    }
    let prepared = body.prepared();
    if let Some(prepared) = prepared {
        out.extend_from_slice(&prepared.lines);
        out.extend_from_slice(&prepared.more);
    }
    if let Some(id) = body.request_id() {
        put_field(REQUEST_ID.as_str().as_bytes(), id.as_bytes(), out);
        if let Some(server) = &thread.server_header {
            put_field(b"server", server.as_bytes(), out);
        }
    }
    match delimiter {
        Delimiter::Length(length) => put_length(length, out),
        Delimiter::Chunks => put_field(b"transfer-encoding", b"chunked", out),
        Delimiter::None | Delimiter::Close => {}
    }
    if !prepared.is_some_and(|prepared| prepared.dated) && !head.headers.contains_key(header::DATE) {
        thread.scratch.put_date(thread.clock.since_epoch(thread.clock.recent()), out);
    }
    put_connection(&head.headers, keep, terms, out);
    out.extend_from_slice(b"\r\n");
}

fn put_connection(headers: &HeaderMap, keep: bool, terms: Terms, out: &mut Vec<u8>) {
    match (keep, terms.http10) {
        _ if headers.contains_key(header::CONNECTION) => {}
        (true, true) => put_field(b"connection", b"keep-alive", out),
        (false, _) => put_field(b"connection", b"close", out),
        (true, false) => {}
    }
}

/// Why a file is not sent to its end.
enum FileError {
    Fault(Fault),
    Socket(io::Error),
}

/// What is being written.
struct Sending {
    /// Goes first, from `at` on.
    out: Vec<u8>,
    at: usize,
    /// Follows it.
    part: Bytes,
    delimiter: Delimiter,
    /// Nothing more of the body is to be put in.
    over: bool,
    /// Because it broke off.
    broken: bool,
    /// Nothing follows on the connection.
    last: bool,
    /// What follows the last chunk, where the client takes it.
    trailers: Option<Vec<u8>>,
}

impl Sending {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        socket: &Socket,
        mut body: Pin<&mut Option<EdgeBody>>,
    ) -> Poll<io::Result<()>> {
        socket.connection.remember(cx);
        if socket.connection.verdict().is_some() && socket.connection.is_blocked() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if socket.connection.verdict().is_some() {
            socket.wake_reader();
        }
        if let Delimiter::Length(_) = self.delimiter
            && socket.sends_files()
            && let Some(body) = body.as_mut().as_pin_mut().map(Pin::get_mut)
            && body.file().is_some()
        {
            match ready!(self.poll_file(cx, socket, body)) {
                Ok(()) => self.over = true,
                Err(FileError::Fault(fault)) => {
                    body.failed(fault);
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                Err(FileError::Socket(error)) => return Poll::Ready(Err(error)),
            }
        }
        loop {
            let mut waiting = false;
            while !self.over && self.part.is_empty() && self.out.len() - self.at < FULL {
                let Some(mut body) = body.as_mut().as_pin_mut() else { break };
                match body.as_mut().poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        let data = match frame.into_data() {
                            Ok(data) => data,
                            Err(frame) => {
                                self.keep_trailers(frame);
                                continue;
                            }
                        };
                        self.put(data);
                        if body.is_end_stream() {
                            self.end(false);
                        }
                    }
                    Poll::Ready(None) => self.end(false),
                    Poll::Ready(Some(Err(_))) => self.end(true),
                    Poll::Pending => {
                        waiting = true;
                        break;
                    }
                }
            }
            if self.over {
                // The request is counted before its client can have read the whole response.
                body.set(None);
            }
            ready!(self.poll_flush(cx, socket))?;
            if self.over {
                let broken = || Err(io::ErrorKind::UnexpectedEof.into());
                return Poll::Ready(if self.broken { broken() } else { Ok(()) });
            }
            if waiting {
                return match socket.poll_ahead(cx) {
                    Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                    Poll::Pending => Poll::Pending,
                };
            }
        }
    }

    /// Has the kernel send parts of a file, and what is before and between them. What is behind them is left in `out`.
    fn poll_file(
        &mut self,
        cx: &mut Context<'_>,
        socket: &Socket,
        body: &mut EdgeBody,
    ) -> Poll<Result<(), FileError>> {
        loop {
            let Some(file) = body.file() else { return Poll::Ready(Ok(())) };
            match ready!(file.poll_next(cx)).map_err(FileError::Fault)? {
                ToSend::Nothing => return Poll::Ready(Ok(())),
                ToSend::Bytes(bytes) => {
                    self.out.extend_from_slice(&bytes);
                    body.sent(bytes.len() as u64);
                }
                ToSend::File(offset, count) => {
                    ready!(self.poll_flush(cx, socket)).map_err(FileError::Socket)?;
                    let sent = ready!(socket.poll_send_file(cx, file.file(), offset, count));
                    match sent.map_err(FileError::Socket)? {
                        // It was cut short.
                        0 => return Poll::Ready(Err(FileError::Fault(Changed.into()))),
                        sent => body.sent(sent as u64),
                    }
                }
            }
        }
    }

    fn keep_trailers(&mut self, frame: Frame<Bytes>) {
        let (Some(out), Ok(fields)) = (&mut self.trailers, frame.into_trailers()) else { return };
        for (name, value) in fields.iter().filter(|(name, _)| may_trail(name)) {
            put_field(name.as_str().as_bytes(), value.as_bytes(), out);
        }
    }

    /// Puts a part of the body behind what waits.
    fn put(&mut self, mut data: Bytes) {
        if let Delimiter::Length(left) = &mut self.delimiter {
            // More than was announced is not sent: it would be read as the next response.
            data.truncate(usize::try_from(*left).unwrap_or(usize::MAX).min(data.len()));
            *left -= data.len() as u64;
        }
        if data.is_empty() {
            return;
        }
        let chunked = self.delimiter == Delimiter::Chunks;
        if chunked {
            put_chunk_size(data.len(), &mut self.out);
        }
        if data.len() > COPIED_MAX {
            self.part = data;
            return;
        }
        self.out.extend_from_slice(&data);
        if chunked {
            self.out.extend_from_slice(b"\r\n");
        }
    }

    /// The body has no more parts. The client is to notice when it is shorter than was announced.
    fn end(&mut self, broken: bool) {
        self.over = true;
        self.broken = broken || matches!(self.delimiter, Delimiter::Length(1..));
    }

    /// Writes what waits, and the end of a body that is over.
    fn poll_flush(&mut self, cx: &mut Context<'_>, socket: &Socket) -> Poll<io::Result<()>> {
        loop {
            if self.over && !self.broken && self.delimiter == Delimiter::Chunks && self.part.is_empty() {
                self.delimiter = Delimiter::None;
                self.out.extend_from_slice(b"0\r\n");
                self.out.extend_from_slice(self.trailers.as_deref().unwrap_or_default());
                self.out.extend_from_slice(b"\r\n");
            }
            let first = &self.out[self.at..];
            if self.last && self.over && !self.broken {
                socket.ends_after(first.len() + self.part.len());
            }
            let count = match (first.is_empty(), self.part.is_empty()) {
                (true, true) => {
                    self.out.clear();
                    self.at = 0;
                    return socket.poll_flush(cx);
                }
                (false, true) => ready!(socket.poll_write(cx, &[IoSlice::new(first)]))?,
                (true, false) => ready!(socket.poll_write(cx, &[IoSlice::new(&self.part)]))?,
                (false, false) => {
                    ready!(socket.poll_write(cx, &[IoSlice::new(first), IoSlice::new(&self.part)]))?
                }
            };
            let of_first = count.min(first.len());
            self.at += of_first;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
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
