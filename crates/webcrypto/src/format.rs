//! Keys in and out: raw bytes, `SubjectPublicKeyInfo`, PKCS #8, the numbers of JSON Web Keys (RFC 7517, RFC 8037), and
//! the older files that Node's API reads, PEM or not.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::lc::pkey::{Family, Pkey};
use crate::lc::{ec, rsa};
use crate::{Curve, Error, Key, Kind, Result};

/// The formats that are plain bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A secret's bytes, or those of a public point.
    Raw,
    /// A public key (RFC 5280).
    Spki,
    /// A private key (RFC 5208).
    Pkcs8,
}

/// Base64url, written without padding and read only so (RFC 7515, section 2).
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

const MISMATCH: Error = Error::Data("The data holds a key of another algorithm or curve.");

/// Reads a key of that kind.
pub fn import(kind: Kind, format: Format, bytes: &[u8]) -> Result<Key> {
    let key = match (format, kind) {
        (Format::Raw, Kind::Secret) => return Ok(Key::secret(bytes.to_vec())),
        (Format::Raw, Kind::Ec(curve)) => Key::pair(ec::from_point(curve, bytes)?, false)?,
        (Format::Raw, Kind::Ed25519) => Key::pair(Pkey::from_raw_public(Family::Ed25519, bytes)?, false)?,
        (Format::Raw, Kind::X25519) => Key::pair(Pkey::from_raw_public(Family::X25519, bytes)?, false)?,
        (Format::Spki, _) => Key::pair(Pkey::from_spki(bytes)?, false)?,
        (Format::Pkcs8, _) => Key::pair(Pkey::from_pkcs8(bytes)?, true)?,
        (Format::Raw, Kind::Rsa) => return Err(Error::NotSupported("RSA keys have no raw format.")),
    };
    if key.kind() == kind { Ok(key) } else { Err(MISMATCH) }
}

/// Writes a key.
pub fn export(key: &Key, format: Format) -> Result<Vec<u8>> {
    let any = |_| true;
    match (format, key.kind()) {
        (Format::Raw, Kind::Secret) => Ok(key.bytes()?.to_vec()),
        (Format::Raw, Kind::Ec(_)) => ec::point(key.pkey(any)?),
        (Format::Raw, Kind::Ed25519 | Kind::X25519) => Ok(key.pkey(any)?.raw_public()?.to_vec()),
        (Format::Spki, _) => key.pkey(any)?.to_spki(),
        (Format::Pkcs8, _) => key.private_pkey(any)?.to_pkcs8(),
        (Format::Raw, Kind::Rsa) => Err(Error::NotSupported("RSA keys have no raw format.")),
    }
}

/// Reads a key from the members of a JSON Web Key, in base64url, absent ones empty:
/// `k`; `n`, `e`, `d`, `p`, `q`, `dp`, `dq`, `qi`; `x`, `y`, `d`; or `x`, `d`.
pub fn import_jwk(kind: Kind, members: &[&str]) -> Result<Key> {
    let decode = |at: usize| -> Result<Zeroizing<Vec<u8>>> {
        let text = members.get(at).copied().unwrap_or_default();
        let error = Error::Data("A member of the JSON Web Key is not base64url.");
        BASE64.decode(text).map(Zeroizing::new).map_err(|_| error)
    };
    let given = |at: usize| members.get(at).is_some_and(|text| !text.is_empty());
    match kind {
        Kind::Secret => Ok(Key::secret(decode(0)?.to_vec())),
        Kind::Rsa => {
            let mut numbers = rsa::Numbers::default();
            for (at, number) in numbers.iter_mut().enumerate() {
                *number = decode(at)?;
            }
            let private = given(2);
            if private && !(3..8).all(given) {
                return Err(Error::Data("A private RSA key needs the members d, p, q, dp, dq and qi."));
            }
            Key::pair(rsa::from_numbers(&numbers)?, private)
        }
        Kind::Ec(curve) => {
            let (x, y, d) = (decode(0)?, decode(1)?, decode(2)?);
            let length = curve.field_bytes();
            if x.len() != length || y.len() != length || given(2) && d.len() != length {
                return Err(Error::Data("The members x, y and d must be as long as the curve's field."));
            }
            let point = [&[4], &x[..], &y[..]].concat();
            if given(2) {
                Key::pair(ec::from_private(curve, &point, &d)?, true)
            } else {
                Key::pair(ec::from_point(curve, &point)?, false)
            }
        }
        Kind::Ed25519 | Kind::X25519 => {
            let (x, d) = (decode(0)?, decode(1)?);
            import_jwk_okp(kind, &x, given(1).then_some(&d[..]))
        }
    }
}

/// An Ed25519 or X25519 key from its public bytes and maybe its private ones, which must fit together.
pub fn import_jwk_okp(kind: Kind, public: &[u8], private: Option<&[u8]>) -> Result<Key> {
    let family = if kind == Kind::Ed25519 { Family::Ed25519 } else { Family::X25519 };
    match private {
        None => Key::pair(Pkey::from_raw_public(family, public)?, false),
        Some(seed) => {
            let key = Pkey::from_seed(family, seed)?;
            if key.raw_public()? != public {
                return Err(Error::Data("The members x and d of the JSON Web Key do not belong together."));
            }
            Key::pair(key, true)
        }
    }
}

/// The members that [`import_jwk`] reads; private ones are left out of a public key.
pub fn export_jwk(key: &Key) -> Result<Vec<String>> {
    let any = |_| true;
    let encode = |bytes: &[u8]| BASE64.encode(bytes);
    Ok(match key.kind() {
        Kind::Secret => vec![encode(key.bytes()?)],
        Kind::Rsa => {
            let numbers = rsa::numbers(key.pkey(any)?, key.is_private())?;
            let given = if key.is_private() { 8 } else { 2 };
            numbers[..given].iter().map(|number| encode(number)).collect()
        }
        Kind::Ec(curve) => {
            let pkey = key.pkey(any)?;
            let point = ec::point(pkey)?;
            let (x, y) = point[1..].split_at(curve.field_bytes());
            let mut members = vec![encode(x), encode(y)];
            if key.is_private() {
                members.push(encode(&ec::number(pkey, curve)?));
            }
            members
        }
        Kind::Ed25519 | Kind::X25519 => {
            let pkey = key.pkey(any)?;
            let mut members = vec![encode(&pkey.raw_public()?)];
            if key.is_private() {
                members.push(encode(&*Zeroizing::new(pkey.seed()?)));
            }
            members
        }
    })
}

/// The public exponent of an RSA key, big-endian.
pub fn rsa_exponent(key: &Key) -> Result<Vec<u8>> {
    let numbers = rsa::numbers(key.pkey(|kind| kind == Kind::Rsa)?, false)?;
    Ok(numbers[1].to_vec())
}

/// A private key on a curve from its number alone, as Node's `ECDH.setPrivateKey` takes it.
pub fn ec_from_number(curve: Curve, number: &[u8]) -> Result<Key> {
    Key::pair(ec::from_number(curve, number)?, true)
}

/// An Ed25519 or X25519 key pair from the bytes of its private half.
pub fn okp_from_seed(kind: Kind, seed: &[u8]) -> Result<Key> {
    let family = if kind == Kind::Ed25519 { Family::Ed25519 } else { Family::X25519 };
    Key::pair(Pkey::from_seed(family, seed)?, true)
}

/// Reads a key of any kind from a file as tools write it: PKCS #8, SubjectPublicKeyInfo, PKCS #1 or SEC 1, in PEM or DER.
/// Certificates and encrypted keys are not read.
pub fn import_any(bytes: &[u8]) -> Result<Key> {
    let unknown = Error::Data("The data is not a private or public key in PEM or DER.");
    let begins = bytes.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(0);
    if !bytes[begins..].starts_with(b"-----BEGIN ") {
        return import_der(bytes).ok_or(unknown);
    }
    let (label, der) = pem_rfc7468::decode_vec(&bytes[begins..]).map_err(|_| unknown)?;
    let der = Zeroizing::new(der);
    match label {
        "PRIVATE KEY" => Key::pair(Pkey::from_pkcs8(&der)?, true),
        "PUBLIC KEY" => Key::pair(Pkey::from_spki(&der)?, false),
        "RSA PRIVATE KEY" => Key::pair(rsa::from_pkcs1(&der, true)?, true),
        "RSA PUBLIC KEY" => Key::pair(rsa::from_pkcs1(&der, false)?, false),
        "EC PRIVATE KEY" => Key::pair(ec::from_sec1(&der)?, true),
        "ENCRYPTED PRIVATE KEY" => {
            Err(Error::NotSupported("Encrypted private keys are not supported; decrypt it first."))
        }
        _ => Err(unknown),
    }
}

fn import_der(bytes: &[u8]) -> Option<Key> {
    let private = [Pkey::from_pkcs8, |bytes: &[u8]| rsa::from_pkcs1(bytes, true), ec::from_sec1];
    let public = [Pkey::from_spki, |bytes: &[u8]| rsa::from_pkcs1(bytes, false)];
    let private = private.into_iter().find_map(|read| read(bytes).ok()).map(|key| (key, true));
    let found =
        private.or_else(|| public.into_iter().find_map(|read| read(bytes).ok()).map(|key| (key, false)));
    found.and_then(|(key, private)| Key::pair(key, private).ok())
}

/// Writes a key as PEM: PKCS #8 if it is private, else SubjectPublicKeyInfo.
pub fn export_pem(key: &Key) -> Result<String> {
    let (label, format) =
        if key.is_private() { ("PRIVATE KEY", Format::Pkcs8) } else { ("PUBLIC KEY", Format::Spki) };
    let der = Zeroizing::new(export(key, format)?);
    pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, &der)
        .map_err(|_| Error::Operation("The key could not be written as PEM."))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::generate;
    use proptest::prelude::*;

    /// Bytes of their hexadecimal digits.
    pub fn hex(digits: &str) -> Vec<u8> {
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }

    fn pairs() -> Vec<Key> {
        let mut keys = vec![
            generate::rsa(1024, &[1, 0, 1], &|| true).unwrap(),
            generate::ed25519().unwrap(),
            generate::x25519().unwrap(),
        ];
        keys.extend([Curve::P256, Curve::P384, Curve::P521].map(|curve| generate::ec(curve).unwrap()));
        keys
    }

    #[test]
    fn every_key_survives_every_format() {
        for key in pairs() {
            let kind = key.kind();
            let public = key.public().unwrap();
            let spki = export(&public, Format::Spki).unwrap();
            let pkcs8 = export(&key, Format::Pkcs8).unwrap();
            assert_eq!(export(&import(kind, Format::Spki, &spki).unwrap(), Format::Spki).unwrap(), spki);
            let again = import(kind, Format::Pkcs8, &pkcs8).unwrap();
            assert_eq!(export(&again, Format::Pkcs8).unwrap(), pkcs8);
            assert_eq!(export(&again, Format::Spki).unwrap(), spki);
            assert!(matches!(export(&public, Format::Pkcs8), Err(Error::Access(_))));
            if kind != Kind::Rsa {
                let raw = export(&public, Format::Raw).unwrap();
                assert_eq!(export(&import(kind, Format::Raw, &raw).unwrap(), Format::Spki).unwrap(), spki);
            }
            for (key, expected, format) in [(&key, &pkcs8, Format::Pkcs8), (&public, &spki, Format::Spki)] {
                let members = export_jwk(key).unwrap();
                let members: Vec<&str> = members.iter().map(String::as_str).collect();
                let again = import_jwk(kind, &members).unwrap();
                assert_eq!(again.is_private(), key.is_private());
                assert_eq!(&export(&again, format).unwrap(), expected);
                let pem = export_pem(key).unwrap();
                assert_eq!(&export(&import_any(pem.as_bytes()).unwrap(), format).unwrap(), expected);
                assert_eq!(&export(&import_any(expected).unwrap(), format).unwrap(), expected);
            }
            assert!(import(kind, Format::Pkcs8, &spki).is_err());
            assert!(import(kind, Format::Spki, &pkcs8).is_err());
            for bytes in [&spki, &pkcs8] {
                let mut longer = bytes.clone();
                longer.push(0);
                assert!(import(kind, Format::Spki, &longer).is_err());
                assert!(import(kind, Format::Pkcs8, &longer).is_err());
            }
        }
    }

    #[test]
    fn another_kind_is_refused() {
        let keys = pairs();
        for one in &keys {
            for two in &keys {
                let imported = import(two.kind(), Format::Spki, &export(one, Format::Spki).unwrap());
                assert_eq!(imported.is_ok(), one.kind() == two.kind());
            }
        }
    }

    #[test]
    fn halves_that_do_not_belong_together_are_refused() {
        let (one, two) = (generate::ec(Curve::P256).unwrap(), generate::ec(Curve::P256).unwrap());
        let (one, two) = (export_jwk(&one).unwrap(), export_jwk(&two).unwrap());
        let mixed = [one[0].as_str(), &one[1], &two[2]];
        assert!(matches!(import_jwk(Kind::Ec(Curve::P256), &mixed), Err(Error::Data(_))));
        let off_curve = [one[0].as_str(), &two[1]];
        assert!(matches!(import_jwk(Kind::Ec(Curve::P256), &off_curve), Err(Error::Data(_))));
        let (one, two) = (generate::ed25519().unwrap(), generate::ed25519().unwrap());
        let (one, two) = (export_jwk(&one).unwrap(), export_jwk(&two).unwrap());
        assert!(matches!(import_jwk(Kind::Ed25519, &[&one[0], &two[1]]), Err(Error::Data(_))));
        assert!(matches!(import_jwk(Kind::Rsa, &["AQAB", "AQAB", "AQAB"]), Err(Error::Data(_))));
        assert!(matches!(import_jwk(Kind::Rsa, &["", ""]), Err(Error::Data(_))));
    }

    #[test]
    fn a_point_may_be_compressed_and_a_number_be_alone() {
        let key = generate::ec(Curve::P384).unwrap();
        let point = export(&key, Format::Raw).unwrap();
        let mut compressed = vec![2 + (point[96] & 1)];
        compressed.extend_from_slice(&point[1..49]);
        let again = import(Kind::Ec(Curve::P384), Format::Raw, &compressed).unwrap();
        assert_eq!(export(&again, Format::Raw).unwrap(), point);
        let number = BASE64.decode(&export_jwk(&key).unwrap()[2]).unwrap();
        let again = ec_from_number(Curve::P384, &number).unwrap();
        assert_eq!(export(&again, Format::Raw).unwrap(), point);
        assert!(ec_from_number(Curve::P384, &[255; 48]).is_err());
        assert!(ec_from_number(Curve::P384, &[]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), flip in any::<(usize, u8)>()) {
            for kind in [Kind::Rsa, Kind::Ec(Curve::P256), Kind::Ec(Curve::P521), Kind::Ed25519, Kind::X25519] {
                for format in [Format::Raw, Format::Spki, Format::Pkcs8] {
                    let _ = import(kind, format, &bytes);
                }
                let text = BASE64.encode(&bytes);
                let members = [text.as_str(); 8];
                let _ = import_jwk(kind, &members);
                let _ = import_jwk(kind, &members[..2]);
            }
            let _ = import_any(&bytes);
            // Almost a key.
            let key = generate::ec(Curve::P256).unwrap();
            let mut der = export(&key, Format::Pkcs8).unwrap();
            let at = flip.0 % der.len();
            der[at] ^= flip.1;
            if let Ok(key) = import_any(&der) {
                let _ = export(&key, Format::Pkcs8);
                let _ = crate::sign::sign(&key, crate::sign::Scheme::Ecdsa(crate::Hash::Sha256), &bytes);
            }
        }
    }
}
