//! Who or what is counted.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use http::HeaderName;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One property of a request that requests are told apart by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// The client's address, or the network it is in.
    Address,
    /// Whoever an earlier step found the client to be.
    Identity,
    /// The route that answers.
    Route,
    /// The host asked for.
    Host,
    /// The value of a field.
    Header(HeaderName),
    /// The value of a cookie.
    Cookie(String),
}

impl std::str::FromStr for KeyPart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is nothing to count by; it is one of address, identity, route, host, header:NAME, cookie:NAME"
            )
        };
        Ok(match text.split_once(':') {
            None => match text {
                "address" => Self::Address,
                "identity" => Self::Identity,
                "route" => Self::Route,
                "host" => Self::Host,
                _ => return Err(wrong()),
            },
            Some(("header", name)) => Self::Header(name.parse().map_err(|_| wrong())?),
            Some(("cookie", name)) if !name.is_empty() => Self::Cookie(name.to_owned()),
            Some(_) => return Err(wrong()),
        })
    }
}

impl fmt::Display for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("address"),
            Self::Identity => f.write_str("identity"),
            Self::Route => f.write_str("route"),
            Self::Host => f.write_str("host"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
        }
    }
}

impl Serialize for KeyPart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for KeyPart {
    fn schema_name() -> Cow<'static, str> {
        "KeyPart".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "address, identity, route, host, header:NAME or cookie:NAME.",
            "type": "string",
            "pattern": "^(address|identity|route|host|header:.+|cookie:.+)$"
        })
    }
}

/// The key of one request: its parts, each with its length, so that no two requests share one by accident.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Key(Vec<u8>);

// It may hold a client's secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

impl Key {
    /// Adds a part.
    pub fn push(&mut self, part: &[u8]) {
        self.0.extend_from_slice(&(part.len() as u32).to_le_bytes());
        self.0.extend_from_slice(part);
    }

    /// Adds an address, of which only so many leading bits count. IPv6's form of an IPv4 address is that address.
    pub fn push_address(&mut self, address: IpAddr, ipv4_prefix: u8, ipv6_prefix: u8) {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(ipv4_prefix.min(32))).unwrap_or(0);
                self.push(&(address.to_bits() & mask).to_be_bytes());
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(ipv6_prefix.min(128))).unwrap_or(0);
                self.push(&(address.to_bits() & mask).to_be_bytes());
            }
        }
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str, ipv4_prefix: u8, ipv6_prefix: u8) -> Key {
        let mut key = Key::default();
        key.push_address(address.parse().unwrap(), ipv4_prefix, ipv6_prefix);
        key
    }

    #[test]
    fn networks_count_as_one_client() {
        assert_eq!(of("2001:db8::1", 32, 64), of("2001:db8::ffff", 32, 64));
        assert_ne!(of("2001:db8::1", 32, 64), of("2001:db8:0:1::1", 32, 64));
        assert_ne!(of("192.0.2.1", 32, 64), of("192.0.2.2", 32, 64));
        assert_eq!(of("192.0.2.1", 24, 64), of("192.0.2.2", 24, 64));
        assert_eq!(of("192.0.2.1", 0, 64), of("8.8.8.8", 0, 64));
        assert_eq!(of("::1", 0, 0), of("2001:db8::1", 0, 0));
        assert_eq!(of("::ffff:192.0.2.1", 32, 64), of("192.0.2.1", 32, 64));
    }

    #[test]
    fn parts_do_not_run_together() {
        let key = |parts: [&str; 2]| {
            let mut key = Key::default();
            parts.iter().for_each(|part| key.push(part.as_bytes()));
            key
        };
        assert_ne!(key(["ab", "c"]), key(["a", "bc"]));
        for text in ["address", "identity", "route", "host", "header:x-api-key", "cookie:id"] {
            assert_eq!(text.parse::<KeyPart>().unwrap().to_string(), text);
        }
        for text in ["", "Address", "header:", "header:a b", "cookie:", "query:a"] {
            assert!(text.parse::<KeyPart>().is_err(), "{text}");
        }
    }
}
