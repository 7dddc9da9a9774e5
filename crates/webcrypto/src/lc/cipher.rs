//! AES in its modes.

use std::ptr::{NonNull, null, null_mut};

use aws_lc_sys as c;

use super::{FAILED, ok, some};
use crate::{Error, Result};

/// How blocks are chained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Cbc,
    Ctr,
    Gcm,
}

const DECRYPT: Error =
    Error::Operation("The data could not be decrypted: it, the key or a parameter is wrong.");
const KEY: Error = Error::Operation("An AES key has 128, 192 or 256 bits.");

/// Longest message, bytes: the library counts in `int`.
const MESSAGE_MAX: usize = 1 << 30;

fn cipher(mode: Mode, key: &[u8]) -> Result<*const c::EVP_CIPHER> {
    // SAFETY: functions that return the address of a constant.
    Ok(unsafe {
        match (mode, key.len()) {
            (Mode::Cbc, 16) => c::EVP_aes_128_cbc(),
            (Mode::Cbc, 24) => c::EVP_aes_192_cbc(),
            (Mode::Cbc, 32) => c::EVP_aes_256_cbc(),
            (Mode::Ctr, 16) => c::EVP_aes_128_ctr(),
            (Mode::Ctr, 24) => c::EVP_aes_192_ctr(),
            (Mode::Ctr, 32) => c::EVP_aes_256_ctr(),
            (Mode::Gcm, 16) => c::EVP_aes_128_gcm(),
            (Mode::Gcm, 24) => c::EVP_aes_192_gcm(),
            (Mode::Gcm, 32) => c::EVP_aes_256_gcm(),
            _ => return Err(KEY),
        }
    })
}

struct Context(NonNull<c::EVP_CIPHER_CTX>);

impl Context {
    /// A context with key and nonce.
    fn new(mode: Mode, key: &[u8], nonce: &[u8], encrypt: bool) -> Result<Self> {
        let cipher = cipher(mode, key)?;
        // SAFETY: a new context, checked; freed by `Drop`.
        let context = Self(some(unsafe { c::EVP_CIPHER_CTX_new() }, FAILED)?);
        let direction = i32::from(encrypt);
        if mode == Mode::Gcm {
            let length = i32::try_from(nonce.len()).map_err(|_| FAILED)?;
            // SAFETY: first the cipher alone, then the nonce's length, both on a context that is alive.
            unsafe {
                ok(
                    c::EVP_CipherInit_ex(context.0.as_ptr(), cipher, null_mut(), null(), null(), direction),
                    FAILED,
                )?;
                let set = c::EVP_CTRL_AEAD_SET_IVLEN;
                ok(
                    c::EVP_CIPHER_CTX_ctrl(context.0.as_ptr(), set, length, null_mut()),
                    Error::Operation("AES-GCM needs an iv of at least one byte."),
                )?;
            }
        } else if nonce.len() != 16 {
            return Err(Error::Operation("The iv or counter of AES has 16 bytes."));
        }
        // SAFETY: the key has the length of this cipher, the nonce the length that it has or was told.
        let done = unsafe {
            let cipher = if mode == Mode::Gcm { null() } else { cipher };
            c::EVP_CipherInit_ex(
                context.0.as_ptr(),
                cipher,
                null_mut(),
                key.as_ptr(),
                nonce.as_ptr(),
                direction,
            )
        };
        ok(done, FAILED)?;
        Ok(context)
    }

    /// Authenticates without encrypting.
    fn aad(&mut self, data: &[u8]) -> Result<()> {
        for chunk in data.chunks(MESSAGE_MAX) {
            let mut written = 0;
            // SAFETY: no output; pointer and length of one slice, which fits in an `int`.
            let done = unsafe {
                let length = chunk.len() as i32;
                c::EVP_CipherUpdate(self.0.as_ptr(), null_mut(), &mut written, chunk.as_ptr(), length)
            };
            ok(done, FAILED)?;
        }
        Ok(())
    }

    /// Runs all of `data` through; `reserve` bytes of room are left for what follows.
    fn run(&mut self, data: &[u8], reserve: usize, error: Error) -> Result<Vec<u8>> {
        if data.len() > MESSAGE_MAX {
            return Err(Error::Operation("The message is too long."));
        }
        // At most one block more than went in comes out.
        let mut out = vec![0; data.len() + 16 + reserve];
        let (mut written, mut rest) = (0, 0);
        // SAFETY: `out` has room for the input, a block, and more; lengths fit in an `int`.
        unsafe {
            if !data.is_empty() {
                let length = data.len() as i32;
                let done = c::EVP_CipherUpdate(
                    self.0.as_ptr(),
                    out.as_mut_ptr(),
                    &mut written,
                    data.as_ptr(),
                    length,
                );
                ok(done, error)?;
            }
            let end = out.as_mut_ptr().add(written as usize);
            if let Err(error) = ok(c::EVP_CipherFinal_ex(self.0.as_ptr(), end, &mut rest), error) {
                // What was decrypted is not to be seen.
                out.fill(0);
                return Err(error);
            }
        }
        out.truncate(written as usize + rest as usize);
        Ok(out)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { c::EVP_CIPHER_CTX_free(self.0.as_ptr()) }
    }
}

/// CBC with PKCS#7 padding.
pub fn cbc(key: &[u8], iv: &[u8], data: &[u8], encrypt: bool) -> Result<Vec<u8>> {
    Context::new(Mode::Cbc, key, iv, encrypt)?.run(data, 0, DECRYPT)
}

/// CTR with a counter of 128 bits.
pub fn ctr(key: &[u8], counter: &[u8], data: &[u8]) -> Result<Vec<u8>> {
    Context::new(Mode::Ctr, key, counter, true)?.run(data, 0, FAILED)
}

/// GCM; the tag of `tag` bytes follows the ciphertext.
pub fn gcm_seal(key: &[u8], nonce: &[u8], aad: &[u8], tag: usize, data: &[u8]) -> Result<Vec<u8>> {
    let mut context = Context::new(Mode::Gcm, key, nonce, true)?;
    context.aad(aad)?;
    let mut out = context.run(data, tag, FAILED)?;
    let mut whole = [0u8; 16];
    // SAFETY: the tag has 16 bytes.
    let done = unsafe {
        let get = c::EVP_CTRL_AEAD_GET_TAG;
        c::EVP_CIPHER_CTX_ctrl(context.0.as_ptr(), get, 16, whole.as_mut_ptr().cast())
    };
    ok(done, FAILED)?;
    out.extend_from_slice(&whole[..tag.min(16)]);
    Ok(out)
}

/// Undoes [`gcm_seal`], if the tag is right.
pub fn gcm_open(key: &[u8], nonce: &[u8], aad: &[u8], tag: usize, data: &[u8]) -> Result<Vec<u8>> {
    let Some(length) = data.len().checked_sub(tag).filter(|_| (1..=16).contains(&tag)) else {
        return Err(DECRYPT);
    };
    let (data, expected) = data.split_at(length);
    let mut context = Context::new(Mode::Gcm, key, nonce, false)?;
    let mut bytes = [0u8; 16];
    bytes[..tag].copy_from_slice(expected);
    // SAFETY: `tag` is at most 16, and the library copies that many bytes.
    let done = unsafe {
        let set = c::EVP_CTRL_AEAD_SET_TAG;
        c::EVP_CIPHER_CTX_ctrl(context.0.as_ptr(), set, tag as i32, bytes.as_mut_ptr().cast())
    };
    ok(done, FAILED)?;
    context.aad(aad)?;
    context.run(data, 0, DECRYPT)
}

/// AES key wrap (RFC 3394).
pub fn wrap(key: &[u8], data: &[u8], wrap: bool) -> Result<Vec<u8>> {
    if !matches!(key.len(), 16 | 24 | 32) {
        return Err(KEY);
    }
    let mut schedule = std::mem::MaybeUninit::<c::AES_KEY>::zeroed();
    let schedule = schedule.as_mut_ptr();
    let bits = key.len() as u32 * 8;
    let mut out = vec![0; data.len() + 8];
    // SAFETY: the key's length was checked; wrapping writes eight bytes more than it reads, unwrapping eight less.
    let written = unsafe {
        if wrap {
            c::AES_set_encrypt_key(key.as_ptr(), bits, schedule);
            c::AES_wrap_key(schedule, null(), out.as_mut_ptr(), data.as_ptr(), data.len())
        } else {
            c::AES_set_decrypt_key(key.as_ptr(), bits, schedule);
            c::AES_unwrap_key(schedule, null(), out.as_mut_ptr(), data.as_ptr(), data.len())
        }
    };
    // SAFETY: wipes the whole of a local object.
    unsafe { c::OPENSSL_cleanse(schedule.cast(), size_of::<c::AES_KEY>()) };
    let error =
        if wrap { Error::Operation("AES-KW wraps at least 16 bytes, and a multiple of 8.") } else { DECRYPT };
    ok(i32::from(written > 0), error)?;
    out.truncate(written as usize);
    Ok(out)
}
