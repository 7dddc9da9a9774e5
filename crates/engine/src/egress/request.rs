//! What a worker asks for, checked. The host that passes it on is not believed.

use std::rc::Rc;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use selvedge_wire::message::{self, Subrequest};

use super::body::Outgoing;
use super::failed::{Failed, refused};
use crate::stream::Stream;

/// Headers that concern one connection only (RFC 9110, section 7.6.1), and `Host`, which the URL gives.
pub const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::HOST,
    header::EXPECT,
];

/// Where a request goes.
#[derive(Clone, Debug)]
pub struct Target {
    /// `https`.
    pub secure: bool,
    /// In lower case; an IPv6 address without brackets.
    pub host: String,
    pub port: u16,
    /// As the `Host` header has it.
    authority: HeaderValue,
    path: PathAndQuery,
}

impl Target {
    /// Takes an absolute URL apart.
    pub fn parse(url: &[u8]) -> Result<Self, Failed> {
        let uri = Uri::try_from(url).map_err(|_| {
            refused(format!("fetch() cannot use the URL {:?}.", String::from_utf8_lossy(url)))
        })?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(refused("fetch() takes http: and https: URLs.")),
        };
        let written = uri.host().filter(|host| !host.is_empty());
        let written = written.ok_or_else(|| refused("The URL has no host."))?.to_ascii_lowercase();
        let usual = if secure { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(usual);
        let authority = if port == usual { written.clone() } else { format!("{written}:{port}") };
        let authority = HeaderValue::from_str(&authority).map_err(|_| refused("The host is not valid."))?;
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self { secure, host: written.trim_matches(['[', ']']).to_owned(), port, authority, path })
    }

    /// Puts the target into a request, in the form of HTTP/1.1 or HTTP/2.
    pub fn write<B>(&self, request: &mut Request<B>, http2: bool) {
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = Some(self.path.clone());
        if http2 {
            request.headers_mut().remove(header::HOST);
            parts.scheme = Some(if self.secure { Scheme::HTTPS } else { Scheme::HTTP });
            parts.authority = Authority::try_from(self.authority.as_bytes()).ok();
        } else {
            request.headers_mut().insert(header::HOST, self.authority.clone());
        }
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    }
}

/// Reads a subrequest off the wire; `fin` says that it has no body.
pub fn parse(
    request: &Subrequest<'_>,
    fin: bool,
    stream: &Rc<Stream>,
) -> Result<(Target, Request<Outgoing>), Failed> {
    let target = Target::parse(request.url)?;
    let method = Method::from_bytes(request.method).map_err(|_| refused("The method is not valid."))?;
    if method == Method::CONNECT || method == Method::TRACE {
        return Err(refused(format!("fetch() does not send {method}.")));
    }
    let mut headers = HeaderMap::with_capacity(8);
    for (name, value) in message::header_pairs(request.headers) {
        let name = HeaderName::from_bytes(name).map_err(|_| refused("A header's name is not valid."))?;
        let value = HeaderValue::from_bytes(value).map_err(|_| refused("A header's value is not valid."))?;
        if !HOP_BY_HOP.contains(&name) {
            headers.try_append(name, value).map_err(|_| refused("The request has too many headers."))?;
        }
    }
    fix_length(&mut headers, &method, fin);
    let mut outgoing = Request::new(Outgoing((!fin).then(|| stream.clone())));
    *outgoing.method_mut() = method;
    *outgoing.headers_mut() = headers;
    Ok((target, outgoing))
}

/// Leaves a `Content-Length` only where it is one number and a body follows: a server and we must agree where a request
/// ends (RFC 9112, section 11.2).
fn fix_length(headers: &mut HeaderMap, method: &Method, empty: bool) {
    if empty {
        headers.remove(header::CONTENT_LENGTH);
        if matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        return;
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let good = match (lengths.next(), lengths.next()) {
        (Some(length), None) => {
            let digits = length.as_bytes();
            (1..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    if !good {
        headers.remove(header::CONTENT_LENGTH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_taken_apart() {
        let target = Target::parse(b"https://user:word@EXAMPLE.com:8443/a?b").unwrap();
        assert_eq!((target.secure, target.host.as_str(), target.port), (true, "example.com", 8443));
        assert_eq!(target.authority, "example.com:8443");
        let mut request = Request::new(());
        target.write(&mut request, false);
        assert_eq!(
            (request.uri().to_string().as_str(), &request.headers()["host"]),
            ("/a?b", &target.authority)
        );
        target.write(&mut request, true);
        assert_eq!(request.uri().to_string(), "https://example.com:8443/a?b");
        assert!(request.headers().is_empty());
        let v6 = Target::parse(b"http://[::1]/").unwrap();
        assert_eq!((v6.host.as_str(), v6.port, v6.authority.as_bytes()), ("::1", 80, &b"[::1]"[..]));
        for bad in ["", "/", "file:///etc", "http://", "ftp://a/", "http://a\r\nb/", "unix:/x"] {
            assert!(Target::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn lengths_are_true_or_absent() {
        let fixed = |method: Method, values: &[&str], empty| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_LENGTH, HeaderValue::from_str(value).unwrap());
            }
            fix_length(&mut headers, &method, empty);
            headers.get(header::CONTENT_LENGTH).map(|length| length.to_str().unwrap().to_owned())
        };
        assert_eq!(fixed(Method::GET, &["5"], true), None);
        assert_eq!(fixed(Method::POST, &["5"], true).as_deref(), Some("0"));
        assert_eq!(fixed(Method::POST, &["5"], false).as_deref(), Some("5"));
        for bad in [&["5", "5"][..], &["5, 5"], &["+5"], &[""], &["99999999999999999999"], &["0x5"]] {
            assert_eq!(fixed(Method::POST, bad, false), None, "{bad:?}");
        }
    }
}
