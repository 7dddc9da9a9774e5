//! Which of many routes answers a request: hosts, paths, methods, fields, addresses and weights, compiled.
//!
//! The host leads to a site by a hash table, and inside of it the path to the routes that it fits by a hash table
//! (exact paths), a radix tree (parameters), one automaton over all expressions, and a lookup for each of the lengths that
//! prefixes have. What a route asks for beyond its path is looked at only then.
//!
//! Of routes that fit the more specific one answers: an exact path before one with parameters, that before an expression,
//! that before a prefix, and a longer prefix before a shorter one. Among routes of one path those that ask for more go first,
//! then those written first.

mod address;
mod condition;
mod host;
mod path;
mod plain;
mod site;

pub use address::{BadNetwork, Network};
pub use condition::{Condition, Test};
pub use host::{BadHost, HostPattern, Hosts};
pub use path::{BadPath, PathPattern};
pub use plain::{has_dot_segments, other_reading, plain};
pub use site::{Asked, Found, Miss, Route, Routes};

/// What the parameters of a path are in a request, in the order of the pattern.
pub type Parameters = Vec<(std::sync::Arc<str>, String)>;
