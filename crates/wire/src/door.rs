//! What comes with each socket that the engine hands to a host, and what an inspector's socket carries.
//!
//! Most sockets carry frames. An inspector has one of its own, because JavaScript that is paused must hear it while
//! its thread does nothing else: messages of the Chrome DevTools protocol in JSON, each behind its length
//! (`u32`, little-endian), in both directions.

use crate::WireError;

/// Largest message of an inspector, bytes.
pub const INSPECTOR_MESSAGE_MAX: usize = 32 << 20;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Frames, for this thread.
    Calls {
        /// Index of the thread.
        thread: u32,
    },
    /// An inspector's messages, for an instance on this thread.
    Inspector {
        /// Index of the thread.
        thread: u32,
        /// Whose JavaScript.
        instance: u32,
        /// Whether it may be paused; otherwise breakpoints pass, and `console` stays as it is.
        pauses: bool,
    },
}

impl Door {
    /// The datagram that goes with the socket.
    pub fn encode(&self) -> [u8; 10] {
        let (kind, thread, instance, pauses) = match *self {
            Self::Calls { thread } => (1, thread, 0, false),
            Self::Inspector { thread, instance, pauses } => (2, thread, instance, pauses),
        };
        let mut bytes = [0; 10];
        bytes[0] = kind;
        bytes[1..5].copy_from_slice(&thread.to_le_bytes());
        bytes[5..9].copy_from_slice(&instance.to_le_bytes());
        bytes[9] = pauses.into();
        bytes
    }

    /// Reads it.
    pub fn decode(bytes: &[u8; 10]) -> Option<Self> {
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        match bytes[0] {
            1 => Some(Self::Calls { thread: number(1) }),
            2 => Some(Self::Inspector { thread: number(1), instance: number(5), pauses: bytes[9] != 0 }),
            _ => None,
        }
    }

    /// Index of the thread.
    pub fn thread(&self) -> usize {
        match self {
            Self::Calls { thread } | Self::Inspector { thread, .. } => *thread as usize,
        }
    }
}

/// Appends an inspector's message.
pub fn put_inspector_message(out: &mut Vec<u8>, message: &[u8]) {
    debug_assert!(message.len() <= INSPECTOR_MESSAGE_MAX, "senders check the length");
    out.extend_from_slice(&(message.len() as u32).to_le_bytes());
    out.extend_from_slice(message);
}

/// Takes the first message out of what has arrived, once it is whole.
///
/// # Errors
/// When it is too long to be waited for.
pub fn take_inspector_message(arrived: &mut Vec<u8>) -> Result<Option<Vec<u8>>, WireError> {
    let Some((length, rest)) = arrived.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length) as usize;
    if length > INSPECTOR_MESSAGE_MAX {
        return Err(WireError::Payload("inspector"));
    }
    if rest.len() < length {
        return Ok(None);
    }
    let message = rest[..length].to_vec();
    arrived.drain(..4 + length);
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn doors_come_back(thread: u32, instance: u32, pauses: bool) {
            for door in [Door::Calls { thread }, Door::Inspector { thread, instance, pauses }] {
                prop_assert_eq!(Door::decode(&door.encode()), Some(door));
            }
        }

        #[test]
        fn messages_come_back_however_they_are_cut(messages: Vec<Vec<u8>>, cuts in prop::collection::vec(1usize..9, 1..20)) {
            let mut sent = Vec::new();
            messages.iter().for_each(|message| put_inspector_message(&mut sent, message));
            let (mut arrived, mut got, mut rest, mut cut) = (Vec::new(), Vec::new(), &sent[..], 0);
            while !rest.is_empty() {
                let (now, later) = rest.split_at(cuts[cut % cuts.len()].min(rest.len()));
                arrived.extend_from_slice(now);
                rest = later;
                cut += 1;
                while let Some(message) = take_inspector_message(&mut arrived).unwrap() {
                    got.push(message);
                }
            }
            prop_assert_eq!(got, messages);
            prop_assert!(arrived.is_empty());
        }
    }

    #[test]
    fn what_is_too_long_is_not_waited_for() {
        let mut arrived = (INSPECTOR_MESSAGE_MAX as u32 + 1).to_le_bytes().to_vec();
        assert!(take_inspector_message(&mut arrived).is_err());
        assert_eq!(Door::decode(&[0; 10]), None);
    }
}
