//! Priorities (RFC 9218): what a client wants of them, and which stream's turn it is.

use std::collections::VecDeque;

/// How urgent a response is, and whether parts of it are of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// From 0, the most urgent, to 7.
    pub urgency: u8,
    /// It may be sent in turns with others.
    pub incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Self { urgency: 3, incremental: false }
    }
}

impl Priority {
    /// With what a `priority` field says (a dictionary, RFC 8941, section 3.2), where it says anything. What cannot be read
    /// changes nothing.
    pub fn with(self, field: &[u8]) -> Self {
        let mut wanted = self;
        for member in field.split(|byte| *byte == b',') {
            // Parameters mean nothing yet.
            let member = member.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            match member {
                [b'u', b'=', digit @ b'0'..=b'7'] => wanted.urgency = digit - b'0',
                b"i" | b"i=?1" => wanted.incremental = true,
                b"i=?0" => wanted.incremental = false,
                _ => {}
            }
        }
        wanted
    }
}

/// Streams that have something to send and may, in the order of their turns.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    levels: [Level; 8],
    /// A bit for each level that has a stream.
    busy: u8,
}

#[derive(Debug, Default)]
struct Level {
    /// One after the other, by their ids.
    whole: VecDeque<(u32, usize)>,
    /// In turns.
    parts: VecDeque<usize>,
    /// The last turn was one of `whole`.
    whole_had: bool,
}

impl Schedule {
    /// Puts a stream in, under its key; it must not be in.
    pub(crate) fn insert(&mut self, key: usize, id: u32, priority: Priority) {
        let urgency = usize::from(priority.urgency & 7);
        let level = &mut self.levels[urgency];
        if priority.incremental {
            level.parts.push_back(key);
        } else {
            let place = level.whole.partition_point(|(other, _)| *other < id);
            level.whole.insert(place, (id, key));
        }
        self.busy |= 1 << urgency;
    }

    /// Takes out the stream whose turn it is. It comes back by [`insert`](Self::insert).
    pub(crate) fn pop(&mut self) -> Option<usize> {
        let urgency = self.busy.trailing_zeros() as usize;
        let level = self.levels.get_mut(urgency)?;
        // Whoever comes in turns is not to wait for a long response that does not.
        let whole = level.parts.is_empty() || !level.whole_had && !level.whole.is_empty();
        level.whole_had = whole;
        let key = if whole { level.whole.pop_front().map(|(_, key)| key) } else { level.parts.pop_front() };
        self.forget_empty(urgency);
        key
    }

    /// Takes a stream out that is in.
    pub(crate) fn remove(&mut self, key: usize, priority: Priority) {
        let urgency = usize::from(priority.urgency & 7);
        let level = &mut self.levels[urgency];
        if priority.incremental {
            level.parts.retain(|other| *other != key);
        } else {
            level.whole.retain(|(_, other)| *other != key);
        }
        self.forget_empty(urgency);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.busy == 0
    }

    fn forget_empty(&mut self, urgency: usize) {
        let level = &mut self.levels[urgency];
        if level.whole.is_empty() && level.parts.is_empty() {
            self.busy &= !(1 << urgency);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(field: &str) -> (u8, bool) {
        let priority = Priority::default().with(field.as_bytes());
        (priority.urgency, priority.incremental)
    }

    #[test]
    fn fields_are_read() {
        for (field, urgency, incremental) in [
            ("", 3, false),
            ("u=0", 0, false),
            ("u=5, i", 5, true),
            ("i=?1,u=7", 7, true),
            ("i, i=?0", 3, false),
            ("u=8", 3, false),
            ("u=-1", 3, false),
            ("u=1;x=2, i;a", 1, true),
            ("u=2, u=4", 4, false),
            ("i=1", 3, false),
            ("\0\u{ff}", 3, false),
        ] {
            assert_eq!(of(field), (urgency, incremental), "{field}");
        }
    }

    fn order(schedule: &mut Schedule, streams: &[(usize, u32, &str)], turns: usize) -> Vec<usize> {
        for (key, id, field) in streams {
            schedule.insert(*key, *id, Priority::default().with(field.as_bytes()));
        }
        let mut order = Vec::new();
        for _ in 0..turns {
            let Some(key) = schedule.pop() else { break };
            order.push(key);
            let (_, id, field) = streams.iter().find(|stream| stream.0 == key).unwrap();
            schedule.insert(key, *id, Priority::default().with(field.as_bytes()));
        }
        order
    }

    #[test]
    fn the_urgent_go_first_and_the_incremental_in_turns() {
        let streams = [(0, 1, "u=5"), (1, 3, "u=1, i"), (2, 5, "u=1, i"), (3, 7, "u=1, i")];
        assert_eq!(order(&mut Schedule::default(), &streams, 6), [1, 2, 3, 1, 2, 3]);
        let streams = [(0, 9, ""), (1, 3, ""), (2, 5, "")];
        assert_eq!(order(&mut Schedule::default(), &streams, 4), [1, 1, 1, 1]);
        let streams = [(0, 9, ""), (1, 3, "i"), (2, 5, "i")];
        assert_eq!(order(&mut Schedule::default(), &streams, 6), [0, 1, 0, 2, 0, 1]);
    }

    #[test]
    fn what_is_removed_has_no_turn() {
        let mut schedule = Schedule::default();
        let (whole, parts) = (Priority::default(), Priority { urgency: 0, incremental: true });
        schedule.insert(1, 1, whole);
        schedule.insert(2, 3, parts);
        schedule.remove(2, parts);
        assert_eq!(schedule.pop(), Some(1));
        assert!(schedule.is_empty());
        assert_eq!(schedule.pop(), None);
    }
}
