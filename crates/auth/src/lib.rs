//! Who asks, and whether they may: tokens, keys, passwords, logins at OpenID providers, roles.
//!
//! Each kind of credential has its settings and its verifier here, over header fields and bytes; the edge makes steps of
//! them. What a verifier finds is an [`Identity`]; what it does not let pass is a [`Denial`].

pub mod api_key;
pub mod basic;
pub mod bounded;
pub mod credential;
pub mod csrf;
pub mod denial;
pub mod fetch;
pub mod forward;
pub mod identity;
pub mod jwt;
pub mod oidc;
pub mod password;
pub mod roles;
pub mod secret;
pub mod strict_json;

pub use credential::Place;
pub use denial::Denial;
pub use identity::{Forward, Identity};
pub use secret::Secret;

/// Seconds since 1970, as tokens count them.
pub fn unix_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
