//! The state of one stream as its worker sees it, and the table of a worker's streams.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use selvedge_wire::{DATA_MAX, DONE, FIN, Kind, RecvWindow, SendWindow, frame, message};

use crate::connection::Outbox;
use crate::limits::Charge;
use crate::socket::Socket;

/// Chunks that wait are put together up to this size, bytes: credit counts bytes, and each chunk takes some of its own.
const MERGED_MAX: usize = 512;

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The engine asked: a request or a schedule.
    Incoming,
    /// The worker asked, on behalf of the incoming stream with this key.
    Outgoing(u32),
}

/// One stream.
#[derive(Debug)]
pub struct Stream {
    pub role: Role,
    pub outbox: Rc<Outbox>,
    pub wire_id: u32,
    /// When an incoming stream must be done, `CLOCK_MONOTONIC` nanoseconds.
    pub deadline_ns: u64,
    /// What the deadline was set to, from the stream's beginning, nanoseconds.
    pub wall_ns: u64,
    pub subrequests: u32,
    /// CPU time used on its behalf, nanoseconds.
    pub cpu_ns: u64,
    /// When a WebSocket's CPU time was charged last.
    pub charged_ns: u64,
    /// Status 101 is a possible answer.
    pub may_switch: bool,
    /// What it has in addition once it carries messages.
    pub socket: Option<Box<Socket>>,

    /// Body bytes that arrived and were not taken yet.
    pub incoming: VecDeque<Box<[u8]>>,
    pub incoming_ended: bool,
    /// All of the body, where JavaScript wants it as one text; the rest is added as it arrives.
    pub whole: Option<Whole>,
    /// Why the peer broke off.
    pub broken: Option<String>,
    /// JavaScript waits for `readable`.
    pub wants_read: bool,
    /// JavaScript does not want the rest.
    pub discard: bool,
    pub recv: RecvWindow,
    /// The stream whose outgoing body is this one's incoming body; 0 when none. See `relay.rs`.
    pub relay_to: u32,
    /// The other end of `relay_to`.
    pub relay_from: u32,

    /// The peer wants nothing more: what the worker still writes goes nowhere.
    canceled: bool,
    /// The answer to an outgoing stream has begun.
    pub head_received: bool,
    pub head_sent: bool,
    /// Bytes taken from JavaScript beyond the credit.
    pending: VecDeque<u8>,
    /// Bytes of all the worker's streams that wait like `pending`.
    pub(crate) backlog: Rc<Cell<usize>>,
    end_pending: bool,
    pub out_ended: bool,
    /// JavaScript waits for `writable`.
    pub wants_write: bool,
    pub send: SendWindow,
    /// The worker has finished everything; said with the last frame.
    pub done: bool,
    done_sent: bool,
}

impl Stream {
    /// A stream of a worker whose waiting bytes are counted in `backlog`.
    pub fn new(role: Role, outbox: Rc<Outbox>, wire_id: u32, backlog: Rc<Cell<usize>>) -> Self {
        Self {
            role,
            outbox,
            wire_id,
            deadline_ns: u64::MAX,
            wall_ns: 0,
            subrequests: 0,
            cpu_ns: 0,
            charged_ns: 0,
            may_switch: false,
            socket: None,
            backlog,
            incoming: VecDeque::new(),
            incoming_ended: false,
            whole: None,
            broken: None,
            wants_read: false,
            discard: false,
            recv: RecvWindow::default(),
            relay_to: 0,
            relay_from: 0,
            canceled: false,
            head_received: false,
            head_sent: false,
            pending: VecDeque::new(),
            end_pending: false,
            out_ended: false,
            wants_write: false,
            send: SendWindow::default(),
            done: false,
            done_sent: false,
        }
    }

    /// Sends body bytes as far as the credit goes, keeps the rest; `end` closes our half after them.
    pub fn send_body(&mut self, bytes: &[u8], end: bool) {
        if self.canceled {
            self.out_ended |= end;
            return;
        }
        self.end_pending |= end;
        if !self.pending.is_empty() {
            self.wait(bytes);
            return;
        }
        let now = bytes.len().min(self.send.available());
        let (head, tail) = bytes.split_at(now);
        self.wait(tail);
        self.send_data(head);
    }

    /// Sends up to `length` body bytes that `fill` appends to a buffer, where they can go at once; else false, and `fill` is not
    /// called.
    pub fn send_body_with(&mut self, length: usize, fill: impl FnOnce(&mut Vec<u8>)) -> bool {
        let at_once = !self.canceled && self.pending.is_empty() && !self.end_pending;
        if !at_once || length == 0 || length > DATA_MAX || length > self.send.available() {
            return false;
        }
        let sent = self.outbox.data_with(self.wire_id, length, fill);
        self.send.sent(sent);
        true
    }

    /// Takes note of `CREDIT` and sends what waited for it. True when JavaScript may go on writing.
    pub fn granted(&mut self, bytes: u32) -> bool {
        self.send.granted(bytes);
        let now = self.pending.len().min(self.send.available());
        if now > 0 {
            let bytes: Vec<u8> = self.pending.drain(..now).collect();
            self.backlog.set(self.backlog.get() - now);
            self.send_data(&bytes);
        }
        let go_on = self.wants_write && self.pending.is_empty() && self.send.available() > 0;
        if go_on {
            self.wants_write = false;
        }
        go_on
    }

    fn wait(&mut self, bytes: &[u8]) {
        self.pending.extend(bytes);
        self.backlog.set(self.backlog.get() + bytes.len());
    }

    fn drop_pending(&mut self) {
        self.backlog.set(self.backlog.get() - self.pending.len());
        self.pending = VecDeque::new();
    }

    /// Credit left for JavaScript; zero or less means wait for `writable`.
    pub fn room(&self) -> i64 {
        self.send.available() as i64 - self.pending.len() as i64
    }

    /// Bytes that wait for credit.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    fn send_data(&mut self, bytes: &[u8]) {
        self.send.sent(bytes.len());
        let mut rest = bytes;
        while rest.len() > DATA_MAX {
            let (head, tail) = rest.split_at(DATA_MAX);
            self.outbox.data(self.wire_id, head);
            rest = tail;
        }
        let end = self.end_pending && self.pending.is_empty() && !self.out_ended;
        if end {
            self.out_ended = true;
        }
        if !end {
            if !rest.is_empty() {
                self.outbox.data(self.wire_id, rest);
            }
        } else {
            let done = self.done && self.out_ended && !self.done_sent;
            self.done_sent |= done;
            let flags = if done { FIN | DONE } else { FIN };
            frame::put(&mut self.outbox.frames(), Kind::Data, flags, self.wire_id, rest);
        }
    }

    /// The worker has finished with this stream.
    pub fn finish(&mut self) {
        self.done = true;
        if self.out_ended && !self.done_sent {
            self.done_sent = true;
            if self.canceled {
                return;
            }
            frame::put(&mut self.outbox.frames(), Kind::Done, DONE, self.wire_id, &[]);
        }
    }

    /// Marks `DONE` as said, by a frame that the caller wrote itself.
    pub fn ended_whole(&mut self, done: bool) {
        self.head_sent = true;
        self.out_ended = true;
        self.done |= done;
        self.done_sent |= done;
    }

    /// Breaks the stream off in both directions.
    pub fn reset(&mut self, code: message::ResetCode, text: &str) {
        if self.over() {
            return;
        }
        message::put_reset(&mut self.outbox.frames(), self.wire_id, code, text);
        self.out_ended = true;
        self.incoming_ended = true;
        self.broken.get_or_insert_with(|| "The stream was broken off.".into());
        self.done = true;
        self.done_sent = true;
        self.drop_pending();
    }

    /// The peer broke the stream off. The worker may go on with what `waitUntil` holds.
    pub fn cancel(&mut self, reason: &str) {
        self.canceled = true;
        self.head_sent = true;
        self.drop_unfinished();
        self.incoming.clear();
        self.whole = None;
        self.incoming_ended = true;
        self.broken =
            Some(if reason.is_empty() { "The peer closed the connection.".into() } else { reason.into() });
        self.drop_pending();
        self.out_ended = true;
        if self.done {
            self.done_sent = true;
        }
    }

    /// Takes body bytes off the wire. An error when the peer ignored its credit.
    pub fn received(&mut self, bytes: &[u8], fin: bool) -> Result<(), selvedge_wire::Overrun> {
        self.recv.received(bytes.len())?;
        if self.discard {
            self.consumed(bytes.len());
        } else if let Some(whole) = &mut self.whole {
            whole.add(bytes);
            self.consumed(bytes.len());
        } else if !bytes.is_empty() {
            match self.incoming.back_mut() {
                // What a socket has taken of its first chunk is counted from the chunk's beginning.
                Some(last) if last.len() + bytes.len() <= MERGED_MAX => {
                    let mut merged = Vec::from(std::mem::take(last));
                    merged.extend_from_slice(bytes);
                    *last = merged.into();
                }
                _ => self.incoming.push_back(bytes.into()),
            }
        }
        self.incoming_ended |= fin;
        Ok(())
    }

    /// From now on the body is put together here, with what has arrived already.
    pub fn gather(&mut self, charge: Charge) {
        let mut whole = Whole { bytes: Vec::new(), charge, refused: false };
        let length = self.incoming.iter().map(|chunk| whole.add(chunk)).sum();
        self.incoming.clear();
        self.whole = Some(whole);
        self.consumed(length);
    }

    /// Whether JavaScript waits for what is here now. It is told once.
    pub fn take_readable(&mut self) -> bool {
        let ready = self.whole.as_ref().is_none_or(|whole| whole.refused || self.incoming_ended);
        ready && std::mem::take(&mut self.wants_read)
    }

    /// Takes note that JavaScript took bytes, and lets the peer send more.
    pub fn consumed(&mut self, bytes: usize) {
        if let Some(credit) = self.recv.consumed(bytes).filter(|_| !self.incoming_ended) {
            message::put_credit(&mut self.outbox.frames(), self.wire_id, credit);
        }
    }

    /// JavaScript does not want the rest of the body.
    pub fn discard(&mut self) {
        self.discard = true;
        self.relay_to = 0;
        self.whole = None;
        let bytes = self.incoming.drain(..).map(|chunk| chunk.len()).sum();
        self.consumed(bytes);
    }

    /// Nothing can happen on this stream any more.
    pub fn over(&self) -> bool {
        match self.role {
            Role::Incoming => self.done_sent,
            Role::Outgoing(_) => {
                let taken = self.incoming.is_empty() && self.whole.is_none();
                self.out_ended && (self.incoming_ended && taken || self.discard)
            }
        }
    }
}

/// A body that is put together on the host's side, counted as the worker's memory.
#[derive(Debug)]
pub struct Whole {
    pub bytes: Vec<u8>,
    charge: Charge,
    /// It is larger than the worker's memory.
    pub refused: bool,
}

impl Whole {
    /// Adds a chunk; returns its length.
    fn add(&mut self, chunk: &[u8]) -> usize {
        let length = self.bytes.len() + chunk.len();
        if length > self.charge.bytes() && !self.refused {
            // Room for as much again, if there is, so that a long body is not moved with each chunk.
            let (much, enough) = (2 * length - self.charge.bytes(), length - self.charge.bytes());
            self.refused = !self.charge.grow(much, enough);
            if self.refused {
                self.bytes = Vec::new();
                self.charge.release();
            } else {
                self.bytes.reserve_exact(self.charge.bytes() - self.bytes.len());
            }
        }
        if !self.refused {
            self.bytes.extend_from_slice(chunk);
        }
        chunk.len()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.drop_pending();
        self.drop_unfinished();
    }
}

/// A worker's streams by key. A key is a small integer for JavaScript; it is not used again soon after its
/// stream ended, so that a late call on it misses instead of hitting a stranger.
#[derive(Debug, Default)]
pub struct Streams {
    slots: Vec<Slot>,
    free: Vec<u32>,
    live: usize,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    stream: Option<Stream>,
}

const INDEX_BITS: u32 = 16;
const GENERATION_MASK: u32 = (1 << 14) - 1;

impl Streams {
    /// Adds a stream; `None` when 65,536 are open.
    pub fn insert(&mut self, stream: Stream) -> Option<u32> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() < 1 << INDEX_BITS => {
                self.slots.push(Slot { generation: 1, stream: None });
                self.slots.len() as u32 - 1
            }
            None => return None,
        };
        let slot = &mut self.slots[index as usize];
        slot.stream = Some(stream);
        self.live += 1;
        Some(slot.generation << INDEX_BITS | index)
    }

    pub fn get(&mut self, key: u32) -> Option<&mut Stream> {
        let slot = self.slots.get_mut((key & ((1 << INDEX_BITS) - 1)) as usize)?;
        if slot.generation == key >> INDEX_BITS { slot.stream.as_mut() } else { None }
    }

    pub fn remove(&mut self, key: u32) -> Option<Stream> {
        self.get(key)?;
        let index = key & ((1 << INDEX_BITS) - 1);
        let slot = &mut self.slots[index as usize];
        // Never 0, so that no key is 0.
        slot.generation = slot.generation % GENERATION_MASK + 1;
        self.free.push(index);
        self.live -= 1;
        slot.stream.take()
    }

    pub fn len(&self) -> usize {
        self.live
    }

    /// Keys of all streams for which `wanted` holds.
    pub fn keys(&self, wanted: impl Fn(&Stream) -> bool) -> Vec<u32> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, slot)| slot.stream.as_ref().is_some_and(&wanted))
            .map(|(index, slot)| slot.generation << INDEX_BITS | index as u32)
            .collect()
    }
}
