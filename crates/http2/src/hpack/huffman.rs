//! The Huffman code of string literals (RFC 7541, section 5.2 and appendix B).
//!
//! The code is canonical: among codes of one length, those of smaller symbols are smaller. So the lengths say it all.

/// Bits of each byte's code.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6,
    6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6,
    6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22,
    20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23,
    22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22,
    23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22,
    25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];
/// Of the longest code.
const LONGEST: usize = 30;
/// Bits that one look into the table of short codes takes.
const SHORT: u32 = 8;

/// What the code is made of, for both directions.
struct Code {
    /// Of each byte, in its lowest bits.
    codes: [u32; 256],
    /// By the next [`SHORT`] bits: the byte and its code's length, which is 0 where the code is longer.
    short: [(u8, u8); 1 << SHORT],
    /// For each length, the first code that is longer than it, aligned to 32 bits.
    limit: [u64; LONGEST + 1],
    /// For each length, what to add to a code of that length for its place in `symbols`.
    offset: [i64; LONGEST + 1],
    /// Bytes in the order of their codes.
    symbols: [u8; 256],
}

static CODE: Code = code();

const fn code() -> Code {
    let mut made = Code {
        codes: [0; 256],
        short: [(0, 0); 1 << SHORT],
        limit: [0; LONGEST + 1],
        offset: [0; LONGEST + 1],
        symbols: [0; 256],
    };
    let (mut next, mut place, mut length) = (0u32, 0, 1);
    while length <= LONGEST {
        next <<= 1;
        made.offset[length] = place as i64 - next as i64;
        let mut symbol = 0;
        while symbol < 256 {
            if LENGTHS[symbol] as usize == length {
                made.codes[symbol] = next;
                made.symbols[place] = symbol as u8;
                if length <= SHORT as usize {
                    let free = SHORT as usize - length;
                    let mut n = 0;
                    while n < 1 << free {
                        made.short[((next as usize) << free) + n] = (symbol as u8, length as u8);
                        n += 1;
                    }
                }
                next += 1;
                place += 1;
            }
            symbol += 1;
        }
        made.limit[length] = (next as u64) << (32 - length);
        length += 1;
    }
    made
}

/// Appends what `coded` stands for; false when it is no code: a padding of 8 bits or more, or not of ones, or the end
/// of string.
pub(crate) fn decode(coded: &[u8], out: &mut Vec<u8>) -> bool {
    // The next bits are the highest of it.
    let (mut bits, mut count) = (0u64, 0u32);
    let mut rest = coded.iter();
    loop {
        while count <= 56 {
            let Some(byte) = rest.next() else { break };
            bits |= u64::from(*byte) << (56 - count);
            count += 8;
        }
        if count == 0 {
            return true;
        }
        let (symbol, length) = CODE.short[(bits >> (64 - SHORT)) as usize];
        let (symbol, length) = match length {
            0 => {
                let window = bits >> 32;
                let found = (SHORT as usize + 1..=LONGEST).find(|length| window < CODE.limit[*length]);
                match found {
                    Some(length) => {
                        let place = (window >> (32 - length)) as i64 + CODE.offset[length];
                        (CODE.symbols[place as usize & 0xff], length as u32)
                    }
                    // The end of string, or padding.
                    None => (0, u32::MAX),
                }
            }
            length => (symbol, u32::from(length)),
        };
        if length > count {
            // What is left is no whole code: padding.
            return count < 8 && bits >> (64 - count) == (1 << count) - 1;
        }
        out.push(symbol);
        bits <<= length;
        count -= length;
    }
}

/// Bytes that [`encode`] makes of this.
pub(crate) fn encoded_len(bytes: &[u8]) -> usize {
    let bits: usize = bytes.iter().map(|byte| usize::from(LENGTHS[usize::from(*byte)])).sum();
    bits.div_ceil(8)
}

/// Appends the code of `bytes`.
pub(crate) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut count) = (0u64, 0u32);
    for byte in bytes {
        let length = u32::from(LENGTHS[usize::from(*byte)]);
        bits = bits << length | u64::from(CODE.codes[usize::from(*byte)]);
        count += length;
        while count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    if count > 0 {
        let free = 8 - count;
        out.push((bits << free) as u8 | ((1 << free) - 1) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(text, &mut out);
        assert_eq!(out.len(), encoded_len(text));
        out
    }

    fn decoded(coded: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(coded, &mut out).then_some(out)
    }

    #[test]
    fn the_examples_of_the_rfc() {
        let cases: [(&[u8], &[u8]); 4] = [
            (b"www.example.com", &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff]),
            (b"no-cache", &[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]),
            (b"custom-value", &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf]),
            (b"302", &[0x64, 0x02]),
        ];
        for (text, code) in cases {
            assert_eq!(encoded(text), code);
            assert_eq!(decoded(code).unwrap(), text);
        }
    }

    #[test]
    fn padding_is_short_and_of_ones() {
        // "a" is 00011.
        assert_eq!(decoded(&[0b0001_1111]).unwrap(), b"a");
        assert_eq!(decoded(&[0b0001_1110]), None, "a zero in it");
        assert_eq!(decoded(&[0b0001_1111, 0xff]), None, "longer than seven bits");
        assert_eq!(decoded(&[0xff; 4]), None, "the end of string");
        assert_eq!(decoded(&[0xff]), None);
        assert_eq!(decoded(&[]).unwrap(), b"");
    }

    proptest! {
        #[test]
        fn whatever_is_encoded_is_decoded(bytes: Vec<u8>) {
            prop_assert_eq!(decoded(&encoded(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn what_is_decoded_has_one_code(code: Vec<u8>) {
            if let Some(bytes) = decoded(&code) {
                prop_assert_eq!(encoded(&bytes), code);
            }
        }
    }
}
