//! Where a message's body ends (RFC 9112, section 6), decided once, from all fields that have a say.

use crate::Violation;
use crate::grammar::{list, trimmed};
use crate::head::Version;

/// How the body of a request is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes, at least one.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// How the body of a response is delimited, as far as its fields say: the method and the status have a say as well
/// (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFraming {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// It ends with the connection.
    Close,
}

/// What the fields said so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FramingFields {
    length: Option<u64>,
    coding: Option<Coding>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Chunked,
    OtherThenChunked,
}

impl FramingFields {
    /// A `Content-Length`. A second one is refused even where both say the same.
    pub(crate) fn length(&mut self, value: &[u8]) -> Result<(), Violation> {
        let length = number(trimmed(value)).ok_or(Violation::Length)?;
        match self.length.replace(length) {
            None => Ok(()),
            Some(_) => Err(Violation::Length),
        }
    }

    /// A `Transfer-Encoding`; all of them together are one list.
    pub(crate) fn coding(&mut self, value: &[u8]) -> Result<(), Violation> {
        let mut seen = None;
        for element in list(value) {
            // `chunked` was not the last.
            if seen == Some(true) || self.coding.is_some() {
                return Err(Violation::Coding);
            }
            let chunked = element.eq_ignore_ascii_case(b"chunked");
            if chunked {
                self.coding = Some(if seen.is_some() { Coding::OtherThenChunked } else { Coding::Chunked });
                seen = Some(true);
                continue;
            }
            seen = Some(false);
        }
        match (seen, self.coding) {
            (Some(true), Some(_)) => Ok(()),
            _ => Err(Violation::Coding),
        }
    }

    pub(crate) fn conclude(self, version: Version) -> Result<Framing, Violation> {
        match (self.length, self.coding) {
            (Some(_), Some(_)) => Err(Violation::LengthAndCoding),
            // RFC 9112, section 6.1: such a message is faulty, whoever made it.
            (None, Some(_)) if version == Version::Http10 => Err(Violation::Coding),
            (None, Some(Coding::OtherThenChunked)) => Err(Violation::UnknownCoding),
            (None, Some(Coding::Chunked)) => Ok(Framing::Chunked),
            (None | Some(0), None) => Ok(Framing::None),
            (Some(length), None) => Ok(Framing::Length(length)),
        }
    }

    pub(crate) fn conclude_response(self, version: Version) -> Result<ResponseFraming, Violation> {
        match self.length {
            Some(0) if self.coding.is_none() => Ok(ResponseFraming::Length(0)),
            _ => Ok(match self.conclude(version)? {
                Framing::None => ResponseFraming::Close,
                Framing::Length(length) => ResponseFraming::Length(length),
                Framing::Chunked => ResponseFraming::Chunked,
            }),
        }
    }
}

/// Digits only: no sign, no list, no blank within.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |so_far, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        so_far.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(lengths: &[&str], codings: &[&str]) -> Result<Framing, Violation> {
        let mut fields = FramingFields::default();
        for length in lengths {
            fields.length(length.as_bytes())?;
        }
        for coding in codings {
            fields.coding(coding.as_bytes())?;
        }
        fields.conclude(Version::Http11)
    }

    #[test]
    fn lengths() {
        assert_eq!(framing(&[], &[]), Ok(Framing::None));
        assert_eq!(framing(&["0"], &[]), Ok(Framing::None));
        assert_eq!(framing(&["012"], &[]), Ok(Framing::Length(12)));
        assert_eq!(framing(&["18446744073709551615"], &[]), Ok(Framing::Length(u64::MAX)));
        for bad in ["", "+1", "-1", "1, 1", "1 1", "0x1", "1.0", "18446744073709551616", "١"] {
            assert_eq!(framing(&[bad], &[]), Err(Violation::Length), "{bad}");
        }
        assert_eq!(framing(&["1", "1"], &[]), Err(Violation::Length));
    }

    #[test]
    fn codings() {
        for good in ["chunked", "Chunked", " chunked\t", "chunked,", ", chunked"] {
            assert_eq!(framing(&[], &[good]), Ok(Framing::Chunked), "{good}");
        }
        for bad in [
            "",
            ",",
            "gzip",
            "chunked, identity",
            "chunked, chunked",
            "chunked;q=1",
            "\"chunked\"",
            "xchunked",
        ] {
            assert_eq!(framing(&[], &[bad]), Err(Violation::Coding), "{bad}");
        }
        assert_eq!(framing(&[], &["gzip, chunked"]), Err(Violation::UnknownCoding));
        assert_eq!(framing(&[], &["chunked", "chunked"]), Err(Violation::Coding));
        assert_eq!(framing(&[], &["gzip", "chunked"]), Err(Violation::Coding));
        assert_eq!(framing(&["5"], &["chunked"]), Err(Violation::LengthAndCoding));
        assert_eq!(framing(&["0"], &["chunked"]), Err(Violation::LengthAndCoding));
    }
}
