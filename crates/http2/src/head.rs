//! The head of a request: which fields it must, may and must not have (RFC 9113, sections 8.2 and 8.3).

use bytes::{BufMut, Bytes, BytesMut};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Uri, header};

use crate::hpack::{Entry, Name, Value};

/// Why fields are no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHead {
    /// No client that knows HTTP/2 sends it: the stream is reset.
    Malformed,
    /// It is larger than allowed, or has more fields.
    TooLarge,
}

/// A request's head.
#[derive(Debug)]
pub struct RequestHead {
    /// `:method`
    pub method: Method,
    /// `:scheme`, `:authority` and `:path`.
    pub uri: Uri,
    /// The `:protocol` of an extended CONNECT (RFC 8441).
    pub protocol: Option<Bytes>,
    /// All other fields.
    pub fields: HeaderMap,
    /// `content-length`
    pub length: Option<u64>,
}

/// Puts a head together, field by field.
#[derive(Debug)]
pub(crate) struct HeadBuilder {
    method: Option<Method>,
    scheme: Option<Bytes>,
    authority: Option<Bytes>,
    path: Option<Bytes>,
    protocol: Option<Bytes>,
    fields: HeaderMap,
    length: Option<u64>,
    /// Bytes of all fields, as RFC 9113, section 10.5.1 counts them.
    size: usize,
    count: usize,
    cookies: usize,
    /// A field that is no pseudo-header was there.
    regular: bool,
    bad: Option<BadHead>,
}

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    /// Bytes of names and values, and 32 for each field.
    pub(crate) bytes: usize,
    pub(crate) fields: usize,
}

impl HeadBuilder {
    pub(crate) fn new() -> Self {
        Self {
            method: None,
            scheme: None,
            authority: None,
            path: None,
            protocol: None,
            fields: HeaderMap::new(),
            length: None,
            size: 0,
            count: 0,
            cookies: 0,
            regular: false,
            bad: None,
        }
    }

    /// Adds a field.
    pub(crate) fn add(&mut self, entry: &Entry, limits: &HeadLimits) {
        if self.bad.is_some() {
            return;
        }
        self.size += entry.size;
        if self.size > limits.bytes || self.count >= limits.fields {
            self.bad = Some(BadHead::TooLarge);
            // What comes next is only read for the sake of the tables.
            self.fields = HeaderMap::new();
            return;
        }
        if self.take(entry).is_none() {
            self.bad = Some(BadHead::Malformed);
        }
    }

    fn take(&mut self, entry: &Entry) -> Option<()> {
        let (slot, value) = match (&entry.name, &entry.value) {
            (Name::Field(name), Value::Header(value)) => {
                self.regular = true;
                self.count += 1;
                if self.fields.is_empty() {
                    // Most requests, and one more for the request's id.
                    self.fields.reserve(8);
                }
                self.check(name, value)?;
                return self.fields.try_append(name.clone(), value.clone()).ok().map(drop);
            }
            (_, Value::Raw(_)) if self.regular => return None,
            (Name::Method, Value::Raw(value)) => {
                let method = Method::from_bytes(value).ok()?;
                return self.method.replace(method).is_none().then_some(());
            }
            (Name::Scheme, Value::Raw(value)) => (&mut self.scheme, value),
            (Name::Authority, Value::Raw(value)) => (&mut self.authority, value),
            (Name::Path, Value::Raw(value)) => (&mut self.path, value),
            (Name::Protocol, Value::Raw(value)) => (&mut self.protocol, value),
            _ => return None,
        };
        (slot.replace(value.clone()).is_none() && !value.is_empty()).then_some(())
    }

    /// Fields that only concern one connection of HTTP/1 (section 8.2.2), and `content-length`.
    fn check(&mut self, name: &http::HeaderName, value: &HeaderValue) -> Option<()> {
        match *name {
            header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE => None,
            header::TE => value.as_bytes().eq_ignore_ascii_case(b"trailers").then_some(()),
            header::CONTENT_LENGTH => {
                let digits = value.as_bytes();
                let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
                let length = value.to_str().ok().filter(|_| is_number)?.parse().ok()?;
                self.length.replace(length).is_none().then_some(())
            }
            header::COOKIE => {
                self.cookies += 1;
                Some(())
            }
            _ if matches!(name.as_str(), "keep-alive" | "proxy-connection") => None,
            _ => Some(()),
        }
    }

    /// The whole request.
    pub(crate) fn request(mut self) -> Result<RequestHead, BadHead> {
        if let Some(bad) = self.bad {
            return Err(bad);
        }
        if self.cookies > 1 {
            self.join_cookies();
        }
        let uri = self.uri();
        let (Some(method), Some(uri)) = (self.method, uri) else { return Err(BadHead::Malformed) };
        Ok(RequestHead { method, uri, protocol: self.protocol, fields: self.fields, length: self.length })
    }

    /// Trailers: fields without pseudo-headers.
    pub(crate) fn trailers(self) -> Result<HeaderMap, BadHead> {
        let pseudo = self.method.is_some()
            || [&self.scheme, &self.authority, &self.path, &self.protocol]
                .iter()
                .any(|value| value.is_some());
        match self.bad {
            Some(bad) => Err(bad),
            None if pseudo => Err(BadHead::Malformed),
            None => Ok(self.fields),
        }
    }

    /// The target. An ordinary CONNECT names an authority and nothing else (section 8.5).
    fn uri(&mut self) -> Option<Uri> {
        let method = self.method.as_ref()?;
        let authority = match self.authority.take() {
            Some(bytes) => Some(Authority::from_maybe_shared(bytes).ok()?),
            None => None,
        };
        let tunnel = *method == Method::CONNECT && self.protocol.is_none();
        if self.protocol.is_some() && *method != Method::CONNECT {
            return None;
        }
        if tunnel {
            if self.scheme.is_some() || self.path.is_some() {
                return None;
            }
            return Uri::builder().authority(authority?).build().ok();
        }
        let scheme = match &*self.scheme.take()? {
            b"http" => Scheme::HTTP,
            b"https" => Scheme::HTTPS,
            other => Scheme::try_from(other).ok().filter(|_| other[0].is_ascii_alphabetic())?,
        };
        let path = self.path.take()?;
        let is_target = path.iter().fold(true, |so_far, &b| so_far & (b > b' ') & (b != 0x7f) & (b != b'#'));
        let is_star = *method == Method::OPTIONS && *path == *b"*";
        if !is_target || path.first() != Some(&b'/') && !is_star {
            return None;
        }
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = Some(PathAndQuery::from_maybe_shared(path).ok()?);
        // Without an authority, `host` names it, and the target is the path alone.
        if authority.is_some() {
            parts.scheme = Some(scheme);
            parts.authority = authority;
        }
        Uri::from_parts(parts).ok()
    }

    /// Clients may send cookies one by one; elsewhere they are one field (section 8.2.3).
    fn join_cookies(&mut self) {
        let mut joined = BytesMut::new();
        for cookie in self.fields.get_all(header::COOKIE) {
            if !joined.is_empty() {
                joined.put_slice(b"; ");
            }
            joined.put_slice(cookie.as_bytes());
        }
        if let Ok(value) = HeaderValue::from_maybe_shared(joined.freeze()) {
            self.fields.insert(header::COOKIE, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 5 };

    fn built(fields: &[(&str, &str)]) -> HeadBuilder {
        let mut builder = HeadBuilder::new();
        for (name, value) in fields {
            builder.add(&Entry::new(Name::of(name.as_bytes()), name.len(), value.as_bytes()), &LIMITS);
        }
        builder
    }

    fn request(fields: &[(&str, &str)]) -> Result<RequestHead, BadHead> {
        built(fields).request()
    }

    const GET: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "https"), (":path", "/a?b"), (":authority", "x.y:1")];

    fn with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
        GET.iter().chain(more).copied().collect()
    }

    #[test]
    fn requests_are_put_together() {
        let head =
            request(&with(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("content-length", "12")]))
                .unwrap();
        assert_eq!((head.method, head.uri.to_string()), (Method::GET, "https://x.y:1/a?b".into()));
        assert_eq!(head.length, Some(12));
        assert_eq!(head.fields.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
        let bare = request(&[GET[0], GET[1], GET[2], ("host", "h"), ("te", "trailers")]).unwrap();
        assert_eq!(bare.uri.to_string(), "/a?b");
        let star = request(&[(":method", "OPTIONS"), GET[1], (":path", "*"), GET[3]]).unwrap();
        assert_eq!(star.uri.path(), "*");
        let tunnel = request(&[(":method", "CONNECT"), (":authority", "a:443")]).unwrap();
        assert_eq!(tunnel.uri.authority().unwrap(), "a:443");
        let socket =
            request(&[(":method", "CONNECT"), (":protocol", "websocket"), GET[1], GET[2], GET[3]]).unwrap();
        assert_eq!((&socket.protocol.unwrap()[..], socket.uri.path()), (&b"websocket"[..], "/a"));
    }

    #[test]
    fn what_http2_forbids_is_malformed() {
        let without =
            |n: usize| GET.iter().enumerate().filter(|(m, _)| *m != n).map(|(_, f)| *f).collect::<Vec<_>>();
        for fields in [
            vec![],
            without(0),
            without(1),
            without(2),
            with(&[(":method", "GET")]),
            with(&[(":path", "/")]),
            with(&[(":status", "200")]),
            with(&[(":foo", "x")]),
            with(&[("x", "y"), (":authority", "a")]),
            with(&[("X-Up", "y")]),
            with(&[("x", "a\r\nb: c")]),
            with(&[("x", "a\0")]),
            with(&[("x", " a")]),
            with(&[("x y", "a")]),
            with(&[("", "a")]),
            with(&[("connection", "close")]),
            with(&[("keep-alive", "1")]),
            with(&[("proxy-connection", "close")]),
            with(&[("transfer-encoding", "chunked")]),
            with(&[("upgrade", "h2c")]),
            with(&[("te", "trailers, gzip")]),
            with(&[("content-length", "1"), ("content-length", "1")]),
            with(&[("content-length", "+1")]),
            with(&[("content-length", "1, 1")]),
            with(&[("content-length", "99999999999999999999")]),
            with(&[(":protocol", "websocket")]),
            vec![GET[0], GET[1], (":path", ""), GET[3]],
            vec![GET[0], GET[1], (":path", "a"), GET[3]],
            vec![GET[0], GET[1], (":path", "*"), GET[3]],
            vec![GET[0], GET[1], (":path", "/a b"), GET[3]],
            vec![GET[0], GET[1], (":path", "/a#b"), GET[3]],
            vec![GET[0], GET[1], (":path", "/a\r\n"), GET[3]],
            vec![GET[0], (":scheme", "1x"), GET[2], GET[3]],
            vec![GET[0], GET[1], GET[2], (":authority", "")],
            vec![GET[0], GET[1], GET[2], (":authority", "a b")],
            vec![(":method", "G T"), GET[1], GET[2], GET[3]],
            vec![(":method", ""), GET[1], GET[2], GET[3]],
            vec![(":method", "CONNECT"), (":scheme", "http"), GET[3]],
            vec![(":method", "CONNECT"), (":path", "/"), GET[3]],
            vec![(":method", "CONNECT")],
            vec![(":method", "CONNECT"), (":protocol", "websocket"), GET[3]],
        ] {
            assert_eq!(request(&fields).err(), Some(BadHead::Malformed), "{fields:?}");
        }
        assert_eq!(built(&GET).trailers().err(), Some(BadHead::Malformed));
        assert_eq!(built(&[("x", "y")]).trailers().unwrap()["x"], "y");
    }

    #[test]
    fn large_heads_are_refused() {
        let long = "x".repeat(5000);
        let fields: Vec<(&str, &str)> = GET.iter().copied().chain([("x", long.as_str())]).collect();
        assert_eq!(request(&fields).err(), Some(BadHead::TooLarge));
        let many = with(&[("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", ""), ("f", "")]);
        assert_eq!(request(&many).err(), Some(BadHead::TooLarge));
    }
}
