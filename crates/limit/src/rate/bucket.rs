//! The token bucket, kept as one number: the time at which it will be full again (the generic cell rate algorithm).

use super::table::State;
use super::{Terms, Verdict};

/// When the bucket will be full, nanoseconds. A bucket that is full has no state worth keeping.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket(u64);

impl State for Bucket {
    fn take(&mut self, terms: &Terms, now: u64) -> Verdict {
        let holds = terms.step.saturating_mul(terms.quota);
        let full = self.0.max(now);
        let used = full - now + terms.step;
        if used > holds {
            let wait = used - holds;
            return Verdict { allowed: false, remaining: 0, reset: full - now, wait };
        }
        self.0 = full + terms.step;
        let remaining = (holds - used) / terms.step;
        let wait = if remaining == 0 { used + terms.step - holds } else { 0 };
        Verdict { allowed: true, remaining, reset: used, wait }
    }

    fn worth(&self, _: &Terms, now: u64) -> u64 {
        self.0.saturating_sub(now)
    }
}
