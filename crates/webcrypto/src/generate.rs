//! New keys.

use crate::lc::pkey::{Family, Pkey};
use crate::lc::{ec as lc_ec, random, rsa as lc_rsa};
use crate::{Curve, Error, GoOn, Key, Result};

/// Largest RSA key that is generated, bits. Larger ones take minutes.
pub const RSA_BITS_MAX: u32 = 8192;

/// An RSA key pair; the public exponent is big-endian. Takes from tens of milliseconds to many seconds.
pub fn rsa(bits: u32, exponent: &[u8], go_on: GoOn<'_>) -> Result<Key> {
    if !(1024..=RSA_BITS_MAX).contains(&bits) || !bits.is_multiple_of(8) {
        return Err(Error::Operation("RSA keys are generated with 1024 to 8192 bits, a multiple of 8."));
    }
    let digits = exponent.iter().position(|digit| *digit != 0).map_or(&[][..], |at| &exponent[at..]);
    // The library refuses exponents of more than 33 bits, and some values would keep it searching for ever.
    if !matches!(digits, [3] | [17] | [1, 0, 1]) {
        return Err(Error::Operation("RSA keys are generated with the public exponent 65537, 17 or 3."));
    }
    Key::pair(lc_rsa::generate(bits, digits, go_on)?, true)
}

/// A key pair for ECDSA or ECDH.
pub fn ec(curve: Curve) -> Result<Key> {
    Key::pair(lc_ec::generate(curve)?, true)
}

/// A key pair for Ed25519.
pub fn ed25519() -> Result<Key> {
    seeded(Family::Ed25519)
}

/// A key pair for X25519.
pub fn x25519() -> Result<Key> {
    seeded(Family::X25519)
}

fn seeded(family: Family) -> Result<Key> {
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    random(&mut *seed)?;
    Key::pair(Pkey::from_seed(family, &*seed)?, true)
}

/// A secret of so many bits; where they are no whole bytes, the last bits are zero.
pub fn secret(bits: u32) -> Result<Key> {
    let mut bytes = vec![0; bits.div_ceil(8) as usize];
    random(&mut bytes)?;
    if let (Some(last), 1..) = (bytes.last_mut(), bits % 8) {
        *last &= 0xff << (8 - bits % 8);
    }
    Ok(Key::secret(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn generation_stops_when_it_is_told_to() {
        let asked = Cell::new(0);
        let result = rsa(4096, &[1, 0, 1], &|| {
            asked.set(asked.get() + 1);
            asked.get() < 3
        });
        assert_eq!(result.unwrap_err(), Error::Stopped);
        assert!(asked.get() < 10);
    }

    #[test]
    fn strange_parameters_are_refused() {
        for (bits, exponent) in [
            (0, &[3][..]),
            (2047, &[3]),
            (1 << 20, &[3]),
            (2048, &[]),
            (2048, &[0]),
            (2048, &[4]),
            (2048, &[1]),
        ] {
            assert!(matches!(rsa(bits, exponent, &|| true), Err(Error::Operation(_))));
        }
        assert_eq!(rsa(1024, &[0, 1, 0, 1], &|| true).unwrap().bits(), 1024);
    }

    #[test]
    fn secrets_have_the_bits_that_were_asked_for() {
        assert_eq!(secret(256).unwrap().bytes().unwrap().len(), 32);
        for _ in 0..64 {
            assert_eq!(secret(9).unwrap().bytes().unwrap()[1] & 0x7f, 0);
        }
        assert_ne!(secret(128).unwrap().bytes().unwrap(), secret(128).unwrap().bytes().unwrap());
    }
}
