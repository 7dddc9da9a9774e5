//! Large responses in slices: each is a stored response of its own, and a *manifest* without a body says which belong together.
//!
//! Slices of one series are of the same state of the response: each was fetched under the condition that it still has the validator of
//! the manifest. A manifest that goes takes its series with it, since nobody knows its number any more.

use std::ops::Range;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::policy::date;

/// The field of a stored manifest that says what its slices are. It is never sent, and no origin may say it.
pub const FIELD: HeaderName = HeaderName::from_static("x-selvedge-slices");

/// The slices of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slices {
    /// Tells them from those of other states.
    pub series: u64,
    /// Bytes of the whole.
    pub total: u64,
    /// Bytes of each but the last.
    pub size: u64,
}

impl Slices {
    /// As a manifest has them.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut numbers = headers.get(&FIELD)?.to_str().ok()?.split(' ').map(|number| number.parse().ok());
        let slices = Self { series: numbers.next()??, total: numbers.next()??, size: numbers.next()?? };
        (slices.size > 0 && numbers.next().is_none()).then_some(slices)
    }

    /// For a manifest.
    pub fn field(&self) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("{} {} {}", self.series, self.total, self.size)).ok()
    }

    /// What a slice is found by. Addresses of requests have no fragment.
    pub fn address(&self, whole: &str, number: u64) -> Arc<str> {
        format!("{whole}#{:016x}.{number}", self.series).into()
    }

    /// The bytes of a slice.
    pub fn range(&self, number: u64) -> Range<u64> {
        range(number, self.size, self.total)
    }
}

/// The bytes of a slice of something.
pub fn range(number: u64, size: u64, total: u64) -> Range<u64> {
    let start = number.saturating_mul(size);
    start.min(total)..start.saturating_add(size).min(total)
}

/// The slice in which what a request asks for begins, as far as that can be told without the length of the whole.
pub fn first(asked: Option<&HeaderValue>, size: u64) -> u64 {
    let start = asked.and_then(|field| {
        let (start, end) = field.to_str().ok()?.strip_prefix("bytes=")?.trim().split_once('-')?;
        // Several ranges are answered with the whole.
        if end.contains(',') { None } else { start.parse::<u64>().ok() }
    });
    start.unwrap_or(0) / size.max(1)
}

/// `Content-Range` of a part: which bytes, of how many.
pub fn content_range(headers: &HeaderMap) -> Option<(Range<u64>, u64)> {
    let (range, total) =
        headers.get(header::CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total): (u64, u64, u64) =
        (first.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
    (first <= last && last < total).then(|| (first..last + 1, total))
}

/// What two parts must have in common to be of the same state: a strong tag, or a date that is one (RFC 9110, section 8.8.2.2).
pub fn validator(headers: &HeaderMap) -> Option<&HeaderValue> {
    if let Some(tag) = headers.get(header::ETAG) {
        return Some(tag).filter(|tag| tag.as_bytes().starts_with(b"\""));
    }
    let (modified, sent) = (date(headers, &header::LAST_MODIFIED)?, date(headers, &header::DATE)?);
    headers.get(header::LAST_MODIFIED).filter(|_| sent >= modified + 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::try_from(value).unwrap())])
    }

    #[test]
    fn fields_are_read() {
        for (text, read) in [
            ("bytes 0-9/100", Some((0..10, 100))),
            ("bytes 99-99/100", Some((99..100, 100))),
            ("bytes 5-4/100", None),
            ("bytes 0-100/100", None),
            ("bytes 0-9/*", None),
            ("bytes */100", None),
            ("bytes 0-18446744073709551615/18446744073709551615", None),
        ] {
            assert_eq!(content_range(&map("content-range", text)), read, "{text}");
        }
        for (text, number) in [
            ("bytes=0-", 0),
            ("bytes=10-12", 1),
            ("bytes=-5", 0),
            ("bytes=25-", 2),
            ("bytes=30-31,1-2", 0),
            ("x", 0),
        ] {
            assert_eq!(first(map("range", text).get("range"), 10), number, "{text}");
        }
        assert!(validator(&map("etag", "W/\"a\"")).is_none() && validator(&map("etag", "\"a\"")).is_some());
        let mut dates = map("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert!(validator(&dates).is_none());
        dates.insert("date", HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert!(validator(&dates).is_none());
        dates.insert("date", HeaderValue::from_static("Sun, 06 Nov 1994 08:49:38 GMT"));
        assert!(validator(&dates).is_some());
    }

    proptest! {
        #[test]
        fn slices_cover_the_whole(total in 0..10_000u64, size in 1..3000u64, series: u64) {
            let slices = Slices { series, total, size };
            let field = slices.field().unwrap();
            prop_assert_eq!(Slices::of(&HeaderMap::from_iter([(FIELD, field)])), Some(slices));
            let ranges: Vec<_> = (0..total.div_ceil(size)).map(|number| slices.range(number)).collect();
            prop_assert_eq!(ranges.iter().map(|range| range.end - range.start).sum::<u64>(), total);
            prop_assert!(ranges.windows(2).all(|two| two[0].end == two[1].start));
        }

        #[test]
        fn nothing_panics(text in "[ -~]{0,40}", number: u64, size: u64, total: u64) {
            Slices::of(&map("x-selvedge-slices", &text));
            content_range(&map("content-range", &text));
            first(map("range", &text).get("range"), size);
            range(number, size, total);
        }
    }
}
