//! The sliding window, as counts of short slots of time. The slots that are looked at always cover the whole window and
//! up to one slot more, so that no stretch as long as the window ever sees more than the quota.

use super::table::State;
use super::{Terms, Verdict};

/// Slots in a window. Memory per key for exactness: what left the window stays counted for a tenth of it at most.
pub(super) const SLOTS: u64 = 10;
/// The one that is being filled, and those of a whole window before it.
const KEPT: usize = SLOTS as usize + 1;

/// Counts of the newest slots.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    /// Number of the newest slot.
    newest: u64,
    /// By number modulo their count.
    counts: [u32; KEPT],
}

impl Window {
    /// Moves on to the slot of this time, emptying those that left. Time that runs backwards counts in the newest slot.
    fn advance(&mut self, slot: u64) {
        let steps = slot.saturating_sub(self.newest);
        if steps >= KEPT as u64 {
            self.counts = [0; KEPT];
        } else {
            for n in 1..=steps {
                self.counts[((self.newest + n) % KEPT as u64) as usize] = 0;
            }
        }
        self.newest = self.newest.max(slot);
    }

    fn sum(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// Nanoseconds until the oldest, or the newest, of the slots with a count leaves.
    fn until(&self, terms: &Terms, now: u64, mut numbers: impl Iterator<Item = u64>) -> u64 {
        let found = numbers.find(|number| self.counts[(number % KEPT as u64) as usize] > 0);
        found.map_or(0, |slot| ((slot + KEPT as u64) * terms.step).saturating_sub(now))
    }
}

impl State for Window {
    fn take(&mut self, terms: &Terms, now: u64) -> Verdict {
        self.advance(now / terms.step);
        let mut sum = self.sum();
        let allowed = sum < terms.quota;
        if allowed {
            self.counts[(self.newest % KEPT as u64) as usize] += 1;
            sum += 1;
        }
        let numbers = self.newest.saturating_sub(SLOTS)..=self.newest;
        let wait = if sum >= terms.quota { self.until(terms, now, numbers.clone()) } else { 0 };
        let reset = self.until(terms, now, numbers.rev());
        Verdict { allowed, remaining: terms.quota - sum, reset, wait }
    }

    fn worth(&self, terms: &Terms, now: u64) -> u64 {
        let passed = (now / terms.step).saturating_sub(self.newest);
        if passed >= KEPT as u64 { 0 } else { self.sum() }
    }
}
