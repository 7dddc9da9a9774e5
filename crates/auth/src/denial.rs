//! A request that is not let pass, in terms of HTTP.

use http::{HeaderValue, StatusCode};

/// Why a request is not let pass. The edge answers with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// 400, 401, 403 or 503.
    pub status: StatusCode,
    /// Stable and machine-readable.
    pub code: &'static str,
    /// One sentence that helps, without anything the client sent.
    pub message: &'static str,
    /// `WWW-Authenticate`, on 401 and on 403 for want of a scope (RFC 6750, section 3).
    pub challenge: Option<HeaderValue>,
    /// Seconds after which to try again.
    pub retry_after_s: Option<u32>,
}

impl Denial {
    /// Without a challenge.
    pub const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message, challenge: None, retry_after_s: None }
    }

    /// 401: there are no credentials, or bad ones.
    pub fn unauthorized(code: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, message)
    }

    /// 503: nothing can be said about the credentials now.
    pub fn unavailable(code: &'static str, message: &'static str) -> Self {
        Self { retry_after_s: Some(5), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message) }
    }

    /// With a challenge. One that is no field value is left out.
    #[must_use]
    pub fn challenge(mut self, challenge: &str) -> Self {
        self.challenge = HeaderValue::from_str(challenge).ok();
        self
    }
}

/// A `realm` or another parameter in quotes (RFC 9110, section 5.6.4); what cannot be in them is left out.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars().filter(|c| (' '..='~').contains(c)) {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realms_cannot_break_out() {
        assert_eq!(quoted("a \"b\\\r\nx: y"), r#""a \"b\\x: y""#);
    }
}
