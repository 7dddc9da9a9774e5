//! Purges of all servers, in their order.

use std::collections::VecDeque;

use super::wire::Note;
use crate::object::Object;

/// Purges that are remembered. What was stored before them is taken for purged.
pub(super) const PURGES_MAX: usize = 4096;

/// The last purges.
#[derive(Debug, Default)]
pub(super) struct Purges {
    /// The last one that is known.
    pub(super) seen: u64,
    /// None is missing from this one on.
    first: u64,
    notes: VecDeque<(u64, Note)>,
}

/// What purges since it was stored mean for a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Stays,
    Expired,
    Gone,
}

impl Purges {
    /// Nothing is known of what came before.
    pub(super) fn starting_at(seen: u64) -> Self {
        Self { seen, first: seen + 1, notes: VecDeque::new() }
    }

    /// One more. Purges that are missing in between may have meant anything.
    pub(super) fn add(&mut self, number: u64, note: Note) {
        if number != self.seen + 1 {
            self.notes.clear();
            self.first = number;
        }
        self.seen = number;
        self.notes.push_back((number, note));
        while self.notes.len() > PURGES_MAX
            && let Some((gone, _)) = self.notes.pop_front()
        {
            self.first = gone + 1;
        }
    }

    pub(super) fn verdict(&self, generation: u64, object: &Object) -> Verdict {
        if generation + 1 < self.first || generation > self.seen {
            return Verdict::Gone;
        }
        let since = self.notes.iter().rev().take_while(|(number, _)| *number > generation);
        let meant: Vec<bool> =
            since.filter(|(_, note)| note.means(object)).map(|(_, note)| note.soft).collect();
        match meant.is_empty() {
            true => Verdict::Stays,
            false if meant.iter().all(|soft| *soft) => Verdict::Expired,
            false => Verdict::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Stock;
    use crate::policy::Freshness;
    use crate::store::Purge;
    use crate::variant::Variant;
    use http::{HeaderMap, HeaderValue, StatusCode};

    fn note(purge: Purge, soft: bool) -> Note {
        Note { purge: Some(purge), soft, from: 0 }
    }

    #[test]
    fn what_came_after_a_response_counts_for_it() {
        let mut headers = HeaderMap::new();
        headers.insert("cache-tag", HeaderValue::from_static("x"));
        let object = Object::new(
            "http://a/1".into(),
            StatusCode::OK,
            headers,
            Stock::default(),
            Freshness::default(),
            Variant::default(),
        );
        let mut purges = Purges::starting_at(10);
        purges.add(11, note(Purge::Tag("x".into()), true));
        purges.add(12, note(Purge::Prefix("http://b".into()), false));
        purges.add(13, note(Purge::Address("http://a/1".into()), false));
        purges.add(14, note(Purge::Tag("x".into()), true));
        let verdicts = [9, 10, 11, 12, 13, 14, 15].map(|generation| purges.verdict(generation, &object));
        use Verdict::{Expired, Gone, Stays};
        assert_eq!(verdicts, [Gone, Gone, Gone, Gone, Expired, Stays, Gone]);
        // Some are missing.
        purges.add(20, note(Purge::Tag("y".into()), false));
        assert_eq!([18, 19, 20].map(|generation| purges.verdict(generation, &object)), [Gone, Stays, Stays]);
        for number in 21..21 + PURGES_MAX as u64 + 10 {
            purges.add(number, note(Purge::Tag("y".into()), false));
        }
        assert_eq!(purges.notes.len(), PURGES_MAX);
        assert_eq!([29, 30].map(|generation| purges.verdict(generation, &object)), [Gone, Stays]);
    }
}
