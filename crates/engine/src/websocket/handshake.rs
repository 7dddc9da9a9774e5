//! The opening handshake of RFC 6455, section 4.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The one version there is.
pub const VERSION: HeaderValue = HeaderValue::from_static("13");

/// What is wrong with a client's handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHandshake {
    /// It speaks another version than 13.
    Version,
    /// `Sec-WebSocket-Key` is not the base64 of 16 bytes, or there are several.
    Key,
}

/// Fields of a handshake that the ends of the connection make themselves.
pub(crate) const OWN_FIELDS: [HeaderName; 4] = [
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    // No extension is offered, so none can be agreed on.
    header::SEC_WEBSOCKET_EXTENSIONS,
];

/// Checks a client's handshake over HTTP/1.1; the value of `Sec-WebSocket-Accept`.
pub fn accept(headers: &HeaderMap) -> Result<HeaderValue, BadHandshake> {
    check_version(headers)?;
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else { return Err(BadHandshake::Key) };
    if !is_key(key.as_bytes()) {
        return Err(BadHandshake::Key);
    }
    accept_value(key.as_bytes()).ok_or(BadHandshake::Key)
}

/// Checks the version that a client speaks; over HTTP/2 there is no key (RFC 8441, section 5).
pub fn check_version(headers: &HeaderMap) -> Result<(), BadHandshake> {
    match headers.get(header::SEC_WEBSOCKET_VERSION) {
        Some(version) if *version == VERSION => Ok(()),
        _ => Err(BadHandshake::Version),
    }
}

/// What a server answers to this key.
pub(crate) fn accept_value(key: &[u8]) -> Option<HeaderValue> {
    HeaderValue::from_str(&tungstenite::handshake::derive_accept_key(key)).ok()
}

/// A new key for a client's handshake.
pub(crate) fn new_key() -> HeaderValue {
    HeaderValue::from_str(&tungstenite::handshake::client::generate_key())
        .unwrap_or(HeaderValue::from_static("AAAAAAAAAAAAAAAAAAAAAA=="))
}

/// Base64 of 16 bytes.
fn is_key(key: &[u8]) -> bool {
    let Some((digits, b"==")) = key.split_last_chunk() else { return false };
    digits.len() == 22 && digits.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handshake(version: &str, keys: &[&str]) -> Result<HeaderValue, BadHandshake> {
        let mut headers = HeaderMap::new();
        headers.insert("sec-websocket-version", version.parse().unwrap());
        for key in keys {
            headers.append("sec-websocket-key", key.parse().unwrap());
        }
        accept(&headers)
    }

    #[test]
    fn handshakes() {
        // The example of RFC 6455, section 1.3.
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        assert_eq!(handshake("13", &[key]).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(handshake("8", &[key]), Err(BadHandshake::Version));
        for keys in
            [&[][..], &["short=="], &[key, key], &["dGhlIHNhbXBsZSBub25jZQ="], &["?GhlIHNhbXBsZSBub25jZQ=="]]
        {
            assert_eq!(handshake("13", keys), Err(BadHandshake::Key), "{keys:?}");
        }
    }
}
