//! A circuit breaker: closed while most goes well, open while most fails, half open while probes find out.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::CircuitConfig;

/// Of one upstream, for all threads. Time is milliseconds of the upstream's.
#[derive(Debug)]
pub(crate) struct Circuit {
    config: CircuitConfig,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Counts since the window began.
    Closed {
        since: u64,
        requests: u32,
        failures: u32,
    },
    Open {
        until: u64,
    },
    /// Probes under way, and those that succeeded. A probe that never tells its end is forgotten at `renew`.
    HalfOpen {
        under_way: u32,
        succeeded: u32,
        renew: u64,
    },
}

impl Circuit {
    pub(crate) fn new(config: CircuitConfig) -> Self {
        Self { config, state: Mutex::new(State::Closed { since: 0, requests: 0, failures: 0 }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one store: a thread that panics leaves none half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request may go on. One that may is to be followed by [`Circuit::ended`].
    pub(crate) fn admit(&self, now: u64) -> bool {
        let mut state = self.state();
        match &mut *state {
            State::Closed { .. } => true,
            State::Open { until } if now < *until => false,
            State::HalfOpen { under_way, renew, .. } if *under_way >= self.config.probes && now < *renew => {
                false
            }
            State::HalfOpen { under_way, renew, .. } if now < *renew => {
                *under_way += 1;
                true
            }
            State::Open { .. } | State::HalfOpen { .. } => {
                *state = State::HalfOpen { under_way: 1, succeeded: 0, renew: now + self.config.open_ms };
                true
            }
        }
    }

    /// A request that was admitted had an answer, of this status, or none. True when this opened the circuit.
    pub(crate) fn ended(&self, status: Option<u16>, now: u64) -> bool {
        let failed = status.is_none_or(|status| self.config.statuses.contains(&status));
        let open = State::Open { until: now + self.config.open_ms };
        let mut state = self.state();
        match &mut *state {
            State::Closed { since, requests, failures } => {
                if now.saturating_sub(*since) >= self.config.window_ms {
                    (*since, *requests, *failures) = (now, 0, 0);
                }
                *requests += 1;
                *failures += u32::from(failed);
                let most = f64::from(*failures) >= self.config.ratio * f64::from(*requests);
                if most && *requests >= self.config.min_requests.max(1) && failed {
                    *state = open;
                    return true;
                }
            }
            // It began before.
            State::Open { .. } => {}
            State::HalfOpen { .. } if failed => {
                *state = open;
                return true;
            }
            State::HalfOpen { under_way, succeeded, .. } => {
                *under_way = under_way.saturating_sub(1);
                *succeeded += 1;
                if *succeeded >= self.config.probes {
                    *state = State::Closed { since: now, requests: 0, failures: 0 };
                }
            }
        }
        false
    }

    /// A request that was admitted ended without telling anything of the servers.
    pub(crate) fn withdrawn(&self) {
        if let State::HalfOpen { under_way, .. } = &mut *self.state() {
            *under_way = under_way.saturating_sub(1);
        }
    }

    /// For whoever looks at it from outside.
    pub(crate) fn name(&self, now: u64) -> &'static str {
        match *self.state() {
            State::Closed { .. } => "closed",
            State::Open { until } if now < until => "open",
            _ => "half_open",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circuit() -> Circuit {
        Circuit::new(CircuitConfig {
            min_requests: 4,
            window_ms: 100,
            open_ms: 50,
            probes: 2,
            ..CircuitConfig::default()
        })
    }

    #[test]
    fn opens_probes_and_closes() {
        let circuit = circuit();
        for (status, opened) in [(Some(200), false), (None, false), (Some(200), false), (Some(503), true)] {
            assert!(circuit.admit(0));
            assert_eq!(circuit.ended(status, 0), opened);
        }
        assert!(!circuit.admit(49));
        assert_eq!(circuit.name(49), "open");
        assert!(circuit.admit(50) && circuit.admit(50) && !circuit.admit(50), "two probes");
        assert!(circuit.ended(None, 51), "a probe failed");
        assert!(!circuit.admit(100));
        assert!(circuit.admit(101) && circuit.admit(101));
        circuit.ended(Some(404), 102);
        assert_eq!(circuit.name(102), "half_open");
        circuit.ended(Some(200), 102);
        assert_eq!(circuit.name(102), "closed");
    }

    #[test]
    fn windows_forget() {
        let circuit = circuit();
        for at in [0, 0, 0, 100, 100, 100] {
            circuit.ended(None, at);
        }
        assert!(circuit.admit(100));
        assert!(circuit.ended(None, 199));
    }

    #[test]
    fn probes_that_end_without_a_word_do_not_block_it() {
        let circuit = circuit();
        for _ in 0..4 {
            circuit.ended(None, 0);
        }
        assert!(circuit.admit(50) && circuit.admit(50) && !circuit.admit(60));
        circuit.withdrawn();
        assert!(circuit.admit(60) && !circuit.admit(60));
        assert!(circuit.admit(100), "renewed");
    }
}
