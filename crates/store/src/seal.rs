//! Sealing of secrets at rest: AES-256-GCM under one key per data directory.

use std::fmt;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;

use crate::StoreError;
use crate::private_file;

/// 256 bits that seal the secrets of one data directory.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey([u8; 32]);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

impl SecretKey {
    /// Reads 64 hexadecimal characters, as in `SELVEDGE_SECRET_KEY` or the file `secret.key`.
    pub fn from_hex(text: &str) -> Result<Self, StoreError> {
        let text = text.trim().as_bytes();
        let mut key = [0; 32];
        if text.len() != 64 {
            return Err(StoreError::BadKey);
        }
        for (byte, pair) in key.iter_mut().zip(text.chunks_exact(2)) {
            let digit = |c: u8| (c as char).to_digit(16).ok_or(StoreError::BadKey);
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Ok(Self(key))
    }

    /// Reads the key file; `None` when it is absent.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, StoreError> {
        private_file::read(path)?.map(|text| Self::from_hex(&text)).transpose()
    }

    /// Makes a new key and writes it durably, readable by its owner only.
    pub(crate) fn create(path: &Path) -> Result<Self, StoreError> {
        let key = Self(random()?);
        private_file::write(path, &hex(&key.0))?;
        Ok(key)
    }

    /// A sealer that uses this key.
    pub(crate) fn sealer(&self) -> Result<Sealer, StoreError> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &self.0).map_err(|_| StoreError::BadKey)?;
        Ok(Sealer { key })
    }
}

/// Seals and opens values. Sealed bytes are the nonce, then the ciphertext and its tag.
pub(crate) struct Sealer {
    key: RandomizedNonceKey,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(…)")
    }
}

impl Sealer {
    /// Seals `plain`; it opens only together with the same `context`.
    pub(crate) fn seal(&self, context: &str, plain: &str) -> Result<Vec<u8>, StoreError> {
        let mut body = plain.as_bytes().to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(context), &mut body)
            .map_err(|_| StoreError::Damaged("a secret could not be sealed".into()))?;
        Ok([nonce.as_ref().as_slice(), &body].concat())
    }

    /// Opens what [`Sealer::seal`] made. Fails with [`StoreError::WrongKey`] for another key, another context
    /// or changed bytes: the three cannot be told apart.
    pub(crate) fn open(&self, context: &str, sealed: &[u8]) -> Result<String, StoreError> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(StoreError::WrongKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| StoreError::WrongKey)?;
        let mut body = body.to_vec();
        let plain =
            self.key.open_in_place(nonce, Aad::from(context), &mut body).map_err(|_| StoreError::WrongKey)?;
        String::from_utf8(plain.to_vec()).map_err(|_| StoreError::WrongKey)
    }
}

/// Bytes from the operating system's generator.
pub(crate) fn random() -> Result<[u8; 32], StoreError> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| StoreError::Damaged("the system gave no random bytes".into()))?;
    Ok(bytes)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_with_the_same_key_and_context() {
        let sealer = SecretKey([1; 32]).sealer().unwrap();
        let sealed = sealer.seal("default/a/KEY", "hunter2").unwrap();
        assert_eq!(sealer.open("default/a/KEY", &sealed).unwrap(), "hunter2");
        assert!(matches!(sealer.open("default/b/KEY", &sealed), Err(StoreError::WrongKey)));
        let other = SecretKey([2; 32]).sealer().unwrap();
        assert!(matches!(other.open("default/a/KEY", &sealed), Err(StoreError::WrongKey)));
        for cut in 0..sealed.len() {
            assert!(sealer.open("default/a/KEY", &sealed[..cut]).is_err());
        }
        assert_ne!(sealer.seal("default/a/KEY", "hunter2").unwrap(), sealed, "nonces differ");
    }

    #[test]
    fn a_key_is_64_hexadecimal_characters_and_never_shown() {
        let key = SecretKey::from_hex(&format!("{}\n", "aB".repeat(32))).unwrap();
        assert_eq!(key, SecretKey([0xab; 32]));
        assert!(!format!("{key:?}").to_lowercase().contains("ab"));
        for bad in ["", "ab", &"g".repeat(64), &"a".repeat(65), &"é".repeat(32)] {
            assert!(matches!(SecretKey::from_hex(bad), Err(StoreError::BadKey)), "{bad}");
        }
    }
}
