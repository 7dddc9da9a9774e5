//! Digests.

use crate::{Result, lc};

/// Hash functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// MD5, broken; for checksums of old protocols (RFC 1321).
    Md5,
    /// SHA-1, broken for signatures (FIPS 180-4, like the following).
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// SHA-512/256.
    Sha512_256,
}

impl Hash {
    /// By name, whatever its case: `SHA-256` as the standard writes it, or `sha256` as Node does.
    pub fn by_name(name: &str) -> Option<Self> {
        const NAMES: [(&str, &str, Hash); 7] = [
            ("SHA-256", "sha256", Hash::Sha256),
            ("SHA-1", "sha1", Hash::Sha1),
            ("SHA-384", "sha384", Hash::Sha384),
            ("SHA-512", "sha512", Hash::Sha512),
            ("MD5", "md5", Hash::Md5),
            ("SHA-224", "sha224", Hash::Sha224),
            ("SHA-512/256", "sha512-256", Hash::Sha512_256),
        ];
        let named = |(one, other, _): &&(&str, &str, _)| {
            name.eq_ignore_ascii_case(one) || name.eq_ignore_ascii_case(other)
        };
        NAMES.iter().find(named).map(|(.., hash)| *hash)
    }

    /// Bytes of the digest.
    pub fn length(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 | Self::Sha512_256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Bytes of the blocks that it works on.
    pub fn block(self) -> usize {
        match self {
            Self::Sha384 | Self::Sha512 | Self::Sha512_256 => 128,
            _ => 64,
        }
    }
}

/// The digest of all of `data`.
pub fn digest(hash: Hash, data: &[u8]) -> Result<Vec<u8>> {
    Ok(lc::digest::digest(hash, data)?[..hash.length()].to_vec())
}

/// A digest over data that comes in pieces.
pub struct Hasher {
    hash: Hash,
    state: lc::digest::Digest,
}

impl Hasher {
    /// Begins.
    pub fn new(hash: Hash) -> Result<Self> {
        Ok(Self { hash, state: lc::digest::Digest::new(hash)? })
    }

    /// Takes more.
    pub fn update(&mut self, data: &[u8]) -> Result<()> {
        self.state.update(data)
    }

    /// The digest of everything taken.
    pub fn finish(self) -> Result<Vec<u8>> {
        Ok(self.state.finish()?[..self.hash.length()].to_vec())
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
    fn gives_the_digests_that_the_standards_print() {
        // FIPS 180-4 and RFC 1321 print those of "abc".
        for (name, expected) in [
            ("MD5", "900150983cd24fb0d6963f7d28e17f72"),
            ("sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            ("SHA-224", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
            ("sha-256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "SHA-384",
                "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
            ),
            (
                "SHA-512",
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
            ("sha512-256", "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"),
        ] {
            let hash = Hash::by_name(name).unwrap();
            assert_eq!(digest(hash, b"abc").unwrap(), hex(expected), "{name}");
            let mut pieces = Hasher::new(hash).unwrap();
            pieces.update(b"a").unwrap();
            let mut copy = pieces.duplicate().unwrap();
            pieces.update(b"bc").unwrap();
            copy.update(b"x").unwrap();
            assert_eq!(pieces.finish().unwrap(), hex(expected), "{name}");
            assert_eq!(copy.finish().unwrap(), digest(hash, b"ax").unwrap(), "{name}");
        }
        assert_eq!(Hash::by_name("SHA-3"), None);
    }
}
