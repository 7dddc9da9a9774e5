//! Keys with a public half, in the library's own form, and what is done with any of them.

use std::ptr::{NonNull, null, null_mut};

use aws_lc_sys as c;

use super::digest::md;
use super::{FAILED, der, ok, read, some};
use crate::{Error, Hash, Result};

/// The families of keys that are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Rsa,
    Ec,
    Ed25519,
    X25519,
}

/// A key with a public half and maybe a private one; constant once made.
pub struct Pkey(pub(super) NonNull<c::EVP_PKEY>);

// SAFETY: constant, and the library allows use of constant keys from several threads.
unsafe impl Send for Pkey {}
// SAFETY: as above.
unsafe impl Sync for Pkey {}

const DER: Error = Error::Data("The data is not a key in the format that was named.");
const RAW: Error = Error::Data("The key does not have the length of keys of its algorithm.");

/// How an RSA message is padded.
#[derive(Clone, Copy, Debug)]
pub enum Padding {
    Pkcs1,
    /// With so many bytes of salt.
    Pss(u32),
}

impl Pkey {
    fn new(pointer: *mut c::EVP_PKEY, error: Error) -> Result<Self> {
        some(pointer, error).map(Self)
    }

    /// An empty key that `fill` gives its contents; `fill` says whether it did.
    pub(super) fn filled(fill: impl FnOnce(*mut c::EVP_PKEY) -> i32) -> Result<Self> {
        // SAFETY: a new key, checked; freed by `Drop`.
        let key = Self::new(unsafe { c::EVP_PKEY_new() }, FAILED)?;
        ok(fill(key.0.as_ptr()), FAILED)?;
        Ok(key)
    }

    pub fn family(&self) -> Option<Family> {
        // SAFETY: alive.
        match unsafe { c::EVP_PKEY_id(self.0.as_ptr()) } {
            c::EVP_PKEY_RSA => Some(Family::Rsa),
            c::EVP_PKEY_EC => Some(Family::Ec),
            c::EVP_PKEY_ED25519 => Some(Family::Ed25519),
            c::EVP_PKEY_X25519 => Some(Family::X25519),
            _ => None,
        }
    }

    /// Reads a `SubjectPublicKeyInfo` (RFC 5280).
    pub fn from_spki(bytes: &[u8]) -> Result<Self> {
        // SAFETY: the reader covers the slice.
        let (key, whole) = read(bytes, |reader| unsafe { c::EVP_parse_public_key(reader) });
        let key = Self::new(key, DER)?;
        if whole { Ok(key) } else { Err(DER) }
    }

    /// Reads a `PrivateKeyInfo` (RFC 5208, RFC 5958).
    pub fn from_pkcs8(bytes: &[u8]) -> Result<Self> {
        // SAFETY: the reader covers the slice.
        let (key, whole) = read(bytes, |reader| unsafe { c::EVP_parse_private_key(reader) });
        let key = Self::new(key, DER)?;
        if whole { Ok(key) } else { Err(DER) }
    }

    pub fn to_spki(&self) -> Result<Vec<u8>> {
        // SAFETY: key and builder are alive.
        der(|builder| unsafe { c::EVP_marshal_public_key(builder, self.0.as_ptr()) })
    }

    pub fn to_pkcs8(&self) -> Result<Vec<u8>> {
        // SAFETY: key and builder are alive.
        der(|builder| unsafe { c::EVP_marshal_private_key(builder, self.0.as_ptr()) })
    }

    /// An Ed25519 or X25519 key from the bytes of its private half.
    pub fn from_seed(family: Family, bytes: &[u8]) -> Result<Self> {
        let id = raw_id(family)?;
        // SAFETY: pointer and length of one slice.
        let key = unsafe { c::EVP_PKEY_new_raw_private_key(id, null_mut(), bytes.as_ptr(), bytes.len()) };
        Self::new(key, RAW)
    }

    /// An Ed25519 or X25519 key from the bytes of its public half.
    pub fn from_raw_public(family: Family, bytes: &[u8]) -> Result<Self> {
        let id = raw_id(family)?;
        // SAFETY: pointer and length of one slice.
        let key = unsafe { c::EVP_PKEY_new_raw_public_key(id, null_mut(), bytes.as_ptr(), bytes.len()) };
        Self::new(key, RAW)
    }

    /// The bytes of the public half of an Ed25519 or X25519 key.
    pub fn raw_public(&self) -> Result<[u8; 32]> {
        let (mut out, mut length) = ([0; 32], 32);
        // SAFETY: the library writes at most `length` bytes.
        let done = unsafe { c::EVP_PKEY_get_raw_public_key(self.0.as_ptr(), out.as_mut_ptr(), &mut length) };
        ok(done, FAILED)?;
        Ok(out)
    }

    /// The bytes of the private half of an Ed25519 or X25519 key.
    pub fn seed(&self) -> Result<[u8; 32]> {
        let (mut out, mut length) = ([0; 32], 32);
        // SAFETY: the library writes at most `length` bytes.
        let done = unsafe { c::EVP_PKEY_get_raw_private_key(self.0.as_ptr(), out.as_mut_ptr(), &mut length) };
        ok(done, FAILED)?;
        Ok(out)
    }

    /// Signs: with a hash for RSA (and a padding) and ECDSA, without for Ed25519. ECDSA signatures are DER.
    pub fn sign(&self, hash: Option<Hash>, padding: Padding, data: &[u8]) -> Result<Vec<u8>> {
        let context = Signing::new()?;
        let mut key_context = null_mut();
        // SAFETY: context and key are alive; the inner context belongs to the outer one.
        unsafe {
            let md = hash.map_or(null(), md);
            let (context, key) = (context.0.as_ptr(), self.0.as_ptr());
            ok(c::EVP_DigestSignInit(context, &mut key_context, md, null_mut(), key), FAILED)?;
        }
        self.pad(key_context, padding)?;
        let too_small = Error::Operation("The key is too small for this hash and salt.");
        let mut length = 0;
        // SAFETY: asks for the length with a null pointer, then passes a buffer of that length.
        unsafe {
            let context = context.0.as_ptr();
            ok(c::EVP_DigestSign(context, null_mut(), &mut length, data.as_ptr(), data.len()), too_small)?;
            let mut out = vec![0; length];
            ok(
                c::EVP_DigestSign(context, out.as_mut_ptr(), &mut length, data.as_ptr(), data.len()),
                too_small,
            )?;
            out.truncate(length);
            Ok(out)
        }
    }

    /// Whether the signature is one of `data` by this key.
    pub fn verify(
        &self,
        hash: Option<Hash>,
        padding: Padding,
        signature: &[u8],
        data: &[u8],
    ) -> Result<bool> {
        let context = Signing::new()?;
        let mut key_context = null_mut();
        // SAFETY: as in `sign`.
        unsafe {
            let md = hash.map_or(null(), md);
            let (context, key) = (context.0.as_ptr(), self.0.as_ptr());
            ok(c::EVP_DigestVerifyInit(context, &mut key_context, md, null_mut(), key), FAILED)?;
        }
        if self.pad(key_context, padding).is_err() {
            return Ok(false);
        }
        // SAFETY: each pointer goes with its slice's length.
        let good = unsafe {
            let context = context.0.as_ptr();
            c::EVP_DigestVerify(context, signature.as_ptr(), signature.len(), data.as_ptr(), data.len())
        };
        Ok(ok(good, FAILED).is_ok())
    }

    fn pad(&self, context: *mut c::EVP_PKEY_CTX, padding: Padding) -> Result<()> {
        if self.family() != Some(Family::Rsa) {
            return Ok(());
        }
        // SAFETY: the context is that of an RSA key, alive during the call.
        unsafe {
            match padding {
                Padding::Pkcs1 => ok(c::EVP_PKEY_CTX_set_rsa_padding(context, c::RSA_PKCS1_PADDING), FAILED),
                Padding::Pss(salt) => {
                    let salt = i32::try_from(salt)
                        .map_err(|_| Error::Operation("The salt of RSA-PSS is too long for the key."))?;
                    ok(c::EVP_PKEY_CTX_set_rsa_padding(context, c::RSA_PKCS1_PSS_PADDING), FAILED)?;
                    ok(c::EVP_PKEY_CTX_set_rsa_pss_saltlen(context, salt), FAILED)
                }
            }
        }
    }

    /// RSA-OAEP (RFC 8017, section 7.1), in either direction.
    pub fn oaep(&self, hash: Hash, label: &[u8], data: &[u8], encrypt: bool) -> Result<Vec<u8>> {
        let error = if encrypt {
            Error::Operation("The data is too long for the key and hash.")
        } else {
            Error::Operation("The data could not be decrypted: it, the key or the label is wrong.")
        };
        let context = Context::new(self)?;
        let context = context.0.as_ptr();
        let mut length = 0;
        // SAFETY: the context and its key are alive; the label is copied into memory of the library's own, which takes
        // it over; the length is asked for with a null pointer before a buffer of that length is passed.
        unsafe {
            ok(
                if encrypt { c::EVP_PKEY_encrypt_init(context) } else { c::EVP_PKEY_decrypt_init(context) },
                FAILED,
            )?;
            ok(c::EVP_PKEY_CTX_set_rsa_padding(context, c::RSA_PKCS1_OAEP_PADDING), FAILED)?;
            ok(c::EVP_PKEY_CTX_set_rsa_oaep_md(context, md(hash)), FAILED)?;
            ok(c::EVP_PKEY_CTX_set_rsa_mgf1_md(context, md(hash)), FAILED)?;
            if !label.is_empty() {
                let copy = c::OPENSSL_memdup(label.as_ptr().cast(), label.len()).cast::<u8>();
                some(copy, FAILED)?;
                if c::EVP_PKEY_CTX_set0_rsa_oaep_label(context, copy, label.len()) != 1 {
                    c::OPENSSL_free(copy.cast());
                    return Err(FAILED);
                }
            }
            let run = if encrypt { c::EVP_PKEY_encrypt } else { c::EVP_PKEY_decrypt };
            ok(run(context, null_mut(), &mut length, data.as_ptr(), data.len()), error)?;
            let mut out = vec![0; length];
            ok(run(context, out.as_mut_ptr(), &mut length, data.as_ptr(), data.len()), error)?;
            out.truncate(length);
            Ok(out)
        }
    }

    /// The secret that this private key shares with somebody's public key of the same family.
    pub fn agree(&self, peer: &Self) -> Result<Vec<u8>> {
        let error = Error::Operation("The two keys share no secret.");
        let context = Context::new(self)?;
        let context = context.0.as_ptr();
        let mut length = 0;
        // SAFETY: contexts and keys are alive; the length is asked for before a buffer of that length is passed.
        unsafe {
            ok(c::EVP_PKEY_derive_init(context), error)?;
            ok(c::EVP_PKEY_derive_set_peer(context, peer.0.as_ptr()), error)?;
            ok(c::EVP_PKEY_derive(context, null_mut(), &mut length), error)?;
            let mut out = vec![0; length];
            ok(c::EVP_PKEY_derive(context, out.as_mut_ptr(), &mut length), error)?;
            out.truncate(length);
            Ok(out)
        }
    }
}

impl Drop for Pkey {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { c::EVP_PKEY_free(self.0.as_ptr()) }
    }
}

fn raw_id(family: Family) -> Result<i32> {
    match family {
        Family::Ed25519 => Ok(c::EVP_PKEY_ED25519),
        Family::X25519 => Ok(c::EVP_PKEY_X25519),
        Family::Rsa | Family::Ec => Err(FAILED),
    }
}

struct Context(NonNull<c::EVP_PKEY_CTX>);

impl Context {
    fn new(key: &Pkey) -> Result<Self> {
        // SAFETY: the key is alive, and the context keeps it so; freed by `Drop`.
        some(unsafe { c::EVP_PKEY_CTX_new(key.0.as_ptr(), null_mut()) }, FAILED).map(Self)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { c::EVP_PKEY_CTX_free(self.0.as_ptr()) }
    }
}

struct Signing(NonNull<c::EVP_MD_CTX>);

impl Signing {
    fn new() -> Result<Self> {
        // SAFETY: a new context; freed by `Drop`.
        some(unsafe { c::EVP_MD_CTX_new() }, FAILED).map(Self)
    }
}

impl Drop for Signing {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { c::EVP_MD_CTX_free(self.0.as_ptr()) }
    }
}
