//! HTTP caches (RFC 9111): what may be stored and for how long, and where it is kept. Time is given by the caller.
//!
//! Two caches are made of this. The Workers Cache API has [`Cache`]: whole responses in memory, one lock. The edge has the
//! rest: [`settings`], [`policy`] (a response's way into the cache and out of it), [`variant`] and [`key`] (what it is found by),
//! [`store`] (where it is: in memory, and below that in a Redis that is [`shared`] and on a [`disk`]), [`fill`] (a body that is read by several while it arrives) and [`flight`] (one fetch for all who ask).

pub mod condition;
pub mod directives;
pub mod disk;
pub mod fill;
pub mod flight;
mod freshness;
pub mod key;
mod memory;
pub mod metrics;
pub mod object;
pub mod policy;
pub mod range;
pub mod record;
pub mod settings;
pub mod shared;
pub mod slices;
pub mod status;
pub mod store;
pub mod targets;
pub mod variant;

pub use freshness::{Refusal, lifetime};
pub use memory::{Cache, Key, Stored};
