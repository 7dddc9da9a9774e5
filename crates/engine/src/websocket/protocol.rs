//! RFC 6455 without I/O: bytes of a connection in, messages out, and the other way round.
//!
//! The `tungstenite` library reads: it unmasks, joins fragments, checks UTF-8 and answers pings. It is fed no more than
//! one frame at a time, so that after a large message its buffer can be given back. What is sent is encoded here, frame
//! by frame, because the library answers a close by itself, and here the worker may want to do that.

use std::io::{self, Cursor, Read, Write};

use bytes::Bytes;
use selvedge_wire::socket::{MessageKind, NO_CODE};
use tungstenite::error::Error;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame, FrameHeader};
use tungstenite::protocol::{Message, Role, WebSocketConfig, WebSocketContext};

/// What the library's read buffer starts with, bytes.
const READ_BUFFER: usize = 4 << 10;
/// A message larger than this has the library's buffer given back, bytes.
const BUFFER_KEPT: usize = 64 << 10;
/// Pongs are put off while so much waits to be written, bytes.
const OUT_MAX: usize = 64 << 10;
/// Longest payload of a control frame (RFC 6455, section 5.5).
const CONTROL_MAX: u64 = 125;
/// Longest header of a frame.
const HEADER_MAX: usize = 14;
/// Longest reason for closing, bytes.
const REASON_MAX: usize = 123;

/// What a peer sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// A whole message, text checked.
    Message(MessageKind, Bytes),
    /// The peer closes; [`NO_CODE`] when it does not say why.
    Close(u16, String),
}

/// The peer broke the protocol: the connection is to be closed with this code.
#[derive(Debug, PartialEq, Eq)]
pub struct Violation {
    pub code: u16,
    pub text: String,
}

/// One end of a WebSocket.
pub struct Protocol {
    context: WebSocketContext,
    role: Role,
    config: WebSocketConfig,
    header: [u8; HEADER_MAX],
    header_len: usize,
    /// Payload bytes of the current frame that have not arrived.
    left: u64,
    /// Bytes fed since the last message.
    fed: usize,
    /// Frames to be written to the connection.
    pub out: Vec<u8>,
}

impl Protocol {
    /// An end that takes messages of at most `message_max` bytes.
    pub fn new(role: Role, message_max: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            // One pong; a newer one takes its place while it has to wait.
            .max_write_buffer_size(256)
            .max_message_size(Some(message_max))
            .max_frame_size(Some(message_max));
        Self {
            context: WebSocketContext::new(role, Some(config)),
            role,
            config,
            header: [0; HEADER_MAX],
            header_len: 0,
            left: 0,
            fed: 0,
            out: Vec::new(),
        }
    }

    /// Takes in bytes, which move on behind what was taken, up to the end of a message.
    pub fn receive(&mut self, bytes: &mut &[u8]) -> Result<Option<Received>, Violation> {
        loop {
            let received = if self.left == 0 {
                let Some((byte, rest)) = bytes.split_first() else { return Ok(None) };
                *bytes = rest;
                self.header[self.header_len] = *byte;
                self.header_len += 1;
                let mut cursor = Cursor::new(&self.header[..self.header_len]);
                let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(violation)? else {
                    continue;
                };
                if matches!(header.opcode, OpCode::Control(_)) && length > CONTROL_MAX {
                    return Err(protocol_error("A control frame is longer than 125 bytes."));
                }
                self.left = length;
                let header = self.header;
                let len = std::mem::take(&mut self.header_len);
                self.feed(&header[..len])?
            } else {
                if bytes.is_empty() {
                    return Ok(None);
                }
                let take = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                let (now, rest) = bytes.split_at(take);
                *bytes = rest;
                self.left -= take as u64;
                self.feed(now)?
            };
            if received.is_some() {
                return Ok(received);
            }
        }
    }

    /// Bytes that are kept of a message that is not whole.
    pub fn kept(&self) -> usize {
        self.fed
    }

    /// Feeds bytes of one frame to the library.
    fn feed(&mut self, bytes: &[u8]) -> Result<Option<Received>, Violation> {
        self.fed += bytes.len();
        let mut pipe = Pipe { input: bytes, out: &mut self.out };
        loop {
            match self.context.read(&mut pipe) {
                Ok(Message::Text(text)) => return Ok(Some(self.whole(MessageKind::Text, text.into()))),
                Ok(Message::Binary(bytes)) => return Ok(Some(self.whole(MessageKind::Binary, bytes))),
                Ok(Message::Close(None)) => return Ok(Some(Received::Close(NO_CODE, String::new()))),
                Ok(Message::Close(Some(frame))) => {
                    return Ok(Some(Received::Close(frame.code.into(), frame.reason.as_str().to_owned())));
                }
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(violation(error)),
            }
        }
    }

    fn whole(&mut self, kind: MessageKind, payload: Bytes) -> Received {
        if std::mem::take(&mut self.fed) > BUFFER_KEPT {
            let _ = self.context.flush(&mut Pipe { input: &[], out: &mut self.out });
            self.context = WebSocketContext::new(self.role, Some(self.config));
        }
        Received::Message(kind, payload)
    }

    /// Writes what the library wants to say by itself, once there is room again.
    pub fn flush(&mut self) {
        let _ = self.context.flush(&mut Pipe { input: &[], out: &mut self.out });
    }

    /// Sends a part of a message; a message of one part is one frame.
    pub fn send(&mut self, kind: MessageKind, first: bool, last: bool, bytes: &[u8]) {
        let data = match kind {
            _ if !first => Data::Continue,
            MessageKind::Text => Data::Text,
            _ => Data::Binary,
        };
        self.put(Frame::message(Bytes::copy_from_slice(bytes), OpCode::Data(data), last));
    }

    /// Sends a close; [`NO_CODE`] sends none, and codes that must not be sent become 1011.
    pub fn send_close(&mut self, code: u16, reason: &str) {
        let frame = (code != NO_CODE).then(|| {
            let code = CloseCode::from(code);
            let code = if code.is_allowed() { code } else { CloseCode::Error };
            let end = reason.floor_char_boundary(REASON_MAX.min(reason.len()));
            CloseFrame { code, reason: reason[..end].into() }
        });
        self.put(Frame::close(frame));
    }

    /// Asks whether the peer is still there.
    pub fn ping(&mut self) {
        self.put(Frame::ping(Bytes::new()));
    }

    fn put(&mut self, mut frame: Frame) {
        if self.role == Role::Client {
            let mut mask = [0; 4];
            // Masks are to be unpredictable (RFC 6455, section 10.3); so few bytes always come at once.
            let _ = rustix::rand::getrandom(&mut mask, rustix::rand::GetRandomFlags::empty());
            frame.header_mut().mask = Some(mask);
        }
        let _ = frame.format(&mut self.out);
    }
}

impl std::fmt::Debug for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Protocol").field("role", &self.role).finish_non_exhaustive()
    }
}

/// The connection as the library sees it.
struct Pipe<'a> {
    input: &'a [u8],
    out: &'a mut Vec<u8>,
}

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.out.len() > OUT_MAX {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn protocol_error(text: &str) -> Violation {
    Violation { code: 1002, text: text.into() }
}

fn violation(error: Error) -> Violation {
    match error {
        Error::Capacity(_) => Violation { code: 1009, text: "Message is too large".into() },
        Error::Utf8(_) => Violation { code: 1007, text: "A text message is not valid UTF-8.".into() },
        Error::Protocol(error) => Violation { code: 1002, text: error.to_string() },
        error => Violation { code: 1002, text: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that a server receives from these bytes, fed in pieces of `size`.
    fn server(bytes: &[u8], size: usize) -> (Vec<Received>, Result<(), u16>, Vec<u8>) {
        let mut protocol = Protocol::new(Role::Server, 1 << 20);
        let mut all = Vec::new();
        for mut piece in bytes.chunks(size) {
            loop {
                match protocol.receive(&mut piece) {
                    Ok(Some(received)) => all.push(received),
                    Ok(None) => break,
                    Err(violation) => return (all, Err(violation.code), protocol.out),
                }
            }
        }
        (all, Ok(()), protocol.out)
    }

    fn text(text: &str) -> Received {
        Received::Message(MessageKind::Text, Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn ends_understand_each_other_in_any_pieces() {
        let mut client = Protocol::new(Role::Client, 1 << 20);
        let large = "x".repeat(200_000);
        client.send(MessageKind::Text, true, true, b"one");
        client.send(MessageKind::Binary, true, false, b"tw");
        client.ping();
        client.send(MessageKind::Binary, false, true, b"o");
        client.send(MessageKind::Text, true, true, b"");
        client.send(MessageKind::Text, true, true, large.as_bytes());
        client.send(MessageKind::Text, true, true, b"after");
        client.send_close(4000, "bye");
        let wanted = [
            text("one"),
            Received::Message(MessageKind::Binary, Bytes::from_static(b"two")),
            text(""),
            text(&large),
            text("after"),
            Received::Close(4000, "bye".into()),
        ];
        for size in [1, 3, 1000, 1 << 20] {
            let (received, ended, out) = server(&client.out, size);
            assert_eq!(ended, Ok(()));
            assert!(received == wanted, "pieces of {size}");
            assert_eq!(out, [0x8a, 0], "the pong, and no close");
        }
    }

    #[test]
    fn violations_have_their_codes() {
        let masked = |head: &[u8], payload: &[u8]| [head, &[0; 4], payload].concat();
        for (bytes, code) in [
            (masked(&[0x81, 0x82], &[0xc3, 0x28]), 1007),
            (vec![0x81, 0x01, b'a'], 1002),
            (masked(&[0x80, 0x81], b"a"), 1002),
            (masked(&[0xc1, 0x81], b"a"), 1002),
            (masked(&[0x09, 0x80], b""), 1002),
            (masked(&[0x89, 0xfe, 0xff, 0xff], b""), 1002),
            (masked(&[0x83, 0x80], b""), 1002),
            (vec![0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0], 1009),
            (masked(&[0x88, 0x81], b"a"), 1002),
        ] {
            assert_eq!(server(&bytes, 5).1, Err(code), "{bytes:x?}");
        }
    }

    #[test]
    fn pings_without_end_do_not_fill_the_memory() {
        let mut client = Protocol::new(Role::Client, 1024);
        (0..100_000).for_each(|_| client.ping());
        let (_, ended, out) = server(&client.out, 4096);
        assert_eq!(ended, Ok(()));
        assert!(out.len() <= OUT_MAX + 16, "{}", out.len());
    }

    #[test]
    fn codes_that_must_not_be_sent_are_not() {
        let mut server = Protocol::new(Role::Server, 1024);
        server.send_close(1006, &"ü".repeat(100));
        assert_eq!(server.out[..4], [0x88, 124, 0x03, 0xf3]);
        server.out.clear();
        server.send_close(NO_CODE, "unused");
        assert_eq!(server.out, [0x88, 0]);
    }
}
