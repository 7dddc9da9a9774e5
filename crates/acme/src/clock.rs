//! What time it is. Schedules ask here, so that tests can let years pass.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// Seconds since 1970.
pub type Seconds = u64;

/// Longest sleep at a time, so that a clock that is set is noticed.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// The system's clock, or one that a test moves.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The system's.
    #[default]
    System,
    /// A test's, which begins somewhere and stands until it is moved.
    Manual(watch::Sender<Seconds>),
}

impl Clock {
    /// A clock that stands at `now`.
    pub fn manual(now: Seconds) -> Self {
        Self::Manual(watch::Sender::new(now))
    }

    /// Seconds since 1970.
    pub fn now(&self) -> Seconds {
        match self {
            Self::System => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            Self::Manual(now) => *now.borrow(),
        }
    }

    /// Moves a manual clock forward.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(now) = self {
            now.send_modify(|now| *now += by.as_secs());
        }
    }

    /// Until `then`, or earlier where the system's clock should be looked at again.
    pub(crate) async fn sleep_until(&self, then: Seconds) {
        match self {
            Self::System => {
                let left = Duration::from_secs(then.saturating_sub(self.now()));
                tokio::time::sleep(left.min(LOOK_AGAIN)).await;
            }
            Self::Manual(now) => {
                // Its sender is in our hand.
                let _ = now.subscribe().wait_for(|now| *now >= then).await;
            }
        }
    }
}
