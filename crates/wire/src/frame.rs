//! Frames: the 12-byte header and what follows it.
//!
//! ```text
//! 0        4        8      9       10        12
//! | length | stream | kind | flags | zero    | payload … |
//! ```

use crate::{HEADER_LEN, PAYLOAD_MAX};

/// Flag: the sender sends nothing more on this stream.
pub const FIN: u8 = 1;
/// Flag: the host has finished all work of this stream.
pub const DONE: u8 = 2;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// First frame of each side; stream 0.
    Hello = 1,
    /// Opens a stream with a [`Call`](crate::message::Call).
    Open = 2,
    /// Status and headers of the answer.
    Head = 3,
    /// Body bytes.
    Data = 4,
    /// More `DATA` may be sent.
    Credit = 5,
    /// The stream ends here, in both directions, with a reason.
    Reset = 6,
    /// Carries `DONE` where no other frame was left to carry it.
    Done = 7,
    /// Something that a worker said, or that happened to it.
    Log = 8,
    /// To be answered with `PONG` and the same payload; stream 0.
    Ping = 9,
    /// Answer to `PING`; stream 0.
    Pong = 10,
    /// Engine to host: unload an instance; stream 0.
    Unload = 11,
    /// Host to engine: an instance is no more; stream 0.
    Gone = 12,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Hello,
            2 => Self::Open,
            3 => Self::Head,
            4 => Self::Data,
            5 => Self::Credit,
            6 => Self::Reset,
            7 => Self::Done,
            8 => Self::Log,
            9 => Self::Ping,
            10 => Self::Pong,
            11 => Self::Unload,
            12 => Self::Gone,
            _ => return None,
        })
    }
}

/// One decoded frame, borrowing its payload from the read buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is.
    pub kind: Kind,
    /// [`FIN`] and [`DONE`].
    pub flags: u8,
    /// 0 for the connection itself.
    pub stream: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Whether the sender's half ends with this frame.
    pub fn fin(&self) -> bool {
        self.flags & FIN != 0
    }

    /// Whether the host has finished the stream.
    pub fn done(&self) -> bool {
        self.flags & DONE != 0
    }
}

/// The peer broke the protocol; the connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A length beyond [`PAYLOAD_MAX`].
    #[error("frame of {0} bytes is larger than the protocol allows")]
    TooLarge(u32),
    /// A kind, flag or reserved byte that this version does not know.
    #[error("unknown frame kind {kind} with flags {flags}")]
    Unknown {
        /// The kind's byte.
        kind: u8,
        /// The flags' byte.
        flags: u8,
    },
    /// A payload that does not hold what its kind says.
    #[error("malformed {0} payload")]
    Payload(&'static str),
    /// The peer speaks another version, or something else altogether.
    #[error("peer speaks version {0}, this side {version}", version = crate::VERSION)]
    Version(u16),
}

/// Decodes the first frame of `bytes`; `None` when it has not arrived whole. On success also says how many bytes
/// it took.
pub fn decode(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, WireError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() else { return Ok(None) };
    let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    if length as usize > PAYLOAD_MAX {
        return Err(WireError::TooLarge(length));
    }
    let (kind, flags) = (header[8], header[9]);
    let known = Kind::from_byte(kind).filter(|_| flags & !(FIN | DONE) == 0 && header[10..12] == [0, 0]);
    let Some(kind) = known else { return Err(WireError::Unknown { kind, flags }) };
    let Some(payload) = rest.get(..length as usize) else { return Ok(None) };
    let stream = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    Ok(Some((Frame { kind, flags, stream, payload }, HEADER_LEN + length as usize)))
}

/// Appends a header whose length [`end`] fills in; returns its place.
pub fn begin(out: &mut Vec<u8>, kind: Kind, flags: u8, stream: u32) -> usize {
    let start = out.len();
    let mut header = [0; HEADER_LEN];
    header[4..8].copy_from_slice(&stream.to_le_bytes());
    header[8] = kind as u8;
    header[9] = flags;
    out.extend_from_slice(&header);
    start
}

/// Fills in the length of the frame that began at `start`: everything appended since.
pub fn end(out: &mut [u8], start: usize) {
    let length = out.len() - start - HEADER_LEN;
    debug_assert!(length <= PAYLOAD_MAX, "frames are cut before they are encoded");
    out[start..start + 4].copy_from_slice(&(length as u32).to_le_bytes());
}

/// Appends a whole frame.
pub fn put(out: &mut Vec<u8>, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
    let start = begin(out, kind, flags, stream);
    out.extend_from_slice(payload);
    end(out, start);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(flags in 0u8..4, stream: u32, payload in any::<Vec<u8>>(), after in any::<Vec<u8>>()) {
            let mut bytes = Vec::new();
            put(&mut bytes, Kind::Data, flags, stream, &payload);
            let size = bytes.len();
            bytes.extend_from_slice(&after);
            let (frame, taken) = decode(&bytes).unwrap().unwrap();
            prop_assert_eq!(taken, size);
            prop_assert_eq!(frame, Frame { kind: Kind::Data, flags, stream, payload: &payload });
        }

        #[test]
        fn a_part_of_a_frame_is_no_frame(payload in any::<Vec<u8>>(), cut: proptest::sample::Index) {
            let mut bytes = Vec::new();
            put(&mut bytes, Kind::Open, FIN, 7, &payload);
            prop_assert_eq!(decode(&bytes[..cut.index(bytes.len())]), Ok(None));
        }

        #[test]
        fn any_bytes_are_answered(bytes in any::<Vec<u8>>()) {
            if let Ok(Some((frame, taken))) = decode(&bytes) {
                prop_assert_eq!(taken, frame.payload.len() + HEADER_LEN);
            }
        }
    }

    #[test]
    fn huge_and_unknown_are_refused_before_they_arrive() {
        let mut bytes = [0u8; HEADER_LEN];
        bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(decode(&bytes), Err(WireError::TooLarge(u32::MAX)));
        bytes[..4].copy_from_slice(&0u32.to_le_bytes());
        bytes[8] = 99;
        assert_eq!(decode(&bytes), Err(WireError::Unknown { kind: 99, flags: 0 }));
        bytes[8] = 4;
        bytes[9] = 0x80;
        assert_eq!(decode(&bytes), Err(WireError::Unknown { kind: 4, flags: 0x80 }));
    }
}
