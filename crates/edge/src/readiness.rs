//! Whether this process should get requests, as load balancers and orchestrators ask.

use std::sync::atomic::{AtomicU8, Ordering};

/// Shared between the process' wiring, which moves it on, and the admin server, which shows it.
#[derive(Debug, Default)]
pub struct Readiness(AtomicU8);

const STARTING: u8 = 0;
const READY: u8 = 1;
const DRAINING: u8 = 2;

impl Readiness {
    /// Everything listens and the first sandbox host is up.
    pub fn started(&self) {
        // A process that already drains stays so.
        let _ = self.0.compare_exchange(STARTING, READY, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Shutdown began: no new requests should come.
    pub fn drain(&self) {
        self.0.store(DRAINING, Ordering::Relaxed);
    }

    /// Why no requests should come, or `None` when they may.
    pub fn refusal(&self) -> Option<&'static str> {
        match self.0.load(Ordering::Relaxed) {
            READY => None,
            DRAINING => Some("draining"),
            _ => Some("starting"),
        }
    }

    /// True once [`started`](Self::started) was called, and from then on.
    pub fn has_started(&self) -> bool {
        self.0.load(Ordering::Relaxed) != STARTING
    }
}
