//! Byte ranges of stored responses (RFC 9110, section 14).

use std::ops::Range;

/// What a `Range` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// All of it: the field cannot be read, asks for several ranges, or for a unit that is not known.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// None that are there.
    Nothing,
}

/// Reads `Range` for something of `length` bytes. Several ranges are answered with the whole, which section 14.2 allows: they are
/// rare, and costly by intent where they are many.
pub fn parse(field: &[u8], length: u64) -> Asked {
    let Some(spec) = std::str::from_utf8(field).ok().and_then(|text| text.strip_prefix("bytes=")) else {
        return Asked::Whole;
    };
    let Some((first, last)) = spec.trim().split_once('-') else { return Asked::Whole };
    let number =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().unwrap_or(u64::MAX));
    let (Some(first_at), Some(last_at)) = (number(first), number(last)) else { return Asked::Whole };
    let range = match (first.is_empty(), last.is_empty()) {
        (true, true) => return Asked::Whole,
        (true, false) => length.saturating_sub(last_at)..length,
        (false, true) => first_at..length,
        (false, false) if first_at > last_at => return Asked::Whole,
        (false, false) => first_at..last_at.saturating_add(1).min(length),
    };
    if range.is_empty() { Asked::Nothing } else { Asked::Part(range) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_read() {
        for (field, asked) in [
            ("bytes=0-1", Asked::Part(0..2)),
            ("bytes=1-", Asked::Part(1..10)),
            ("bytes=-3", Asked::Part(7..10)),
            ("bytes=-99", Asked::Part(0..10)),
            ("bytes=5-99999999999999999999999", Asked::Part(5..10)),
            ("bytes=10-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=2-1", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("lines=1-2", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
        ] {
            assert_eq!(parse(field.as_bytes(), 10), asked, "{field}");
        }
        assert_eq!(parse(b"bytes=0-", 0), Asked::Nothing);
    }

    proptest! {
        #[test]
        fn parts_are_inside(field in "bytes=[0-9,-]{0,30}", length in any::<u64>()) {
            if let Asked::Part(range) = parse(field.as_bytes(), length) {
                prop_assert!(range.start < range.end && range.end <= length);
            }
        }
    }
}
