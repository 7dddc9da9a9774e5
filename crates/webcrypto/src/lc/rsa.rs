//! RSA keys by their numbers.

use std::ffi::{c_int, c_void};
use std::ptr::NonNull;

use aws_lc_sys as c;
use zeroize::Zeroizing;

use super::pkey::{Family, Pkey};
use super::{Big, FAILED, big_bytes, ok, read, some};
use crate::{Error, GoOn, Result};

const BAD: Error = Error::Data("The numbers are not those of an RSA key, or of one that is too large.");

/// The numbers of an RSA key, big-endian, in the order of PKCS #1: n, e, d, p, q, d mod (p-1), d mod (q-1), 1/q mod p.
/// Those after e are empty in a public key.
pub type Numbers = [Zeroizing<Vec<u8>>; 8];

struct Rsa(NonNull<c::RSA>);

impl Rsa {
    /// Gives the key to a new `Pkey`.
    fn into_pkey(self) -> Result<Pkey> {
        // SAFETY: both are alive; `set1` takes a reference of its own.
        Pkey::filled(|key| unsafe { c::EVP_PKEY_set1_RSA(key, self.0.as_ptr()) })
    }
}

impl Drop for Rsa {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { c::RSA_free(self.0.as_ptr()) }
    }
}

/// Makes a key pair. Stops when `go_on` says so.
pub fn generate(bits: u32, exponent: &[u8], go_on: GoOn<'_>) -> Result<Pkey> {
    unsafe extern "C" fn look(_: c_int, _: c_int, callback: *mut c::BN_GENCB) -> c_int {
        // SAFETY: the argument was set below and outlives the generation.
        let go_on = unsafe { *c::BN_GENCB_get_arg(callback).cast::<GoOn<'_>>() };
        c_int::from(go_on())
    }
    struct Callback(NonNull<c::BN_GENCB>);
    impl Drop for Callback {
        fn drop(&mut self) {
            // SAFETY: owned.
            unsafe { c::BN_GENCB_free(self.0.as_ptr()) }
        }
    }

    let exponent = Big::new(exponent)?;
    // SAFETY: new objects, checked; freed by `Drop`.
    let (rsa, callback) =
        unsafe { (Rsa(some(c::RSA_new(), FAILED)?), Callback(some(c::BN_GENCB_new(), FAILED)?)) };
    let argument: *const GoOn<'_> = &go_on;
    let failed = Error::Operation("No RSA key with this length and exponent could be generated.");
    // SAFETY: everything is alive during the call; `look` treats its argument as what it is.
    let done = unsafe {
        c::BN_GENCB_set(callback.0.as_ptr(), Some(look), argument.cast_mut().cast::<c_void>());
        let (rsa, exponent) = (rsa.0.as_ptr(), exponent.0.as_ptr());
        c::RSA_generate_key_ex(rsa, bits as c_int, exponent, callback.0.as_ptr())
    };
    ok(done, if go_on() { failed } else { Error::Stopped })?;
    rsa.into_pkey()
}

/// A key from its numbers. Public when only the first two are not empty.
pub fn from_numbers(numbers: &Numbers) -> Result<Pkey> {
    let mut bigs = Vec::with_capacity(8);
    for number in numbers {
        bigs.push(Big::new(number)?);
    }
    let at = |index: usize| bigs[index].0.as_ptr().cast_const();
    // SAFETY: all numbers are alive; the library copies them and checks that they are a key's.
    let rsa = unsafe {
        if numbers[2].is_empty() {
            c::RSA_new_public_key(at(0), at(1))
        } else {
            c::RSA_new_private_key(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7))
        }
    };
    Rsa(some(rsa, BAD)?).into_pkey()
}

/// A key from PKCS #1 (RFC 8017, appendix A.1), as files with the label `RSA PRIVATE KEY` hold it.
pub fn from_pkcs1(bytes: &[u8], private: bool) -> Result<Pkey> {
    let (rsa, whole) = read(bytes, |reader| {
        // SAFETY: the reader covers the slice.
        unsafe { if private { c::RSA_parse_private_key(reader) } else { c::RSA_parse_public_key(reader) } }
    });
    let rsa = Rsa(some(rsa, BAD)?);
    if whole { rsa.into_pkey() } else { Err(BAD) }
}

/// The key's numbers; private ones only if asked for.
pub fn numbers(key: &Pkey, private: bool) -> Result<Numbers> {
    if key.family() != Some(Family::Rsa) {
        return Err(FAILED);
    }
    let mut out = Numbers::default();
    // SAFETY: the key is an RSA key and alive, and so are the numbers it answers with.
    unsafe {
        let rsa = c::EVP_PKEY_get0_RSA(key.0.as_ptr());
        let rsa = if rsa.is_null() { return Err(FAILED) } else { rsa };
        out[0] = big_bytes(c::RSA_get0_n(rsa)).into();
        out[1] = big_bytes(c::RSA_get0_e(rsa)).into();
        if private {
            out[2] = big_bytes(c::RSA_get0_d(rsa)).into();
            out[3] = big_bytes(c::RSA_get0_p(rsa)).into();
            out[4] = big_bytes(c::RSA_get0_q(rsa)).into();
            out[5] = big_bytes(c::RSA_get0_dmp1(rsa)).into();
            out[6] = big_bytes(c::RSA_get0_dmq1(rsa)).into();
            out[7] = big_bytes(c::RSA_get0_iqmp(rsa)).into();
        }
    }
    Ok(out)
}

/// Bits of the modulus.
pub fn bits(key: &Pkey) -> u32 {
    // SAFETY: alive.
    let rsa = unsafe { c::EVP_PKEY_get0_RSA(key.0.as_ptr()) };
    // SAFETY: not null, alive as long as the key.
    if rsa.is_null() { 0 } else { unsafe { c::RSA_bits(rsa) } }
}
