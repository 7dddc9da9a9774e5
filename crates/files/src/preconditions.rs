//! Conditional requests (RFC 9110, section 13).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

/// A date is strong when the file rested for so long before the answer (RFC 9110, section 8.8.2.2).
const STRONG_AFTER: Duration = Duration::from_secs(1);

/// The fields that make a request conditional.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Conditions<'a> {
    pub(crate) if_match: Option<&'a HeaderValue>,
    pub(crate) if_none_match: Option<&'a HeaderValue>,
    pub(crate) if_modified_since: Option<&'a HeaderValue>,
    pub(crate) if_unmodified_since: Option<&'a HeaderValue>,
    pub(crate) if_range: Option<&'a HeaderValue>,
}

/// What they come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The request is answered as if it had none.
    Proceed,
    /// 304
    NotModified,
    /// 412
    Failed,
}

/// What they are compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Validators<'a> {
    /// A strong one.
    pub(crate) tag: &'a [u8],
    /// Whole seconds since the epoch.
    pub(crate) modified: u64,
}

impl Conditions<'_> {
    /// In the order of RFC 9110, section 13.2.2.
    pub(crate) fn outcome(&self, has: Validators<'_>) -> Outcome {
        if let Some(field) = self.if_match {
            if !tags(field.as_bytes()).any(|tag| tag == Tag::Any || tag == Tag::Strong(has.tag)) {
                return Outcome::Failed;
            }
        } else if self.if_unmodified_since.and_then(date).is_some_and(|date| has.modified > date) {
            return Outcome::Failed;
        }
        if let Some(field) = self.if_none_match {
            let same =
                |tag| matches!(tag, Tag::Strong(tag) | Tag::Weak(tag) if tag == has.tag) || tag == Tag::Any;
            if tags(field.as_bytes()).any(same) {
                return Outcome::NotModified;
            }
        } else if self.if_modified_since.and_then(date).is_some_and(|date| has.modified <= date) {
            return Outcome::NotModified;
        }
        Outcome::Proceed
    }

    /// Whether a range may be sent: `If-Range` is absent or names what is there (RFC 9110, section 13.1.5).
    pub(crate) fn range_holds(&self, has: Validators<'_>) -> bool {
        let Some(field) = self.if_range else { return true };
        let text = field.as_bytes().trim_ascii();
        if text.starts_with(b"\"") || text.starts_with(b"W/") {
            return text == has.tag;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        date(field) == Some(has.modified) && Duration::from_secs(has.modified) + STRONG_AFTER <= now
    }
}

fn date(field: &HeaderValue) -> Option<u64> {
    let date = httpdate::parse_http_date(field.to_str().ok()?.trim()).ok()?;
    Some(date.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag<'a> {
    /// `*`
    Any,
    /// With its quotes.
    Strong(&'a [u8]),
    Weak(&'a [u8]),
}

/// The tags of a list, up to where it is none. Tags may hold commas.
fn tags(field: &[u8]) -> impl Iterator<Item = Tag<'_>> {
    let mut rest = field.trim_ascii();
    let mut any = rest == b"*";
    std::iter::from_fn(move || {
        if std::mem::take(&mut any) {
            rest = b"";
            return Some(Tag::Any);
        }
        while let [b',' | b' ' | b'\t', after @ ..] = rest {
            rest = after;
        }
        let weak = rest.starts_with(b"W/");
        let tag = if weak { &rest[2..] } else { rest };
        let inner = tag.strip_prefix(b"\"")?;
        let end = inner.iter().position(|byte| *byte == b'"')?;
        rest = &inner[end + 1..];
        let tag = &tag[..end + 2];
        Some(if weak { Tag::Weak(tag) } else { Tag::Strong(tag) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Failed, NotModified, Proceed};

    /// 784111777
    const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const HAS: Validators<'_> = Validators { tag: b"\"a,b\"", modified: 784_111_777 };

    fn outcome(fields: &[(&str, &str)]) -> Outcome {
        let values: Vec<_> = fields.iter().map(|(n, v)| (*n, HeaderValue::from_str(v).unwrap())).collect();
        let get = |name| values.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
        let conditions = Conditions {
            if_match: get("m"),
            if_none_match: get("nm"),
            if_modified_since: get("ms"),
            if_unmodified_since: get("us"),
            if_range: None,
        };
        conditions.outcome(HAS)
    }

    #[test]
    fn precedence() {
        for (fields, expected) in [
            (&[][..], Proceed),
            (&[("nm", "\"a,b\"")], NotModified),
            (&[("nm", "W/\"a,b\"")], NotModified),
            (&[("nm", "\"x\", , W/\"y\",\"a,b\"")], NotModified),
            (&[("nm", "*")], NotModified),
            (&[("nm", "\"a\"")], Proceed),
            (&[("nm", "a,b")], Proceed),
            (&[("nm", "\"unclosed")], Proceed),
            // The date does not count beside a tag.
            (&[("nm", "\"x\""), ("ms", AT)], Proceed),
            (&[("ms", AT)], NotModified),
            (&[("ms", BEFORE)], Proceed),
            (&[("ms", "yesterday")], Proceed),
            (&[("m", "\"a,b\"")], Proceed),
            (&[("m", "*")], Proceed),
            (&[("m", "W/\"a,b\"")], Failed),
            (&[("m", "\"x\"")], Failed),
            (&[("m", "\"a,b\""), ("us", BEFORE)], Proceed),
            (&[("m", "\"a,b\""), ("nm", "\"a,b\"")], NotModified),
            (&[("us", AT)], Proceed),
            (&[("us", BEFORE)], Failed),
            (&[("us", BEFORE), ("nm", "\"a,b\"")], Failed),
            (&[("us", "nonsense")], Proceed),
        ] {
            assert_eq!(outcome(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn ranges_hold_for_strong_validators() {
        for (field, expected) in [
            ("\"a,b\"", true),
            ("W/\"a,b\"", false),
            ("\"x\"", false),
            (AT, true),
            (BEFORE, false),
            ("x", false),
        ] {
            let value = HeaderValue::from_str(field).unwrap();
            let conditions = Conditions { if_range: Some(&value), ..Conditions::default() };
            assert_eq!(conditions.range_holds(HAS), expected, "{field}");
        }
    }
}
