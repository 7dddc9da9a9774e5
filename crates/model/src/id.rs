//! Names and identifiers, checked once where they enter.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IdError {
    /// Script names become host names, so they follow the rules of a DNS label (RFC 1123, section 2.1).
    #[error(
        "script name {0:?} must be 1-63 characters of a-z, 0-9 and '-', starting and ending with a letter or digit"
    )]
    Script(String),
    /// Account ids are file- and URL-safe.
    #[error("account id {0:?} must be 1-64 characters of a-z, 0-9, '-' and '_'")]
    Account(String),
    /// A SHA-256 in hexadecimal.
    #[error("digest {0:?} must be 64 hexadecimal characters")]
    Digest(String),
    /// A version id is a UUID in its hyphenated form.
    #[error("version id {0:?} must be a UUID")]
    Version(String),
}

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident, $error:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(value: String) -> Result<Self, IdError> {
                value.parse()
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(value: &str) -> Result<Self, IdError> {
                let check: fn(&str) -> bool = $check;
                if check(value) { Ok(Self(value.into())) } else { Err(IdError::$error(value.into())) }
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0.as_ref().into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn label(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

string_id!(
    /// The tenant that owns scripts. Accounts do not trust each other.
    AccountId,
    Account,
    |s| (1..=64).contains(&s.len()) && s.bytes().all(|b| label(b) || b == b'-' || b == b'_')
);

string_id!(
    /// A worker's name within its account; also its label under `.localhost`.
    ScriptName,
    Script,
    |s| {
        let b = s.as_bytes();
        (1..=63).contains(&b.len())
            && b.iter().all(|&b| label(b) || b == b'-')
            && label(b[0])
            && label(b[b.len() - 1])
    }
);

string_id!(
    /// SHA-256 of an encoded [`Artifact`](crate::Artifact), in lower-case hexadecimal.
    Digest,
    Digest,
    |s| s.len() == 64 && s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
);

string_id!(
    /// One immutable version of a script: code, bindings and limits. A UUID.
    VersionId,
    Version,
    |s| {
        s.len() == 36
            && s.bytes().enumerate().all(|(i, b)| match i {
                8 | 13 | 18 | 23 => b == b'-',
                _ => b.is_ascii_hexdigit(),
            })
    }
);

impl AccountId {
    /// The account of a machine with one owner.
    pub fn default_account() -> Self {
        Self("default".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_names_are_dns_labels() {
        for good in ["a", "hello", "my-worker-2", &"x".repeat(63)] {
            assert!(good.parse::<ScriptName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "../x", "a b", "ü", &"x".repeat(64)] {
            assert!(bad.parse::<ScriptName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn deserialising_checks() {
        assert!(serde_json::from_str::<ScriptName>("\"ok\"").is_ok());
        assert!(serde_json::from_str::<ScriptName>("\"../etc\"").is_err());
        assert!(serde_json::from_str::<Digest>("\"abc\"").is_err());
    }
}
