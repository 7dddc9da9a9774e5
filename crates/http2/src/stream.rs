//! One stream: what it still receives, what it still sends (RFC 9113, section 5.1).

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use crate::priority::Priority;

/// Names a stream. One that is over stays over: ids do not come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamRef {
    pub(crate) key: u32,
    pub(crate) id: u32,
}

impl StreamRef {
    /// A small number that no other stream has while this one is open.
    pub fn slot(self) -> usize {
        self.key as usize
    }

    /// Its id on the wire.
    pub fn id(self) -> u32 {
        self.id
    }
}

/// The next of a request's body.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// Bytes.
    Data(Bytes),
    /// Fields after the body; nothing follows.
    Trailers(HeaderMap),
    /// Nothing follows.
    End,
    /// Nothing is there yet.
    Nothing,
    /// The stream was reset.
    Cut,
}

/// A stream that is open, or whose body somebody still reads.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) id: u32,
    pub(crate) priority: Priority,
    /// The client may still send.
    pub(crate) receiving: bool,
    /// Somebody reads the body.
    pub(crate) held: bool,
    /// Arrived, and not yet read.
    pub(crate) body: BytesMut,
    pub(crate) trailers: Option<HeaderMap>,
    /// Of `content-length`.
    pub(crate) left: Option<u64>,
    /// What the client may send.
    pub(crate) receive_window: i64,
    /// What it may have on its way or unread altogether.
    pub(crate) receive_size: u32,
    /// Read, and not yet given back to the client's window.
    pub(crate) consumed: u32,
    /// The response is not at its end.
    pub(crate) sending: bool,
    pub(crate) head_sent: bool,
    /// What may be sent.
    pub(crate) send_window: i64,
    /// Waits for its turn and its window.
    pub(crate) chunk: Bytes,
    /// Nothing follows `chunk` but these, if any.
    pub(crate) last: bool,
    pub(crate) last_trailers: Option<Box<HeaderMap>>,
    /// It is in the schedule.
    pub(crate) queued: bool,
    /// Since when it is [abandoned](Self::is_abandoned), as far as somebody has looked.
    pub(crate) abandoned: Option<Instant>,
}

impl Stream {
    /// Both sides have said everything.
    pub(crate) fn is_closed(&self) -> bool {
        !self.receiving && !self.sending
    }

    /// The response is out, and nobody wants what else comes of the request.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.receiving && !self.sending && !self.held
    }

    /// It could send if it had its turn.
    pub(crate) fn is_ready(&self) -> bool {
        !self.chunk.is_empty() && self.send_window > 0
    }
}
