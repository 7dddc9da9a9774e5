//! What the edge needs of a request's header fields, found in one pass, and the fields that stay on one hop.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// `x-request-id`
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The fields of a request that the edge looks at.
#[derive(Debug, Default)]
pub(crate) struct Scan<'a> {
    /// The last `Host`.
    pub(crate) host: Option<&'a HeaderValue>,
    /// How many there are.
    pub(crate) hosts: usize,
    pub(crate) content_length: Option<u64>,
    pub(crate) chunked: bool,
    pub(crate) accept: Option<&'a HeaderValue>,
    /// The last `Accept-Encoding`.
    pub(crate) accept_encoding: Option<&'a HeaderValue>,
    pub(crate) referer: Option<&'a HeaderValue>,
    pub(crate) user_agent: Option<&'a HeaderValue>,
    pub(crate) request_id: Option<&'a HeaderValue>,
    /// The client takes trailer fields.
    pub(crate) trailers: bool,
    /// Fields that concern this connection only are there, so [`strip_request`] has work to do.
    pub(crate) hop: bool,
}

impl<'a> Scan<'a> {
    pub(crate) fn of(headers: &'a HeaderMap) -> Self {
        let mut scan = Scan::default();
        for (name, value) in headers {
            match *name {
                header::HOST => {
                    scan.host = Some(value);
                    scan.hosts += 1;
                }
                // The parsers have refused what is no number.
                header::CONTENT_LENGTH => {
                    scan.content_length = value.to_str().ok().and_then(|n| n.parse().ok())
                }
                header::ACCEPT => scan.accept = Some(value),
                header::ACCEPT_ENCODING => scan.accept_encoding = Some(value),
                header::REFERER => scan.referer = Some(value),
                header::USER_AGENT => scan.user_agent = Some(value),
                header::TRANSFER_ENCODING => {
                    scan.chunked = true;
                    scan.hop = true;
                }
                header::TE => {
                    scan.trailers |= names_trailers(value);
                    scan.hop = true;
                }
                ref name if is_hop(name) => scan.hop = true,
                ref name if *name == REQUEST_ID => scan.request_id = Some(value),
                _ => {}
            }
        }
        scan
    }
}

/// Fields that concern one connection (RFC 9110, section 7.6.1).
fn is_hop(name: &HeaderName) -> bool {
    match *name {
        header::CONNECTION | header::TE | header::TRAILER | header::TRANSFER_ENCODING | header::UPGRADE => {
            true
        }
        ref name => {
            let name = name.as_str();
            name.starts_with("proxy-") || name == "keep-alive"
        }
    }
}

/// Removes what concerned the client's connection only. A WebSocket handshake keeps `connection: upgrade` and
/// `upgrade: websocket`: it is the worker that accepts or declines it.
pub(crate) fn strip_request(headers: &mut HeaderMap) {
    let websocket = asks_for_websocket(headers);
    strip(headers);
    if websocket {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
}

/// Whether a request is the handshake of a WebSocket (RFC 6455, section 4.2.1).
pub(crate) fn asks_for_websocket(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && connection_options(headers).any(|option| option.eq_ignore_ascii_case("upgrade"))
}

/// Removes what a worker has no say in: how its response travels.
pub(crate) fn strip_response(headers: &mut HeaderMap) {
    if headers.keys().any(is_hop) {
        strip(headers);
    }
}

/// What `Connection` cannot take away, whoever names it: what a message is, for whom, from whom, and how long it may be kept.
const PROTECTED: [HeaderName; 14] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::AUTHORIZATION,
    header::COOKIE,
    header::SET_COOKIE,
    header::CACHE_CONTROL,
    header::VIA,
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
    header::ORIGIN,
    REQUEST_ID,
];

fn strip(headers: &mut HeaderMap) {
    let mut named: Vec<HeaderName> = connection_options(headers)
        .filter_map(|option| option.parse().ok())
        // Naming these would change what the request means, not how it travels.
        .filter(|name| !PROTECTED.contains(name))
        .collect();
    named.extend(headers.keys().filter(|name| is_hop(name)).cloned());
    for name in named {
        headers.remove(name);
    }
}

fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(header::CONNECTION).into_iter().flat_map(list)
}

/// Whether a client takes trailer fields (RFC 9110, section 10.1.4).
pub(crate) fn takes_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).into_iter().any(names_trailers)
}

fn names_trailers(value: &HeaderValue) -> bool {
    list(value).any(|option| option.eq_ignore_ascii_case("trailers"))
}

fn list(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or_default().split(',').map(str::trim).filter(|option| !option.is_empty())
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

    #[test]
    fn what_belongs_to_the_hop_goes() {
        let mut headers = map(&[
            ("connection", "close, X-Internal"),
            ("connection", "host"),
            ("host", "a"),
            ("x-internal", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic eDp5"),
            ("proxy-anything", "1"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("accept", "*/*"),
        ]);
        assert!(Scan::of(&headers).hop);
        strip_request(&mut headers);
        assert_eq!(headers, map(&[("host", "a"), ("accept", "*/*")]));
        assert!(!Scan::of(&headers).hop);
    }

    #[test]
    fn websocket_handshakes_pass() {
        let mut headers = map(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-key", "x"),
        ]);
        strip_request(&mut headers);
        assert_eq!(headers["upgrade"], "websocket");
        assert_eq!(headers["connection"], "upgrade");
        let mut lone = map(&[("upgrade", "websocket")]);
        strip_request(&mut lone);
        assert!(lone.is_empty(), "not asked for by the connection");
    }

    #[test]
    fn hosts_are_counted() {
        let headers = map(&[("host", "a"), ("host", "b"), ("content-length", "12"), ("x-request-id", "z")]);
        let scan = Scan::of(&headers);
        assert_eq!((scan.hosts, scan.content_length, scan.hop), (2, Some(12), false));
        assert_eq!(scan.request_id.unwrap(), "z");
    }
}
