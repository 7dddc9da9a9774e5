//! Header fields on the way through: what stays on one hop, what we say about the client, and paths.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName};

/// What is said to servers about the client (RFC 7239, and the older `X-Forwarded-…`).
#[derive(Clone, Copy, Debug)]
pub struct Forwarded<'a> {
    /// The other side of the client's connection.
    pub peer: IpAddr,
    /// It is a proxy of ours: what it says about the client is kept and added to. What others say is dropped.
    pub trusted: bool,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The host that the client asked for.
    pub host: &'a [u8],
}

impl Forwarded<'_> {
    /// Gives each field to `put`. `before` are the fields that the client sent; `address` is memory to write in.
    pub(crate) fn for_each(&self, before: &HeaderMap, text: &mut Vec<u8>, mut put: impl FnMut(&[u8], &[u8])) {
        text.clear();
        self.list_before(before, &X_FORWARDED_FOR, text);
        put_address(self.peer, text);
        put(b"x-forwarded-for", text);
        match self.kept(before, &X_FORWARDED_PROTO) {
            Some(kept) => put(b"x-forwarded-proto", kept),
            None => put(b"x-forwarded-proto", self.scheme.as_bytes()),
        }
        match self.kept(before, &X_FORWARDED_HOST) {
            Some(kept) => put(b"x-forwarded-host", kept),
            None => put(b"x-forwarded-host", self.host),
        }
        text.clear();
        self.list_before(before, &header::FORWARDED, text);
        let (open, close) = if self.peer.is_ipv6() { ("for=\"[", "]\"") } else { ("for=", "") };
        text.extend_from_slice(open.as_bytes());
        put_address(self.peer, text);
        text.extend_from_slice(close.as_bytes());
        text.extend_from_slice(b";host=\"");
        // What would end the quotation, or is beyond what hosts are made of, is left out.
        text.extend(self.host.iter().filter(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')));
        text.extend_from_slice(b"\";proto=");
        text.extend_from_slice(self.scheme.as_bytes());
        put(b"forwarded", text);
    }

    fn list_before(&self, before: &HeaderMap, name: &HeaderName, text: &mut Vec<u8>) {
        if self.trusted {
            for value in before.get_all(name) {
                text.extend_from_slice(value.as_bytes());
                text.extend_from_slice(b", ");
            }
        }
    }

    fn kept<'h>(&self, before: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
        before.get(name).filter(|_| self.trusted).map(|value| value.as_bytes())
    }
}

/// Appends an address. Those of IPv4 are written for each request, and `fmt` takes its time.
fn put_address(address: IpAddr, text: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    text.push(b'.');
                }
                for place in [100, 10, 1] {
                    if octet >= place || place == 1 {
                        text.push(b'0' + octet / place % 10);
                    }
                }
            }
        }
        IpAddr::V6(address) => text.extend_from_slice(address.to_string().as_bytes()),
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Who asks, for a connection from `peer`: the last address in `X-Forwarded-For`, or else `Forwarded`, that is none of our
/// proxies. What stands before it anybody may have written.
pub fn client(peer: IpAddr, headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut client = peer;
    if !is_trusted(peer) {
        return client;
    }
    let values: Vec<&str> = match headers.contains_key(X_FORWARDED_FOR) {
        true => list(headers, &X_FORWARDED_FOR),
        false => list(headers, &header::FORWARDED).into_iter().filter_map(forwarded_for).collect(),
    };
    for value in values.into_iter().rev() {
        let Some(address) = address(value) else { break };
        client = address;
        if !is_trusted(address) {
            break;
        }
    }
    client
}

fn list<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Vec<&'h str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).collect()
}

/// The `for` of one element of `Forwarded`; an element without one is nobody.
fn forwarded_for(element: &str) -> Option<&str> {
    let pair = element.split(';').filter_map(|pair| pair.split_once('='));
    Some(
        pair.into_iter()
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))
            .map_or("", |(_, value)| value.trim()),
    )
}

/// `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]:80`, in quotation marks or not.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches('"');
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once(']')?.0.parse::<IpAddr>().ok().map(|address| address.to_canonical());
    }
    let bare = match text.split_once(':') {
        Some((address, port)) if !port.contains(':') => address,
        _ => text,
    };
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Whether a field of a request is not passed on as it is: it concerns one connection, or we say it ourselves.
pub(crate) fn is_dropped(name: &HeaderName) -> bool {
    match *name {
        header::HOST
        | header::CONTENT_LENGTH
        | header::CONNECTION
        | header::TE
        | header::TRAILER
        | header::TRANSFER_ENCODING
        | header::UPGRADE
        | header::EXPECT
        | header::FORWARDED
        | header::VIA => true,
        ref name => {
            let name = name.as_str();
            match name.as_bytes() {
                [b'x', ..] => is_x_forwarded(name),
                [b'p', ..] => name.starts_with("proxy-"),
                b"keep-alive" | b"http2-settings" => true,
                _ => false,
            }
        }
    }
}

/// Gateways read `x_forwarded_for` as if it were `x-forwarded-for`: it is no way around us.
fn is_x_forwarded(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("x-forwarded").or_else(|| name.strip_prefix("x_forwarded")) else {
        return name.len() > 2 && name.as_bytes()[1] == b'_' && is_x_forwarded(&name.replacen('_', "-", 1));
    };
    matches!(rest.get(1..), Some("for" | "proto" | "host"))
}

/// The fields that `Connection` names, which concern it only. Fields that say what a message is and for whom are not among
/// them, whoever names them.
pub(crate) fn named(headers: &HeaderMap) -> Vec<HeaderName> {
    let options = headers.get_all(header::CONNECTION).into_iter().filter_map(|value| value.to_str().ok());
    options
        .flat_map(|value| value.split(','))
        .filter_map(|option| option.trim().parse().ok())
        .filter(|name| {
            ![
                header::HOST,
                header::CONTENT_LENGTH,
                header::AUTHORIZATION,
                header::COOKIE,
                header::SET_COOKIE,
                header::CACHE_CONTROL,
                header::CONTENT_TYPE,
                header::ORIGIN,
                HeaderName::from_static("x-request-id"),
            ]
            .contains(name)
        })
        .collect()
}

/// Takes what concerns one connection out of a response's fields.
pub(crate) fn strip_response(headers: &mut HeaderMap) {
    for name in named(headers) {
        headers.remove(name);
    }
    for name in [header::CONNECTION, header::TE, header::TRAILER, header::TRANSFER_ENCODING, header::UPGRADE]
    {
        headers.remove(name);
    }
    let others: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str() == "keep-alive" || name.as_str().starts_with("proxy-"))
        .cloned()
        .collect();
    for name in others {
        headers.remove(name);
    }
}

/// Whether a field may stand in a trailer section that is passed on (RFC 9110, section 6.5.1): none that frames a message, routes it
/// or says who asks.
pub fn may_trail(name: &HeaderName) -> bool {
    !is_dropped(name)
        && ![
            header::AUTHORIZATION,
            header::COOKIE,
            header::SET_COOKIE,
            header::CONTENT_ENCODING,
            header::CONTENT_TYPE,
            header::CONTENT_RANGE,
            header::CACHE_CONTROL,
            header::MAX_FORWARDS,
        ]
        .contains(name)
}

/// Leaves only fields that [may trail](may_trail).
pub(crate) fn keep_trailing(trailers: &mut HeaderMap) {
    let bad: Vec<_> = trailers.keys().filter(|name| !may_trail(name)).cloned().collect();
    for name in bad {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn said(forwarded: &Forwarded<'_>, before: &HeaderMap) -> Vec<String> {
        let mut said = Vec::new();
        forwarded.for_each(before, &mut Vec::new(), |name, value| {
            said.push(format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
        });
        said
    }

    #[test]
    fn what_strangers_say_is_dropped_and_what_our_proxies_say_is_added_to() {
        let before = map(&[
            ("x-forwarded-for", "9.9.9.9"),
            ("x-forwarded-for", "8.8.8.8"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "front.example"),
            ("forwarded", "for=9.9.9.9"),
        ]);
        let mut forwarded =
            Forwarded { peer: [10, 0, 0, 1].into(), trusted: false, scheme: "http", host: b"a.ex\"ample" };
        assert_eq!(
            said(&forwarded, &before),
            [
                "x-forwarded-for: 10.0.0.1",
                "x-forwarded-proto: http",
                "x-forwarded-host: a.ex\"ample",
                "forwarded: for=10.0.0.1;host=\"a.example\";proto=http"
            ]
        );
        forwarded.trusted = true;
        forwarded.peer = "::1".parse().unwrap();
        assert_eq!(
            said(&forwarded, &before),
            [
                "x-forwarded-for: 9.9.9.9, 8.8.8.8, ::1",
                "x-forwarded-proto: https",
                "x-forwarded-host: front.example",
                "forwarded: for=9.9.9.9, for=\"[::1]\";host=\"a.example\";proto=http"
            ]
        );
    }

    #[test]
    fn the_client_is_the_last_that_no_proxy_of_ours_is() {
        let ours = |address: IpAddr| matches!(address, IpAddr::V4(address) if address.octets()[0] == 10);
        let peer = IpAddr::from([10, 0, 0, 1]);
        for (fields, expected) in [
            (&[][..], "10.0.0.1"),
            (&[("x-forwarded-for", "1.1.1.1, 2.2.2.2, 10.0.0.2")], "2.2.2.2"),
            (&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "3.3.3.3:80")], "3.3.3.3"),
            (&[("x-forwarded-for", "1.1.1.1, unknown, 10.0.0.2")], "10.0.0.2"),
            (&[("x-forwarded-for", "10.0.0.3")], "10.0.0.3"),
            (&[("forwarded", "for=1.1.1.1;proto=https, For=\"[2001:db8::1]:99\"")], "2001:db8::1"),
            (&[("forwarded", "proto=https")], "10.0.0.1"),
        ] {
            let found = client(peer, &map(fields), ours);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{fields:?}");
        }
        let stranger = IpAddr::from([9, 9, 9, 9]);
        assert_eq!(client(stranger, &map(&[("x-forwarded-for", "1.1.1.1")]), ours), stranger);
    }

    #[test]
    fn what_is_not_passed_on() {
        for name in [
            "host",
            "te",
            "upgrade",
            "keep-alive",
            "proxy-authorization",
            "x-forwarded-for",
            "x_forwarded_for",
            "x-forwarded_proto",
            "x_forwarded-host",
            "http2-settings",
            "via",
            "expect",
            "forwarded",
        ] {
            assert!(is_dropped(&HeaderName::from_static(name)), "{name}");
        }
        for name in ["accept", "x-forwarded-prefix", "x-real", "authorization", "x", "priority"] {
            assert!(!is_dropped(&HeaderName::from_static(name)), "{name}");
        }
        let mut headers = map(&[
            ("connection", "close, x-secret, set-cookie, content-length"),
            ("x-secret", "1"),
            ("content-length", "3"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "x"),
            ("x", "y"),
        ]);
        strip_response(&mut headers);
        assert_eq!(headers, map(&[("content-length", "3"), ("x", "y")]));
    }
}
