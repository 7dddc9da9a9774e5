//! What a stream has in addition once it is a WebSocket (`selvedge_wire::socket`): its messages, put together.

use selvedge_wire::WireError;
use selvedge_wire::message::{ResetCode, put_reset};
use selvedge_wire::socket::{BROKEN, MessageKind, PREFIX_LEN, Splitter, put_close, put_prefix};

use crate::stream::{Role, Stream};

/// Most that may wait for a peer that takes messages too slowly, bytes; then its socket is broken off.
pub const WAITING_MAX: usize = 16 << 20;
/// Longest reason of a close that a peer gave, as JavaScript sees it, bytes; the protocol has room for 123.
const REASON_MAX: usize = 512;

/// The messages that arrive on a stream.
#[derive(Debug, Default)]
pub struct Socket {
    splitter: Splitter,
    /// The message that is not whole yet.
    whole: Vec<u8>,
    /// Bytes of the stream's first chunk that were looked at.
    at: usize,
    /// JavaScript takes messages.
    pub flowing: bool,
}

/// A whole message.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: MessageKind,
    pub payload: Vec<u8>,
}

impl Message {
    /// The word that a connection broke off.
    pub fn broken(reason: &str) -> Self {
        let mut payload = Vec::new();
        put_close(&mut payload, BROKEN, &reason[..reason.floor_char_boundary(REASON_MAX.min(reason.len()))]);
        Self { kind: MessageKind::Close, payload: payload.split_off(PREFIX_LEN) }
    }
}

/// Why no message can be had any more.
#[derive(Debug)]
pub enum Unfit {
    /// It does not fit into the worker's memory.
    TooLarge,
    /// The engine sent something else than messages.
    Malformed,
}

impl From<WireError> for Unfit {
    fn from(_: WireError) -> Self {
        Self::Malformed
    }
}

impl Stream {
    /// From here on the stream carries messages; JavaScript says when it takes them.
    pub fn become_socket(&mut self) {
        self.socket = Some(Box::default());
        // It lives as long as its connection.
        if self.role == Role::Incoming {
            self.deadline_ns = u64::MAX;
        }
    }

    /// The next message, if one is whole and wanted. `fits` says whether there is room for so many bytes.
    pub fn next_message(&mut self, fits: impl Fn(usize) -> bool) -> Result<Option<Message>, Unfit> {
        loop {
            let Some(socket) = self.socket.as_mut().filter(|socket| socket.flowing) else { return Ok(None) };
            let Some(chunk) = self.incoming.front() else { return Ok(None) };
            let mut rest = &chunk[socket.at..];
            let part = socket.splitter.next(&mut rest)?;
            socket.at = chunk.len() - rest.len();
            let whole = match part {
                None => None,
                Some(part) if part.first && !fits(part.len) => return Err(Unfit::TooLarge),
                Some(part) => {
                    let before = socket.whole.len();
                    socket.whole.extend_from_slice(part.bytes);
                    self.backlog.set(self.backlog.get() + socket.whole.len() - before);
                    part.last.then_some(part.kind)
                }
            };
            let message = whole.map(|kind| Message { kind, payload: std::mem::take(&mut socket.whole) });
            if socket.at == chunk.len() {
                let taken = socket.at;
                socket.at = 0;
                self.incoming.pop_front();
                self.consumed(taken);
            }
            if let Some(message) = message {
                self.backlog.set(self.backlog.get() - message.payload.len());
                return Ok(Some(message));
            }
        }
    }

    /// Sends a message. False when the peer is too slow to get any more.
    pub fn send_message(&mut self, kind: MessageKind, payload: &[u8]) -> bool {
        if self.waiting() > WAITING_MAX {
            return false;
        }
        let mut bytes = Vec::with_capacity(PREFIX_LEN + payload.len());
        put_prefix(&mut bytes, kind, payload.len());
        bytes.extend_from_slice(payload);
        self.send_body(&bytes, false);
        true
    }

    /// Sends a close, after which nothing follows.
    pub fn send_close(&mut self, code: u16, reason: &str) {
        let mut bytes = Vec::new();
        put_close(&mut bytes, code, reason);
        self.send_body(&bytes, true);
    }

    /// Breaks the socket off; the worker goes on without it.
    pub fn give_up(&mut self, code: ResetCode) {
        put_reset(&mut self.outbox.frames(), self.wire_id, code, "");
        self.cancel("");
    }

    /// Lets go of a message that will not become whole.
    pub fn drop_unfinished(&mut self) {
        if let Some(socket) = &mut self.socket {
            self.backlog.set(self.backlog.get() - std::mem::take(&mut socket.whole).len());
            socket.at = 0;
        }
    }

    /// Gives a socket that is over the time that other requests have.
    pub fn limit_rest(&mut self, now_ns: u64) {
        if self.socket.is_some() && self.out_ended && self.incoming_ended && self.deadline_ns == u64::MAX {
            self.deadline_ns = now_ns + self.wall_ns;
        }
    }

    /// Takes note of CPU time used on its behalf; true when it is more than `burst_ns`. What lives as long as a
    /// WebSocket also earns some, `share_ns` a second, so that a timer now and then does not end it in the long run.
    pub fn charge(&mut self, used_ns: u64, now_ns: u64, share_ns: u64, burst_ns: u64) -> bool {
        if self.socket.is_some() {
            let seconds = now_ns.saturating_sub(self.charged_ns) as f64 / 1e9;
            self.cpu_ns = self.cpu_ns.saturating_sub((seconds * share_ns as f64) as u64);
            self.charged_ns = now_ns;
        }
        self.cpu_ns += used_ns;
        self.cpu_ns > burst_ns
    }
}
