//! One socket between an edge thread and this thread.

use std::cell::{Cell, RefCell, RefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use selvedge_wire::{DATA_MAX, Frame, HEADER_LEN, IdMap, Kind, Shrink, WireError, decode, frame};

/// Read buffer; grows for a frame that is larger and shrinks back.
const READ_BUFFER: usize = 128 << 10;
/// Console output is dropped while this much waits to be written.
pub const LOG_BACKLOG_MAX: usize = 4 << 20;

/// Frames that wait to be written. Shared by the connection and its streams.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: RefCell<Vec<u8>>,
    /// The peer is gone: nothing is collected any more.
    closed: Cell<bool>,
    next_stream: Cell<u32>,
    /// The `DATA` frame that was appended last, none of which has been written.
    tail: Cell<Tail>,
    /// Which of the thread's connections it is.
    pub connection: usize,
}

/// Where a frame lies in an outbox, and of which stream it is.
#[derive(Clone, Copy, Debug, Default)]
struct Tail {
    start: usize,
    end: usize,
    wire_id: u32,
}

impl Outbox {
    /// The buffer to append frames to.
    pub fn frames(&self) -> RefMut<'_, Vec<u8>> {
        let mut bytes = self.bytes.borrow_mut();
        if self.closed.get() {
            bytes.clear();
        }
        bytes
    }

    /// Appends bytes of a body. Small chunks share a frame where nothing else was said between them.
    pub fn data(&self, wire_id: u32, bytes: &[u8]) {
        self.data_with(wire_id, bytes.len(), |out| out.extend_from_slice(bytes));
    }

    /// Appends bytes of a body, which `fill` appends to the buffer: at most `length`. Returns how many they are.
    pub fn data_with(&self, wire_id: u32, length: usize, fill: impl FnOnce(&mut Vec<u8>)) -> usize {
        let mut out = self.frames();
        let tail = self.tail.get();
        let fits = tail.end - tail.start + length <= HEADER_LEN + DATA_MAX;
        let start = if tail.end != 0 && tail.end == out.len() && tail.wire_id == wire_id && fits {
            tail.start
        } else {
            frame::begin(&mut out, Kind::Data, 0, wire_id)
        };
        let before = out.len();
        fill(&mut out);
        let filled = out.len() - before;
        frame::end(&mut out, start);
        self.tail.set(Tail { start, end: out.len(), wire_id });
        filled
    }

    /// A number for a stream that this side opens: even.
    pub fn open_stream(&self) -> u32 {
        let id = self.next_stream.get() + 2;
        self.next_stream.set(id);
        id
    }

    /// Bytes waiting.
    pub fn backlog(&self) -> usize {
        self.bytes.borrow().len()
    }
}

/// Where a stream of this connection lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub instance: u32,
    pub key: u32,
}

/// The connection.
pub struct Connection {
    fd: OwnedFd,
    pub outbox: Rc<Outbox>,
    /// Streams by wire id.
    pub streams: IdMap<Place>,
    inbox: Vec<u8>,
    filled: usize,
    /// Part of the outbox that the socket has taken.
    written: usize,
    shrink: Shrink,
    /// The socket's buffer is full.
    pub blocked: bool,
}

/// What reading found.
pub enum Read {
    /// Bytes may have arrived.
    Open,
    /// The peer closed, or the socket failed.
    Closed,
}

impl Connection {
    pub fn new(fd: OwnedFd, index: usize) -> Self {
        Self {
            fd,
            outbox: Rc::new(Outbox { connection: index, ..Outbox::default() }),
            streams: IdMap::default(),
            inbox: vec![0; READ_BUFFER],
            filled: 0,
            written: 0,
            shrink: Shrink::default(),
            blocked: false,
        }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Reads once; level-triggered polling calls again while there is more.
    pub fn read(&mut self) -> Read {
        if self.filled == self.inbox.len() {
            self.inbox.resize(self.inbox.len() * 2, 0);
        }
        match rustix::net::recv(&self.fd, &mut self.inbox[self.filled..], RecvFlags::DONTWAIT) {
            Ok((_, 0)) => Read::Closed,
            Ok((_, count)) => {
                self.filled += count;
                Read::Open
            }
            Err(Errno::AGAIN | Errno::INTR) => Read::Open,
            Err(_) => Read::Closed,
        }
    }

    /// Hands every whole frame that arrived to `each`, oldest first. The connection itself is free for use
    /// meanwhile, since its read buffer is lent out.
    pub fn take_inbox(&mut self) -> Inbox {
        Inbox { bytes: std::mem::take(&mut self.inbox), filled: self.filled, at: 0 }
    }

    /// Takes the lent buffer back, keeping what was not a whole frame.
    pub fn return_inbox(&mut self, inbox: Inbox) {
        self.inbox = inbox.bytes;
        self.inbox.copy_within(inbox.at..inbox.filled, 0);
        self.filled = inbox.filled - inbox.at;
        if self.filled == 0 && self.inbox.len() > READ_BUFFER {
            self.inbox.truncate(READ_BUFFER);
            self.inbox.shrink_to_fit();
        }
    }

    /// Writes as much as the socket takes. False when the peer is gone.
    pub fn flush(&mut self) -> bool {
        self.outbox.tail.set(Tail::default());
        let mut bytes = self.outbox.bytes.borrow_mut();
        while self.written < bytes.len() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::send(&self.fd, &bytes[self.written..], flags) {
                Ok(count) => self.written += count,
                Err(Errno::AGAIN) => {
                    self.blocked = true;
                    // What was taken goes, so that a slow reader does not hold twice the memory.
                    if self.written > bytes.len() / 2 {
                        bytes.drain(..self.written);
                        self.written = 0;
                    }
                    return true;
                }
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        self.shrink.emptied(&mut bytes, self.written);
        self.written = 0;
        self.blocked = false;
        true
    }

    /// No more output is collected.
    pub fn close(&mut self) {
        self.outbox.closed.set(true);
        self.outbox.bytes.borrow_mut().clear();
    }
}

/// A read buffer on loan.
pub struct Inbox {
    bytes: Vec<u8>,
    filled: usize,
    at: usize,
}

impl Inbox {
    /// The next whole frame.
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, WireError> {
        let Some((frame, taken)) = decode(&self.bytes[self.at..self.filled])? else { return Ok(None) };
        self.at += taken;
        Ok(Some(frame))
    }
}
