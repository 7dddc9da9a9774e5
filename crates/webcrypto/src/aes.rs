//! AES: GCM (NIST SP 800-38D), CBC and CTR (SP 800-38A), key wrap (RFC 3394).

use crate::lc::cipher;
use crate::{Error, Key, Result};

/// A mode with its parameters.
#[derive(Clone, Debug)]
pub enum Mode {
    /// Authenticated encryption.
    Gcm {
        /// The nonce; 12 bytes are best.
        iv: Vec<u8>,
        /// Authenticated beside the message.
        additional: Vec<u8>,
        /// 32, 64, 96, 104, 112, 120 or 128.
        tag_bits: u32,
    },
    /// Chained blocks with PKCS#7 padding.
    Cbc {
        /// 16 bytes.
        iv: Vec<u8>,
    },
    /// A stream.
    Ctr {
        /// 16 bytes.
        counter: Vec<u8>,
        /// How many of the counter's last bits count, 1 to 128.
        length: u32,
    },
    /// Wraps keys; no parameters.
    Kw,
}

/// Encrypts.
pub fn encrypt(key: &Key, mode: &Mode, data: &[u8]) -> Result<Vec<u8>> {
    run(key.bytes()?, mode, data, true)
}

/// Decrypts.
pub fn decrypt(key: &Key, mode: &Mode, data: &[u8]) -> Result<Vec<u8>> {
    run(key.bytes()?, mode, data, false)
}

fn run(key: &[u8], mode: &Mode, data: &[u8], encrypt: bool) -> Result<Vec<u8>> {
    match mode {
        Mode::Gcm { iv, additional, tag_bits } => {
            if !matches!(tag_bits, 32 | 64 | 96 | 104 | 112 | 120 | 128) {
                return Err(Error::Operation(
                    "The tag of AES-GCM has 32, 64, 96, 104, 112, 120 or 128 bits.",
                ));
            }
            let tag = *tag_bits as usize / 8;
            if encrypt {
                cipher::gcm_seal(key, iv, additional, tag, data)
            } else {
                cipher::gcm_open(key, iv, additional, tag, data)
            }
        }
        Mode::Cbc { iv } => cipher::cbc(key, iv, data, encrypt),
        Mode::Ctr { counter, length } => ctr(key, counter, *length, data),
        Mode::Kw => cipher::wrap(key, data, encrypt),
    }
}

/// The library counts with all 128 bits. Where fewer count and they run over, the message is cut in two.
fn ctr(key: &[u8], counter: &[u8], length: u32, data: &[u8]) -> Result<Vec<u8>> {
    let Ok(start) = <[u8; 16]>::try_from(counter) else {
        return Err(Error::Operation("The counter of AES-CTR has 16 bytes."));
    };
    if !(1..=128).contains(&length) {
        return Err(Error::Operation("The counter of AES-CTR counts with 1 to 128 of its bits."));
    }
    let blocks = data.len().div_ceil(16) as u128;
    let mask = if length == 128 { u128::MAX } else { (1 << length) - 1 };
    let start = u128::from_be_bytes(start);
    if length < 128 && blocks > mask + 1 {
        return Err(Error::Operation("The message is longer than the counter of AES-CTR can count."));
    }
    // Blocks until the bits that count are all zero again; 0 stands for 2¹²⁸.
    let until = (mask - (start & mask)).wrapping_add(1);
    if until == 0 || blocks <= until {
        return cipher::ctr(key, counter, data);
    }
    let (head, tail) = data.split_at(until as usize * 16);
    let mut out = cipher::ctr(key, counter, head)?;
    out.extend(cipher::ctr(key, &(start & !mask).to_be_bytes(), tail)?);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::hex;

    #[test]
    fn gcm_gives_the_results_of_its_specification() {
        // McGrew and Viega, test cases 4, 5 (a nonce of 8 bytes) and 6 (one of 60).
        let key = Key::secret(hex("feffe9928665731c6d6a8f9467308308"));
        let plain = hex(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        );
        let additional = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let cases = [
            (
                "cafebabefacedbaddecaf888",
                "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47",
            ),
            (
                "cafebabefacedbad",
                "61353b4c2806934a777ff51fa22a4755699b2a714fcdc6f83766e5f97b6c742373806900e49f24b22b097544d4896b424989b5e1ebac0f07c23f45983612d2e79e3b0785561be14aaca2fccb",
            ),
            (
                "9313225df88406e555909c5aff5269aa6a7a9538534f7da1e4c303d2a318a728c3c0c95156809539fcf0e2429a6b525416aedbf5a0de6a57a637b39b",
                "8ce24998625615b603a033aca13fb894be9112a5c3a211a8ba262a3cca7e2ca701e4a9a4fba43c90ccdcb281d48c7c6fd62875d2aca417034c34aee5619cc5aefffe0bfa462af43c1699d050",
            ),
        ];
        for (iv, expected) in cases {
            for tag_bits in [32, 64, 96, 104, 112, 120, 128] {
                let mode = Mode::Gcm { iv: hex(iv), additional: additional.clone(), tag_bits };
                let sealed = encrypt(&key, &mode, &plain).unwrap();
                assert_eq!(sealed, hex(expected)[..plain.len() + tag_bits as usize / 8]);
                assert_eq!(decrypt(&key, &mode, &sealed).unwrap(), plain);
                for at in [0, sealed.len() - 1] {
                    let mut wrong = sealed.clone();
                    wrong[at] ^= 1;
                    assert!(matches!(decrypt(&key, &mode, &wrong), Err(Error::Operation(_))));
                }
            }
        }
        let mode = Mode::Gcm { iv: vec![0; 12], additional: Vec::new(), tag_bits: 33 };
        assert!(encrypt(&key, &mode, &plain).is_err());
        let mode = Mode::Gcm { iv: vec![0; 12], additional: Vec::new(), tag_bits: 128 };
        assert!(decrypt(&key, &mode, &[0; 15]).is_err());
    }

    #[test]
    fn cbc_and_ctr_give_the_results_of_sp_800_38a() {
        let key = Key::secret(hex("8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b"));
        let plain = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
        let mode = Mode::Cbc { iv: hex("000102030405060708090a0b0c0d0e0f") };
        let sealed = encrypt(&key, &mode, &plain).unwrap();
        assert_eq!(sealed[..32], hex("4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a"));
        assert_eq!(sealed.len(), 48);
        assert_eq!(decrypt(&key, &mode, &sealed).unwrap(), plain);
        assert!(decrypt(&key, &mode, &sealed[..40]).is_err());

        let mode = Mode::Ctr { counter: hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"), length: 64 };
        let sealed = encrypt(&key, &mode, &plain).unwrap();
        assert_eq!(sealed, hex("1abc932417521ca24f2b0459fe7e6e0b090339ec0aa6faefd5ccc2c6f4ce8e94"));
        assert_eq!(decrypt(&key, &mode, &sealed).unwrap(), plain);
    }

    #[test]
    fn a_short_counter_wraps_without_a_carry() {
        let key = Key::secret(vec![7; 16]);
        let mut counter = vec![0xab; 16];
        counter[15] = 0xff;
        let wrapping = Mode::Ctr { counter: counter.clone(), length: 8 };
        let out = encrypt(&key, &wrapping, &[0; 40]).unwrap();
        let block = |counter: &[u8]| cipher::ctr(&[7; 16], counter, &[0; 16]).unwrap();
        assert_eq!(out[..16], block(&counter));
        counter[15] = 0;
        assert_eq!(out[16..32], block(&counter));
        counter[15] = 1;
        assert_eq!(out[32..], block(&counter)[..8]);

        let tiny = |length, blocks: usize| {
            encrypt(&key, &Mode::Ctr { counter: vec![0xff; 16], length }, &vec![0; blocks * 16])
        };
        assert!(tiny(1, 2).is_ok() && tiny(1, 3).is_err());
        assert!(tiny(128, 3).is_ok() && tiny(0, 1).is_err() && tiny(129, 1).is_err());
    }

    #[test]
    fn key_wrap_gives_the_results_of_rfc_3394() {
        let data = hex("00112233445566778899aabbccddeeff0001020304050607");
        for (key, expected) in [
            (
                "000102030405060708090a0b0c0d0e0f1011121314151617",
                "031d33264e15d33268f24ec260743edce1c6c7ddee725a936ba814915c6762d2",
            ),
            (
                "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
                "a8f9bc1612c68b3ff6e6f4fbe30e71e4769c8b80a32cb8958cd5d17d6b254da1",
            ),
        ] {
            let key = Key::secret(hex(key));
            let wrapped = encrypt(&key, &Mode::Kw, &data).unwrap();
            assert_eq!(wrapped, hex(expected));
            assert_eq!(decrypt(&key, &Mode::Kw, &wrapped).unwrap(), data);
            assert!(decrypt(&key, &Mode::Kw, &wrapped[8..]).is_err());
            assert!(encrypt(&key, &Mode::Kw, &data[..20]).is_err());
            assert!(encrypt(&key, &Mode::Kw, &data[..8]).is_err());
            assert!(decrypt(&key, &Mode::Kw, &[]).is_err());
        }
    }
}
