//! Hashes of passwords: Argon2id, which is made here, and bcrypt, which htpasswd makes.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};

/// Most memory for one password, KiB; more could be asked of a hash than the machine has.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
/// Most passes over the memory.
const MAX_PASSES: u32 = 16;
/// Most rounds of bcrypt, as a power of two: about a second.
const MAX_BCRYPT_COST: u32 = 14;

/// A hash that passwords can be compared with.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Argon2(String),
    Bcrypt(String),
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hash(…)")
    }
}

/// A hash cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Of another kind, or broken.
    #[error(
        "it is neither an Argon2id hash ($argon2id$…, as `selvedge key hash-password` makes it) nor a bcrypt hash ($2y$…)"
    )]
    Unknown,
    /// Broken within minutes today.
    #[error(
        "MD5, SHA-1 and crypt() hashes can be guessed quickly; make a new one by `htpasswd -B` or `selvedge key hash-password`"
    )]
    Weak,
    /// A request would take the machine with it.
    #[error("it asks for more than 256 MiB, 16 passes or bcrypt's cost 14")]
    Costly,
    /// The system gives no random bytes.
    #[error("it cannot be made")]
    Failed,
}

impl Hash {
    /// Reads a hash.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        if text.starts_with("$argon2id$") {
            let hash = PasswordHash::new(text).map_err(|_| HashError::Unknown)?;
            let params = Params::try_from(&hash).map_err(|_| HashError::Unknown)?;
            if params.m_cost() > MAX_MEMORY_KIB || params.t_cost() > MAX_PASSES || hash.hash.is_none() {
                return Err(HashError::Costly);
            }
            return Ok(Self(Kind::Argon2(text.to_owned())));
        }
        if ["$2y$", "$2b$", "$2a$"].iter().any(|prefix| text.starts_with(prefix)) {
            let parts: bcrypt::HashParts = text.parse().map_err(|_| HashError::Unknown)?;
            if parts.get_cost() > MAX_BCRYPT_COST {
                return Err(HashError::Costly);
            }
            return Ok(Self(Kind::Bcrypt(text.to_owned())));
        }
        let weak = ["$apr1$", "$1$", "$5$", "$6$", "{SHA}", "{SSHA}", "{PLAIN}"];
        Err(if weak.iter().any(|prefix| text.starts_with(prefix)) {
            HashError::Weak
        } else {
            HashError::Unknown
        })
    }

    /// Hashes a password: Argon2id with 19 MiB and two passes, OWASP's recommendation. Takes some 30 ms.
    pub fn make(password: &[u8]) -> Result<String, HashError> {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default());
        let hash: Result<argon2::password_hash::phc::PasswordHash, _> = argon2.hash_password(password);
        hash.map(|hash| hash.to_string()).map_err(|_| HashError::Failed)
    }

    /// Whether a password is the one. Takes long: not for threads that serve.
    pub fn verify(&self, password: &[u8]) -> bool {
        match &self.0 {
            Kind::Argon2(text) => PasswordHash::new(text)
                .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok()),
            Kind::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_compared_with_their_hashes() {
        let text = Hash::make("pa ß".as_bytes()).unwrap();
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        let hash = Hash::parse(&text).unwrap();
        assert!(hash.verify("pa ß".as_bytes()));
        assert!(!hash.verify(b"pa"));
        assert!(!format!("{hash:?}").contains("argon2id"));
        let text = bcrypt::hash("secret", 4).unwrap();
        for prefix in ["$2y$", "$2b$", "$2a$"] {
            let hash = Hash::parse(&format!("{prefix}{}", &text[4..])).unwrap();
            assert!(hash.verify(b"secret"));
            assert!(!hash.verify(b"Secret"));
        }
    }

    #[test]
    fn hashes_that_are_weak_broken_or_bombs_are_refused() {
        let refused = |text: &str| Hash::parse(text).unwrap_err();
        assert_eq!(refused("$apr1$x$y"), HashError::Weak);
        assert_eq!(refused("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="), HashError::Weak);
        for text in [
            "",
            "secret",
            "$argon2id$",
            "$argon2id$v=19$m=x$a$b",
            "$2y$",
            "$2y$10$short",
            "$argon2d$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(refused(text), HashError::Unknown, "{text}");
        }
        let bomb = Hash::make(b"x").unwrap().replace("m=19456", "m=4000000");
        assert_eq!(refused(&bomb), HashError::Costly);
        let slow = Hash::make(b"x").unwrap().replace("t=2", "t=2000");
        assert_eq!(refused(&slow), HashError::Costly);
        assert_eq!(refused(&bcrypt::hash("x", 4).unwrap().replace("$04$", "$31$")), HashError::Costly);
    }
}
