//! Secrets from other secrets.

use crate::lc::digest::{self, Hmac};
use crate::{Error, GoOn, Hash, Key, Kind, Result};

/// How many rounds of PBKDF2 run between two questions whether to go on.
const ROUNDS: u32 = 1024;

/// What a private key and somebody's public key have in common: ECDH (SP 800-56A) or X25519 (RFC 7748).
pub fn agree(key: &Key, peer: &Key) -> Result<Vec<u8>> {
    let kind = key.kind();
    let agrees = |kind| matches!(kind, Kind::Ec(_) | Kind::X25519);
    if peer.kind() != kind {
        return Err(Error::Access("The two keys must be of the same algorithm and curve."));
    }
    key.private_pkey(agrees)?.agree(peer.pkey(agrees)?)
}

/// HKDF (RFC 5869).
pub fn hkdf(hash: Hash, secret: &[u8], salt: &[u8], info: &[u8], length: usize) -> Result<Vec<u8>> {
    if length > 255 * hash.length() {
        return Err(Error::Operation("HKDF gives at most 255 times the length of its hash."));
    }
    let mut out = vec![0; length];
    digest::hkdf(hash, secret, salt, info, &mut out)?;
    Ok(out)
}

/// PBKDF2 with HMAC (RFC 8018, section 5.2). The rounds are counted here rather than in the library, so that they can
/// be stopped.
pub fn pbkdf2(
    hash: Hash,
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    length: usize,
    go_on: GoOn<'_>,
) -> Result<Vec<u8>> {
    if iterations == 0 {
        return Err(Error::Operation("PBKDF2 needs at least one iteration."));
    }
    let mut mac = Hmac::new(hash, password)?;
    let mut out = Vec::with_capacity(length);
    let size = hash.length();
    let mut until_asked = 0;
    for block in 1u32.. {
        if out.len() >= length {
            break;
        }
        let (mut round, mut sum) = ([0; 64], [0; 64]);
        mac.update(salt)?;
        mac.update(&block.to_be_bytes())?;
        mac.finish(&mut round)?;
        sum.copy_from_slice(&round);
        for _ in 1..iterations {
            if until_asked == 0 {
                until_asked = ROUNDS;
                if !go_on() {
                    return Err(Error::Stopped);
                }
            }
            until_asked -= 1;
            mac.restart()?;
            mac.update(&round[..size])?;
            mac.finish(&mut round)?;
            for (sum, byte) in sum.iter_mut().zip(&round) {
                *sum ^= byte;
            }
        }
        mac.restart()?;
        out.extend_from_slice(&sum[..size.min(length - out.len())]);
        until_asked = until_asked.saturating_sub(1);
    }
    Ok(out)
}

/// The cost of scrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScryptCost {
    /// N, a power of two.
    pub cost: u64,
    /// r.
    pub block_size: u64,
    /// p.
    pub parallel: u64,
}

impl ScryptCost {
    /// Bytes that it takes; saturating.
    pub fn memory(self) -> u64 {
        let blocks = self.cost.saturating_add(self.parallel).saturating_add(2);
        self.block_size.saturating_mul(128).saturating_mul(blocks)
    }

    /// Blocks of 128 bytes that are mixed, which is what its time goes by: some 120 ns each; saturating.
    pub fn work(self) -> u64 {
        self.cost.saturating_mul(self.block_size).saturating_mul(self.parallel).saturating_mul(2)
    }
}

/// scrypt (RFC 7914); it cannot be stopped, so look at its cost first.
pub fn scrypt(
    password: &[u8],
    salt: &[u8],
    cost: ScryptCost,
    memory_max: usize,
    length: usize,
) -> Result<Vec<u8>> {
    let mut out = vec![0; length];
    let numbers = (cost.cost, cost.block_size, cost.parallel);
    digest::scrypt(password, salt, numbers, memory_max, &mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::hex;
    use crate::format::{self, Format};
    use crate::{Curve, generate};
    use std::cell::Cell;

    #[test]
    fn pbkdf2_gives_the_results_of_rfc_6070_and_7914() {
        let yes: GoOn<'_> = &|| true;
        let cases = [
            (Hash::Sha1, &b"password"[..], &b"salt"[..], 1, "0c60c80f961f0e71f3a9b524af6012062fe037a6"),
            (Hash::Sha1, b"password", b"salt", 4096, "4b007901b765489abead49d926f721d065a429c1"),
            (
                Hash::Sha1,
                b"passwordPASSWORDpassword",
                b"saltSALTsaltSALTsaltSALTsaltSALTsalt",
                4096,
                "3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038",
            ),
            (
                Hash::Sha256,
                b"passwd",
                b"salt",
                1,
                "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783",
            ),
        ];
        for (hash, password, salt, iterations, expected) in cases {
            let expected = hex(expected);
            let out = pbkdf2(hash, password, salt, iterations, expected.len(), yes).unwrap();
            assert_eq!(out, expected);
        }
        assert!(pbkdf2(Hash::Sha1, b"", b"", 0, 1, yes).is_err());
        assert_eq!(pbkdf2(Hash::Sha1, b"", b"", 1, 0, yes).unwrap(), []);
    }

    #[test]
    fn pbkdf2_stops_when_it_is_told_to() {
        let asked = Cell::new(0u32);
        let stop = || {
            asked.set(asked.get() + 1);
            asked.get() < 5
        };
        let result = pbkdf2(Hash::Sha256, b"p", b"s", u32::MAX, 32, &stop);
        assert_eq!(result, Err(Error::Stopped));
        assert_eq!(asked.get(), 5);
        // Many blocks of few rounds are asked about, too.
        asked.set(0);
        assert_eq!(pbkdf2(Hash::Sha256, b"p", b"s", 2, 1 << 26, &stop), Err(Error::Stopped));
    }

    #[test]
    fn hkdf_gives_the_result_of_rfc_5869() {
        let out = hkdf(
            Hash::Sha256,
            &[0x0b; 22],
            &hex("000102030405060708090a0b0c"),
            &hex("f0f1f2f3f4f5f6f7f8f9"),
            42,
        );
        let expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
        assert_eq!(out.unwrap(), hex(expected));
        assert!(hkdf(Hash::Sha256, b"", b"", b"", 255 * 32).is_ok());
        assert!(hkdf(Hash::Sha256, b"", b"", b"", 255 * 32 + 1).is_err());
    }

    #[test]
    fn scrypt_gives_the_results_of_rfc_7914() {
        let cost = ScryptCost { cost: 16, block_size: 1, parallel: 1 };
        let out = scrypt(b"", b"", cost, 1 << 20, 64).unwrap();
        assert_eq!(out[..16], hex("77d6576238657b203b19ca42c18a0497"));
        let cost = ScryptCost { cost: 1024, block_size: 8, parallel: 16 };
        let out = scrypt(b"password", b"NaCl", cost, 32 << 20, 64).unwrap();
        assert_eq!(out[..16], hex("fdbabe1c9d3472007856e7190d01e9fe"));
        assert!(scrypt(b"", b"", cost, 1 << 16, 64).is_err());
        assert!(scrypt(b"", b"", ScryptCost { cost: 3, ..cost }, 1 << 30, 64).is_err());
        assert!(ScryptCost { cost: u64::MAX, block_size: 2, parallel: 2 }.memory() == u64::MAX);
    }

    #[test]
    fn x25519_gives_the_result_of_rfc_7748_and_refuses_small_points() {
        // Section 6.1.
        let alice = hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
        let public = hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        let bob = hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
        let expected = hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        let alice = format::import_jwk_okp(Kind::X25519, &public, Some(&alice)).unwrap();
        let bob = format::import(Kind::X25519, Format::Raw, &bob).unwrap();
        assert_eq!(agree(&alice, &bob).unwrap(), expected);
        let one = generate::x25519().unwrap();
        let two = generate::x25519().unwrap();
        let (public_one, public_two) = (one.public().unwrap(), two.public().unwrap());
        assert_eq!(agree(&one, &public_two).unwrap(), agree(&two, &public_one).unwrap());
        let zero = format::import(Kind::X25519, Format::Raw, &[0; 32]).unwrap();
        assert!(matches!(agree(&one, &zero), Err(Error::Operation(_))));
        assert!(matches!(agree(&public_one, &public_two), Err(Error::Access(_))));
    }

    #[test]
    fn ecdh_agrees_on_every_curve() {
        for curve in [Curve::P256, Curve::P384, Curve::P521] {
            let (one, two) = (generate::ec(curve).unwrap(), generate::ec(curve).unwrap());
            let secret = agree(&one, &two.public().unwrap()).unwrap();
            assert_eq!(secret, agree(&two, &one.public().unwrap()).unwrap());
            assert_eq!(secret.len(), curve.field_bytes());
            assert!(matches!(agree(&one, &generate::x25519().unwrap()), Err(Error::Access(_))));
        }
        let (one, two) = (generate::ec(Curve::P256).unwrap(), generate::ec(Curve::P384).unwrap());
        assert!(matches!(agree(&one, &two), Err(Error::Access(_))));
    }
}
