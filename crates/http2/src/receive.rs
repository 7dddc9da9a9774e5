//! What a client sends, frame by frame (RFC 9113, section 6).

use std::time::Instant;

use crate::connection::{
    Block, Connection, DISCARD_MAX, DRAIN_PING, Draining, Ended, Event, Fault, INITIAL_WINDOW, Stage,
};
use crate::frame::{self, Code, HEAD, Head, MAX_PAYLOAD, PREFACE, flag, id, kind, setting};
use crate::glitch::Glitch;
use crate::head::{BadHead, HeadBuilder};
use crate::priority::Priority;
use crate::stream::StreamRef;

/// The largest window that there can be (RFC 9113, section 6.9.1).
const WINDOW_MAX: i64 = 0x7fff_ffff;
/// Continuations of a header block that are shorter than this are oddities.
const SHORT_CONTINUATION: usize = 1024;
/// Streams to come whose priorities are remembered.
const FORETOLD_MAX: usize = 16;

/// What a frame comes to: perhaps an event, or the end of the connection.
type Outcome = Result<Option<Event>, Fault>;

fn fault<T>(code: Code, words: &'static str) -> Result<T, Fault> {
    Err(Fault { code, words })
}

impl Connection {
    /// Takes whole frames off the front of `input` until one of them is an event. `None` when more bytes are needed; those
    /// that are left then begin a frame, and belong in front of what comes next.
    pub fn receive(&mut self, input: &mut &[u8], now: Instant) -> Option<Event> {
        loop {
            let outcome = match self.stage {
                Stage::Over => {
                    *input = &[];
                    return None;
                }
                Stage::Preface => {
                    let known = input.len().min(PREFACE.len());
                    if input[..known] != PREFACE[..known] {
                        fault(Code::Protocol, "this is not the preface of HTTP/2")
                    } else if known < PREFACE.len() {
                        return None;
                    } else {
                        *input = &input[known..];
                        self.stage = Stage::Settings;
                        Ok(None)
                    }
                }
                Stage::Settings | Stage::Open => {
                    let (head, rest) = input.split_first_chunk::<HEAD>()?;
                    let head = Head::read(head);
                    if head.length > MAX_PAYLOAD {
                        fault(Code::FrameSize, "a frame is larger than 16384 bytes")
                    } else {
                        let (payload, rest) = rest.split_at_checked(head.length)?;
                        *input = rest;
                        self.frame(&head, payload, now)
                    }
                }
            };
            match outcome {
                Ok(None) => {}
                Ok(Some(event)) => return Some(event),
                Err(Fault { code, words }) => {
                    *input = &[];
                    return Some(Event::Fault(self.end(code, words)));
                }
            }
        }
    }

    fn frame(&mut self, head: &Head, payload: &[u8], now: Instant) -> Outcome {
        if self.stage == Stage::Settings {
            if head.kind != kind::SETTINGS || head.has(flag::ACK) {
                return fault(Code::Protocol, "a connection begins with SETTINGS");
            }
            self.stage = Stage::Open;
            self.settings(head, payload)?;
            return Ok(None);
        }
        if self.block.is_some() && head.kind != kind::CONTINUATION {
            return fault(Code::Protocol, "a header block was not finished");
        }
        match head.kind {
            kind::DATA => self.data(head, payload, now),
            kind::HEADERS => self.headers(head, payload, now),
            kind::CONTINUATION => self.continuation(head, payload, now),
            kind::RST_STREAM => self.reset_by_client(head, payload, now),
            kind::WINDOW_UPDATE => self.window_update(head, payload, now),
            kind::SETTINGS => {
                self.glitch(Glitch::Settings, now)?;
                self.settings(head, payload)
            }
            kind::PING => self.ping_frame(head, payload, now),
            kind::PRIORITY => self.old_priority(head, payload, now),
            kind::PRIORITY_UPDATE => self.priority_update(head, payload, now),
            kind::GOAWAY if head.stream != 0 => fault(Code::Protocol, "GOAWAY on a stream"),
            kind::GOAWAY if payload.len() < 8 => fault(Code::FrameSize, "GOAWAY is too short"),
            kind::GOAWAY => {
                self.client_leaves = true;
                Ok(Some(Event::GoAway))
            }
            kind::PUSH_PROMISE => fault(Code::Protocol, "clients do not push"),
            _ => self.glitch(Glitch::Unknown, now).map(|()| None),
        }
    }

    fn glitch(&mut self, glitch: Glitch, now: Instant) -> Result<(), Fault> {
        if self.score.add(glitch, now) {
            return Ok(());
        }
        fault(Code::EnhanceYourCalm, "too many resets, errors or frames without use")
    }

    /// The client broke a stream: resets it, without mercy for one that is broken all the time.
    fn stream_error(&mut self, stream: u32, code: Code, now: Instant) -> Outcome {
        frame::put_reset(stream, code, &mut self.out);
        let found = self.find(stream);
        match found {
            Some(found) => self.remove(found, Ended::ByServer),
            None => self.remember(stream, Ended::ByServer),
        }
        self.glitch(Glitch::StreamError, now)?;
        Ok(found.map(Event::Reset))
    }

    /// Not before the client has opened it, and not one of the server's.
    fn is_idle_stream(&self, stream: u32) -> bool {
        stream.is_multiple_of(2) || stream > self.last_id
    }

    fn how_ended(&self, stream: u32) -> Option<Ended> {
        self.ended.iter().rev().find(|(id, _)| *id == stream).map(|(_, how)| *how)
    }

    /// A frame for a stream that is over.
    fn after_end(&mut self, stream: u32, now: Instant) -> Outcome {
        match self.how_ended(stream) {
            // It was under way when the stream was reset.
            Some(Ended::ByServer) => Ok(None),
            Some(Ended::ByClient) => self.stream_error(stream, Code::StreamClosed, now),
            Some(Ended::Whole) | None => fault(Code::StreamClosed, "a frame on a stream that is over"),
        }
    }

    fn data(&mut self, head: &Head, payload: &[u8], now: Instant) -> Outcome {
        if head.stream == 0 || self.is_idle_stream(head.stream) {
            return fault(Code::Protocol, "DATA on a stream that is not open");
        }
        let Some(data) = frame::unpadded(head, payload) else {
            return fault(Code::Protocol, "more padding than payload");
        };
        let (whole, padding) = (payload.len() as u32, (payload.len() - data.len()) as u32);
        let end = head.has(flag::END_STREAM);
        self.receive_window -= i64::from(whole);
        if self.receive_window < 0 {
            return fault(Code::FlowControl, "more DATA than the connection's window allows");
        }
        if data.is_empty() && !end {
            self.glitch(Glitch::EmptyData, now)?;
        }
        let Some(stream) = self.find(head.stream) else {
            self.consume_connection(whole);
            return self.after_end(head.stream, now);
        };
        let Some(found) = self.get_mut(stream) else { return Ok(None) };
        if !found.receiving {
            self.consume_connection(whole);
            return self.stream_error(head.stream, Code::StreamClosed, now);
        }
        found.receive_window -= i64::from(whole);
        if found.receive_window < 0 {
            self.consume_connection(whole);
            return self.stream_error(head.stream, Code::FlowControl, now);
        }
        let fits = match &mut found.left {
            Some(left) => match left.checked_sub(data.len() as u64) {
                Some(rest) => {
                    *left = rest;
                    !end || rest == 0
                }
                None => false,
            },
            None => true,
        };
        if !fits {
            self.consume_connection(whole);
            return self.stream_error(head.stream, Code::Protocol, now);
        }
        let held = found.held;
        let mut enough = false;
        if held {
            found.body.extend_from_slice(data);
        } else if found.is_abandoned() {
            found.consumed += whole;
            enough = !end && found.consumed > DISCARD_MAX;
        }
        if end {
            found.receiving = false;
        }
        if held && padding > 0 {
            self.consume(stream, padding);
        }
        if !held {
            self.consume_connection(whole);
        }
        if enough {
            self.reset(stream, Code::NoError);
            return Ok(None);
        }
        if end {
            self.side_closed(stream);
        }
        Ok(held.then_some(Event::Readable(stream)))
    }

    fn headers(&mut self, head: &Head, payload: &[u8], now: Instant) -> Outcome {
        if head.stream.is_multiple_of(2) {
            return fault(Code::Protocol, "HEADERS on a stream that no client opens");
        }
        let Some(mut block) = frame::unpadded(head, payload) else {
            return fault(Code::Protocol, "more padding than payload");
        };
        let mut circular = false;
        if head.has(flag::PRIORITY) {
            let Some((priority, rest)) = block.split_first_chunk::<5>() else {
                return fault(Code::FrameSize, "HEADERS are too short for their priority");
            };
            let [a, b, c, d, _] = *priority;
            circular = id([a, b, c, d]) == head.stream;
            block = rest;
        }
        let end_stream = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.block(head.stream, end_stream, circular, block, now);
        }
        self.block = Some(Block { stream: head.stream, end_stream, circular, bytes: block.to_vec() });
        Ok(None)
    }

    fn continuation(&mut self, head: &Head, payload: &[u8], now: Instant) -> Outcome {
        let Some(mut block) = self.block.take_if(|block| block.stream == head.stream) else {
            return fault(Code::Protocol, "CONTINUATION without its HEADERS");
        };
        if payload.len() < SHORT_CONTINUATION {
            self.glitch(Glitch::Headers, now)?;
        }
        // What is written is hardly longer than what it says.
        if block.bytes.len() + payload.len() > self.head_limits.bytes + MAX_PAYLOAD {
            return fault(Code::EnhanceYourCalm, "a header block is longer than allowed");
        }
        block.bytes.extend_from_slice(payload);
        if head.has(flag::END_HEADERS) {
            return self.block(block.stream, block.end_stream, block.circular, &block.bytes, now);
        }
        self.block = Some(block);
        Ok(None)
    }

    /// A whole header block.
    fn block(&mut self, id: u32, end_stream: bool, circular: bool, block: &[u8], now: Instant) -> Outcome {
        let mut builder = HeadBuilder::new();
        let limits = self.head_limits;
        if self.decoder.decode(block, |entry| builder.add(entry, &limits)).is_err() {
            return fault(Code::Compression, "a header block cannot be read");
        }
        if let Some(stream) = self.find(id) {
            return self.trailers(stream, end_stream, builder, now);
        }
        if id <= self.last_id {
            return match self.how_ended(id) {
                None => fault(Code::Protocol, "streams have to be opened in order"),
                Some(_) => self.after_end(id, now),
            };
        }
        self.last_id = id;
        if self.client_leaves || matches!(self.draining, Draining::Final(last) if id > last) {
            frame::put_reset(id, Code::RefusedStream, &mut self.out);
            self.remember(id, Ended::ByServer);
            return Ok(None);
        }
        if circular {
            return self.stream_error(id, Code::Protocol, now);
        }
        if self.open >= self.max_streams || self.streams.len() >= 2 * self.max_streams {
            frame::put_reset(id, Code::RefusedStream, &mut self.out);
            self.remember(id, Ended::ByServer);
            return self.glitch(Glitch::Refused, now).map(|()| None);
        }
        match builder.request() {
            Ok(head) if end_stream && head.length.is_some_and(|length| length > 0) => {
                self.stream_error(id, Code::Protocol, now)
            }
            Ok(head) => {
                let priority = self.first_priority(id, &head.fields);
                let stream = self.insert(id, !end_stream, head.length, priority);
                Ok(Some(Event::Request { stream, head: Box::new(head), end: end_stream }))
            }
            Err(BadHead::Malformed) => self.stream_error(id, Code::Protocol, now),
            Err(BadHead::TooLarge) => {
                self.glitch(Glitch::Headers, now)?;
                let stream = self.insert(id, !end_stream, None, Priority::default());
                if let Some(found) = self.get_mut(stream) {
                    found.held = false;
                }
                Ok(Some(Event::TooLarge(stream)))
            }
        }
    }

    /// What the client wants for a new stream. One that knows nothing of priorities has all streams in turns: it cannot
    /// know that otherwise one would wait for the other.
    fn first_priority(&mut self, id: u32, fields: &http::HeaderMap) -> Priority {
        let foretold = self.foretold.iter().position(|(other, _)| *other == id);
        if let Some(place) = foretold {
            return self.foretold.swap_remove(place).1;
        }
        match fields.get("priority") {
            Some(field) => {
                self.prioritizes = true;
                Priority::default().with(field.as_bytes())
            }
            None => Priority { incremental: !self.prioritizes, ..Priority::default() },
        }
    }

    fn trailers(
        &mut self,
        stream: StreamRef,
        end_stream: bool,
        builder: HeadBuilder,
        now: Instant,
    ) -> Outcome {
        let Some(found) = self.get_mut(stream) else { return Ok(None) };
        if !found.receiving {
            return self.stream_error(stream.id, Code::StreamClosed, now);
        }
        let whole = end_stream && found.left.is_none_or(|left| left == 0);
        let Some(trailers) = builder.trailers().ok().filter(|_| whole) else {
            return self.stream_error(stream.id, Code::Protocol, now);
        };
        found.receiving = false;
        let held = found.held;
        self.put_trailers(stream, trailers);
        self.side_closed(stream);
        Ok(held.then_some(Event::Readable(stream)))
    }

    fn reset_by_client(&mut self, head: &Head, payload: &[u8], now: Instant) -> Outcome {
        if payload.len() != 4 {
            return fault(Code::FrameSize, "RST_STREAM has a wrong length");
        }
        if self.is_idle_stream(head.stream) {
            return fault(Code::Protocol, "RST_STREAM on a stream that was never open");
        }
        let Some(stream) = self.find(head.stream) else { return Ok(None) };
        if self.get(stream).is_some_and(|found| found.is_closed()) {
            return Ok(None);
        }
        self.remove(stream, Ended::ByClient);
        self.glitch(Glitch::Reset, now)?;
        Ok(Some(Event::Reset(stream)))
    }

    fn settings(&mut self, head: &Head, payload: &[u8]) -> Outcome {
        if head.stream != 0 {
            return fault(Code::Protocol, "SETTINGS on a stream");
        }
        if head.has(flag::ACK) && !payload.is_empty() || !payload.len().is_multiple_of(6) {
            return fault(Code::FrameSize, "SETTINGS have a wrong length");
        }
        if head.has(flag::ACK) {
            return Ok(None);
        }
        for one in payload.chunks_exact(6) {
            let (name, value) = (u16::from_be_bytes([one[0], one[1]]), [one[2], one[3], one[4], one[5]]);
            self.setting(name, u32::from_be_bytes(value))?;
        }
        frame::put_settings_ack(&mut self.out);
        Ok(None)
    }

    fn setting(&mut self, name: u16, value: u32) -> Result<(), Fault> {
        match name {
            setting::HEADER_TABLE_SIZE => self.encoder.allow(value as usize),
            setting::ENABLE_PUSH | setting::ENABLE_CONNECT_PROTOCOL | setting::NO_RFC7540_PRIORITIES
                if value > 1 =>
            {
                return fault(Code::Protocol, "a setting must be 0 or 1");
            }
            setting::NO_RFC7540_PRIORITIES => self.prioritizes |= value == 1,
            setting::INITIAL_WINDOW_SIZE if i64::from(value) > WINDOW_MAX => {
                return fault(Code::FlowControl, "the initial window is too large");
            }
            setting::INITIAL_WINDOW_SIZE => {
                let change = i64::from(value) - i64::from(self.peer_window);
                self.peer_window = value;
                if !self.widen_all(change) {
                    return fault(Code::FlowControl, "a window became too large");
                }
            }
            setting::MAX_FRAME_SIZE if !(MAX_PAYLOAD as u32..=0xff_ffff).contains(&value) => {
                return fault(Code::Protocol, "the largest frame must be between 16384 and 16777215 bytes");
            }
            _ => {}
        }
        Ok(())
    }

    fn ping_frame(&mut self, head: &Head, payload: &[u8], now: Instant) -> Outcome {
        if head.stream != 0 {
            return fault(Code::Protocol, "PING on a stream");
        }
        let Ok(payload) = <[u8; 8]>::try_from(payload) else {
            return fault(Code::FrameSize, "PING has a wrong length");
        };
        if head.has(flag::ACK) {
            if payload == DRAIN_PING && self.draining == Draining::Announced {
                self.drain_now();
            }
            return Ok(Some(Event::Pong));
        }
        self.glitch(Glitch::Ping, now)?;
        frame::put_ping(payload, true, &mut self.out);
        Ok(None)
    }

    fn window_update(&mut self, head: &Head, payload: &[u8], now: Instant) -> Outcome {
        let Ok(more) = <[u8; 4]>::try_from(payload) else {
            return fault(Code::FrameSize, "WINDOW_UPDATE has a wrong length");
        };
        let more = i64::from(id(more));
        if head.stream == 0 {
            if more == 0 {
                return fault(Code::Protocol, "WINDOW_UPDATE of nothing");
            }
            self.send_window += more;
            if self.send_window > WINDOW_MAX {
                return fault(Code::FlowControl, "the connection's window became too large");
            }
            return self.glitch(Glitch::WindowUpdate, now).map(|()| None);
        }
        if self.is_idle_stream(head.stream) {
            return fault(Code::Protocol, "WINDOW_UPDATE on a stream that was never open");
        }
        self.glitch(Glitch::WindowUpdate, now)?;
        let Some(stream) = self.find(head.stream) else { return Ok(None) };
        if more == 0 {
            return self.stream_error(head.stream, Code::Protocol, now);
        }
        if !self.widen(stream, more) {
            return self.stream_error(head.stream, Code::FlowControl, now);
        }
        Ok(None)
    }

    /// The priorities of RFC 7540, which RFC 9113 has no use for any more.
    fn old_priority(&mut self, head: &Head, payload: &[u8], now: Instant) -> Outcome {
        if head.stream == 0 {
            return fault(Code::Protocol, "PRIORITY without a stream");
        }
        self.glitch(Glitch::Priority, now)?;
        let Ok([a, b, c, d, _]) = <[u8; 5]>::try_from(payload) else {
            if self.is_idle_stream(head.stream) {
                return fault(Code::FrameSize, "PRIORITY has a wrong length");
            }
            return self.stream_error(head.stream, Code::FrameSize, now);
        };
        if id([a, b, c, d]) != head.stream {
            return Ok(None);
        }
        if self.is_idle_stream(head.stream) {
            return fault(Code::Protocol, "a stream cannot depend on itself");
        }
        self.stream_error(head.stream, Code::Protocol, now)
    }

    /// RFC 9218, section 7.1
    fn priority_update(&mut self, head: &Head, payload: &[u8], now: Instant) -> Outcome {
        if head.stream != 0 {
            return fault(Code::Protocol, "PRIORITY_UPDATE on a stream");
        }
        let Some((stream, field)) = payload.split_first_chunk::<4>() else {
            return fault(Code::FrameSize, "PRIORITY_UPDATE is too short");
        };
        let stream = id(*stream);
        if stream.is_multiple_of(2) {
            return fault(Code::Protocol, "PRIORITY_UPDATE for a stream that no client opens");
        }
        self.glitch(Glitch::Priority, now)?;
        self.prioritizes = true;
        let priority = Priority::default().with(field);
        if let Some(found) = self.find(stream) {
            self.prioritize(found, priority);
        } else if self.is_idle_stream(stream) {
            self.foretold.retain(|(other, _)| *other != stream && *other > self.last_id);
            if self.foretold.len() < FORETOLD_MAX {
                self.foretold.push((stream, priority));
            }
        }
        Ok(None)
    }

    /// The client takes `more` bytes of a stream; false when that is more than there can be.
    fn widen(&mut self, stream: StreamRef, more: i64) -> bool {
        let Some(found) = self.streams.get_mut(stream.slot()) else { return true };
        found.send_window += more;
        if found.send_window > WINDOW_MAX {
            return false;
        }
        if found.is_ready() && !found.queued {
            found.queued = true;
            let (id, priority) = (found.id, found.priority);
            self.schedule.insert(stream.slot(), id, priority);
        }
        true
    }

    fn widen_all(&mut self, change: i64) -> bool {
        for place in 0..self.index.len() {
            let (id, key) = self.index[place];
            let stream = StreamRef { key, id };
            if !self.widen(stream, change) {
                return false;
            }
            // One whose window went has no turn until it comes back.
            let Some(found) = self.streams.get_mut(stream.slot()) else { continue };
            if found.queued && !found.is_ready() {
                found.queued = false;
                let priority = found.priority;
                self.schedule.remove(stream.slot(), priority);
            }
        }
        true
    }
}

const _: () = assert!((INITIAL_WINDOW as i64) < WINDOW_MAX);
