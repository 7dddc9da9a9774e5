//! Settings of a rate limit.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KeyPart, Terms, window};
use crate::span::Span;

/// How requests are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// A token bucket: `burst` requests at once, then `requests` in each `per`, evenly.
    #[default]
    Bucket,
    /// A sliding window: never more than `requests` in any stretch of time as long as `per`.
    Window,
}

/// What happens while the shared store does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// Each server counts for itself.
    #[default]
    Local,
    /// Everything passes.
    Open,
    /// Nothing passes; the answer is 503.
    Closed,
}

/// A Redis that several servers count in together.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SharedStore {
    /// `redis://[user:password@]host[:port][/database]`, `rediss://` with TLS, or `redis+unix:///path/to/socket`.
    pub url: String,
    /// Begins the names of all keys.
    #[serde(default = "SharedStore::default_prefix")]
    pub prefix: String,
    /// How long a request waits for Redis at most.
    #[serde(default = "SharedStore::default_timeout")]
    pub timeout: Span,
    /// What happens while Redis does not answer.
    #[serde(default)]
    pub fallback: Fallback,
}

impl SharedStore {
    fn default_prefix() -> String {
        "selvedge:rate:".to_owned()
    }

    fn default_timeout() -> Span {
        Span::millis(50)
    }
}

// The address may hold a password.
impl std::fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// How often somebody may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// So many requests may be made in `per`.
    pub requests: u64,
    /// Time in which `requests` may be made; at least a millisecond, at most 30 days.
    #[serde(default = "RateLimit::default_per")]
    pub per: Span,
    /// Bucket only: so many at once. Unset, it is `requests`.
    #[serde(default)]
    pub burst: Option<u64>,
    /// How requests are counted.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// What is counted apart: `address`, `identity`, `route`, `host`, `header:NAME`, `cookie:NAME`, or several. A
    /// request that lacks the identity, header or cookie is counted by its address.
    #[serde(default = "RateLimit::default_key", with = "one_or_many")]
    #[schemars(with = "one_or_many::OneOrMany")]
    pub key: Vec<KeyPart>,
    /// So many leading bits of an IPv4 address count as one client.
    #[serde(default = "RateLimit::default_ipv4_prefix")]
    pub ipv4_prefix: u8,
    /// So many leading bits of an IPv6 address count as one client: networks are given out by the /64.
    #[serde(default = "RateLimit::default_ipv6_prefix")]
    pub ipv6_prefix: u8,
    /// Keys remembered at most. Beyond, those that have used the least of their quota are forgotten.
    #[serde(default = "RateLimit::default_keys_max")]
    pub keys_max: usize,
    /// Name of the policy in the fields `RateLimit` and `RateLimit-Policy`; unset, the step's own name.
    #[serde(default)]
    pub name: Option<String>,
    /// Whether answers carry `RateLimit` and `RateLimit-Policy`.
    #[serde(default = "RateLimit::default_fields")]
    pub fields: bool,
    /// Counts in Redis, together with other servers; unset, each server counts for itself.
    #[serde(default)]
    pub redis: Option<SharedStore>,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            requests: 100,
            per: Self::default_per(),
            burst: None,
            algorithm: Algorithm::default(),
            key: Self::default_key(),
            ipv4_prefix: Self::default_ipv4_prefix(),
            ipv6_prefix: Self::default_ipv6_prefix(),
            keys_max: Self::default_keys_max(),
            name: None,
            fields: Self::default_fields(),
            redis: None,
        }
    }
}

/// Longest `per`.
const PER_MAX: Span = Span::seconds(30 * 86_400);
/// Bounds of `keys_max`.
const KEYS_MAX: usize = 16 << 20;

impl RateLimit {
    fn default_per() -> Span {
        Span::seconds(60)
    }

    fn default_key() -> Vec<KeyPart> {
        vec![KeyPart::Address]
    }

    fn default_ipv4_prefix() -> u8 {
        32
    }

    fn default_ipv6_prefix() -> u8 {
        64
    }

    fn default_keys_max() -> usize {
        100_000
    }

    fn default_fields() -> bool {
        true
    }

    /// The limit in nanoseconds. Rounded so that it is never more than was set.
    ///
    /// # Errors
    /// A sentence that says which setting is wrong.
    pub fn terms(&self) -> Result<Terms, String> {
        if self.requests == 0 || self.burst == Some(0) {
            return Err(
                "`requests` and `burst` must be at least 1; to refuse everybody, use `ip` or `respond`"
                    .into(),
            );
        }
        if self.requests > u64::from(u32::MAX) || self.burst.is_some_and(|burst| burst > u64::from(u32::MAX))
        {
            return Err("`requests` and `burst` are at most 4294967295".into());
        }
        if self.per < Span::millis(1) || self.per > PER_MAX {
            return Err("`per` is at least 1ms and at most 30d".into());
        }
        if self.ipv4_prefix > 32 || self.ipv6_prefix > 128 {
            return Err("`ipv4_prefix` is at most 32, `ipv6_prefix` at most 128".into());
        }
        if self.key.is_empty() || self.keys_max == 0 || self.keys_max > KEYS_MAX {
            return Err(format!("`key` needs at least one part, and `keys_max` is 1 to {KEYS_MAX}"));
        }
        let per = self.per.0.as_nanos() as u64;
        Ok(match self.algorithm {
            Algorithm::Bucket => Terms {
                algorithm: Algorithm::Bucket,
                quota: self.burst.unwrap_or(self.requests),
                step: per.div_ceil(self.requests),
            },
            Algorithm::Window if self.burst.is_some() => {
                return Err("a window has no `burst`: it lets `requests` through at once".into());
            }
            Algorithm::Window => Terms {
                algorithm: Algorithm::Window,
                quota: self.requests,
                step: per.div_ceil(window::SLOTS),
            },
        })
    }
}

/// A list that may be written as its only element.
mod one_or_many {
    use super::{Deserialize, JsonSchema, KeyPart, Serialize};
    use serde::{Deserializer, Serializer};

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(untagged)]
    pub(super) enum OneOrMany {
        One(KeyPart),
        Many(Vec<KeyPart>),
    }

    pub(super) fn serialize<S: Serializer>(parts: &[KeyPart], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(parts)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<KeyPart>, D::Error> {
        Ok(match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(part) => vec![part],
            OneOrMany::Many(parts) => parts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_wrong_ones_refused() {
        let read = |text| serde_json::from_str::<RateLimit>(text);
        let limit =
            read(r#"{"requests": 10, "per": "1s", "burst": 3, "key": ["header:X-Key", "route"]}"#).unwrap();
        assert_eq!(
            limit.terms().unwrap(),
            Terms { algorithm: Algorithm::Bucket, quota: 3, step: 100_000_000 }
        );
        assert_eq!(read(r#"{"requests": 1, "key": "cookie:id"}"#).unwrap().key.len(), 1);
        assert!(read(r#"{"requests": 1, "key": "colour"}"#).is_err());
        assert!(read(r#"{"requests": 1, "perr": "1s"}"#).is_err());
        for wrong in [
            r#"{"requests": 0}"#,
            r#"{"requests": 1, "burst": 0}"#,
            r#"{"requests": 1, "per": 0}"#,
            r#"{"requests": 1, "per": "31d"}"#,
            r#"{"requests": 1, "key": []}"#,
            r#"{"requests": 1, "keys_max": 0}"#,
            r#"{"requests": 1, "ipv4_prefix": 33}"#,
            r#"{"requests": 5000000000}"#,
            r#"{"requests": 5, "burst": 2, "algorithm": "window"}"#,
        ] {
            assert!(read(wrong).unwrap().terms().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_password_is_not_shown() {
        let text = r#"{"requests": 1, "redis": {"url": "redis://:hunter2@localhost"}}"#;
        let limit: RateLimit = serde_json::from_str(text).unwrap();
        assert!(!format!("{limit:?}").contains("hunter2"));
    }
}
