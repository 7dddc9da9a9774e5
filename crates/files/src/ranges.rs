//! Ranges of bytes (RFC 9110, section 14).

use std::ops::Range;

/// What a `Range` field asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The field is not heeded: the whole file.
    Whole,
    /// These parts, at least one, in the order that they were asked for.
    Parts(Vec<Range<u64>>),
    /// Nothing that is there: 416.
    Unsatisfiable,
}

/// Reads a `Range` field for a file of `size` bytes. Who asks for more than `most` ranges, for ones that overlap, or for more bytes
/// than there are gets the whole file: that is never more work than it was asked for (compare CVE-2011-3192).
pub(crate) fn asked(field: &[u8], size: u64, most: usize) -> Asked {
    let text = std::str::from_utf8(field).unwrap_or_default().trim();
    let Some((unit, set)) = text.split_once('=') else { return Asked::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Asked::Whole;
    }
    let mut parts: Vec<Range<u64>> = Vec::new();
    let mut count = 0;
    for item in set.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        count += 1;
        if count > most {
            return Asked::Whole;
        }
        match one(item, size) {
            // What is wrong in one of them is wrong in all.
            None => return Asked::Whole,
            Some(range) if range.is_empty() => {}
            Some(range) => {
                if parts.iter().any(|known| known.start < range.end && range.start < known.end) {
                    return Asked::Whole;
                }
                parts.push(range);
            }
        }
    }
    match (count, parts.is_empty()) {
        (0, _) => Asked::Whole,
        (_, true) => Asked::Unsatisfiable,
        (_, false) => Asked::Parts(parts),
    }
}

/// Empty when there is nothing in it, `None` when it is no range.
fn one(item: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = item.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        let suffix = number(last)?.min(size);
        return Some(size - suffix..size);
    }
    let first = number(first)?;
    let end = match last {
        "" => size,
        last => {
            let last = number(last)?;
            if last < first {
                return None;
            }
            last.saturating_add(1).min(size)
        }
    };
    Some(first.min(end)..end)
}

/// Digits only. More than fit are as good as the largest number.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "one range is meant")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_read() {
        let parts = |parts: &[Range<u64>]| Asked::Parts(parts.to_vec());
        for (field, expected) in [
            ("bytes=0-0", parts(&[0..1])),
            ("bytes=0-", parts(&[0..100])),
            ("bytes=10-19", parts(&[10..20])),
            ("bytes=90-200", parts(&[90..100])),
            ("bytes=-5", parts(&[95..100])),
            ("bytes=-500", parts(&[0..100])),
            ("Bytes= 1-2 , 5-6 ,", parts(&[1..3, 5..7])),
            ("bytes=5-6,1-2", parts(&[5..7, 1..3])),
            ("bytes=0-1,500-", parts(&[0..2])),
            ("bytes=99999999999999999999999-", Asked::Unsatisfiable),
            ("bytes=0-99999999999999999999999", parts(&[0..100])),
            ("bytes=100-", Asked::Unsatisfiable),
            ("bytes=-0", Asked::Unsatisfiable),
            ("bytes=100-,200-300", Asked::Unsatisfiable),
            // Not heeded.
            ("bytes=", Asked::Whole),
            ("bytes=,", Asked::Whole),
            ("bytes", Asked::Whole),
            ("lines=0-1", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("bytes=5-4", Asked::Whole),
            ("bytes=--5", Asked::Whole),
            ("bytes=+1-2", Asked::Whole),
            ("bytes=0-1,x", Asked::Whole),
            ("bytes=0-5,3-8", Asked::Whole),
            ("bytes=0-,0-,0-", Asked::Whole),
            ("bytes=0-0,2-2,4-4,6-6,8-8", Asked::Whole),
        ] {
            assert_eq!(asked(field.as_bytes(), 100, 4), expected, "{field}");
        }
        assert_eq!(asked(b"bytes=0-", 0, 4), Asked::Unsatisfiable);
        assert_eq!(asked(b"bytes=-1", 0, 4), Asked::Unsatisfiable);
    }

    proptest! {
        #[test]
        fn parts_are_inside_and_apart(field in "bytes=([0-9]{0,3}-[0-9]{0,3},?){0,6}", size in 0_u64..300) {
            if let Asked::Parts(parts) = asked(field.as_bytes(), size, 5) {
                prop_assert!(!parts.is_empty() && parts.len() <= 5);
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
                prop_assert!(parts.iter().map(|part| part.end - part.start).sum::<u64>() <= size);
            }
        }
    }
}
