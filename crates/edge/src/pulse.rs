//! Whether serving threads still turn from one task to the next. One that does not answers nobody, though the process looks alive.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A thread that ended as it should.
const ENDED: u64 = u64::MAX;

/// The pulses of all serving threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pulses(Arc<Mutex<Vec<Arc<Beats>>>>);

/// When a thread was last seen alive.
#[derive(Debug)]
struct Beats {
    name: String,
    epoch: Instant,
    /// Milliseconds since `epoch`.
    last: AtomicU64,
}

/// A thread's own side; dropped with the thread.
#[derive(Debug)]
pub(crate) struct Pulse(Arc<Beats>);

impl Pulses {
    /// Of one more thread, which is alive now.
    pub(crate) fn thread(&self, name: String) -> Pulse {
        let beats = Arc::new(Beats { name, epoch: Instant::now(), last: AtomicU64::new(0) });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(beats.clone());
        Pulse(beats)
    }

    /// How many threads there are, or which of them did not move for so long.
    pub(crate) fn check(&self, patience: Duration) -> Result<String, String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let running = all.iter().filter(|beats| beats.last.load(Ordering::Relaxed) != ENDED);
        let quiet: Vec<(&str, Duration)> =
            running.clone().map(|beats| (&*beats.name, beats.quiet())).collect();
        let stuck: Vec<String> = quiet
            .iter()
            .filter(|(_, quiet)| *quiet >= patience)
            .map(|(name, quiet)| format!("{name} did not move for {:.1} s", quiet.as_secs_f64()))
            .collect();
        if stuck.is_empty() { Ok(format!("{} serve", quiet.len())) } else { Err(stuck.join(", ")) }
    }
}

impl Beats {
    fn quiet(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.epoch.elapsed().saturating_sub(last)
    }
}

impl Pulse {
    /// The thread is alive.
    pub(crate) fn beat(&self, now: Instant) {
        let since = now.saturating_duration_since(self.0.epoch).as_millis() as u64;
        self.0.last.store(since, Ordering::Relaxed);
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        // One that panicked has not ended: it is missing.
        if !std::thread::panicking() {
            self.0.last.store(ENDED, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_stop_or_panic_are_named() {
        let pulses = Pulses::default();
        let (one, two) = (pulses.thread("edge-0".into()), pulses.thread("edge-1".into()));
        assert_eq!(pulses.check(Duration::from_secs(60)), Ok("2 serve".into()));
        drop(one);
        assert_eq!(pulses.check(Duration::from_secs(60)), Ok("1 serve".into()));
        assert!(
            std::thread::spawn(move || {
                let _two = two;
                panic!("on purpose")
            })
            .join()
            .is_err()
        );
        let missing = pulses.check(Duration::ZERO).unwrap_err();
        assert!(missing.starts_with("edge-1 did not move for "), "{missing}");
    }
}
