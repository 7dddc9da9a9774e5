//! How often somebody may ask, from where, and in what shape: token buckets and windows, in this process or shared
//! through Redis; networks; cross-origin rules; validation and transformation of heads and bodies. No I/O but to Redis.

pub mod cors;
pub mod json_edit;
pub mod networks;
pub mod pattern;
pub mod rate;
pub mod replace;
pub mod rewrite;
pub mod span;
pub mod validate;
pub mod versions;
