//! A connection: its settings, its streams, and how it ends.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use slab::Slab;

use crate::config::Http2Config;
use crate::frame::{self, Code, setting};
use crate::glitch::{Glitch, Score};
use crate::head::{HeadLimits, RequestHead};
use crate::hpack::{DEFAULT_TABLE, Decoder, Encoder};
use crate::priority::{Priority, Schedule};
use crate::stream::{Received, Stream, StreamRef};

/// The window of streams and connections before anybody says otherwise (RFC 9113, section 6.9.2).
pub(crate) const INITIAL_WINDOW: u32 = 65_535;
/// Streams that ended lately and are remembered, to tell late frames from wrong ones.
const REMEMBERED: usize = 128;
/// What of a request is thrown away after its response, bytes, before the stream is reset, and how long it is waited for. What
/// the client does wrong in it is still told, and a client that is about to end is not reset.
pub(crate) const DISCARD_MAX: u32 = 16 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(1);
/// Streams' slots that stay reserved while none is open.
const SLOTS_KEPT: usize = 8;
/// What a ping before the end says, and what one to a quiet client says.
pub(crate) const DRAIN_PING: [u8; 8] = *b"draining";
pub(crate) const ALIVE_PING: [u8; 8] = *b"alive?!?";

/// How large requests may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of names and values of a head, and 32 for each field.
    pub head_bytes: usize,
    /// Fields of a head.
    pub fields: usize,
}

/// What happened on a connection.
#[derive(Debug)]
pub enum Event {
    /// A request. Its body is to be read, or [released](Connection::release).
    Request {
        /// Its stream.
        stream: StreamRef,
        /// Its head.
        head: Box<RequestHead>,
        /// Nothing follows.
        end: bool,
    },
    /// A request whose head is larger than allowed; it is to be answered so.
    TooLarge(StreamRef),
    /// There is something to be [read](Connection::read).
    Readable(StreamRef),
    /// The stream is over: its client left it, or broke it.
    Reset(StreamRef),
    /// The client answered a [ping](Connection::ping).
    Pong,
    /// The client opens no further streams.
    GoAway,
    /// The connection is over once the rest was written.
    Fault(Fault),
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What the client is told.
    pub code: Code,
    /// The same in words.
    pub words: &'static str,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The client's preface is expected.
    Preface,
    /// Its settings are.
    Settings,
    Open,
    /// Nothing that arrives means anything any more.
    Over,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Both sides said everything.
    Whole,
    ByClient,
    /// Frames that were under way may still arrive.
    ByServer,
}

/// How the end is being brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Draining {
    No,
    /// The client was told, and what it sent meanwhile is still served.
    Announced,
    /// What comes after this stream is not served.
    Final(u32),
}

/// A header block that goes on in further frames.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) stream: u32,
    pub(crate) end_stream: bool,
    /// The stream is to depend on itself (RFC 7540, section 5.3.1).
    pub(crate) circular: bool,
    pub(crate) bytes: Vec<u8>,
}

/// The server's side of one connection.
#[derive(Debug)]
pub struct Connection {
    pub(crate) stage: Stage,
    pub(crate) draining: Draining,
    pub(crate) client_leaves: bool,
    pub(crate) head_limits: HeadLimits,
    pub(crate) max_streams: usize,
    pub(crate) max_stream_window: u32,
    pub(crate) connection_window: u32,
    pub(crate) streams: Slab<Stream>,
    /// Ids of streams and their keys, in order.
    pub(crate) index: Vec<(u32, u32)>,
    /// Streams that are not closed.
    pub(crate) open: usize,
    pub(crate) last_id: u32,
    pub(crate) ended: VecDeque<(u32, Ended)>,
    pub(crate) decoder: Decoder,
    pub(crate) encoder: Encoder,
    pub(crate) block: Option<Block>,
    /// What the client may send, and what was read and not yet given back to it.
    pub(crate) receive_window: i64,
    pub(crate) consumed: u32,
    /// What may be sent, and the window that new streams have for that.
    pub(crate) send_window: i64,
    pub(crate) peer_window: u32,
    pub(crate) schedule: Schedule,
    /// Streams with something to send.
    pub(crate) waiting: usize,
    /// Some may be [abandoned](Stream::is_abandoned).
    pub(crate) any_abandoned: bool,
    /// The client knows of RFC 9218.
    pub(crate) prioritizes: bool,
    /// Priorities of streams to come.
    pub(crate) foretold: Vec<(u32, Priority)>,
    pub(crate) score: Score,
    /// Frames to be written.
    pub(crate) out: Vec<u8>,
}

impl Connection {
    /// A new connection; the server's settings wait to be written.
    pub fn new(config: &Http2Config, limits: Limits, now: Instant) -> Self {
        let mut out = Vec::with_capacity(128);
        frame::put_settings(
            &[
                (setting::MAX_CONCURRENT_STREAMS, config.max_streams),
                (setting::MAX_HEADER_LIST_SIZE, u32::try_from(limits.head_bytes).unwrap_or(u32::MAX)),
                (setting::ENABLE_CONNECT_PROTOCOL, 1),
                (setting::NO_RFC7540_PRIORITIES, 1),
            ],
            &mut out,
        );
        let more = config.connection_window.saturating_sub(INITIAL_WINDOW);
        if more > 0 {
            frame::put_window_update(0, more, &mut out);
        }
        Self {
            stage: Stage::Preface,
            draining: Draining::No,
            client_leaves: false,
            head_limits: HeadLimits { bytes: limits.head_bytes, fields: limits.fields },
            max_streams: config.max_streams as usize,
            max_stream_window: config.max_stream_window.max(INITIAL_WINDOW),
            connection_window: config.connection_window.max(INITIAL_WINDOW),
            streams: Slab::new(),
            index: Vec::new(),
            open: 0,
            last_id: 0,
            ended: VecDeque::new(),
            decoder: Decoder::new(DEFAULT_TABLE),
            encoder: Encoder::default(),
            block: None,
            receive_window: i64::from(config.connection_window.max(INITIAL_WINDOW)),
            consumed: 0,
            send_window: i64::from(INITIAL_WINDOW),
            peer_window: INITIAL_WINDOW,
            schedule: Schedule::default(),
            waiting: 0,
            any_abandoned: false,
            prioritizes: false,
            foretold: Vec::new(),
            score: Score::new(config.glitch_budget, now),
            out,
        }
    }

    /// Frames that wait to be written; whoever writes them takes them out.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Nothing that arrives means anything any more.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// A header block is only partly there.
    pub fn is_within_head(&self) -> bool {
        self.block.is_some()
    }

    /// No stream is open, so that the connection may end without anybody missing anything.
    pub fn is_idle(&self) -> bool {
        self.open == 0 || self.streams.iter().all(|(_, stream)| stream.is_closed() || stream.is_abandoned())
    }

    /// No stream is open and none will be.
    pub fn is_finished(&self) -> bool {
        let closing = matches!(self.draining, Draining::Final(_)) || self.client_leaves;
        self.is_over() || closing && self.is_idle()
    }

    /// There is something to be written, or to be made frames of.
    pub fn has_work(&self) -> bool {
        !self.out.is_empty() || self.send_window > 0 && !self.schedule.is_empty()
    }

    /// There is something to send and the client opens no window for it.
    pub fn is_blocked(&self) -> bool {
        self.waiting > 0 && (self.send_window <= 0 || self.schedule.is_empty())
    }

    /// Asks a quiet client for a sign of life; it comes as [`Event::Pong`].
    pub fn ping(&mut self) {
        frame::put_ping(ALIVE_PING, false, &mut self.out);
    }

    /// Tells the client to open no further streams. Those that it opens before it knows are still served, until it
    /// answers a ping (RFC 9113, section 6.8).
    pub fn drain(&mut self) {
        if self.draining == Draining::No && !self.is_over() {
            self.draining = Draining::Announced;
            frame::put_goaway(0x7fff_ffff, Code::NoError, "", &mut self.out);
            frame::put_ping(DRAIN_PING, false, &mut self.out);
        }
    }

    /// The same without waiting for the client to know.
    pub fn drain_now(&mut self) {
        if !matches!(self.draining, Draining::Final(_)) && !self.is_over() {
            self.draining = Draining::Final(self.last_id);
            frame::put_goaway(self.last_id, Code::NoError, "", &mut self.out);
        }
    }

    /// Ends the connection for a reason.
    pub fn end(&mut self, code: Code, words: &'static str) -> Fault {
        if !self.is_over() {
            self.stage = Stage::Over;
            frame::put_goaway(self.last_id, code, words, &mut self.out);
        }
        Fault { code, words }
    }

    /// The client is gone: no stream is open any more.
    pub fn close_streams(&mut self) {
        self.stage = Stage::Over;
        self.streams = Slab::new();
        self.index = Vec::new();
        self.schedule = Schedule::default();
        (self.open, self.waiting) = (0, 0);
    }

    /// What the client did since the last call that adds to its score, if anything, in the order of [`Glitch`].
    pub fn take_glitches(&mut self) -> Option<[u32; Glitch::COUNT]> {
        self.score.take()
    }

    /// Takes the next of a request's body, and lets the client send as much again.
    pub fn read(&mut self, stream: StreamRef) -> Received {
        let Some(found) = self.get_mut(stream) else { return Received::Cut };
        if !found.body.is_empty() {
            let data = found.body.split().freeze();
            // What comes next has room of its own, as much as it needs.
            found.body = BytesMut::new();
            self.consume(stream, data.len() as u32);
            return Received::Data(data);
        }
        if found.receiving {
            return Received::Nothing;
        }
        found.trailers.take().map_or(Received::End, Received::Trailers)
    }

    /// True when nothing more of a request's body is to be read.
    pub fn is_read(&self, stream: StreamRef) -> bool {
        self.get(stream)
            .is_some_and(|found| !found.receiving && found.body.is_empty() && found.trailers.is_none())
    }

    /// Of a request's body, if it was said and all of it is still to come or to be read.
    pub fn length_left(&self, stream: StreamRef) -> Option<u64> {
        let found = self.get(stream)?;
        if !found.receiving {
            return Some(found.body.len() as u64).filter(|_| found.trailers.is_none());
        }
        found.left.map(|left| left + found.body.len() as u64)
    }

    /// Nobody reads a request's body any more.
    pub fn release(&mut self, stream: StreamRef) {
        let Some(found) = self.get_mut(stream) else { return };
        found.held = false;
        found.trailers = None;
        let unread = std::mem::take(&mut found.body).len() as u32;
        let abandoned = found.receiving && !found.sending;
        self.consume_connection(unread);
        if abandoned {
            self.abandon(stream);
        } else {
            self.remove_if_closed(stream);
        }
    }

    /// The response is out: what else comes is not wanted (RFC 9113, section 8.1).
    fn abandon(&mut self, stream: StreamRef) {
        let Some(found) = self.get_mut(stream) else { return };
        found.consumed = 0;
        self.any_abandoned = true;
        if self.get(stream).and_then(|found| found.left).is_some_and(|left| left > u64::from(DISCARD_MAX)) {
            self.reset(stream, Code::NoError);
        }
    }

    /// Resets streams that were answered and whose clients do not come to an end. True while there are others to come.
    pub fn tidy(&mut self, now: Instant) -> bool {
        if !self.any_abandoned {
            return false;
        }
        let mut any = false;
        let mut late = Vec::new();
        for (key, found) in self.streams.iter_mut().filter(|(_, found)| found.is_abandoned()) {
            let since = *found.abandoned.get_or_insert(now);
            if now.saturating_duration_since(since) >= DISCARD_TIME {
                late.push(StreamRef { key: key as u32, id: found.id });
            } else {
                any = true;
            }
        }
        for stream in late {
            self.reset(stream, Code::NoError);
        }
        self.any_abandoned = any;
        any
    }

    /// Ends a stream at once.
    pub fn reset(&mut self, stream: StreamRef, code: Code) {
        if self.get(stream).is_some_and(|found| !found.is_closed()) {
            frame::put_reset(stream.id, code, &mut self.out);
            self.remove(stream, Ended::ByServer);
        }
    }

    /// A request's priority, as its client wants it.
    pub fn priority(&self, stream: StreamRef) -> Option<Priority> {
        self.get(stream).map(|found| found.priority)
    }

    /// Changes a response's priority.
    pub fn prioritize(&mut self, stream: StreamRef, priority: Priority) {
        let Some(found) = self.streams.get_mut(stream.slot()).filter(|found| found.id == stream.id) else {
            return;
        };
        let before = std::mem::replace(&mut found.priority, priority);
        if found.queued && before != priority {
            self.schedule.remove(stream.slot(), before);
            self.schedule.insert(stream.slot(), stream.id, priority);
        }
    }

    pub(crate) fn get(&self, stream: StreamRef) -> Option<&Stream> {
        self.streams.get(stream.slot()).filter(|found| found.id == stream.id)
    }

    pub(crate) fn get_mut(&mut self, stream: StreamRef) -> Option<&mut Stream> {
        self.streams.get_mut(stream.slot()).filter(|found| found.id == stream.id)
    }

    pub(crate) fn find(&self, id: u32) -> Option<StreamRef> {
        let place = self.index.binary_search_by_key(&id, |(other, _)| *other).ok()?;
        Some(StreamRef { key: self.index[place].1, id })
    }

    /// A new stream, the newest.
    pub(crate) fn insert(
        &mut self,
        id: u32,
        receiving: bool,
        left: Option<u64>,
        priority: Priority,
    ) -> StreamRef {
        let key = self.streams.insert(Stream {
            id,
            priority,
            receiving,
            held: receiving,
            body: BytesMut::new(),
            trailers: None,
            left,
            receive_window: i64::from(INITIAL_WINDOW),
            receive_size: INITIAL_WINDOW,
            consumed: 0,
            sending: true,
            head_sent: false,
            send_window: i64::from(self.peer_window),
            chunk: Bytes::new(),
            last: false,
            last_trailers: None,
            queued: false,
            abandoned: None,
        });
        self.open += 1;
        self.index.push((id, key as u32));
        StreamRef { key: key as u32, id }
    }

    /// Takes a stream out that was reset.
    pub(crate) fn remove(&mut self, stream: StreamRef, how: Ended) {
        let Some(found) = self.get(stream) else { return };
        if !found.is_closed() {
            self.open -= 1;
        }
        self.take_out(stream, how);
    }

    /// One side said everything: has the stream go if the other did too.
    pub(crate) fn side_closed(&mut self, stream: StreamRef) {
        let Some(found) = self.get(stream) else { return };
        if found.is_closed() {
            self.open -= 1;
            self.remove_if_closed(stream);
        } else if found.is_abandoned() {
            self.abandon(stream);
        }
    }

    fn remove_if_closed(&mut self, stream: StreamRef) {
        let Some(found) = self.get(stream) else { return };
        if found.is_closed() && !found.held {
            self.take_out(stream, Ended::Whole);
        }
    }

    fn take_out(&mut self, stream: StreamRef, how: Ended) {
        let Some(found) = self.streams.try_remove(stream.slot()) else { return };
        if found.queued {
            self.schedule.remove(stream.slot(), found.priority);
        }
        if !found.chunk.is_empty() {
            self.waiting -= 1;
        }
        if let Ok(place) = self.index.binary_search_by_key(&stream.id, |(other, _)| *other) {
            self.index.remove(place);
        }
        // What was not read will not be.
        self.consume_connection(found.body.len() as u32);
        self.remember(stream.id, how);
        if self.streams.is_empty() && self.streams.capacity() > SLOTS_KEPT {
            self.streams = Slab::new();
            self.index = Vec::new();
        }
    }

    pub(crate) fn remember(&mut self, id: u32, how: Ended) {
        if self.ended.len() >= REMEMBERED {
            self.ended.pop_front();
        }
        self.ended.push_back((id, how));
    }

    /// `count` bytes of a stream were read: the client may send as many, and more if it was as fast as its reader.
    pub(crate) fn consume(&mut self, stream: StreamRef, count: u32) {
        self.consume_connection(count);
        let most = self.max_stream_window;
        let Some(found) = self.streams.get_mut(stream.slot()).filter(|found| found.id == stream.id) else {
            return;
        };
        found.consumed += count;
        if !found.receiving || found.consumed < found.receive_size / 2 {
            return;
        }
        let mut more = std::mem::take(&mut found.consumed);
        if found.body.is_empty() && found.receive_size < most {
            let size = found.receive_size.saturating_mul(2).min(most);
            more += size - found.receive_size;
            found.receive_size = size;
        }
        found.receive_window += i64::from(more);
        frame::put_window_update(stream.id, more, &mut self.out);
    }

    /// The same for the connection as a whole.
    pub(crate) fn consume_connection(&mut self, count: u32) {
        self.consumed += count;
        if self.consumed >= self.connection_window / 2 && !self.is_over() {
            let more = std::mem::take(&mut self.consumed);
            self.receive_window += i64::from(more);
            frame::put_window_update(0, more, &mut self.out);
        }
    }

    /// The fields behind a body have arrived.
    pub(crate) fn put_trailers(&mut self, stream: StreamRef, trailers: HeaderMap) {
        if let Some(found) = self.get_mut(stream).filter(|found| found.held && !trailers.is_empty()) {
            found.trailers = Some(trailers);
        }
    }
}
