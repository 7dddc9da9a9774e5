//! A client that writes frames by hand.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test crate uses its part of the helpers")]

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use selvedge_http2::{Connection, Event, Http2Config, Limits, PREFACE, Received, StreamRef};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const PRIORITY_UPDATE: u8 = 16;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

/// `GET http://h/`
pub const GET: &[u8] = &[0x82, 0x86, 0x84, 0x01, 1, b'h'];
/// `POST http://h/`
pub const POST: &[u8] = &[0x83, 0x86, 0x84, 0x01, 1, b'h'];

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut out = vec![length[1], length[2], length[3], kind, flags];
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A frame that the server wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The code of RST_STREAM, or of GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        frames.push(Frame {
            kind: bytes[3],
            flags: bytes[4],
            stream: u32::from_be_bytes(bytes[5..9].try_into().unwrap()),
            payload: bytes[9..9 + length].to_vec(),
        });
        bytes = &bytes[9 + length..];
    }
    frames
}

/// A server and what it said.
pub struct Server {
    pub connection: Connection,
    pub now: Instant,
}

impl Default for Server {
    fn default() -> Self {
        Self::new(Http2Config::default())
    }
}

impl Server {
    /// After the handshake.
    pub fn new(config: Http2Config) -> Self {
        let now = Instant::now();
        let limits = Limits { head_bytes: 4096, fields: 20 };
        let mut server = Self { connection: Connection::new(&config, limits, now), now };
        assert!(server.feed(PREFACE).is_empty());
        assert!(server.feed(&frame(SETTINGS, 0, 0, &[])).is_empty());
        server.said();
        server
    }

    pub fn feed(&mut self, mut bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.connection.receive(&mut bytes, self.now) {
            events.push(event);
        }
        events
    }

    /// Opens a stream, which is to be a request.
    pub fn request(&mut self, stream: u32, flags: u8, block: &[u8]) -> StreamRef {
        match self.feed(&frame(HEADERS, END_HEADERS | flags, stream, block)).pop() {
            Some(Event::Request { stream, .. }) => stream,
            other => panic!("{other:?}"),
        }
    }

    /// Frames since the last call.
    pub fn said(&mut self) -> Vec<Frame> {
        frames(&std::mem::take(self.connection.output()))
    }

    /// The same, with as much of the responses' bodies as fits in `most` bytes.
    pub fn said_up_to(&mut self, most: usize) -> Vec<Frame> {
        self.connection.fill(most, |_| {});
        self.said()
    }

    pub fn answer(&mut self, stream: StreamRef, body: impl Into<Bytes>) {
        self.connection.respond(stream, StatusCode::OK, &HeaderMap::new(), None, None, false);
        self.connection.send(stream, body.into(), true);
    }

    pub fn read(&mut self, stream: StreamRef) -> Vec<u8> {
        let mut body = Vec::new();
        while let Received::Data(data) = self.connection.read(stream) {
            body.extend(data);
        }
        body
    }

    /// Sends this until the connection ends, but no more than `most` times: how often that took, and the last frame.
    pub fn flood(&mut self, most: u32, mut bytes: impl FnMut(u32) -> Vec<u8>) -> Option<(u32, Frame)> {
        for n in 0..most {
            let bytes = bytes(n);
            self.feed(&bytes);
            if self.connection.is_over() {
                return Some((n, self.said().pop().unwrap()));
            }
            assert!(self.connection.output().len() < 1 << 20);
        }
        None
    }
}
