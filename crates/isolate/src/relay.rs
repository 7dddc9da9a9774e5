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
