//! What a key is.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::lc::pkey::{Family, Pkey};
use crate::lc::{ec, rsa};
use crate::{Error, Result};

/// The curves of ECDSA and ECDH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// secp256r1.
    P256,
    /// secp384r1.
    P384,
    /// secp521r1.
    P521,
}

impl Curve {
    /// By the standard's name, such as `P-256`.
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "P-256" => Some(Self::P256),
            "P-384" => Some(Self::P384),
            "P-521" => Some(Self::P521),
            _ => None,
        }
    }

    /// The standard's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// Bytes of a coordinate.
    pub fn field_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// What a key is good for, as far as mathematics goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Plain bytes: HMAC, AES, and what secrets are derived from.
    Secret,
    /// Any RSA algorithm.
    Rsa,
    /// ECDSA or ECDH.
    Ec(Curve),
    /// Ed25519.
    Ed25519,
    /// X25519.
    X25519,
}

/// A key. Cheap to clone; its secrets are wiped with the last clone.
#[derive(Clone)]
pub struct Key {
    kind: Kind,
    private: bool,
    material: Material,
}

#[derive(Clone)]
enum Material {
    Secret(Arc<Zeroizing<Vec<u8>>>),
    Pair(Arc<Pkey>),
}

impl std::fmt::Debug for Key {
    /// Never shows what must stay secret.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Key({:?}, private: {})", self.kind, self.private)
    }
}

impl Key {
    /// A key of plain bytes.
    pub fn secret(bytes: Vec<u8>) -> Self {
        let material = Material::Secret(Arc::new(Zeroizing::new(bytes)));
        Self { kind: Kind::Secret, private: true, material }
    }

    /// A key with a public half; `private` says whether it has the other, too.
    pub(crate) fn pair(key: Pkey, private: bool) -> Result<Self> {
        let strange = Error::Data("The data holds a key of an algorithm that is not offered.");
        let kind = match key.family().ok_or(strange)? {
            Family::Rsa => Kind::Rsa,
            Family::Ec => Kind::Ec(ec::curve(&key).ok_or(strange)?),
            Family::Ed25519 => Kind::Ed25519,
            Family::X25519 => Kind::X25519,
        };
        Ok(Self { kind, private, material: Material::Pair(Arc::new(key)) })
    }

    /// What the key is good for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the key holds a secret: a private half, or plain bytes.
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// The public half alone; plain bytes have none.
    pub fn public(&self) -> Result<Self> {
        match &self.material {
            Material::Pair(_) => Ok(Self { private: false, ..self.clone() }),
            Material::Secret(_) => Err(Error::Access("The key has no public half.")),
        }
    }

    /// The plain bytes.
    pub fn bytes(&self) -> Result<&[u8]> {
        match &self.material {
            Material::Secret(bytes) => Ok(bytes),
            Material::Pair(_) => Err(Error::Access("The operation takes a secret key.")),
        }
    }

    /// About how much memory it takes, bytes.
    pub fn size(&self) -> usize {
        64 + match (&self.material, self.kind) {
            (Material::Secret(bytes), _) => bytes.len(),
            // Eight numbers of its length and what the library computes ahead.
            (Material::Pair(key), Kind::Rsa) => 1024 + rsa::bits(key) as usize * 2,
            (Material::Pair(_), _) => 1024,
        }
    }

    /// Bits of an RSA key's modulus, or of a secret; 0 for others.
    pub fn bits(&self) -> u32 {
        match &self.material {
            Material::Secret(bytes) => bytes.len() as u32 * 8,
            Material::Pair(key) => rsa::bits(key),
        }
    }

    /// The library's key, if it is one of that kind.
    pub(crate) fn pkey(&self, wanted: impl FnOnce(Kind) -> bool) -> Result<&Pkey> {
        match &self.material {
            Material::Pair(key) if wanted(self.kind) => Ok(key),
            _ => Err(Error::Access("The key is not of the kind that the operation takes.")),
        }
    }

    /// The same, with its private half.
    pub(crate) fn private_pkey(&self, wanted: impl FnOnce(Kind) -> bool) -> Result<&Pkey> {
        let key = self.pkey(wanted)?;
        if self.private { Ok(key) } else { Err(Error::Access("The operation takes a private key.")) }
    }
}
