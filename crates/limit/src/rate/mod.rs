//! Rate limits: how many requests a key may make in a time. A key is who or what is counted: an address, an identity,
//! a field's value, a route, or several of these together.

mod bucket;
mod config;
mod fields;
mod key;
mod local;
mod shared;
mod table;
mod window;

pub use config::{Algorithm, Fallback, RateLimit, SharedStore};
pub use fields::{policy, retry_after, state};
pub use key::{Key, KeyPart};
pub use local::LocalLimiter;
pub use shared::{SharedLimiter, Unavailable};

/// What a limiter says of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// It may pass, and was counted. What may not pass is not counted.
    pub allowed: bool,
    /// How many more could follow at once.
    pub remaining: u64,
    /// Until the whole quota is there again, nanoseconds.
    pub reset: u64,
    /// Until the next request may pass, nanoseconds; 0 when one may now.
    pub wait: u64,
}

/// A limit in the units that the arithmetic is done in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Which arithmetic.
    pub algorithm: Algorithm,
    /// Bucket: what it holds. Window: what fits in one.
    pub quota: u64,
    /// Bucket: nanoseconds until one more may pass. Window: length of a slot.
    pub step: u64,
}

impl Terms {
    /// The time in which the quota is there once more, nanoseconds.
    pub fn window(&self) -> u64 {
        match self.algorithm {
            Algorithm::Bucket => self.step.saturating_mul(self.quota),
            Algorithm::Window => self.step.saturating_mul(window::SLOTS),
        }
    }
}
