//! Conditions in requests: a client's, answered from a stored response, and ours, to ask its origin about it (RFC 9110, section 13).

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::directives::Split;
use crate::policy::date;

/// Whether a client has what is stored already, and 304 answers it (sections 13.1.2, 13.1.3).
pub fn is_unmodified(request: &HeaderMap, stored: &HeaderMap) -> bool {
    if request.contains_key(header::IF_NONE_MATCH) {
        let tags = request.get_all(header::IF_NONE_MATCH).into_iter().flat_map(|line| Split(line.as_bytes()));
        let own = stored.get(header::ETAG).map(|tag| opaque(tag.as_bytes()));
        let mut tags = tags;
        return tags.any(|tag| tag == b"*" || own.is_some_and(|own| opaque(tag) == own));
    }
    let since = date(request, &header::IF_MODIFIED_SINCE);
    // A response without its own date is as old as it is.
    let modified = date(stored, &header::LAST_MODIFIED).or_else(|| date(stored, &header::DATE));
    since.zip(modified).is_some_and(|(since, modified)| modified <= since)
}

/// Whether a range of what is stored is what `If-Range` means (section 13.1.5).
pub fn if_range(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let Some(asked) = request.get(header::IF_RANGE) else { return true };
    if asked.as_bytes().starts_with(b"\"") {
        return stored.get(header::ETAG) == Some(asked);
    }
    !asked.as_bytes().starts_with(b"W/") && stored.get(header::LAST_MODIFIED) == Some(asked)
}

/// Without the mark of weak tags, which does not count here.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Fields of requests that a fetch for all must not have, since they ask for less than the whole.
pub const PARTIAL: [HeaderName; 6] = [
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_MATCH,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
    header::RANGE,
];

/// Asks whether a stored response still holds.
pub fn validate(stored: &HeaderMap, request: &mut HeaderMap) {
    if let Some(tag) = stored.get(header::ETAG) {
        request.insert(header::IF_NONE_MATCH, tag.clone());
    }
    if let Some(modified) = stored.get(header::LAST_MODIFIED) {
        request.insert(header::IF_MODIFIED_SINCE, modified.clone());
    }
}

/// What a 304 says about the body stays what it was when the body came (RFC 9111, section 3.2).
const OF_BODY: [HeaderName; 5] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::ETAG,
    header::TRANSFER_ENCODING,
];

/// The fields of a stored response, brought up to date by a 304 (RFC 9111, sections 3.2 and 4.3.4).
pub fn refreshed(stored: &HeaderMap, newer: &HeaderMap) -> HeaderMap {
    let mut fields = stored.clone();
    // It told the age of the older answer.
    fields.remove(header::AGE);
    for name in newer.keys().filter(|name| !OF_BODY.contains(name) && name.as_str() != "content-md5") {
        fields.remove(name);
        for value in newer.get_all(name) {
            fields.append(name.clone(), value.clone());
        }
    }
    fields
}

/// Whether two answers have the same validator: nothing has changed.
pub fn same(one: &HeaderMap, other: &HeaderMap) -> bool {
    let of = |name: HeaderName| one.get(&name).zip(other.get(&name)).map(|(a, b): (&HeaderValue, _)| a == b);
    of(header::ETAG).or_else(|| of(header::LAST_MODIFIED)).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const NEW: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    #[test]
    fn clients_that_have_it_are_told_so() {
        let stored = map(&[("etag", "\"a\""), ("last-modified", OLD)]);
        for (fields, unmodified) in [
            (vec![("if-none-match", "\"b\", W/\"a\"")], true),
            (vec![("if-none-match", "*")], true),
            (vec![("if-none-match", "\"b\""), ("if-modified-since", NEW)], false),
            (vec![("if-modified-since", NEW)], true),
            (vec![("if-modified-since", OLD)], true),
            (vec![("if-modified-since", "yesterday")], false),
            (vec![], false),
        ] {
            assert_eq!(is_unmodified(&map(&fields), &stored), unmodified, "{fields:?}");
        }
    }

    #[test]
    fn ranges_are_of_the_same() {
        let stored = map(&[("etag", "\"a\""), ("last-modified", OLD)]);
        for (value, same) in
            [("\"a\"", true), ("\"b\"", false), ("W/\"a\"", false), (OLD, true), (NEW, false)]
        {
            assert_eq!(if_range(&map(&[("if-range", value)]), &stored), same, "{value}");
        }
        assert!(if_range(&map(&[]), &stored));
    }

    #[test]
    fn a_304_brings_fields_up_to_date() {
        let stored = map(&[
            ("etag", "\"a\""),
            ("x", "1"),
            ("x", "2"),
            ("age", "9"),
            ("y", "1"),
            ("content-length", "3"),
        ]);
        let newer = map(&[("etag", "\"b\""), ("x", "3"), ("content-length", "0")]);
        let expected = map(&[("etag", "\"a\""), ("y", "1"), ("content-length", "3"), ("x", "3")]);
        assert_eq!(refreshed(&stored, &newer), expected);
    }
}
