//! What was decided about requests, by names that settings and errors have. Each thread has its own numbers; their names are
//! bounded.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Names of one kind that are told apart; further ones are counted together.
const NAMES_MAX: usize = 200;

/// What somebody who judges requests decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes on.
    Passed = 0,
    /// It goes on, and was found suspicious.
    Detected = 1,
    /// It does not.
    Refused = 2,
    /// Nobody could tell.
    Undecided = 3,
}

/// Decisions as labels, in the order of [`Decision`].
pub(crate) const DECISIONS: [&str; 4] = ["passed", "detected", "refused", "undecided"];

/// Counts by name.
type Counts<const N: usize> = BTreeMap<String, [u64; N]>;

/// Counts of one thread.
#[derive(Debug, Default)]
pub(crate) struct Decisions(Mutex<Numbers>);

/// What is counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers {
    /// Failed requests by code and flags.
    pub(crate) failures: BTreeMap<(&'static str, &'static str), u64>,
    pub(crate) limits: Counts<4>,
    pub(crate) firewalls: Counts<4>,
    /// Rules of firewalls that matched.
    pub(crate) rules: Counts<1>,
}

impl Decisions {
    pub(crate) fn failed(&self, code: &'static str, flags: &'static str) {
        let mut numbers = self.lock();
        // Codes are part of the program, and so bounded.
        *numbers.failures.entry((code, flags)).or_default() += 1;
    }

    pub(crate) fn limited(&self, name: &str, decision: Decision) {
        count(&mut self.lock().limits, name, decision as usize);
    }

    pub(crate) fn screened<'r>(&self, name: &str, decision: Decision, rules: impl Iterator<Item = &'r str>) {
        let mut numbers = self.lock();
        count(&mut numbers.firewalls, name, decision as usize);
        for rule in rules {
            count(&mut numbers.rules, rule, 0);
        }
    }

    /// Adds these to the sums of others.
    pub(crate) fn add_to(&self, sums: &mut Numbers) {
        let numbers = self.lock();
        for (key, count) in &numbers.failures {
            *sums.failures.entry(*key).or_default() += count;
        }
        add(&numbers.limits, &mut sums.limits);
        add(&numbers.firewalls, &mut sums.firewalls);
        add(&numbers.rules, &mut sums.rules);
    }

    fn lock(&self) -> MutexGuard<'_, Numbers> {
        // Only scrapes contend for it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count<const N: usize>(counts: &mut Counts<N>, name: &str, what: usize) {
    if let Some(known) = counts.get_mut(name) {
        known[what] += 1;
        return;
    }
    let name = if counts.len() < NAMES_MAX { name } else { "other" };
    counts.entry(name.to_owned()).or_insert([0; N])[what] += 1;
}

fn add<const N: usize>(counts: &Counts<N>, sums: &mut Counts<N>) {
    for (name, counts) in counts {
        let sums = sums.entry(name.clone()).or_insert([0; N]);
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_bound_and_threads_add_up() {
        let (one, two) = (Decisions::default(), Decisions::default());
        for n in 0..NAMES_MAX * 2 {
            one.limited(&format!("l{n}"), Decision::Refused);
        }
        for decisions in [&one, &two] {
            decisions.failed("rate_limited", "RL");
            decisions.screened("w", Decision::Detected, ["xss", "xss"].into_iter());
        }
        let mut sums = Numbers::default();
        one.add_to(&mut sums);
        two.add_to(&mut sums);
        assert_eq!((sums.limits.len(), sums.limits["other"]), (NAMES_MAX + 1, [0, 0, NAMES_MAX as u64, 0]));
        assert_eq!((sums.failures[&("rate_limited", "RL")], sums.rules["xss"]), (2, [4]));
        assert_eq!(sums.firewalls["w"], [0, 2, 0, 0]);
    }
}
