//! The header that proxies put before a connection's bytes, to say whose they are: PROXY protocol, versions 1 (text) and
//! 2 (binary).
//!
//! The parser is strict: what the specification forbids is an error, and so is a header that begins in a way that none
//! can go on. Additional fields of version 2 (TLVs) are skipped, their checksum included: TCP has its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How a header of version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// How a header of version 1 begins.
const TEXT: &[u8] = b"PROXY ";
/// Longest header of version 1, its line end included.
const TEXT_MAX: usize = 107;
/// Fixed part of a header of version 2.
const FIXED: usize = 16;
/// Longest header of version 2 that is taken: addresses, and additional fields of which some carry a client's certificate.
const BINARY_MAX: usize = FIXED + 4096;
/// Longest header, bytes.
pub const HEADER_MAX: usize = BINARY_MAX;

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its length in bytes; what follows is the client's.
    pub length: usize,
    /// The client, or nothing where the proxy speaks for itself (`LOCAL`) or does not know (`UNKNOWN`, `UNSPEC`, Unix
    /// sockets): the connection's own address counts then.
    pub client: Option<SocketAddr>,
}

/// What the bytes so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header.
    Partial,
    /// A header.
    Whole(Header),
    /// Something else, which no header begins with.
    Absent,
}

/// A header that breaks the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed PROXY header: {0}")]
pub struct Malformed(&'static str);

/// Looks for a header at the beginning of what was received.
///
/// # Errors
/// It begins as a header does and goes on as none may.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let begins = |with: &[u8]| {
        let shared = bytes.len().min(with.len());
        bytes[..shared] == with[..shared]
    };
    if begins(SIGNATURE) {
        if bytes.len() < FIXED { Ok(Parsed::Partial) } else { binary(bytes) }
    } else if begins(TEXT) {
        if bytes.len() < TEXT.len() { Ok(Parsed::Partial) } else { text(bytes) }
    } else {
        Ok(Parsed::Absent)
    }
}

fn text(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let window = &bytes[..bytes.len().min(TEXT_MAX)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if window.len() < TEXT_MAX { Ok(Parsed::Partial) } else { Err(Malformed("no line end")) };
    };
    let line = str::from_utf8(&window[TEXT.len()..end]).map_err(|_| Malformed("not ASCII"))?;
    let length = end + 2;
    let (family, rest) = line.split_once(' ').unwrap_or((line, ""));
    let client = match family {
        // Whatever follows is not to be looked at.
        "UNKNOWN" => None,
        "TCP4" => Some(addresses(rest, v4)?),
        "TCP6" => Some(addresses(rest, v6)?),
        _ => return Err(Malformed("unknown family")),
    };
    Ok(Parsed::Whole(Header { length, client }))
}

/// `source destination source-port destination-port`, one space between them.
fn addresses(rest: &str, parse: fn(&str) -> Option<IpAddr>) -> Result<SocketAddr, Malformed> {
    let mut parts = rest.split(' ');
    let mut next = || parts.next().ok_or(Malformed("a part is missing"));
    let (source, destination) = (next()?, next()?);
    let (source_port, destination_port) = (next()?, next()?);
    if parts.next().is_some() {
        return Err(Malformed("more parts than there may be"));
    }
    let address = |text| parse(text).ok_or(Malformed("no address"));
    let (source, _) = (address(source)?, address(destination)?);
    let (port, _) = (port(source_port)?, port(destination_port)?);
    Ok(SocketAddr::new(source, port))
}

fn v4(text: &str) -> Option<IpAddr> {
    text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

fn v6(text: &str) -> Option<IpAddr> {
    text.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

fn port(text: &str) -> Result<u16, Malformed> {
    let plain = text.bytes().all(|digit| digit.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or(Malformed("no port"))
}

fn binary(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let (version_and_command, family) = (bytes[12], bytes[13]);
    if version_and_command >> 4 != 2 {
        return Err(Malformed("not version 2"));
    }
    let local = match version_and_command & 0xf {
        0 => true,
        1 => false,
        _ => return Err(Malformed("unknown command")),
    };
    let rest = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    let length = FIXED + rest;
    if length > BINARY_MAX {
        return Err(Malformed("longer than it may be"));
    }
    // Address family and transport: what of it says nothing of a client is skipped, what does not exist is refused.
    let needed = match family {
        0x00 => 0,
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        _ => return Err(Malformed("unknown family")),
    };
    if rest < needed && !local {
        return Err(Malformed("too short for its addresses"));
    }
    if bytes.len() < length {
        return Ok(Parsed::Partial);
    }
    let body = &bytes[FIXED..length];
    let client = match family {
        _ if local => None,
        0x11 => {
            let source: [u8; 4] = part(body, 0)?;
            let port = u16::from_be_bytes(part(body, 8)?);
            Some(SocketAddr::new(Ipv4Addr::from(source).into(), port))
        }
        0x21 => {
            let source: [u8; 16] = part(body, 0)?;
            let port = u16::from_be_bytes(part(body, 32)?);
            Some(SocketAddr::new(Ipv6Addr::from(source).into(), port))
        }
        // A connection is a stream.
        0x12 | 0x22 | 0x32 => return Err(Malformed("datagrams on a stream")),
        _ => None,
    };
    if !local {
        additional(&body[needed..])?;
    }
    Ok(Parsed::Whole(Header { length, client }))
}

fn part<const N: usize>(body: &[u8], at: usize) -> Result<[u8; N], Malformed> {
    body.get(at..at + N).and_then(|part| part.try_into().ok()).ok_or(Malformed("too short for its addresses"))
}

/// Additional fields are not used; they have to fill their room exactly.
fn additional(mut fields: &[u8]) -> Result<(), Malformed> {
    while let [_, high, low, rest @ ..] = fields {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        fields = rest.get(length..).ok_or(Malformed("an additional field is cut short"))?;
    }
    if fields.is_empty() { Ok(()) } else { Err(Malformed("an additional field is cut short")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(bytes: &[u8]) -> Header {
        match parse(bytes) {
            Ok(Parsed::Whole(header)) => header,
            other => panic!("{other:?} of {bytes:?}"),
        }
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0x20 | command, family]);
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn text_names_the_client() {
        let header = whole(b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\nGET / HTTP/1.1\r\n");
        assert_eq!(header, Header { length: 45, client: Some("192.0.2.7:56324".parse().unwrap()) });
        let header = whole(b"PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n");
        assert_eq!(header.client, Some("[2001:db8::1]:0".parse().unwrap()));
        for unknown in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff:: what ever\r\n"] {
            assert_eq!(whole(unknown.as_bytes()), Header { length: unknown.len(), client: None });
        }
    }

    #[test]
    fn text_is_strict() {
        for bad in [
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 1\r\n",
            "PROXY TCP4 192.0.2.7  198.51.100.1 56324 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 \r\n",
            "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
            "PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n",
            "PROXY TCP4 192.0.2.07 198.51.100.1 1 2\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 +1 2\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 65536 2\r\n",
            "PROXY tcp4 192.0.2.7 198.51.100.1 1 2\r\n",
            "PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n",
            "PROXY TCP4 192.0.2.7\n198.51.100.1 1 2\r\n",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let endless = [TEXT, &[b'x'; 200]].concat();
        assert!(parse(&endless).is_err());
        assert_eq!(parse(&endless[..106]), Ok(Parsed::Partial));
    }

    #[test]
    fn binary_names_the_client() {
        let body = [192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 1, 187];
        let header = whole(&v2(1, 0x11, &body));
        assert_eq!(header, Header { length: 28, client: Some("192.0.2.7:56324".parse().unwrap()) });
        // With an additional field, and the client's first bytes behind it.
        let mut bytes = v2(1, 0x11, &[&body[..], &[0x04, 0, 2, 9, 9]].concat());
        bytes.extend(b"GET");
        assert_eq!(whole(&bytes).length, 33);
        let mut body = [0; 36];
        body[15] = 1;
        body[33] = 80;
        assert_eq!(whole(&v2(1, 0x21, &body)).client, Some("[::1]:80".parse().unwrap()));
        // Health checks of the proxy itself, unknown families and Unix sockets tell of nobody.
        assert_eq!(whole(&v2(0, 0x00, &[])).client, None);
        assert_eq!(whole(&v2(0, 0x11, &[1; 12])).client, None);
        assert_eq!(whole(&v2(1, 0x00, &[])).client, None);
        assert_eq!(whole(&v2(1, 0x31, &[0; 216])).client, None);
    }

    #[test]
    fn binary_is_strict() {
        let body = [1; 12];
        let mut version = v2(1, 0x11, &body);
        version[12] = 0x31;
        for bad in [
            version,
            v2(2, 0x11, &body),
            v2(1, 0x11, &body[..11]),
            v2(1, 0x21, &body),
            v2(1, 0x12, &body),
            v2(1, 0x41, &body),
            v2(1, 0x13, &body),
            v2(1, 0x11, &[1; 13]),
            v2(1, 0x11, &[1; 4097]),
        ] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn other_protocols_are_not_mistaken() {
        for other in ["GET / HTTP/1.1\r\n", "POST /", "PRI * HTTP/2.0", "PUT", "PROPFIND /", "\x16\x03\x01"] {
            assert_eq!(parse(other.as_bytes()), Ok(Parsed::Absent), "{other}");
        }
        for beginning in [&b""[..], b"P", b"PROXY", b"\r", &SIGNATURE[..], &v2(1, 0x11, &[1; 12])[..20]] {
            assert_eq!(parse(beginning), Ok(Parsed::Partial), "{beginning:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes: Vec<u8>, binary: bool) {
            let start: &[u8] = if binary { SIGNATURE } else { TEXT };
            let bytes = [start, &bytes].concat();
            if let Ok(Parsed::Whole(header)) = parse(&bytes) {
                prop_assert!(header.length <= bytes.len());
            }
        }

        #[test]
        fn what_was_written_is_read(address: IpAddr, port: u16, cut in 0..300_usize) {
            let client = SocketAddr::new(address, port);
            let text = match address {
                IpAddr::V4(address) => format!("PROXY TCP4 {address} 10.0.0.1 {port} 80\r\n"),
                IpAddr::V6(address) => format!("PROXY TCP6 {address} ::1 {port} 80\r\n"),
            };
            let mut body = match address {
                IpAddr::V4(address) => [&address.octets()[..], &[0; 4]].concat(),
                IpAddr::V6(address) => [&address.octets()[..], &[0; 16]].concat(),
            };
            body.extend(port.to_be_bytes());
            body.extend([0, 80]);
            let family = if address.is_ipv4() { 0x11 } else { 0x21 };
            for bytes in [text.into_bytes(), v2(1, family, &body)] {
                prop_assert_eq!(whole(&bytes).client, Some(client));
                prop_assert_eq!(whole(&bytes).length, bytes.len());
                let part = &bytes[..cut.min(bytes.len() - 1)];
                prop_assert_eq!(parse(part), Ok(Parsed::Partial), "{:?}", part);
            }
        }
    }
}
