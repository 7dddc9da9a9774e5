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
        _ => pkey.verify(hash, padding, signature, data),
    }
}

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
