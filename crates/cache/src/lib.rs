//! An HTTP cache in memory: what may be stored and for how long (RFC 9111), and where it is kept.
//!
//! Bounded by bytes; what was used longest ago goes first. Time is given by the caller.

mod freshness;
mod memory;

pub use freshness::{Refusal, lifetime};
pub use memory::{Cache, Key, Stored};
