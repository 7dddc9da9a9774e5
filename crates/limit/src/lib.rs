//! How often somebody may ask, from where, and in what shape: token buckets and windows, in this process or shared
//! through Redis; networks; cross-origin rules; validation and transformation of heads and bodies. No I/O but to Redis.

pub mod cors;
pub mod networks;
pub mod pattern;
pub mod rate;
pub mod rewrite;
pub mod span;
pub mod versions;
