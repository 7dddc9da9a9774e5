//! The door to AWS-LC: safe functions and owned objects around its C interface, nothing more.
//!
//! Rules that every `unsafe` block in here relies on:
//! - Each owned pointer is checked for null when it is made and freed once, by `Drop`.
//! - A pointer to bytes comes from a slice together with that slice's length; C reads or writes nothing beyond it. AWS-LC
//!   accepts Rust's dangling pointers of empty slices, since it looks at lengths first.
//! - Objects are changed only while they are owned by one function; once inside an [`Pkey`] they are constant, which
//!   is what AWS-LC asks for use from several threads.

#![allow(unsafe_code)]

pub mod cipher;
pub mod digest;
pub mod ec;
pub mod pkey;
pub mod rsa;

use aws_lc_sys as c;

use crate::{Error, Result};

/// An operation that only fails when there is no memory, or when the code around it is wrong.
const FAILED: Error = Error::Operation("The operation failed inside the cryptographic library.");

/// C's way of saying yes.
fn ok(result: i32, error: Error) -> Result<()> {
    if result == 1 {
        return Ok(());
    }
    // SAFETY: acts on the thread's own list of errors, which nobody reads.
    unsafe { c::ERR_clear_error() };
    Err(error)
}

/// A pointer that is not null.
fn some<T>(pointer: *mut T, error: Error) -> Result<std::ptr::NonNull<T>> {
    if pointer.is_null() {
        // SAFETY: as in `ok`.
        unsafe { c::ERR_clear_error() };
    }
    std::ptr::NonNull::new(pointer).ok_or(error)
}

/// See [`crate::prepare`].
pub fn prepare() {
    let mut byte = [0];
    // SAFETY: plain calls, the second with a buffer of one byte.
    unsafe {
        c::CRYPTO_library_init();
        c::RAND_bytes(byte.as_mut_ptr(), 1);
    }
}

/// Fills `bytes` from the library's generator, which the kernel seeds.
pub fn random(bytes: &mut [u8]) -> Result<()> {
    // SAFETY: pointer and length of one slice.
    ok(unsafe { c::RAND_bytes(bytes.as_mut_ptr(), bytes.len()) }, FAILED)
}

/// See [`crate::equal`].
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    // SAFETY: both slices have the length that is compared.
    a.len() == b.len() && unsafe { c::CRYPTO_memcmp(a.as_ptr().cast(), b.as_ptr().cast(), a.len()) } == 0
}

/// A big number.
pub struct Big(std::ptr::NonNull<c::BIGNUM>);

impl Big {
    /// From big-endian bytes.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        // SAFETY: pointer and length of one slice; null asks for a new number.
        some(unsafe { c::BN_bin2bn(bytes.as_ptr(), bytes.len(), std::ptr::null_mut()) }, FAILED).map(Self)
    }
}

impl Drop for Big {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { c::BN_free(self.0.as_ptr()) }
    }
}

/// The number's big-endian bytes, without leading zeros; empty for null.
///
/// # Safety
/// `number` is null or points to a number that lives during the call.
unsafe fn big_bytes(number: *const c::BIGNUM) -> Vec<u8> {
    if number.is_null() {
        return Vec::new();
    }
    // SAFETY: not null; `BN_bn2bin` writes as many bytes as `BN_num_bytes` says.
    unsafe {
        let mut bytes = vec![0; c::BN_num_bytes(number) as usize];
        c::BN_bn2bin(number, bytes.as_mut_ptr());
        bytes
    }
}

/// The number in exactly `length` big-endian bytes.
///
/// # Safety
/// `number` is null or points to a number that lives during the call.
unsafe fn big_padded(number: *const c::BIGNUM, length: usize) -> Result<Vec<u8>> {
    if number.is_null() {
        return Err(FAILED);
    }
    let mut bytes = vec![0; length];
    // SAFETY: not null; pointer and length of one vector.
    ok(unsafe { c::BN_bn2bin_padded(bytes.as_mut_ptr(), length, number) }, FAILED)?;
    Ok(bytes)
}

/// What a function that writes DER wrote.
fn der(write: impl FnOnce(*mut c::CBB) -> i32) -> Result<Vec<u8>> {
    let mut builder = std::mem::MaybeUninit::<c::CBB>::zeroed();
    let builder = builder.as_mut_ptr();
    // SAFETY: `CBB_init` sets the builder up; on success `CBB_finish` hands its buffer over, else `CBB_cleanup` frees
    // it; the buffer is copied at its length and freed.
    unsafe {
        ok(c::CBB_init(builder, 256), FAILED)?;
        let (mut data, mut length) = (std::ptr::null_mut(), 0);
        if write(builder) != 1 || c::CBB_finish(builder, &mut data, &mut length) != 1 {
            c::CBB_cleanup(builder);
            return ok(0, FAILED).map(|()| Vec::new());
        }
        let bytes = std::slice::from_raw_parts(data, length).to_vec();
        // Wipes it, too.
        c::OPENSSL_free(data.cast());
        Ok(bytes)
    }
}

/// A reader of DER over a slice, and whether everything was read.
fn read<T>(bytes: &[u8], parse: impl FnOnce(*mut c::CBS) -> T) -> (T, bool) {
    let mut reader = c::CBS { data: bytes.as_ptr(), len: bytes.len() };
    let value = parse(&mut reader);
    (value, reader.len == 0)
}
