//! The head of a response that another server sent, and trailer sections.
//!
//! As strict as with requests: a response whose end two readers could see in two places is refused, since what one of them
//! takes for the rest of it the other takes for the answer to somebody else's request.

use memchr::memchr_iter;

use crate::Violation;
use crate::framing::{FramingFields, ResponseFraming};
use crate::grammar::{is_value, list};
use crate::head::{Field, Limits, Span, Version, end_of_line, field};

/// A response's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Version.
    pub version: Version,
    /// 100 to 999.
    pub status: u16,
    /// May be empty.
    pub reason: Span,
    /// Where the body ends, if method and status allow one.
    pub framing: ResponseFraming,
    /// The server would take another request on the connection (RFC 9112, section 9.3). Never with HTTP/1.0.
    pub keep_alive: bool,
    /// `Connection` or another field of this hop is there.
    pub hop: bool,
}

/// Parses a whole head, from its first byte to its empty line. The fields are put in place of what `fields` holds.
pub fn parse_response(
    head: &[u8],
    limits: &Limits,
    fields: &mut Vec<Field>,
) -> Result<ResponseHead, Violation> {
    fields.clear();
    let mut feeds = memchr_iter(b'\n', head);
    let line_end = end_of_line(head, 0, feeds.next())?;
    let (version, status, reason) = status_line(head, line_end)?;
    let mut start = line_end + 2;
    let mut framing = FramingFields::default();
    let (mut close, mut hop) = (false, false);
    loop {
        let end = end_of_line(head, start, feeds.next())?;
        if end == start {
            break;
        }
        if fields.len() == limits.fields {
            return Err(Violation::TooManyFields);
        }
        let field = field(head, start..end)?;
        let value = field.value.of(head);
        let name = field.name.of(head);
        match name.len() {
            2 if name.eq_ignore_ascii_case(b"te") => hop = true,
            7 if name.eq_ignore_ascii_case(b"upgrade") || name.eq_ignore_ascii_case(b"trailer") => hop = true,
            10 if name.eq_ignore_ascii_case(b"connection") => {
                hop = true;
                for option in list(value) {
                    close |= option.eq_ignore_ascii_case(b"close");
                }
            }
            10 if name.eq_ignore_ascii_case(b"keep-alive") => hop = true,
            14 if name.eq_ignore_ascii_case(b"content-length") => framing.length(value)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                hop = true;
                framing.coding(value)?;
            }
            6.. if name[..6].eq_ignore_ascii_case(b"proxy-") => hop = true,
            _ => {}
        }
        fields.push(field);
        start = end + 2;
    }
    let framing = framing.conclude_response(version)?;
    Ok(ResponseHead {
        version,
        status,
        reason,
        framing,
        keep_alive: !close && version == Version::Http11,
        hop,
    })
}

/// The blank before a reason that is left out may be missing: what the line means is clear without.
fn status_line(head: &[u8], end: usize) -> Result<(Version, u16, Span), Violation> {
    let line = &head[..end];
    let (version, rest) = match line {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b' ', rest @ ..] => {
            (if *minor == b'1' { Version::Http11 } else { Version::Http10 }, rest)
        }
        _ => return Err(Violation::StatusLine),
    };
    let reason = match rest {
        [_, _, _] => end..end,
        [_, _, _, b' ', reason @ ..] if is_value(reason) => end - reason.len()..end,
        _ => return Err(Violation::StatusLine),
    };
    let digits = &rest[..3];
    if !digits.iter().all(u8::is_ascii_digit) || digits[0] == b'0' {
        return Err(Violation::StatusLine);
    }
    let status = digits.iter().fold(0, |so_far, digit| so_far * 10 + u16::from(digit - b'0'));
    Ok((version, status, Span::new(reason)))
}

/// Parses a trailer section, its empty line included. The fields are put in place of what `fields` holds.
pub fn parse_trailers(section: &[u8], limits: &Limits, fields: &mut Vec<Field>) -> Result<(), Violation> {
    fields.clear();
    let mut feeds = memchr_iter(b'\n', section);
    let mut start = 0;
    loop {
        let end = end_of_line(section, start, feeds.next())?;
        if end == start {
            return Ok(());
        }
        if fields.len() == limits.fields {
            return Err(Violation::TooManyFields);
        }
        fields.push(field(section, start..end)?);
        start = end + 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::HeadFinder;

    const LIMITS: Limits = Limits { head_bytes: 1024, fields: 8 };

    fn parse(text: &str) -> Result<ResponseHead, Violation> {
        let bytes = text.as_bytes();
        match HeadFinder::default().find(bytes, &LIMITS)? {
            Some(place) => parse_response(&bytes[place], &LIMITS, &mut Vec::new()),
            None => panic!("{text:?} is not over"),
        }
    }

    #[test]
    fn an_ordinary_response() {
        let text = b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\nX: \ty \r\n\r\n";
        let mut fields = Vec::new();
        let head = parse_response(text, &LIMITS, &mut fields).unwrap();
        assert_eq!((head.status, head.reason.of(text)), (404, &b"Not Found"[..]));
        assert_eq!((head.framing, head.keep_alive, head.hop), (ResponseFraming::Length(3), true, false));
        assert_eq!(fields.len(), 2);
        assert_eq!(fields[1].value.of(text), b"y");
    }

    #[test]
    fn framing_and_reuse() {
        for (text, framing, keep_alive) in [
            ("HTTP/1.1 200 OK\r\n\r\n", ResponseFraming::Close, true),
            ("HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", ResponseFraming::Length(0), true),
            ("HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n", ResponseFraming::Chunked, true),
            ("HTTP/1.1 200 OK\r\nconnection: x, Close\r\n\r\n", ResponseFraming::Close, false),
            (
                "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\n",
                ResponseFraming::Length(1),
                false,
            ),
        ] {
            let head = parse(text).unwrap();
            assert_eq!((head.framing, head.keep_alive), (framing, keep_alive), "{text:?}");
        }
    }

    #[test]
    fn what_is_refused() {
        use Violation::{
            Coding, FieldName, FieldValue, Folding, Length, LengthAndCoding, LineEnd, StatusLine,
            UnknownCoding,
        };
        for (text, violation) in [
            ("HTTP/1.1 20 OK\r\n\r\n", StatusLine),
            ("HTTP/1.1 2000 OK\r\n\r\n", StatusLine),
            ("HTTP/1.1 099 OK\r\n\r\n", StatusLine),
            ("HTTP/1.1  200 OK\r\n\r\n", StatusLine),
            ("HTTP/1.1 -20 OK\r\n\r\n", StatusLine),
            ("HTTP/2.0 200 OK\r\n\r\n", StatusLine),
            ("HTTP/1.2 200 OK\r\n\r\n", StatusLine),
            ("ICY 200 OK\r\n\r\n", StatusLine),
            ("HTTP/1.1 200 O\0K\r\n\r\n", StatusLine),
            ("HTTP/1.1 200 OK\n\r\n\r\n", LineEnd),
            ("HTTP/1.1 200 OK\r\na: b\n\r\n", LineEnd),
            ("HTTP/1.1 200 OK\r\na: b\rc\r\n\r\n", LineEnd),
            ("HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n", Folding),
            ("HTTP/1.1 200 OK\r\na : b\r\n\r\n", FieldName),
            ("HTTP/1.1 200 OK\r\na\r\n\r\n", FieldName),
            ("HTTP/1.1 200 OK\r\na: \0\r\n\r\n", FieldValue),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n", Length),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1, 1\r\n\r\n", Length),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", LengthAndCoding),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\ntransfer-encoding: chunked\r\n\r\n", LengthAndCoding),
            ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Coding),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", Coding),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n", UnknownCoding),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n", Coding),
        ] {
            assert_eq!(parse(text), Err(violation), "{text:?}");
        }
    }

    #[test]
    fn trailer_sections() {
        let mut fields = Vec::new();
        parse_trailers(b"a: 1\r\nB:2\r\n\r\n", &LIMITS, &mut fields).unwrap();
        assert_eq!(fields.len(), 2);
        assert_eq!(parse_trailers(b"a: 1\r\n", &LIMITS, &mut fields), Err(Violation::LineEnd));
        let many = "a: 1\r\n".repeat(9) + "\r\n";
        assert_eq!(parse_trailers(many.as_bytes(), &LIMITS, &mut fields), Err(Violation::TooManyFields));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b':')], 0..200)) {
            let mut text = b"HTTP/1.1 200 OK\r\n".to_vec();
            text.extend_from_slice(&bytes);
            let mut fields = Vec::new();
            let _ = parse_response(&text, &LIMITS, &mut fields);
            let _ = parse_response(&bytes, &LIMITS, &mut fields);
            let _ = parse_trailers(&bytes, &LIMITS, &mut fields);
        }
    }
}
