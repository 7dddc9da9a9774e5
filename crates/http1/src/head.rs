//! The head of a request: its first line and its fields, as places in the bytes it arrived in.

use std::ops::Range;

use memchr::{memchr, memchr_iter};

use crate::framing::FramingFields;
use crate::grammar::{is_target, is_token, is_token_byte, is_value, list, trimmed};
use crate::{Framing, Violation};

/// What a head may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The whole head, bytes; no more than 4 GiB.
    pub head_bytes: usize,
    /// Fields.
    pub fields: usize,
}

/// A place in a head, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(crate) fn new(range: Range<usize>) -> Self {
        Self { start: range.start as u32, end: range.end as u32 }
    }

    /// As indices.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The bytes, of the head this was parsed from.
    pub fn of(self, head: &[u8]) -> &[u8] {
        head.get(self.range()).unwrap_or_default()
    }
}

/// One line after the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// A token, in whatever case.
    pub name: Span,
    /// Without blanks around it.
    pub value: Span,
}

/// The versions of HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// A request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// A token.
    pub method: Span,
    /// Not empty, without blanks; what it means is not looked at.
    pub target: Span,
    /// Version.
    pub version: Version,
    /// Where the body ends.
    pub framing: Framing,
    /// The client would use the connection again (RFC 9112, section 9.3).
    pub keep_alive: bool,
    /// The client waits to be told before it sends its body (RFC 9110, section 10.1.1).
    pub expects_continue: bool,
}

/// Looks for the end of a head in bytes that arrive in pieces, at each byte once.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadFinder {
    /// Looked at so far.
    scanned: usize,
    /// Where the line begins that is not over.
    line: usize,
    /// An empty line came before the request.
    skipped: bool,
}

impl HeadFinder {
    /// Looks at what `bytes`, all that has arrived since the last head, has more than at the last call. Gives the place
    /// of a whole head. One empty line before it is passed over (RFC 9112, section 2.2).
    pub fn find(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<Range<usize>>, Violation> {
        let start = if self.skipped { 2 } else { 0 };
        // What is no HTTP at all need not be waited for.
        match bytes.get(start..) {
            Some([b'\r', b'\n', ..] | [b'\r']) if !self.skipped => {}
            Some([b'\n', ..]) => return Err(Violation::LineEnd),
            Some([byte, ..]) if !is_token_byte(*byte) => return Err(Violation::RequestLine),
            _ => {}
        }
        let end = bytes.len().min(limits.head_bytes.saturating_add(start));
        for at in memchr_iter(b'\n', &bytes[self.scanned..end]) {
            let feed = self.scanned + at;
            if bytes[feed - 1] != b'\r' || feed == self.line {
                return Err(Violation::LineEnd);
            }
            let (line, empty) = (self.line, feed == self.line + 1);
            self.line = feed + 1;
            if empty && line == start {
                self.skipped = true;
                self.scanned = feed + 1;
                return self.find(bytes, limits);
            }
            if empty {
                return Ok(Some(start..feed + 1));
            }
        }
        self.scanned = end;
        if end - start >= limits.head_bytes {
            return Err(if self.line == start { Violation::TargetTooLong } else { Violation::HeadTooLarge });
        }
        Ok(None)
    }
}

/// Parses a whole head, from its first byte to its empty line. The fields are put in place of what `fields` holds.
pub fn parse_request(
    head: &[u8],
    limits: &Limits,
    fields: &mut Vec<Field>,
) -> Result<RequestHead, Violation> {
    fields.clear();
    let mut feeds = memchr_iter(b'\n', head);
    let line_end = end_of_line(head, 0, feeds.next())?;
    let (method, target, version) = request_line(head, line_end)?;
    let mut start = line_end + 2;
    let mut framing = FramingFields::default();
    let mut hosts = 0;
    let (mut close, mut keep_alive, mut expects_continue) = (false, false, false);
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
        // Which lengths names have tells most of them apart.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => hosts += 1,
            6 if name.eq_ignore_ascii_case(b"expect") => {
                expects_continue |= value.eq_ignore_ascii_case(b"100-continue");
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for option in list(value) {
                    close |= option.eq_ignore_ascii_case(b"close");
                    keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => framing.length(value)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => framing.coding(value)?,
            _ => {}
        }
        fields.push(field);
        start = end + 2;
    }
    let framing = framing.conclude(version)?;
    match hosts {
        1 => {}
        0 if version == Version::Http10 => {}
        0 => return Err(Violation::NoHost),
        _ => return Err(Violation::Hosts),
    }
    let http11 = version == Version::Http11;
    Ok(RequestHead {
        method,
        target,
        version,
        framing,
        keep_alive: !close && (http11 || keep_alive),
        expects_continue: expects_continue && http11 && framing != Framing::None,
    })
}

/// Where the line that starts at `start` ends: at its CR.
pub(crate) fn end_of_line(head: &[u8], start: usize, feed: Option<usize>) -> Result<usize, Violation> {
    match feed {
        Some(feed) if feed > start && head[feed - 1] == b'\r' => Ok(feed - 1),
        _ => Err(Violation::LineEnd),
    }
}

fn request_line(head: &[u8], end: usize) -> Result<(Span, Span, Version), Violation> {
    let line = &head[..end];
    let blank = memchr(b' ', line).ok_or(Violation::RequestLine)?;
    let rest = &line[blank + 1..];
    let length = memchr(b' ', rest).ok_or(Violation::RequestLine)?;
    let (target, version) = (&rest[..length], &rest[length + 1..]);
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Violation::Version);
        }
        _ => return Err(Violation::RequestLine),
    };
    if !is_token(&line[..blank]) {
        return Err(Violation::RequestLine);
    }
    if !is_target(target) {
        return Err(Violation::Target);
    }
    let start = blank + 1;
    Ok((Span::new(0..blank), Span::new(start..start + length), version))
}

/// One `name: value`.
pub(crate) fn field(head: &[u8], line: Range<usize>) -> Result<Field, Violation> {
    let bytes = &head[line.clone()];
    if matches!(bytes.first(), Some(b' ' | b'\t')) {
        return Err(Violation::Folding);
    }
    let colon = memchr(b':', bytes).ok_or(Violation::FieldName)?;
    if !is_token(&bytes[..colon]) {
        return Err(Violation::FieldName);
    }
    let value = &bytes[colon + 1..];
    if !is_value(value) {
        let bare = value.contains(&b'\r');
        return Err(if bare { Violation::LineEnd } else { Violation::FieldValue });
    }
    let kept = trimmed(value);
    let blanks = value.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let start = line.start + colon + 1 + if kept.is_empty() { 0 } else { blanks };
    Ok(Field { name: Span::new(line.start..line.start + colon), value: Span::new(start..start + kept.len()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { head_bytes: 1024, fields: 8 };

    fn parse(text: &str) -> Result<RequestHead, Violation> {
        let bytes = text.as_bytes();
        match HeadFinder::default().find(bytes, &LIMITS)? {
            Some(place) => parse_request(&bytes[place], &LIMITS, &mut Vec::new()),
            None => panic!("{text:?} is not over"),
        }
    }

    #[test]
    fn an_ordinary_request() {
        let text = b"GET /a?b HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX: \t1, 2 \r\n\r\nrest";
        let place = HeadFinder::default().find(text, &LIMITS).unwrap().unwrap();
        assert_eq!(place, 0..text.len() - 4);
        let mut fields = Vec::new();
        let head = parse_request(&text[place], &LIMITS, &mut fields).unwrap();
        assert_eq!((head.method.of(text), head.target.of(text)), (&b"GET"[..], &b"/a?b"[..]));
        assert_eq!((head.version, head.framing, head.keep_alive), (Version::Http11, Framing::None, true));
        let pairs: Vec<_> = fields.iter().map(|field| (field.name.of(text), field.value.of(text))).collect();
        assert_eq!(pairs, [(&b"Host"[..], &b"a"[..]), (b"X-Empty", b""), (b"X", b"1, 2")]);
    }

    #[test]
    fn what_is_refused_and_why() {
        use Violation::*;
        let host = |line: &str| format!("{line}\r\nhost: a\r\n\r\n");
        for (line, violation) in [
            ("GET /", RequestLine),
            ("GET", RequestLine),
            ("GET  / HTTP/1.1", RequestLine),
            ("GET / HTTP/1.1 ", RequestLine),
            ("GET /a b HTTP/1.1", RequestLine),
            ("GET\t/ HTTP/1.1", RequestLine),
            ("G(T / HTTP/1.1", RequestLine),
            (" GET / HTTP/1.1", RequestLine),
            ("GET / http/1.1", RequestLine),
            ("GET / HTTP/1.10", RequestLine),
            ("GET / HTTP/2.0", Version),
            ("GET / HTTP/1.2", Version),
            ("GET / HTTP/0.9", Version),
            ("GET /\u{7f} HTTP/1.1", Target),
            ("GET /a#b HTTP/1.1", Target),
            ("GET /\0 HTTP/1.1", Target),
            ("GET /\r HTTP/1.1", Target),
        ] {
            assert_eq!(parse(&host(line)), Err(violation), "{line:?}");
        }
        for (fields, violation) in [
            ("", NoHost),
            ("host: a\r\nhost: a\r\n", Hosts),
            ("host : a\r\n", FieldName),
            ("host\r\n", FieldName),
            (": a\r\n", FieldName),
            ("h\u{e4}: a\r\n", FieldName),
            ("host: a\r\n b\r\n", Folding),
            ("\thost: a\r\n", Folding),
            ("host: a\nx: b\r\n", LineEnd),
            ("host: a\rx\r\n", LineEnd),
            ("host: a\0\r\n", FieldValue),
            ("host: a\u{1b}\r\n", FieldValue),
            ("host: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n", LengthAndCoding),
            ("host: a\r\nTransfer-Encoding: chunked\r\nCONTENT-LENGTH: 1\r\n", LengthAndCoding),
            ("host: a\r\ntransfer-encoding : chunked\r\n", FieldName),
            ("host: a\r\ntransfer-encoding: \u{b}chunked\r\n", FieldValue),
            ("host: a\r\nx: 1\r\nx: 1\r\nx: 1\r\nx: 1\r\nx: 1\r\nx: 1\r\nx: 1\r\nx: 1\r\n", TooManyFields),
        ] {
            assert_eq!(parse(&format!("GET / HTTP/1.1\r\n{fields}\r\n")), Err(violation), "{fields:?}");
        }
        assert_eq!(parse("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n"), Err(Coding));
    }

    #[test]
    fn one_empty_line_may_come_first() {
        assert!(parse("\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n").is_ok());
        assert_eq!(parse("\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"), Err(Violation::RequestLine));
        assert_eq!(parse("\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"), Err(Violation::LineEnd));
    }

    #[test]
    fn when_connections_are_kept() {
        let kept = |line: &str, connection: &str| {
            parse(&format!("GET / {line}\r\nhost: a\r\nConnection: {connection}\r\n\r\n")).unwrap().keep_alive
        };
        assert!(kept("HTTP/1.1", "x") && kept("HTTP/1.1", "keep-alive") && kept("HTTP/1.0", "x, Keep-Alive"));
        assert!(
            !kept("HTTP/1.1", "x,Close") && !kept("HTTP/1.0", "x") && !kept("HTTP/1.0", "keep-alive, close")
        );
    }

    #[test]
    fn who_waits_for_a_word() {
        let waits = |line: &str, fields: &str| {
            let head = format!("POST / {line}\r\nhost: a\r\nexpect: 100-Continue\r\n{fields}\r\n");
            parse(&head).unwrap().expects_continue
        };
        assert!(waits("HTTP/1.1", "content-length: 1\r\n"));
        assert!(!waits("HTTP/1.1", "") && !waits("HTTP/1.0", "content-length: 1\r\n"));
    }

    #[test]
    fn heads_have_bounds() {
        let limits = Limits { head_bytes: 64, fields: 8 };
        let find = |text: &str| HeadFinder::default().find(text.as_bytes(), &limits);
        let field = |length| format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(length));
        assert_eq!(find(&field(41)), Ok(Some(0..64)));
        assert_eq!(find(&format!("\r\n{}", field(41))), Ok(Some(2..66)));
        assert_eq!(find(&field(42)), Err(Violation::HeadTooLarge));
        assert_eq!(find(&format!("GET /{}", "a".repeat(59))), Err(Violation::TargetTooLong));
        assert_eq!(find("\x16\x03\x01"), Err(Violation::RequestLine));
        assert_eq!(find("GET / HTTP/1.1\r\nhost"), Ok(None));
    }
}
