//! A connection inside of TLS. Nothing is kept for one that waits but its keys: ciphertext is read into and written from
//! buffers that all connections of a thread share, one after the other.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use rustls::{Error, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most plaintext that one write takes, bytes: what is left of it is kept while the client takes no more.
const WRITE_MAX: usize = 32 * 1024;
/// A write's records: their heads, tags and padding.
const WRITE_ROOM: usize = WRITE_MAX + 1024;
/// Least that is read at once, so that a record is read as a whole.
const READ_MIN: usize = 16 * 1024;
/// What encryption adds to a record at most, and its head (RFC 8446, section 5.2).
const OVERHEAD: usize = 5 + 256;
/// What is encrypted waits for more that goes with it while it is at most so much, bytes.
const HELD_MAX: usize = 4 * 1024;
/// The largest message of a handshake, 64 KiB, and what was read after it.
const READ_ROOM: usize = 64 * 1024 + 5 * OVERHEAD + READ_MIN + OVERHEAD;

/// Memory that all TLS connections of a thread share.
pub struct Buffers {
    incoming: RefCell<Box<[u8]>>,
    outgoing: RefCell<Box<[u8]>>,
    /// Small parts of one write.
    gathered: RefCell<Vec<u8>>,
}

impl Default for Buffers {
    fn default() -> Self {
        Self {
            incoming: RefCell::new(vec![0; READ_ROOM].into()),
            outgoing: RefCell::new(vec![0; WRITE_ROOM].into()),
            gathered: RefCell::default(),
        }
    }
}

/// The server's side of a TLS connection over `S`.
pub struct TlsStream<S> {
    io: S,
    session: UnbufferedServerConnection,
    buffers: Rc<Buffers>,
    /// Received, and not a whole record.
    incoming: Vec<u8>,
    /// Decrypted, and more than its reader had room for.
    plain: Vec<u8>,
    /// Encrypted, and not yet taken by the socket.
    outgoing: Vec<u8>,
    /// The client ends, or the socket did.
    ended: bool,
    /// What is left to be written to the end of all there is to say, where that is known.
    last: Option<usize>,
    /// The end was said to the client.
    said_end: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// A connection of which `received` was read already.
    pub(crate) fn new(
        io: S,
        config: Arc<ServerConfig>,
        received: Vec<u8>,
        buffers: Rc<Buffers>,
    ) -> Result<Self, Error> {
        let session = UnbufferedServerConnection::new(config)?;
        let (plain, outgoing) = (Vec::new(), Vec::new());
        Ok(Self {
            io,
            session,
            buffers,
            incoming: received,
            plain,
            outgoing,
            ended: false,
            last: None,
            said_end: false,
        })
    }

    /// What was agreed upon.
    pub(crate) fn session(&self) -> &UnbufferedServerConnection {
        &self.session
    }

    /// The socket, after everything.
    pub(crate) fn into_inner(self) -> S {
        self.io
    }

    /// The socket.
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    /// Goes on with the handshake until it is over. The last of what there is to say about it, tickets for instance, goes
    /// with the first response, or when the client is waited for.
    pub(crate) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was read before this began.
        if self.session.is_handshaking() && !self.incoming.is_empty() {
            self.process_kept(cx)?;
        }
        while self.session.is_handshaking() {
            ready!(self.poll_send(cx))?;
            ready!(self.poll_receive(cx, READ_MIN))?;
            if self.ended {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Says the end, and leaves the socket open for whoever closes it.
    ///
    /// # Errors
    /// Of the socket.
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.said_end {
            let mut room = [0; 128];
            let length = self.say_end(&mut room);
            self.outgoing.extend_from_slice(&room[..length]);
        }
        self.poll_send(cx)
    }

    /// So many bytes, the next that are written, are the last: the end is said with them.
    pub fn ends_after(&mut self, count: usize) {
        self.last = Some(count);
    }

    fn process_kept(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut kept = mem::take(&mut self.incoming);
        let result = self.process(&mut kept);
        self.keep(result, &kept, cx)
    }

    /// Reads once, at most so many bytes, and takes what has arrived out of its records.
    fn poll_receive(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<()>> {
        let buffers = self.buffers.clone();
        let mut room = buffers.incoming.borrow_mut();
        let kept = self.incoming.len();
        let end = (kept + most.max(READ_MIN) + OVERHEAD).min(room.len());
        if kept >= end {
            return Poll::Ready(Err(io::Error::other("a message of the handshake is too long")));
        }
        let mut read = ReadBuf::new(&mut room[kept..end]);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
        let arrived = read.filled().len();
        if arrived == 0 {
            self.ended = true;
            return Poll::Ready(Ok(()));
        }
        room[..kept].copy_from_slice(&self.incoming);
        self.incoming.clear();
        let result = self.process(&mut room[..kept + arrived]);
        Poll::Ready(self.keep(result, &room[..kept + arrived], cx))
    }

    /// Keeps what was not processed. After an error, tells the client.
    fn keep(&mut self, result: Result<usize, Error>, bytes: &[u8], cx: &mut Context<'_>) -> io::Result<()> {
        match result {
            Ok(taken) if taken == bytes.len() => self.incoming = Vec::new(),
            Ok(taken) => self.incoming = bytes[taken..].to_vec(),
            Err(error) => {
                self.ended = true;
                self.collect_alert();
                // As far as that goes without waiting.
                let _ = self.poll_send(cx);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        Ok(())
    }

    /// Takes whole records out of `bytes`: plaintext, and what is to be answered. Returns how many bytes they were.
    fn process(&mut self, bytes: &mut [u8]) -> Result<usize, Error> {
        let mut taken = 0;
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.session.process_tls_records(&mut bytes[taken..]);
            let waits = match state? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        self.plain.extend_from_slice(record.payload);
                    }
                    false
                }
                ConnectionState::EncodeTlsData(data) => {
                    encode(data, &mut self.outgoing);
                    false
                }
                ConnectionState::TransmitTlsData(data) => {
                    // It is in `outgoing`, and goes before anything else.
                    data.done();
                    false
                }
                ConnectionState::PeerClosed => {
                    self.ended = true;
                    false
                }
                // Nothing more without further bytes; early data is never allowed.
                _ => true,
            };
            taken += discard;
            if waits {
                return Ok(taken);
            }
        }
    }

    /// The alert that follows an error.
    fn collect_alert(&mut self) {
        let status = self.session.process_tls_records(&mut []);
        if let Ok(ConnectionState::EncodeTlsData(data)) = status.state {
            encode(data, &mut self.outgoing);
        }
    }

    /// Sends what is encrypted.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sent = 0;
        let result = loop {
            if sent == self.outgoing.len() {
                break Poll::Ready(Ok(()));
            }
            match Pin::new(&mut self.io).poll_write(cx, &self.outgoing[sent..]) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => sent += count,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        if sent == self.outgoing.len() {
            self.outgoing = Vec::new();
        } else {
            self.outgoing.drain(..sent);
        }
        result
    }

    /// Encrypts `data`, which is at most [`WRITE_MAX`] long, and sends of it what the socket takes. The rest is kept.
    fn send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> io::Result<()> {
        let buffers = self.buffers.clone();
        let mut room = buffers.outgoing.borrow_mut();
        let mut length = self.encrypt(data, &mut room)?;
        if self.last.take() == Some(data.len()) {
            length += self.say_end(&mut room[length..]);
        }
        let mut rest = &room[..length];
        // What came before goes before, at once with it.
        if !self.outgoing.is_empty() {
            self.outgoing.extend_from_slice(rest);
            return match self.poll_send(cx) {
                Poll::Ready(Err(error)) => Err(error),
                Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
            };
        }
        match Pin::new(&mut self.io).poll_write(cx, rest) {
            Poll::Ready(Ok(count)) => rest = &rest[count..],
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => {}
        }
        self.outgoing.extend_from_slice(rest);
        Ok(())
    }

    fn encrypt(&mut self, data: &[u8], room: &mut [u8]) -> io::Result<usize> {
        let mut kept = mem::take(&mut self.incoming);
        let result = self.process(&mut kept);
        let taken = result.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        kept.drain(..taken);
        let status = self.session.process_tls_records(&mut kept);
        let result = match status.state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                traffic.encrypt(data, room).map_err(io::Error::other)
            }
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        };
        self.incoming = kept;
        result
    }

    /// Says the end, in so many bytes of `room`.
    fn say_end(&mut self, room: &mut [u8]) -> usize {
        self.said_end = true;
        let status = self.session.process_tls_records(&mut []);
        match status.state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => traffic.queue_close_notify(room).unwrap_or(0),
            _ => 0,
        }
    }

    /// Waits until there is room for more.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outgoing.len() > HELD_MAX { self.poll_send(cx) } else { Poll::Ready(Ok(())) }
    }
}

fn encode<D>(mut data: EncodeTlsData<'_, D>, outgoing: &mut Vec<u8>) {
    let start = outgoing.len();
    if let Err(EncodeError::InsufficientSize(needed)) = data.encode(&mut []) {
        outgoing.resize(start + needed.required_size, 0);
        let encoded = data.encode(&mut outgoing[start..]);
        outgoing.truncate(start + encoded.unwrap_or(0));
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.plain.is_empty() && !this.ended && buf.remaining() > 0 {
            let received = this.poll_receive(cx, buf.remaining())?;
            // Answers to the client's own messages need nobody who writes; they go while it is waited for.
            if !this.outgoing.is_empty() && (received.is_pending() || this.outgoing.len() > HELD_MAX) {
                let _ = this.poll_send(cx)?;
            }
            ready!(received);
        }
        let count = this.plain.len().min(buf.remaining());
        buf.put_slice(&this.plain[..count]);
        if count == this.plain.len() {
            this.plain = Vec::new();
        } else {
            this.plain.drain(..count);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_room(cx))?;
        let bytes = &bytes[..bytes.len().min(WRITE_MAX)];
        if !bytes.is_empty() {
            this.send(cx, bytes)?;
        }
        Poll::Ready(Ok(bytes.len()))
    }

    /// Parts are put together, so that a small response is one record.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [one] = slices {
            return self.poll_write(cx, one);
        }
        let this = self.get_mut();
        ready!(this.poll_room(cx))?;
        let buffers = this.buffers.clone();
        let mut gathered = buffers.gathered.borrow_mut();
        gathered.clear();
        for slice in slices {
            let left = WRITE_MAX - gathered.len();
            gathered.extend_from_slice(&slice[..slice.len().min(left)]);
        }
        if !gathered.is_empty() {
            this.send(cx, &gathered)?;
        }
        Poll::Ready(Ok(gathered.len()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_end(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

impl<S> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffers").finish_non_exhaustive()
    }
}
