//! Requests that no worker should see: what HTTP forbids and its parsers let through.

use http::{Method, Uri, Version};

use crate::config::EdgeConfig;
use crate::headers::Scan;
use crate::refusal::Refusal;

/// Checks a request's head. Returns the host it asks for, port included; empty for HTTP/1.0 without `Host`.
pub(crate) fn check<'r>(
    method: &Method,
    uri: &'r Uri,
    version: Version,
    scan: &Scan<'r>,
    config: &EdgeConfig,
) -> Result<&'r str, Refusal> {
    if *method == Method::CONNECT || *method == Method::TRACE {
        return Err(Refusal::METHOD);
    }
    if uri.path_and_query().map_or(0, |target| target.as_str().len()) > config.max_uri_bytes {
        return Err(Refusal::URI_TOO_LONG);
    }
    if !uri.path().starts_with('/') {
        return Err(Refusal::bad_request("The request target must be a path that starts with '/'."));
    }
    host(uri, version, scan)
}

/// The one host that a request names, in the target, in `Host`, or the same in both.
fn host<'r>(uri: &'r Uri, version: Version, scan: &Scan<'r>) -> Result<&'r str, Refusal> {
    if scan.hosts > 1 {
        return Err(Refusal::bad_request("A request must have one Host header, not several."));
    }
    let invalid = Refusal::bad_request("The Host header is no valid host name and port.");
    let field = match scan.host {
        Some(field) => Some(field.to_str().ok().filter(|host| is_authority(host)).ok_or(invalid)?),
        None => None,
    };
    match (uri.authority().map(|authority| authority.as_str()), field) {
        // `GET http://a/ HTTP/1.1`, and `:authority` of HTTP/2.
        (Some(target), _) if !is_authority(target) => {
            Err(Refusal::bad_request("The request target's host is no valid host name and port."))
        }
        (Some(target), Some(field)) if !target.eq_ignore_ascii_case(field) => {
            Err(Refusal::bad_request("The Host header and the request target name different hosts."))
        }
        (Some(_), None) if version == Version::HTTP_11 => {
            Err(Refusal::bad_request("A request of HTTP/1.1 must have a Host header."))
        }
        (Some(target), _) => Ok(target),
        (None, Some(field)) => Ok(field),
        (None, None) if version < Version::HTTP_11 => Ok(""),
        (None, None) => Err(Refusal::bad_request("The request does not say which host it is for.")),
    }
}

/// `name`, `name:port`, `[v6]` or `[v6]:port`; no user name, no empty name.
fn is_authority(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            (address, port)
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            let (name, port) = text.split_at(end);
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
            if !name.bytes().all(plain) {
                return false;
            }
            (name, port)
        }
    };
    let port_is_valid = match port.strip_prefix(':') {
        Some(digits) => {
            digits.is_empty() || (digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok())
        }
        None => port.is_empty(),
    };
    (1..=255).contains(&name.len()) && port_is_valid
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue};

    fn checked(method: &str, uri: &str, version: Version, hosts: &[&str]) -> Result<String, &'static str> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append("host", HeaderValue::from_bytes(host.as_bytes()).unwrap());
        }
        let uri: Uri = uri.parse().unwrap();
        let method = method.parse().unwrap();
        check(&method, &uri, version, &Scan::of(&headers), &EdgeConfig::default())
            .map(str::to_owned)
            .map_err(|refusal| refusal.code)
    }

    #[test]
    fn one_valid_host_is_required() {
        let h11 = Version::HTTP_11;
        assert_eq!(checked("GET", "/", h11, &["a.b:80"]), Ok("a.b:80".into()));
        assert_eq!(checked("GET", "http://a.b/", h11, &["A.b"]), Ok("a.b".into()));
        assert_eq!(checked("GET", "/", Version::HTTP_10, &[]), Ok("".into()));
        assert_eq!(checked("GET", "http://a/", Version::HTTP_2, &[]), Ok("a".into()));
        for (uri, version, hosts) in [
            ("/", h11, &[][..]),
            ("/", h11, &["a", "a"]),
            ("/", Version::HTTP_10, &["a", "b"]),
            ("/", h11, &[""]),
            ("/", h11, &["user@a"]),
            ("/", h11, &["a/b"]),
            ("/", h11, &["a b"]),
            ("/", h11, &["a:99999"]),
            ("/", h11, &["a:+1"]),
            ("/", h11, &["[::1"]),
            ("/", h11, &["ü.de"]),
            ("http://a/", h11, &["b"]),
            ("http://a/", h11, &[]),
            ("http://a/", Version::HTTP_2, &["b"]),
            ("/", Version::HTTP_2, &[]),
            ("*", h11, &["a"]),
        ] {
            assert_eq!(checked("GET", uri, version, hosts), Err("bad_request"), "{uri} {hosts:?}");
        }
    }

    #[test]
    fn tunnels_and_traces_are_refused() {
        assert_eq!(checked("CONNECT", "a:443", Version::HTTP_11, &["a:443"]), Err("method_not_allowed"));
        assert_eq!(checked("TRACE", "/", Version::HTTP_11, &["a"]), Err("method_not_allowed"));
        let long = format!("/{}", "x".repeat(9000));
        assert_eq!(checked("GET", &long, Version::HTTP_11, &["a"]), Err("uri_too_long"));
    }

    #[test]
    fn addresses_are_hosts_too() {
        for good in ["[::1]", "[::1]:8080", "127.0.0.1:80", "a_b.c", "a:"] {
            assert!(is_authority(good), "{good}");
        }
        for bad in ["[::1]x", "[a.b]", "[]", ":80", "a:b"] {
            assert!(!is_authority(bad), "{bad}");
        }
    }
}
