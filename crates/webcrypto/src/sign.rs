//! Signatures with key pairs.

use crate::lc::ec;
use crate::lc::pkey::Padding;
use crate::{Error, Hash, Key, Kind, Result};

/// How to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2).
    RsaPkcs1(Hash),
    /// RSASSA-PSS with so many bytes of salt (RFC 8017, section 8.1).
    RsaPss(Hash, u32),
    /// ECDSA (FIPS 186-5), the signature as two numbers of the field's length.
    Ecdsa(Hash),
    /// ECDSA, the signature in DER.
    EcdsaDer(Hash),
    /// Ed25519 (RFC 8032).
    Ed25519,
}

impl Scheme {
    fn parts(self) -> (Option<Hash>, Padding) {
        match self {
            Self::RsaPkcs1(hash) | Self::Ecdsa(hash) | Self::EcdsaDer(hash) => (Some(hash), Padding::Pkcs1),
            Self::RsaPss(hash, salt) => (Some(hash), Padding::Pss(salt)),
            Self::Ed25519 => (None, Padding::Pkcs1),
        }
    }

    fn takes(self, kind: Kind) -> bool {
        match self {
            Self::RsaPkcs1(_) | Self::RsaPss(..) => kind == Kind::Rsa,
            Self::Ecdsa(_) | Self::EcdsaDer(_) => matches!(kind, Kind::Ec(_)),
            Self::Ed25519 => kind == Kind::Ed25519,
        }
    }
}

/// Signs `data`.
pub fn sign(key: &Key, scheme: Scheme, data: &[u8]) -> Result<Vec<u8>> {
    let pkey = key.private_pkey(|kind| scheme.takes(kind))?;
    let (hash, padding) = scheme.parts();
    if let Scheme::RsaPss(hash, salt) = scheme {
        // The library would otherwise read some lengths as words of its own.
        let room = (key.bits().saturating_sub(1)).div_ceil(8) as usize;
        if hash.length() + 2 + salt as usize > room {
            return Err(Error::Operation("The salt of RSA-PSS is too long for the key and hash."));
        }
    }
    let signature = pkey.sign(hash, padding, data)?;
    match (scheme, key.kind()) {
        (Scheme::Ecdsa(_), Kind::Ec(curve)) => ec::signature_from_der(&signature, curve),
        _ => Ok(signature),
    }
}

/// Whether `signature` is one of `data`.
pub fn verify(key: &Key, scheme: Scheme, signature: &[u8], data: &[u8]) -> Result<bool> {
    let pkey = key.pkey(|kind| scheme.takes(kind))?;
    let (hash, padding) = scheme.parts();
    match (scheme, key.kind()) {
        (Scheme::Ecdsa(_), Kind::Ec(curve)) => {
            if signature.len() != curve.field_bytes() * 2 {
                return Ok(false);
            }
            pkey.verify(hash, padding, &ec::signature_to_der(signature)?, data)
        }
        (Scheme::Ed25519, _) => {
            let nonce = signature.get(..32).unwrap_or_default();
            if is_small_order(&pkey.raw_public()?) || is_small_order(nonce) {
                return Ok(false);
            }
            pkey.verify(hash, padding, signature, data)
        }
        _ => pkey.verify(hash, padding, signature, data),
    }
}

/// Whether the encoded point is one of the few whose multiples are as few, with which a signature can be made that fits
/// many messages. The standard refuses them, which RFC 8032 does not. All encodings are looked at, those of numbers beyond
/// the field's prime included.
fn is_small_order(point: &[u8]) -> bool {
    let Ok(mut point) = <[u8; 32]>::try_from(point) else { return false };
    // The sign of x does not matter.
    point[31] &= 0x7f;
    // y = 0 and y = 1, and the same plus the prime 2²⁵⁵ − 19, and y = −1.
    let low = |first: u8| point[0] == first && point[1..].iter().all(|byte| *byte == 0);
    let high =
        |first: u8| point[0] == first && point[1..31].iter().all(|byte| *byte == 0xff) && point[31] == 0x7f;
    low(0) || low(1) || high(0xec) || high(0xed) || high(0xee) || ORDER_8.contains(&point)
}

/// y of the points of order 8.
const ORDER_8: [[u8; 32]; 2] = [
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Curve;
    use crate::format::tests::hex;
    use crate::format::{self, Format};
    use crate::generate;

    const HASHES: [Hash; 4] = [Hash::Sha1, Hash::Sha256, Hash::Sha384, Hash::Sha512];

    fn round(key: &Key, scheme: Scheme) {
        let public = key.public().unwrap();
        let signature = sign(key, scheme, b"message").unwrap();
        assert!(verify(&public, scheme, &signature, b"message").unwrap(), "{scheme:?}");
        assert!(!verify(&public, scheme, &signature, b"massage").unwrap());
        assert!(!verify(&public, scheme, &signature[1..], b"message").unwrap());
        assert!(!verify(&public, scheme, &[], b"message").unwrap());
        let mut wrong = signature;
        wrong[3] ^= 1;
        assert!(!verify(&public, scheme, &wrong, b"message").unwrap());
        assert!(matches!(sign(&public, scheme, b"message"), Err(Error::Access(_))));
    }

    #[test]
    fn every_scheme_agrees_with_itself_and_nothing_else() {
        let rsa = generate::rsa(2048, &[1, 0, 1], &|| true).unwrap();
        for hash in HASHES {
            round(&rsa, Scheme::RsaPkcs1(hash));
            for salt in [0, 20, 100] {
                round(&rsa, Scheme::RsaPss(hash, salt));
            }
            for curve in [Curve::P256, Curve::P384, Curve::P521] {
                let key = generate::ec(curve).unwrap();
                round(&key, Scheme::Ecdsa(hash));
                round(&key, Scheme::EcdsaDer(hash));
                assert_eq!(sign(&key, Scheme::Ecdsa(hash), b"").unwrap().len(), curve.field_bytes() * 2);
                assert!(matches!(sign(&key, Scheme::RsaPkcs1(hash), b""), Err(Error::Access(_))));
            }
        }
        round(&generate::ed25519().unwrap(), Scheme::Ed25519);
        for salt in [223, 300, u32::MAX, u32::MAX - 1] {
            assert!(matches!(sign(&rsa, Scheme::RsaPss(Hash::Sha256, salt), b""), Err(Error::Operation(_))));
        }
        assert!(sign(&rsa, Scheme::RsaPss(Hash::Sha256, 222), b"").is_ok());
        assert!(!verify(&rsa, Scheme::RsaPss(Hash::Sha256, u32::MAX), &[0; 256], b"").unwrap());
    }

    #[test]
    fn ed25519_gives_the_results_of_rfc_8032() {
        // Section 7.1, test 2.
        let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let public = hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let expected = hex(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        );
        let key = format::import_jwk_okp(Kind::Ed25519, &public, Some(&seed)).unwrap();
        assert_eq!(sign(&key, Scheme::Ed25519, &[0x72]).unwrap(), expected);
        let public = format::import(Kind::Ed25519, Format::Raw, &public).unwrap();
        assert!(verify(&public, Scheme::Ed25519, &expected, &[0x72]).unwrap());
    }

    #[test]
    fn ed25519_refuses_points_of_small_order() {
        let mut one = [0; 32];
        one[0] = 1;
        for y in [one, ORDER_8[0], ORDER_8[1]] {
            for sign in [0, 0x80] {
                let mut point = y;
                point[31] |= sign;
                // The identity has one sign only.
                let Ok(key) = format::import(Kind::Ed25519, Format::Raw, &point) else { continue };
                let mut signature = point.to_vec();
                signature.extend([0; 32]);
                // Of eight messages, one fits on average: the library takes it, the standard does not.
                let fits = |message: &u8| {
                    let pkey = key.pkey(|_| true).unwrap();
                    pkey.verify(None, Padding::Pkcs1, &signature, &[*message]).unwrap()
                };
                let message = (0..=255).find(fits);
                assert!(message.is_some() || y == one, "{point:02x?} is not of small order");
                if let Some(message) = message {
                    assert!(!verify(&key, Scheme::Ed25519, &signature, &[message]).unwrap());
                }
            }
        }
    }

    #[test]
    fn ecdsa_verifies_the_signature_of_rfc_6979() {
        // Appendix A.2.5: P-256, SHA-256, message "sample".
        let mut point = vec![4];
        point.extend(hex("60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"));
        point.extend(hex("7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"));
        let key = format::import(Kind::Ec(Curve::P256), Format::Raw, &point).unwrap();
        let mut signature = hex("efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716");
        signature.extend(hex("f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"));
        assert!(verify(&key, Scheme::Ecdsa(Hash::Sha256), &signature, b"sample").unwrap());
        assert!(!verify(&key, Scheme::Ecdsa(Hash::Sha256), &[0; 64], b"sample").unwrap());
        assert!(!verify(&key, Scheme::Ecdsa(Hash::Sha256), &[255; 64], b"sample").unwrap());
    }
}
