//! HMAC (FIPS 198-1).

use crate::{Hash, Key, Result, lc};

/// The code of `data`.
pub fn sign(key: &Key, hash: Hash, data: &[u8]) -> Result<Vec<u8>> {
    let mut mac = Mac::new(hash, key.bytes()?)?;
    mac.update(data)?;
    mac.finish()
}

/// Whether `code` is that of `data`.
pub fn verify(key: &Key, hash: Hash, code: &[u8], data: &[u8]) -> Result<bool> {
    Ok(crate::equal(&sign(key, hash, data)?, code))
}

/// A code over data that comes in pieces.
pub struct Mac {
    hash: Hash,
    state: lc::digest::Hmac,
}

impl Mac {
    /// Begins.
    pub fn new(hash: Hash, key: &[u8]) -> Result<Self> {
        Ok(Self { hash, state: lc::digest::Hmac::new(hash, key)? })
    }

    /// Takes more.
    pub fn update(&mut self, data: &[u8]) -> Result<()> {
        self.state.update(data)
    }

    /// The code of everything taken.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        let mut out = [0; 64];
        self.state.finish(&mut out)?;
        Ok(out[..self.hash.length()].to_vec())
    }

    /// Another that has taken the same.
    pub fn duplicate(&self) -> Result<Self> {
        Ok(Self { hash: self.hash, state: self.state.duplicate()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::hex;

    #[test]
    fn gives_the_codes_of_rfc_4231() {
        let key = Key::secret(b"Jefe".to_vec());
        let data = b"what do ya want for nothing?";
        let expected = hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert_eq!(sign(&key, Hash::Sha256, data).unwrap(), expected);
        assert!(verify(&key, Hash::Sha256, &expected, data).unwrap());
        assert!(!verify(&key, Hash::Sha256, &expected[1..], data).unwrap());
        assert!(!verify(&key, Hash::Sha256, &expected, b"something else").unwrap());
    }

    #[test]
    fn takes_an_empty_key_and_pieces() {
        // HMAC-SHA-256 of nothing under the empty key.
        let expected = hex("b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
        assert_eq!(sign(&Key::secret(Vec::new()), Hash::Sha256, b"").unwrap(), expected);
        let mut mac = Mac::new(Hash::Md5, b"key").unwrap();
        mac.update(b"The quick brown fox jumps ").unwrap();
        let mut copy = mac.duplicate().unwrap();
        mac.update(b"over the lazy dog").unwrap();
        copy.update(b"over the lazy dog").unwrap();
        let expected = hex("80070713463e7749b90c2dc24911e275");
        assert_eq!((mac.finish().unwrap(), copy.finish().unwrap()), (expected.clone(), expected));
    }
}
