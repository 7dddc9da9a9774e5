//! Keys on the NIST curves by their points and numbers.

use std::ptr::{NonNull, null, null_mut};

use aws_lc_sys as c;
use zeroize::Zeroizing;

use super::pkey::Pkey;
use super::{Big, FAILED, big_padded, ok, read, some};
use crate::key::Curve;
use crate::{Error, Result};

const POINT: Error = Error::Data("The data is not a point on the key's curve.");
const PRIVATE: Error = Error::Data("The private number does not belong to the curve and the public point.");

struct EcKey(NonNull<c::EC_KEY>);

impl EcKey {
    fn new(curve: Curve) -> Result<Self> {
        // SAFETY: a new key, checked; freed by `Drop`.
        some(unsafe { c::EC_KEY_new_by_curve_name(nid(curve)) }, FAILED).map(Self)
    }

    fn group(&self) -> *const c::EC_GROUP {
        // SAFETY: alive, and so is its group.
        unsafe { c::EC_KEY_get0_group(self.0.as_ptr()) }
    }

    fn into_pkey(self) -> Result<Pkey> {
        // SAFETY: both are alive; `set1` takes a reference of its own.
        Pkey::filled(|key| unsafe { c::EVP_PKEY_set1_EC_KEY(key, self.0.as_ptr()) })
    }
}

impl Drop for EcKey {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { c::EC_KEY_free(self.0.as_ptr()) }
    }
}

struct Point(NonNull<c::EC_POINT>);

impl Point {
    fn new(key: &EcKey) -> Result<Self> {
        // SAFETY: the group is alive as long as its key.
        some(unsafe { c::EC_POINT_new(key.group()) }, FAILED).map(Self)
    }
}

impl Drop for Point {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { c::EC_POINT_free(self.0.as_ptr()) }
    }
}

fn nid(curve: Curve) -> i32 {
    match curve {
        Curve::P256 => c::NID_X9_62_prime256v1,
        Curve::P384 => c::NID_secp384r1,
        Curve::P521 => c::NID_secp521r1,
    }
}

/// Makes a key pair.
pub fn generate(curve: Curve) -> Result<Pkey> {
    let key = EcKey::new(curve)?;
    // SAFETY: alive.
    ok(unsafe { c::EC_KEY_generate_key(key.0.as_ptr()) }, FAILED)?;
    key.into_pkey()
}

/// A public key from its point, compressed or not (SEC 1, section 2.3.4).
pub fn from_point(curve: Curve, bytes: &[u8]) -> Result<Pkey> {
    with_point(curve, bytes)?.into_pkey()
}

fn with_point(curve: Curve, bytes: &[u8]) -> Result<EcKey> {
    let key = EcKey::new(curve)?;
    let point = Point::new(&key)?;
    // SAFETY: group, point and key are alive; pointer and length of one slice.
    unsafe {
        let (group, point) = (key.group(), point.0.as_ptr());
        ok(c::EC_POINT_oct2point(group, point, bytes.as_ptr(), bytes.len(), null_mut()), POINT)?;
        ok(c::EC_KEY_set_public_key(key.0.as_ptr(), point), POINT)?;
        ok(c::EC_KEY_check_key(key.0.as_ptr()), POINT)?;
    }
    Ok(key)
}

/// A private key from its point and number, which must fit together.
pub fn from_private(curve: Curve, point: &[u8], number: &[u8]) -> Result<Pkey> {
    let key = with_point(curve, point)?;
    let number = Big::new(number)?;
    // SAFETY: key and number are alive; the number is copied.
    unsafe {
        ok(c::EC_KEY_set_private_key(key.0.as_ptr(), number.0.as_ptr()), PRIVATE)?;
        ok(c::EC_KEY_check_key(key.0.as_ptr()), PRIVATE)?;
    }
    key.into_pkey()
}

/// A private key from its number alone.
pub fn from_number(curve: Curve, number: &[u8]) -> Result<Pkey> {
    let key = EcKey::new(curve)?;
    let point = Point::new(&key)?;
    let number = Big::new(number)?;
    // SAFETY: everything is alive; the point is computed from the number, which the library checks first.
    unsafe {
        ok(c::EC_KEY_set_private_key(key.0.as_ptr(), number.0.as_ptr()), PRIVATE)?;
        let (group, point) = (key.group(), point.0.as_ptr());
        ok(c::EC_POINT_mul(group, point, number.0.as_ptr(), null(), null(), null_mut()), PRIVATE)?;
        ok(c::EC_KEY_set_public_key(key.0.as_ptr(), point), PRIVATE)?;
        ok(c::EC_KEY_check_key(key.0.as_ptr()), PRIVATE)?;
    }
    key.into_pkey()
}

/// A private key from an `ECPrivateKey` (RFC 5915) that names its curve, as files with the label `EC PRIVATE KEY` do.
pub fn from_sec1(bytes: &[u8]) -> Result<Pkey> {
    let error = Error::Data("The data is not a private key on a curve that is offered.");
    // SAFETY: the reader covers the slice; null asks for the curve that the data names.
    let (key, whole) = read(bytes, |reader| unsafe { c::EC_KEY_parse_private_key(reader, null()) });
    let key = EcKey(some(key, error)?);
    if whole { key.into_pkey() } else { Err(error) }
}

/// The curve of a key, if it is one that is offered.
pub fn curve(key: &Pkey) -> Option<Curve> {
    // SAFETY: alive, and so is what it answers with.
    let name = unsafe {
        let key = c::EVP_PKEY_get0_EC_KEY(key.0.as_ptr());
        if key.is_null() {
            return None;
        }
        c::EC_GROUP_get_curve_name(c::EC_KEY_get0_group(key))
    };
    [Curve::P256, Curve::P384, Curve::P521].into_iter().find(|curve| nid(*curve) == name)
}

/// The public point, uncompressed.
pub fn point(key: &Pkey) -> Result<Vec<u8>> {
    // SAFETY: alive, and so is what it answers with; the length is asked for before a buffer of it is passed.
    unsafe {
        let key = c::EVP_PKEY_get0_EC_KEY(key.0.as_ptr());
        if key.is_null() {
            return Err(FAILED);
        }
        let (group, point) = (c::EC_KEY_get0_group(key), c::EC_KEY_get0_public_key(key));
        if point.is_null() {
            return Err(FAILED);
        }
        let form = c::point_conversion_form_t::POINT_CONVERSION_UNCOMPRESSED;
        let length = c::EC_POINT_point2oct(group, point, form, null_mut(), 0, null_mut());
        let mut out = vec![0; length];
        let written = c::EC_POINT_point2oct(group, point, form, out.as_mut_ptr(), length, null_mut());
        if written == 0 || written != length {
            return Err(FAILED);
        }
        Ok(out)
    }
}

/// The private number, as long as the curve's field.
pub fn number(key: &Pkey, curve: Curve) -> Result<Zeroizing<Vec<u8>>> {
    // SAFETY: alive, and so is what it answers with.
    unsafe {
        let key = c::EVP_PKEY_get0_EC_KEY(key.0.as_ptr());
        if key.is_null() {
            return Err(FAILED);
        }
        big_padded(c::EC_KEY_get0_private_key(key), curve.field_bytes()).map(Zeroizing::new)
    }
}

struct Signature(NonNull<c::ECDSA_SIG>);

impl Drop for Signature {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { c::ECDSA_SIG_free(self.0.as_ptr()) }
    }
}

/// The two numbers of a signature in DER, one after the other, each as long as the curve's field (IEEE P1363).
pub fn signature_from_der(der: &[u8], curve: Curve) -> Result<Vec<u8>> {
    // SAFETY: pointer and length of one slice; the numbers live as long as the signature.
    unsafe {
        let signature = Signature(some(c::ECDSA_SIG_from_bytes(der.as_ptr(), der.len()), FAILED)?);
        let (mut r, mut s) = (null(), null());
        c::ECDSA_SIG_get0(signature.0.as_ptr(), &mut r, &mut s);
        let mut out = big_padded(r, curve.field_bytes())?;
        out.extend(big_padded(s, curve.field_bytes())?);
        Ok(out)
    }
}

/// Undoes [`signature_from_der`].
pub fn signature_to_der(pair: &[u8]) -> Result<Vec<u8>> {
    let (r, s) = pair.split_at(pair.len() / 2);
    let (r, s) = (Big::new(r)?, Big::new(s)?);
    // SAFETY: the signature takes the numbers over when it says so, whence they are forgotten; the library's buffer is
    // copied at its length and freed.
    unsafe {
        let signature = Signature(some(c::ECDSA_SIG_new(), FAILED)?);
        ok(c::ECDSA_SIG_set0(signature.0.as_ptr(), r.0.as_ptr(), s.0.as_ptr()), FAILED)?;
        std::mem::forget((r, s));
        let (mut data, mut length) = (null_mut(), 0);
        ok(c::ECDSA_SIG_to_bytes(&mut data, &mut length, signature.0.as_ptr()), FAILED)?;
        let out = std::slice::from_raw_parts(data, length).to_vec();
        c::OPENSSL_free(data.cast());
        Ok(out)
    }
}
