//! Responses, and the frames that are made of them.

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::connection::{Connection, Ended};
use crate::frame::{self, Code, HEAD, MAX_PAYLOAD, flag, kind};
use crate::stream::StreamRef;

impl Connection {
    /// Writes an interim response, such as 103 (RFC 9113, section 8.1). False when it is too late for one.
    pub fn inform(&mut self, stream: StreamRef, status: StatusCode, fields: &HeaderMap) -> bool {
        let early = self.get(stream).is_some_and(|found| found.sending && !found.head_sent);
        if early && status.is_informational() {
            self.put_head(stream.id, Some(status), fields, None, None, false);
        }
        early
    }

    /// Writes a response's head. Fields that only concern HTTP/1 are left out; `length` and `date` are added where `fields`
    /// do not say them. With `end` nothing follows.
    pub fn respond(
        &mut self,
        stream: StreamRef,
        status: StatusCode,
        fields: &HeaderMap,
        length: Option<u64>,
        date: Option<&HeaderValue>,
        end: bool,
    ) {
        let Some(found) = self.get_mut(stream).filter(|found| found.sending && !found.head_sent) else {
            return;
        };
        found.head_sent = true;
        self.put_head(stream.id, Some(status), fields, length, date, end);
        if end {
            self.ended_sending(stream);
        }
    }

    /// True when a response is not at its end.
    pub fn is_sending(&self, stream: StreamRef) -> bool {
        self.get(stream).is_some_and(|found| found.sending && !found.last)
    }

    /// True when a stream takes more of its response's body.
    pub fn wants(&self, stream: StreamRef) -> bool {
        self.get(stream)
            .is_some_and(|found| found.head_sent && found.sending && !found.last && found.chunk.is_empty())
    }

    /// Puts in the next bytes of a response's body, which [wants](Self::wants) them; with `end` they are the last.
    pub fn send(&mut self, stream: StreamRef, data: Bytes, end: bool) {
        if !self.wants(stream) {
            return;
        }
        if data.is_empty() {
            if end {
                self.finish(stream, None);
            }
            return;
        }
        let Some(found) = self.get_mut(stream) else { return };
        found.chunk = data;
        found.last = end;
        let ready = found.is_ready() && !std::mem::replace(&mut found.queued, found.send_window > 0);
        let priority = found.priority;
        self.waiting += 1;
        if ready {
            self.schedule.insert(stream.slot(), stream.id, priority);
        }
    }

    /// The response's body is at its end, perhaps with fields behind it.
    pub fn finish(&mut self, stream: StreamRef, trailers: Option<HeaderMap>) {
        let Some(found) = self.get_mut(stream).filter(|found| found.sending && !found.last) else { return };
        found.last = true;
        found.last_trailers = trailers.filter(|trailers| !trailers.is_empty()).map(Box::new);
        if found.chunk.is_empty() {
            self.put_end(stream);
        }
    }

    /// Makes frames of what waits until the output has `most` bytes or the client takes no more; tells of each stream that
    /// wants more of its body. True when there were any.
    pub fn fill(&mut self, most: usize, mut hungry: impl FnMut(StreamRef)) -> bool {
        let mut any = false;
        while self.out.len() < most && self.send_window > 0 {
            let Some(key) = self.schedule.pop() else { break };
            let Some(found) = self.streams.get_mut(key) else { continue };
            let window = self.send_window.min(found.send_window).min(MAX_PAYLOAD as i64);
            let count = found.chunk.len().min(usize::try_from(window).unwrap_or(0));
            let stream = StreamRef { key: key as u32, id: found.id };
            let whole = count == found.chunk.len();
            let end = whole && found.last && found.last_trailers.is_none();
            let flags = if end { flag::END_STREAM } else { 0 };
            frame::put_head(count, kind::DATA, flags, found.id, &mut self.out);
            self.out.extend_from_slice(&found.chunk[..count]);
            found.send_window -= count as i64;
            self.send_window -= count as i64;
            found.queued = false;
            self.score.sent_data();
            any = true;
            if !whole {
                found.chunk.advance(count);
                if found.is_ready() {
                    found.queued = true;
                    let (id, priority) = (found.id, found.priority);
                    self.schedule.insert(key, id, priority);
                }
                continue;
            }
            found.chunk = Bytes::new();
            self.waiting -= 1;
            if end {
                self.ended_sending(stream);
            } else if found.last {
                self.put_end(stream);
            } else {
                hungry(stream);
            }
        }
        any
    }

    /// The end of a response that has no more bytes.
    fn put_end(&mut self, stream: StreamRef) {
        let Some(found) = self.get_mut(stream) else { return };
        match found.last_trailers.take() {
            Some(trailers) => self.put_head(stream.id, None, &trailers, None, None, true),
            None => frame::put_head(0, kind::DATA, flag::END_STREAM, stream.id, &mut self.out),
        }
        self.ended_sending(stream);
    }

    fn ended_sending(&mut self, stream: StreamRef) {
        self.score.answered();
        let Some(found) = self.get_mut(stream) else { return };
        found.sending = false;
        self.side_closed(stream);
    }

    /// The response cannot be brought to its end.
    pub fn abort(&mut self, stream: StreamRef) {
        if self.get(stream).is_some_and(|found| found.sending) {
            frame::put_reset(stream.id, Code::Internal, &mut self.out);
            self.remove(stream, Ended::ByServer);
        }
    }

    fn put_head(
        &mut self,
        id: u32,
        status: Option<StatusCode>,
        fields: &HeaderMap,
        length: Option<u64>,
        date: Option<&HeaderValue>,
        end: bool,
    ) {
        let start = self.out.len();
        self.out.extend_from_slice(&[0; HEAD]);
        self.encoder.begin(&mut self.out);
        if let Some(status) = status {
            self.encoder.status(status.as_u16(), &mut self.out);
        }
        let mut dated = false;
        for (name, value) in fields {
            if is_of_http1(name) || *name == header::CONTENT_LENGTH && length.is_some() {
                continue;
            }
            dated |= *name == header::DATE;
            self.encoder.field(name, value, &mut self.out);
        }
        if let Some(length) = length {
            self.encoder.length(length, &mut self.out);
        }
        if let Some(date) = date.filter(|_| !dated) {
            self.encoder.field(&header::DATE, date, &mut self.out);
        }
        frame::finish_headers(start, end, id, &mut self.out);
    }
}

/// Fields that say how a message travels over HTTP/1 (RFC 9113, section 8.2.2).
fn is_of_http1(name: &HeaderName) -> bool {
    match *name {
        header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE => true,
        ref name => matches!(name.as_str(), "keep-alive" | "proxy-connection"),
    }
}
