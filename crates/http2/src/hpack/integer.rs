//! Integers with a prefix (RFC 7541, section 5.1).

/// Reads one whose prefix is the lowest `prefix` bits of the first byte; the value and how many bytes it took. `None`
/// when it is cut off or larger than any that can mean something here.
pub(crate) fn read(bytes: &[u8], prefix: u32) -> Option<(usize, usize)> {
    let mask = (1usize << prefix) - 1;
    let mut value = usize::from(*bytes.first()?) & mask;
    if value < mask {
        return Some((value, 1));
    }
    for (at, byte) in bytes.iter().enumerate().skip(1).take(4) {
        value += usize::from(byte & 0x7f) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

/// Appends `value` behind the bits `first` of its first byte.
pub(crate) fn put(value: usize, prefix: u32, first: u8, out: &mut Vec<u8>) {
    let mask = (1usize << prefix) - 1;
    if value < mask {
        return out.push(first | value as u8);
    }
    out.push(first | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_the_rfc() {
        assert_eq!(read(&[0b1110_1010], 5), Some((10, 1)));
        assert_eq!(read(&[0b0001_1111, 0b1001_1010, 0b0000_1010], 5), Some((1337, 3)));
        assert_eq!(read(&[42], 8), Some((42, 1)));
    }

    #[test]
    fn what_is_cut_off_or_too_large_is_none() {
        assert_eq!(read(&[], 5), None);
        assert_eq!(read(&[0x1f], 5), None);
        assert_eq!(read(&[0x1f, 0x80], 5), None);
        assert_eq!(read(&[0x1f, 0xff, 0xff, 0xff, 0xff, 0x0f], 5), None);
        assert_eq!(read(&[0x1f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1], 5), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in 0usize..1 << 28, prefix in 4u32..8) {
            let mut out = Vec::new();
            put(value, prefix, 0, &mut out);
            prop_assert_eq!(read(&out, prefix), Some((value, out.len())));
        }
    }
}
