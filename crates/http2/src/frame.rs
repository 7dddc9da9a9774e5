//! Frames (RFC 9113, sections 4 and 6): their heads, and those that a server writes.

/// Bytes of a frame's head.
pub const HEAD: usize = 9;
/// The largest payload of a frame that is accepted and written, bytes: what every peer takes.
pub const MAX_PAYLOAD: usize = 16_384;
/// How a client begins a connection (RFC 9113, section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames.
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
    /// RFC 9218
    pub(crate) const PRIORITY_UPDATE: u8 = 16;
}

/// Flags of frames.
pub(crate) mod flag {
    /// Of SETTINGS and PING.
    pub(crate) const ACK: u8 = 1;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
    pub(crate) const PADDED: u8 = 8;
    pub(crate) const PRIORITY: u8 = 32;
}

/// Settings (RFC 9113, section 6.5.2).
pub(crate) mod setting {
    pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
    pub(crate) const ENABLE_PUSH: u16 = 2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 5;
    pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 6;
    /// RFC 8441
    pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 8;
    /// RFC 9218
    pub(crate) const NO_RFC7540_PRIORITIES: u16 = 9;
}

/// Why a stream or a connection ends (RFC 9113, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Code {
    /// Nothing went wrong.
    NoError = 0,
    /// The peer broke a rule.
    Protocol = 1,
    /// This side failed.
    Internal = 2,
    /// More was sent than the window allows.
    FlowControl = 3,
    /// A frame for a stream that is over.
    StreamClosed = 5,
    /// A frame has a wrong length.
    FrameSize = 6,
    /// The stream was not begun; it may be tried again.
    RefusedStream = 7,
    /// The stream is not needed any more.
    Cancel = 8,
    /// A header block cannot be read.
    Compression = 9,
    /// The peer makes more work than it should.
    EnhanceYourCalm = 11,
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) length: usize,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

impl Head {
    pub(crate) fn read(bytes: &[u8; HEAD]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = *bytes;
        Self { length: u32::from_be_bytes([0, a, b, c]) as usize, kind, flags, stream: id(stream) }
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// The id of a stream: 31 bits.
pub(crate) fn id(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes) & 0x7fff_ffff
}

/// Appends the head of a frame.
pub(crate) fn put_head(length: usize, kind: u8, flags: u8, stream: u32, out: &mut Vec<u8>) {
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind, flags, d, e, f, g]);
}

pub(crate) fn put_settings(settings: &[(u16, u32)], out: &mut Vec<u8>) {
    put_head(settings.len() * 6, kind::SETTINGS, 0, 0, out);
    for (name, value) in settings {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub(crate) fn put_settings_ack(out: &mut Vec<u8>) {
    put_head(0, kind::SETTINGS, flag::ACK, 0, out);
}

pub(crate) fn put_ping(payload: [u8; 8], ack: bool, out: &mut Vec<u8>) {
    put_head(8, kind::PING, u8::from(ack), 0, out);
    out.extend_from_slice(&payload);
}

pub(crate) fn put_reset(stream: u32, code: Code, out: &mut Vec<u8>) {
    put_head(4, kind::RST_STREAM, 0, stream, out);
    out.extend_from_slice(&(code as u32).to_be_bytes());
}

pub(crate) fn put_window_update(stream: u32, more: u32, out: &mut Vec<u8>) {
    put_head(4, kind::WINDOW_UPDATE, 0, stream, out);
    out.extend_from_slice(&more.to_be_bytes());
}

pub(crate) fn put_goaway(last: u32, code: Code, words: &str, out: &mut Vec<u8>) {
    put_head(8 + words.len(), kind::GOAWAY, 0, 0, out);
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&(code as u32).to_be_bytes());
    out.extend_from_slice(words.as_bytes());
}

/// Makes frames of the header block that `out` holds from `start` on, behind room for a frame's head.
pub(crate) fn finish_headers(start: usize, end_stream: bool, stream: u32, out: &mut Vec<u8>) {
    let length = out.len() - start - HEAD;
    let end = if end_stream { flag::END_STREAM } else { 0 };
    let mut head = Vec::with_capacity(HEAD);
    if length <= MAX_PAYLOAD {
        put_head(length, kind::HEADERS, end | flag::END_HEADERS, stream, &mut head);
        return out[start..start + HEAD].copy_from_slice(&head);
    }
    let block = out.split_off(start + HEAD);
    out.truncate(start);
    let last = block.len().div_ceil(MAX_PAYLOAD) - 1;
    for (n, part) in block.chunks(MAX_PAYLOAD).enumerate() {
        let flags = if n == last { flag::END_HEADERS } else { 0 };
        match n {
            0 => put_head(part.len(), kind::HEADERS, end | flags, stream, out),
            _ => put_head(part.len(), kind::CONTINUATION, flags, stream, out),
        }
        out.extend_from_slice(part);
    }
}

/// A payload without its padding (RFC 9113, section 6.1); `None` when there is more of that than there is payload.
pub(crate) fn unpadded<'a>(head: &Head, payload: &'a [u8]) -> Option<&'a [u8]> {
    if !head.has(flag::PADDED) {
        return Some(payload);
    }
    let (padding, rest) = payload.split_first()?;
    rest.get(..rest.len().checked_sub(usize::from(*padding))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_written() {
        let mut out = Vec::new();
        put_head(0x01_02_03, 7, 5, 0x7fff_fffe, &mut out);
        let head = Head::read(&out.try_into().unwrap());
        assert_eq!(head, Head { length: 0x01_02_03, kind: 7, flags: 5, stream: 0x7fff_fffe });
    }

    #[test]
    fn long_blocks_are_continued() {
        for length in [0, MAX_PAYLOAD, MAX_PAYLOAD + 1, 3 * MAX_PAYLOAD] {
            let mut out = vec![1, 2];
            out.extend([0; HEAD]);
            out.extend(vec![7; length]);
            finish_headers(2, true, 9, &mut out);
            let (mut at, mut read, mut frames) = (2, 0, Vec::new());
            while at < out.len() {
                let head = Head::read(out[at..at + HEAD].try_into().unwrap());
                assert!(head.length <= MAX_PAYLOAD && head.stream == 9);
                read += head.length;
                at += HEAD + head.length;
                frames.push((head.kind, head.flags));
            }
            assert_eq!((at, read), (out.len(), length));
            assert_eq!(frames[0].0, kind::HEADERS);
            assert!(frames[1..].iter().all(|(kind, _)| *kind == kind::CONTINUATION));
            assert_eq!(frames.last().unwrap().1 & flag::END_HEADERS, flag::END_HEADERS);
            assert_eq!(frames[0].1 & flag::END_STREAM, flag::END_STREAM);
        }
    }

    #[test]
    fn padding_goes() {
        let head = Head { length: 0, kind: 0, flags: flag::PADDED, stream: 1 };
        assert_eq!(unpadded(&head, &[2, b'a', 0, 0]), Some(&b"a"[..]));
        assert_eq!(unpadded(&head, &[3, 0, 0, 0]), Some(&b""[..]));
        assert_eq!(unpadded(&head, &[4, 0, 0, 0]), None);
        assert_eq!(unpadded(&head, &[]), None);
    }
}
