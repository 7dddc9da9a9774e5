//! RSA-OAEP, with the same hash for the label and the mask.

use crate::{Hash, Key, Kind, Result};

/// Encrypts a short message for the holder of the private key.
pub fn encrypt(key: &Key, hash: Hash, label: &[u8], data: &[u8]) -> Result<Vec<u8>> {
    key.pkey(|kind| kind == Kind::Rsa)?.oaep(hash, label, data, true)
}

/// Decrypts.
pub fn decrypt(key: &Key, hash: Hash, label: &[u8], data: &[u8]) -> Result<Vec<u8>> {
    key.private_pkey(|kind| kind == Kind::Rsa)?.oaep(hash, label, data, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, generate};

    #[test]
    fn takes_what_fits_and_gives_it_back() {
        let key = generate::rsa(2048, &[3], &|| true).unwrap();
        let public = key.public().unwrap();
        for hash in [Hash::Sha1, Hash::Sha256, Hash::Sha384, Hash::Sha512] {
            let longest = vec![5; 256 - 2 * hash.length() - 2];
            for (data, label) in [(&b""[..], &b""[..]), (b"hello", b"label"), (&longest, b"")] {
                let sealed = encrypt(&public, hash, label, data).unwrap();
                assert_eq!(decrypt(&key, hash, label, &sealed).unwrap(), data);
                assert!(matches!(decrypt(&key, hash, b"other", &sealed), Err(Error::Operation(_))));
                assert!(matches!(decrypt(&key, hash, label, &sealed[1..]), Err(Error::Operation(_))));
                assert!(matches!(decrypt(&public, hash, label, &sealed), Err(Error::Access(_))));
            }
            assert!(matches!(encrypt(&public, hash, b"", &[5; 256]), Err(Error::Operation(_))));
        }
    }
}
