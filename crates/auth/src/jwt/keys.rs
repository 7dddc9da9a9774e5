//! Keys that verify tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{AlgorithmFamily, DecodingKey};
use serde_json::Value;

use super::algorithm::Algorithm;

/// Keys that are taken of a set.
const MAX_KEYS: usize = 64;
/// Keys that are tried for one token that names none, or a name that several have.
const MAX_TRIES: usize = 4;

/// Keys, each for its algorithms only.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// A key.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    kid: Option<String>,
    /// What it may verify: fewer than its kind allows where the set says so.
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
    /// What it was made of, for comparison.
    source: String,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.kid == other.kid && self.algorithms == other.algorithms && self.source == other.source
    }
}

/// Keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No JSON Web Key Set (RFC 7517, section 5).
    #[error("this is no JSON Web Key Set")]
    NotASet,
    /// None of the keys fits.
    #[error("none of the keys can verify the algorithms that are allowed")]
    NoneFits,
    /// Not PEM, or not of a public key.
    #[error(
        "this is no public key in PEM (`BEGIN PUBLIC KEY`, or `BEGIN RSA PUBLIC KEY`) for the algorithms that are allowed"
    )]
    Pem,
    /// Too short to be a secret.
    #[error("the secret must have at least {0} bytes for its algorithm")]
    ShortSecret(usize),
}

impl KeySet {
    /// Public keys of a JSON Web Key Set. Keys that are not understood, for encryption, or secret are left out: what
    /// everybody may read must not sign.
    pub fn from_jwks(json: &[u8], allowed: &[Algorithm]) -> Result<Self, KeyError> {
        let set: Value = serde_json::from_slice(json).map_err(|_| KeyError::NotASet)?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or(KeyError::NotASet)?;
        let keys: Vec<Key> = keys.iter().filter_map(|key| from_jwk(key, allowed)).take(MAX_KEYS).collect();
        if keys.is_empty() { Err(KeyError::NoneFits) } else { Ok(Self { keys }) }
    }

    /// One public key.
    pub fn from_pem(pem: &str, allowed: &[Algorithm]) -> Result<Self, KeyError> {
        // The file says of itself which kind it is; a reader for another kind refuses it.
        let readers = [DecodingKey::from_rsa_pem, DecodingKey::from_ec_pem, DecodingKey::from_ed_pem];
        let mut found = readers.iter().filter_map(|read| read(pem.as_bytes()).ok());
        if pem.contains("PRIVATE KEY") {
            return Err(KeyError::Pem);
        }
        let decoding = found.next().ok_or(KeyError::Pem)?;
        let fits = |algorithm: &&Algorithm| match (decoding.family(), decoding.try_get_as_bytes()) {
            (AlgorithmFamily::Ec, Ok(point)) => ec_algorithm(point.len()) == Some(**algorithm),
            (family, _) => algorithm.family() == family,
        };
        let algorithms: Vec<Algorithm> = allowed.iter().filter(fits).copied().collect();
        if algorithms.is_empty() {
            return Err(KeyError::Pem);
        }
        Ok(Self { keys: vec![Key { kid: None, algorithms, decoding, source: pem.to_owned() }] })
    }

    /// A secret that signs and verifies.
    pub fn from_secret(secret: &[u8], allowed: &[Algorithm]) -> Result<Self, KeyError> {
        let algorithms: Vec<Algorithm> =
            allowed.iter().filter(|algorithm| algorithm.is_symmetric()).copied().collect();
        let needed =
            algorithms.iter().map(|algorithm| algorithm.secret_bytes()).max().ok_or(KeyError::NoneFits)?;
        if secret.len() < needed {
            return Err(KeyError::ShortSecret(needed));
        }
        let decoding = DecodingKey::from_secret(secret);
        Ok(Self { keys: vec![Key { kid: None, algorithms, decoding, source: String::new() }] })
    }

    /// Keys of a name that verify an algorithm. Keys without a name answer to all names, tokens without a name try all keys.
    pub(crate) fn candidates(&self, kid: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &Key> {
        let named = move |key: &&Key| match (kid, &key.kid) {
            (Some(wanted), Some(kid)) => wanted == kid,
            _ => true,
        };
        self.keys.iter().filter(move |key| key.algorithms.contains(&algorithm)).filter(named).take(MAX_TRIES)
    }
}

impl Key {
    pub(crate) fn verifies(&self, signed: &str, signature: &str, algorithm: Algorithm) -> bool {
        jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.decoding, algorithm.library())
            .unwrap_or(false)
    }
}

/// Of the length of an uncompressed point.
fn ec_algorithm(point_bytes: usize) -> Option<Algorithm> {
    match point_bytes {
        65 => Some(Algorithm::ES256),
        97 => Some(Algorithm::ES384),
        _ => None,
    }
}

fn from_jwk(value: &Value, allowed: &[Algorithm]) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    if jwk.common.key_operations.as_ref().is_some_and(|ops| !ops.contains(&KeyOperations::Verify)) {
        return None;
    }
    let kind: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(key) => {
            let modulus = URL_SAFE_NO_PAD.decode(&key.n).ok()?;
            // 2048 bits at least (RFC 7518, section 3.3); more than 8192 would take long to verify.
            if !(256..=1025).contains(&modulus.len()) {
                return None;
            }
            use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
            &[RS256, RS384, RS512, PS256, PS384, PS512]
        }
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        _ => return None,
    };
    // `alg` of the key itself, by its text: the library has no word for some names.
    let named = match value.get("alg") {
        None => None,
        Some(name) => Some(name.as_str()?.parse::<Algorithm>().ok()?),
    };
    let fits =
        |algorithm: &&Algorithm| kind.contains(algorithm) && named.is_none_or(|named| named == **algorithm);
    let algorithms: Vec<Algorithm> = allowed.iter().filter(fits).copied().collect();
    if algorithms.is_empty() {
        return None;
    }
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    Some(Key { kid: jwk.common.key_id, algorithms, decoding, source: value.to_string() })
}
