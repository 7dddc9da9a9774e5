//! Digests, HMAC, and what is built on them.

use std::ptr::{NonNull, null, null_mut};

use aws_lc_sys as c;

use super::{FAILED, ok, some};
use crate::{Error, Hash, Result};

/// The library's description of a hash, a constant.
pub fn md(hash: Hash) -> *const c::EVP_MD {
    // SAFETY: functions that return the address of a constant.
    unsafe {
        match hash {
            Hash::Md5 => c::EVP_md5(),
            Hash::Sha1 => c::EVP_sha1(),
            Hash::Sha224 => c::EVP_sha224(),
            Hash::Sha256 => c::EVP_sha256(),
            Hash::Sha384 => c::EVP_sha384(),
            Hash::Sha512 => c::EVP_sha512(),
            Hash::Sha512_256 => c::EVP_sha512_256(),
        }
    }
}

/// The digest of `data` in the first bytes of the array; the hash says how many.
pub fn digest(hash: Hash, data: &[u8]) -> Result<[u8; 64]> {
    let mut out = [0; 64];
    // SAFETY: no digest is longer than 64 bytes; pointer and length of one slice.
    let done = unsafe {
        c::EVP_Digest(data.as_ptr().cast(), data.len(), out.as_mut_ptr(), null_mut(), md(hash), null_mut())
    };
    ok(done, FAILED)?;
    Ok(out)
}

/// A digest in progress.
pub struct Digest(NonNull<c::EVP_MD_CTX>);

// SAFETY: owned, used through `&mut` only, bound to no thread.
unsafe impl Send for Digest {}

impl Digest {
    pub fn new(hash: Hash) -> Result<Self> {
        // SAFETY: a new context, checked; freed by `Drop`.
        let context = Self(some(unsafe { c::EVP_MD_CTX_new() }, FAILED)?);
        // SAFETY: the context is alive, the digest a constant.
        ok(unsafe { c::EVP_DigestInit_ex(context.0.as_ptr(), md(hash), null_mut()) }, FAILED)?;
        Ok(context)
    }

    pub fn update(&mut self, data: &[u8]) -> Result<()> {
        // SAFETY: pointer and length of one slice.
        ok(unsafe { c::EVP_DigestUpdate(self.0.as_ptr(), data.as_ptr().cast(), data.len()) }, FAILED)
    }

    pub fn finish(self) -> Result<[u8; 64]> {
        let mut out = [0; 64];
        // SAFETY: no digest is longer than 64 bytes.
        ok(unsafe { c::EVP_DigestFinal_ex(self.0.as_ptr(), out.as_mut_ptr(), null_mut()) }, FAILED)?;
        Ok(out)
    }

    pub fn duplicate(&self) -> Result<Self> {
        // SAFETY: a new context, checked; the source is alive and not changed.
        let copy = Self(some(unsafe { c::EVP_MD_CTX_new() }, FAILED)?);
        // SAFETY: both contexts are alive.
        ok(unsafe { c::EVP_MD_CTX_copy_ex(copy.0.as_ptr(), self.0.as_ptr()) }, FAILED)?;
        Ok(copy)
    }
}

impl Drop for Digest {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { c::EVP_MD_CTX_free(self.0.as_ptr()) }
    }
}

/// An HMAC in progress.
pub struct Hmac(NonNull<c::HMAC_CTX>);

// SAFETY: owned, used through `&mut` only, bound to no thread.
unsafe impl Send for Hmac {}

impl Hmac {
    pub fn new(hash: Hash, key: &[u8]) -> Result<Self> {
        // SAFETY: a new context, checked; freed by `Drop`.
        let context = Self(some(unsafe { c::HMAC_CTX_new() }, FAILED)?);
        // An empty slice's pointer is not null, which would mean "the key that is set already".
        // SAFETY: pointer and length of one slice.
        let done = unsafe {
            c::HMAC_Init_ex(context.0.as_ptr(), key.as_ptr().cast(), key.len(), md(hash), null_mut())
        };
        ok(done, FAILED)?;
        Ok(context)
    }

    /// Begins anew with the same key.
    pub fn restart(&mut self) -> Result<()> {
        // SAFETY: the context has a key; null keeps it.
        ok(unsafe { c::HMAC_Init_ex(self.0.as_ptr(), null(), 0, null(), null_mut()) }, FAILED)
    }

    pub fn update(&mut self, data: &[u8]) -> Result<()> {
        // SAFETY: pointer and length of one slice.
        ok(unsafe { c::HMAC_Update(self.0.as_ptr(), data.as_ptr(), data.len()) }, FAILED)
    }

    /// Ends the message; `restart` begins the next.
    pub fn finish(&mut self, out: &mut [u8; 64]) -> Result<()> {
        // SAFETY: no HMAC is longer than 64 bytes.
        ok(unsafe { c::HMAC_Final(self.0.as_ptr(), out.as_mut_ptr(), null_mut()) }, FAILED)
    }

    pub fn duplicate(&self) -> Result<Self> {
        // SAFETY: a new context, checked; the source is alive and not changed.
        let copy = Self(some(unsafe { c::HMAC_CTX_new() }, FAILED)?);
        // SAFETY: both contexts are alive.
        ok(unsafe { c::HMAC_CTX_copy_ex(copy.0.as_ptr(), self.0.as_ptr()) }, FAILED)?;
        Ok(copy)
    }
}

impl Drop for Hmac {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { c::HMAC_CTX_free(self.0.as_ptr()) }
    }
}

/// HKDF (RFC 5869), extract and expand.
pub fn hkdf(hash: Hash, secret: &[u8], salt: &[u8], info: &[u8], out: &mut [u8]) -> Result<()> {
    // SAFETY: each pointer goes with its slice's length.
    let done = unsafe {
        c::HKDF(
            out.as_mut_ptr(),
            out.len(),
            md(hash),
            secret.as_ptr(),
            secret.len(),
            salt.as_ptr(),
            salt.len(),
            info.as_ptr(),
            info.len(),
        )
    };
    ok(done, Error::Operation("HKDF cannot give so many bits: at most 255 times the length of its hash."))
}

/// scrypt (RFC 7914).
pub fn scrypt(
    password: &[u8],
    salt: &[u8],
    (n, r, p): (u64, u64, u64),
    memory_max: usize,
    out: &mut [u8],
) -> Result<()> {
    // SAFETY: each pointer goes with its slice's length.
    let done = unsafe {
        c::EVP_PBE_scrypt(
            password.as_ptr().cast(),
            password.len(),
            salt.as_ptr(),
            salt.len(),
            n,
            r,
            p,
            memory_max,
            out.as_mut_ptr(),
            out.len(),
        )
    };
    ok(done, Error::Operation("The parameters of scrypt are invalid, or need more memory than they may use."))
}
