//! WebSocket messages inside of a stream's `DATA`.
//!
//! A stream becomes a socket when its call is answered with status 101: a [`Fetch`](crate::message::Fetch) with
//! `socket` set, or a [`Call::WebSocket`](crate::message::Call::WebSocket). From then on the `DATA` of both directions
//! is a sequence of whole messages, cut into frames wherever it suits:
//!
//! ```text
//! 0        4      5
//! | length | kind | payload … |
//! ```
//!
//! Fragments, masks, pings and the closing handshake of RFC 6455 stay with the engine. Credit counts these bytes as it
//! counts others, so a side that is slow to take messages slows its peer down. [`MessageKind::Close`] is each side's
//! last message, and `FIN` comes with it.

use crate::WireError;

/// Largest message, bytes; what Workers allow to be received.
pub const MESSAGE_MAX: usize = 32 << 20;
/// Bytes before a message's payload.
pub const PREFIX_LEN: usize = 5;
/// Close code of a peer that gave none (RFC 6455, section 7.1.5); sent as an empty payload.
pub const NO_CODE: u16 = 1005;
/// Close code of a connection that broke off; only the engine sends it.
pub const BROKEN: u16 = 1006;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MessageKind {
    /// UTF-8.
    Text = 1,
    /// Bytes.
    Binary = 2,
    /// Nothing more follows: empty, or a code (two bytes, little-endian) and a reason in UTF-8.
    Close = 8,
}

/// Appends what stands before a message of `len` bytes.
pub fn put_prefix(out: &mut Vec<u8>, kind: MessageKind, len: usize) {
    debug_assert!(len <= MESSAGE_MAX, "senders check the length");
    out.extend_from_slice(&(len as u32).to_le_bytes());
    out.push(kind as u8);
}

/// Appends a close message. [`NO_CODE`] stands for none, and has no reason.
pub fn put_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    if code == NO_CODE {
        return put_prefix(out, MessageKind::Close, 0);
    }
    put_prefix(out, MessageKind::Close, 2 + reason.len());
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// Reads the payload of a close message: its code, [`NO_CODE`] for none, and its reason.
pub fn decode_close(payload: &[u8]) -> Result<(u16, &str), WireError> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok((NO_CODE, "")) } else { Err(WireError::Payload("close")) };
    };
    let reason = std::str::from_utf8(reason).map_err(|_| WireError::Payload("close"))?;
    Ok((u16::from_le_bytes(*code), reason))
}

/// A part of a message, as much of it as has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// What the message is.
    pub kind: MessageKind,
    /// Length of the whole message, bytes.
    pub len: usize,
    /// Whether the message begins here.
    pub first: bool,
    /// Whether it ends here.
    pub last: bool,
    /// The payload's next bytes.
    pub bytes: &'a [u8],
}

/// Finds the messages in a stream's bytes.
#[derive(Clone, Debug, Default)]
pub struct Splitter {
    prefix: [u8; PREFIX_LEN],
    /// Bytes of the prefix that have arrived.
    have: usize,
    /// Bytes of the payload that have not.
    left: usize,
    begun: bool,
}

impl Splitter {
    /// The next part out of `bytes`, which moves on behind it; `None` when `bytes` is used up. Only the first and the
    /// last part of a message can be empty. An error for a message that is too large or none at all.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Part<'a>>, WireError> {
        if self.have < PREFIX_LEN {
            let take = bytes.len().min(PREFIX_LEN - self.have);
            let (head, rest) = bytes.split_at(take);
            self.prefix[self.have..self.have + take].copy_from_slice(head);
            self.have += take;
            *bytes = rest;
            if self.have < PREFIX_LEN {
                return Ok(None);
            }
            self.left = self.len();
            if self.left > MESSAGE_MAX {
                return Err(WireError::TooLarge(self.left as u32));
            }
            self.begun = false;
        }
        if bytes.is_empty() && self.left > 0 {
            return Ok(None);
        }
        let kind = match self.prefix[4] {
            1 => MessageKind::Text,
            2 => MessageKind::Binary,
            8 => MessageKind::Close,
            _ => return Err(WireError::Payload("message")),
        };
        let (part, rest) = bytes.split_at(bytes.len().min(self.left));
        *bytes = rest;
        self.left -= part.len();
        let last = self.left == 0;
        if last {
            self.have = 0;
        }
        let first = !std::mem::replace(&mut self.begun, true);
        Ok(Some(Part { kind, len: self.len(), first, last, bytes: part }))
    }

    fn len(&self) -> usize {
        u32::from_le_bytes([self.prefix[0], self.prefix[1], self.prefix[2], self.prefix[3]]) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Messages as they come out of `bytes`, fed in pieces of these sizes.
    fn split(mut bytes: &[u8], sizes: &[usize]) -> Result<Vec<(MessageKind, Vec<u8>)>, WireError> {
        let (mut splitter, mut found, mut whole) = (Splitter::default(), Vec::new(), Vec::new());
        let mut sizes = sizes.iter().cycle();
        while !bytes.is_empty() {
            let (mut now, rest) = bytes.split_at(bytes.len().min(*sizes.next().unwrap()));
            bytes = rest;
            while let Some(part) = splitter.next(&mut now)? {
                assert_eq!(part.first, whole.is_empty() && part.bytes.len() <= part.len);
                whole.extend_from_slice(part.bytes);
                if part.last {
                    assert_eq!(whole.len(), part.len);
                    found.push((part.kind, std::mem::take(&mut whole)));
                }
            }
        }
        Ok(found)
    }

    proptest! {
        #[test]
        fn messages_survive_any_cut(
            messages in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..300)), 0..20),
            sizes in proptest::collection::vec(1usize..200, 1..10),
        ) {
            let kind = |text: bool| if text { MessageKind::Text } else { MessageKind::Binary };
            let mut bytes = Vec::new();
            for (text, payload) in &messages {
                put_prefix(&mut bytes, kind(*text), payload.len());
                bytes.extend_from_slice(payload);
            }
            let wanted: Vec<_> = messages.into_iter().map(|(text, payload)| (kind(text), payload)).collect();
            prop_assert_eq!(split(&bytes, &sizes), Ok(wanted));
        }

        #[test]
        fn any_bytes_are_answered(bytes in any::<Vec<u8>>(), sizes in proptest::collection::vec(1usize..50, 1..5)) {
            let _ = split(&bytes, &sizes);
            let _ = decode_close(&bytes);
        }

        #[test]
        fn closes_survive(code: u16, reason in ".*") {
            let mut bytes = Vec::new();
            put_close(&mut bytes, code, &reason);
            let payload = split(&bytes, &[7]).unwrap().remove(0).1;
            let wanted = if code == NO_CODE { "" } else { reason.as_str() };
            prop_assert_eq!(decode_close(&payload), Ok((code, wanted)));
        }
    }

    #[test]
    fn what_is_too_large_or_unknown_is_refused() {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&(MESSAGE_MAX as u32 + 1).to_le_bytes());
        bytes.push(1);
        assert!(matches!(split(&bytes, &[64]), Err(WireError::TooLarge(_))));
        assert!(split(&[0, 0, 0, 0, 9], &[64]).is_err());
        assert!(decode_close(&[1]).is_err());
    }
}
