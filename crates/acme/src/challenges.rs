//! Answers to challenges that are under way: what listeners look up when an issuer comes to see.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::sign::CertifiedKey;

use crate::names::Name;

/// Where the issuer looks for tokens (RFC 8555 section 8.3).
pub const HTTP01_PATH: &str = "/.well-known/acme-challenge/";
/// The protocol that an issuer offers in a handshake for TLS-ALPN-01 (RFC 8737 section 6.2).
pub const ALPN: &[u8] = b"acme-tls/1";
/// Longest token, bytes.
const TOKEN_MAX: usize = 256;

/// Answers by token and by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Challenges {
    tables: Arc<Mutex<Tables>>,
}

#[derive(Debug, Default)]
struct Tables {
    tokens: HashMap<String, Arc<str>>,
    names: HashMap<Name, Arc<CertifiedKey>>,
}

/// An answer that is given as long as this is held.
#[derive(Debug)]
pub(crate) struct Answering {
    challenges: Challenges,
    what: What,
}

#[derive(Debug)]
enum What {
    Token(String),
    Name(Name, Arc<CertifiedKey>),
}

impl Challenges {
    /// Answers HTTP-01 for `token`.
    pub(crate) fn answer_token(&self, token: &str, authorization: &str) -> Result<Answering, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if token.is_empty() || token.len() > TOKEN_MAX || !token.bytes().all(plain) {
            return Err("the issuer's token is not base64url".into());
        }
        self.lock().tokens.insert(token.to_owned(), authorization.into());
        Ok(Answering { challenges: self.clone(), what: What::Token(token.to_owned()) })
    }

    /// Answers TLS-ALPN-01 for `name`.
    pub(crate) fn answer_name(&self, name: &Name, key: CertifiedKey) -> Answering {
        let key = Arc::new(key);
        self.lock().names.insert(name.clone(), key.clone());
        Answering { challenges: self.clone(), what: What::Name(name.clone(), key) }
    }

    pub(crate) fn http01(&self, token: &str) -> Option<Arc<str>> {
        self.lock().tokens.get(token).cloned()
    }

    pub(crate) fn alpn(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.lock().names.get(name).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut tables = self.challenges.lock();
        match &self.what {
            What::Token(token) => drop(tables.tokens.remove(token)),
            // A later answer for the same name stays.
            What::Name(name, key) => {
                if tables.names.get(name).is_some_and(|held| Arc::ptr_eq(held, key)) {
                    tables.names.remove(name);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_end_with_their_challenge() {
        let challenges = Challenges::default();
        let answering = challenges.answer_token("abc", "abc.thumb").unwrap();
        assert_eq!(challenges.http01("abc").as_deref(), Some("abc.thumb"));
        assert_eq!(challenges.http01("abd"), None);
        drop(answering);
        assert_eq!(challenges.http01("abc"), None);
    }

    #[test]
    fn tokens_that_are_none_are_refused() {
        for token in ["", "a/b", "../x", "a.b", &"a".repeat(TOKEN_MAX + 1)] {
            assert!(Challenges::default().answer_token(token, "x").is_err(), "{token}");
        }
    }

    #[test]
    fn a_later_answer_for_a_name_outlives_an_earlier_one() {
        let challenges = Challenges::default();
        let name = Name::parse("a.example").unwrap();
        let key = || crate::keys::alpn_answer(&name, &[1; 32]).unwrap();
        let first = challenges.answer_name(&name, key());
        let second = challenges.answer_name(&name, key());
        drop(first);
        assert!(challenges.alpn("a.example").is_some());
        drop(second);
        assert!(challenges.alpn("a.example").is_none());
    }
}
