//! Bodies that go from one stream of a worker's to another without passing through its JavaScript: what arrives on
//! the source is sent on the target as far as the target's credit goes, and only then is the source's peer given
//! credit for more. So one window of bytes waits at most, as with a body that JavaScript reads.

use crate::stream::Streams;

/// Where a relay stands after what could be moved was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relay {
    /// There is none, or it waits for bytes or for credit.
    Waiting,
    /// The source is at its end, and so is the target now.
    Finished {
        /// Key of the target.
        to: u32,
    },
    /// The source was broken off, or the target takes nothing more.
    Broken {
        /// Key of the target.
        to: u32,
        /// What happened.
        reason: String,
    },
}

impl Streams {
    /// Lets the incoming body of `from` go to the outgoing body of `to`. False when one of them cannot.
    pub fn begin_relay(&mut self, from: u32, to: u32) -> bool {
        let willing = self.get(to).is_some_and(|target| !target.out_ended && target.relay_from == 0);
        if !willing || !self.get(from).is_some_and(|source| !source.discard && source.relay_to == 0) {
            return false;
        }
        if let Some(source) = self.get(from) {
            source.relay_to = to;
            source.wants_read = false;
        }
        if let Some(target) = self.get(to) {
            target.relay_from = from;
            target.wants_write = false;
        }
        true
    }

    /// Takes bytes off the wire for a source: straight to the target where nothing waits before them.
    pub fn relay_arrived(
        &mut self,
        from: u32,
        bytes: &[u8],
        fin: bool,
    ) -> Result<Relay, selvedge_wire::Overrun> {
        let Some(source) = self.get(from) else { return Ok(Relay::Waiting) };
        let (to, at_once) = (source.relay_to, source.incoming.is_empty());
        let at_once = at_once
            && self.get(to).is_some_and(|target| {
                target.relay_from == from && !target.out_ended && target.room() >= bytes.len() as i64
            });
        if let Some(source) = self.get(from) {
            if at_once {
                source.recv.received(bytes.len())?;
                source.incoming_ended |= fin;
                source.consumed(bytes.len());
            } else {
                source.received(bytes, fin)?;
            }
        }
        if at_once
            && !bytes.is_empty()
            && let Some(target) = self.get(to)
        {
            target.send_body(bytes, false);
        }
        Ok(self.relay(from))
    }

    /// Moves what can be moved from this source.
    pub fn relay(&mut self, from: u32) -> Relay {
        loop {
            let Some(source) = self.get(from) else { return Relay::Waiting };
            let to = source.relay_to;
            if to == 0 {
                return Relay::Waiting;
            }
            let Some(room) = self.relay_room(from, to) else {
                return self.end_relay(from, to, Some("Nobody takes the body any more.".into()));
            };
            let Some(source) = self.get(from) else { return Relay::Waiting };
            if let Some(reason) = source.broken.clone() {
                return self.end_relay(from, to, Some(reason));
            }
            if source.incoming.is_empty() {
                if !source.incoming_ended {
                    return Relay::Waiting;
                }
                if let Some(target) = self.get(to) {
                    target.send_body(&[], true);
                }
                return self.end_relay(from, to, None);
            }
            if room <= 0 {
                return Relay::Waiting;
            }
            let chunk = source.incoming.pop_front().unwrap_or_default();
            source.consumed(chunk.len());
            if let Some(target) = self.get(to) {
                target.send_body(&chunk, false);
            }
        }
    }

    /// What the target may still send; `None` when it takes nothing more from this source.
    fn relay_room(&mut self, from: u32, to: u32) -> Option<i64> {
        let target = self.get(to)?;
        (target.relay_from == from && !target.out_ended).then(|| target.room())
    }

    fn end_relay(&mut self, from: u32, to: u32, reason: Option<String>) -> Relay {
        if let Some(source) = self.get(from) {
            source.relay_to = 0;
        }
        if let Some(target) = self.get(to)
            && target.relay_from == from
        {
            target.relay_from = 0;
        }
        match reason {
            None => Relay::Finished { to },
            Some(reason) => Relay::Broken { to, reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::connection::Outbox;
    use crate::stream::{Role, Stream};
    use selvedge_wire::{FIN, INITIAL_CREDIT, Kind, decode};

    struct Pair {
        streams: Streams,
        outbox: Rc<Outbox>,
        from: u32,
        to: u32,
    }

    fn pair() -> Pair {
        let outbox = Rc::new(Outbox::default());
        let mut streams = Streams::default();
        let mut open = |wire_id| {
            let stream = Stream::new(Role::Incoming, outbox.clone(), wire_id, Rc::default());
            streams.insert(stream).expect("room")
        };
        let (from, to) = (open(1), open(3));
        assert!(streams.begin_relay(from, to));
        Pair { streams, outbox, from, to }
    }

    /// Bytes sent on the target, whether it was ended, and credit granted to the source's peer.
    fn sent(pair: &Pair) -> (usize, bool, usize) {
        let bytes = std::mem::take(&mut *pair.outbox.frames());
        let (mut at, mut data, mut fin, mut credit) = (0, 0, false, 0);
        while let Some((frame, taken)) = decode(&bytes[at..]).expect("well-formed") {
            at += taken;
            match (frame.kind, frame.stream) {
                (Kind::Data, 3) => {
                    data += frame.payload.len();
                    fin |= frame.flags & FIN != 0;
                }
                (Kind::Credit, 1) => credit += frame.payload.len(),
                other => panic!("unexpected frame {other:?}"),
            }
        }
        (data, fin, credit)
    }

    #[test]
    fn moves_bytes_and_the_end() {
        let mut pair = pair();
        assert_eq!(pair.streams.relay_arrived(pair.from, &[7; 1000], false), Ok(Relay::Waiting));
        assert_eq!(sent(&pair), (1000, false, 0));
        let finished = pair.streams.relay_arrived(pair.from, &[7; 24], true);
        assert_eq!(finished, Ok(Relay::Finished { to: pair.to }));
        assert_eq!(sent(&pair), (24, true, 0));
    }

    #[test]
    fn a_target_without_credit_stops_the_source() {
        let mut pair = pair();
        let window = vec![1; INITIAL_CREDIT as usize];
        for chunk in window.chunks(60_000) {
            assert_eq!(pair.streams.relay_arrived(pair.from, chunk, false), Ok(Relay::Waiting));
        }
        let (data, _, credit) = sent(&pair);
        assert_eq!(data, window.len());
        assert!(credit > 0, "the source's peer may go on once its bytes went out");
        // The target's window is used up: what comes now waits, and nothing more is asked for.
        for chunk in window.chunks(60_000).take(3) {
            assert_eq!(pair.streams.relay_arrived(pair.from, chunk, false), Ok(Relay::Waiting));
        }
        let (data, _, _) = sent(&pair);
        assert_eq!(data, 0);
        let waiting: usize =
            pair.streams.get(pair.from).expect("open").incoming.iter().map(|chunk| chunk.len()).sum();
        assert_eq!(waiting, 180_000);
        // With credit it goes on.
        pair.streams.get(pair.to).expect("open").granted(1 << 20);
        assert_eq!(pair.streams.relay(pair.from), Relay::Waiting);
        assert_eq!(sent(&pair).0, 180_000);
    }

    #[test]
    fn says_which_side_broke() {
        let mut pair = pair();
        pair.streams.get(pair.from).expect("open").cancel("The peer went away.");
        let broken = Relay::Broken { to: pair.to, reason: "The peer went away.".into() };
        assert_eq!(pair.streams.relay(pair.from), broken);
        assert_eq!(pair.streams.relay(pair.from), Relay::Waiting);

        let mut pair = self::pair();
        pair.streams.get(pair.to).expect("open").cancel("");
        assert!(matches!(pair.streams.relay_arrived(pair.from, b"x", false), Ok(Relay::Broken { .. })));

        let mut pair = self::pair();
        pair.streams.remove(pair.to);
        assert!(matches!(pair.streams.relay(pair.from), Relay::Broken { .. }));
    }

    #[test]
    fn a_stream_is_relayed_once() {
        let mut pair = pair();
        assert!(!pair.streams.begin_relay(pair.from, pair.to));
        assert!(!pair.streams.begin_relay(pair.to, pair.to));
        assert!(!pair.streams.begin_relay(0, 0));
    }
}
