//! Rules that tell attacks from requests, with anomaly scores, in linear time.
//!
//! A request is taken apart into named values ([`Inspection`]): the path, parameters, cookies, some header fields, and of bodies what forms, JSON
//! and multipart messages hold. Each value is decoded as the program behind might decode it ([`mod@normal`]) and compared with all rules of that
//! decoding at once. Every rule that fits adds its score; the sum decides.

pub mod challenge;
mod config;
mod engine;
mod json;
mod multipart;
pub mod normal;
mod place;
mod rule;
mod xml;

pub use config::{Exclusion, Mode, WafConfig};
pub use engine::{Inspection, Match, Verdict, Waf};
pub use place::Place;
pub use rule::BadRules;
