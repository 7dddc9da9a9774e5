//! Fields that have browsers protect a site's users. Sites have them unless they say otherwise. What an application says
//! itself stands.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::body::{Content, Prepared};

/// Which fields answers get, where the application has not set them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecurityHeaders {
    /// Content is of the type that it says, pages are in no frame of other sites, addresses are not told to other sites, and
    /// who came by TLS keeps coming by it.
    #[default]
    Standard,
    /// Also: pages load from their own site only, and use no camera, microphone, location or payment.
    Strict,
    /// None.
    Off,
}

/// Fields of which an application has its own.
const CONCERNS: [&[u8]; 8] = [
    b"x-content-type-options",
    b"referrer-policy",
    b"x-frame-options",
    b"content-security-policy",
    b"strict-transport-security",
    b"permissions-policy",
    b"cross-origin-opener-policy",
    b"x-xss-protection",
];
/// Stands first in each of those below.
const NOSNIFF: &[u8] = b"x-content-type-options: nosniff\r\n";
/// What [`SecurityHeaders::apply`] comes to where an application has none of them.
const STANDARD: &[u8] =
    b"x-content-type-options: nosniff\r\nreferrer-policy: strict-origin-when-cross-origin\r\n\
    x-frame-options: DENY\r\n";
const STANDARD_TLS: &[u8] =
    b"x-content-type-options: nosniff\r\nstrict-transport-security: max-age=31536000\r\n\
    referrer-policy: strict-origin-when-cross-origin\r\nx-frame-options: DENY\r\n";
const STRICT: &[u8] =
    b"x-content-type-options: nosniff\r\nreferrer-policy: strict-origin-when-cross-origin\r\n\
    permissions-policy: camera=(), geolocation=(), microphone=(), payment=(), usb=()\r\n\
    cross-origin-opener-policy: same-origin\r\nx-xss-protection: 1; mode=block\r\n\
    content-security-policy: default-src 'self'; frame-ancestors 'none'\r\nx-frame-options: DENY\r\n";
const STRICT_TLS: &[u8] =
    b"x-content-type-options: nosniff\r\nstrict-transport-security: max-age=31536000\r\n\
    referrer-policy: strict-origin-when-cross-origin\r\n\
    permissions-policy: camera=(), geolocation=(), microphone=(), payment=(), usb=()\r\n\
    cross-origin-opener-policy: same-origin\r\nx-xss-protection: 1; mode=block\r\n\
    content-security-policy: default-src 'self'; frame-ancestors 'none'\r\nx-frame-options: DENY\r\n";

/// A year, as browsers' lists of such sites ask for.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

impl SecurityHeaders {
    /// Sets the fields of an answer, which came over TLS or not.
    pub(crate) fn finish(self, tls: bool, response: &mut Response<Content>) {
        if self == Self::Off {
            return;
        }
        if response.headers().is_empty()
            && let Content::Prepared(prepared) = response.body_mut()
            && prepared.more.is_empty()
            && let Some(sniffed) = own(prepared)
        {
            let lines = match (self, tls) {
                (Self::Strict, false) => STRICT,
                (Self::Strict, true) => STRICT_TLS,
                (_, false) => STANDARD,
                (_, true) => STANDARD_TLS,
            };
            prepared.more = Bytes::from_static(if sniffed { &lines[NOSNIFF.len()..] } else { lines });
            return;
        }
        Content::unfold(response);
        self.apply(tls, response.headers_mut());
    }

    fn apply(self, tls: bool, headers: &mut HeaderMap) {
        let mut set = |name: HeaderName, value: HeaderValue| {
            headers.entry(name).or_insert(value);
        };
        let fixed = HeaderValue::from_static;
        if tls {
            set(header::STRICT_TRANSPORT_SECURITY, HSTS);
        }
        set(header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
        set(header::REFERRER_POLICY, fixed("strict-origin-when-cross-origin"));
        if self == Self::Strict {
            let name = HeaderName::from_static("permissions-policy");
            set(name, fixed("camera=(), geolocation=(), microphone=(), payment=(), usb=()"));
            set(HeaderName::from_static("cross-origin-opener-policy"), fixed("same-origin"));
            set(header::X_XSS_PROTECTION, fixed("1; mode=block"));
            set(header::CONTENT_SECURITY_POLICY, fixed("default-src 'self'; frame-ancestors 'none'"));
        }
        // A policy that names frames goes before the older field.
        let policies = headers.get_all(header::CONTENT_SECURITY_POLICY).into_iter();
        let mut texts = policies.filter_map(|policy| policy.to_str().ok());
        if !texts.any(|text| text.contains("frame-ancestors")) || self == Self::Strict {
            headers.entry(header::X_FRAME_OPTIONS).or_insert(fixed("DENY"));
        }
    }
}

/// Whether a head that is written already has a type that is not to be guessed at, as files have. None where it has others of
/// these fields, which takes a closer look.
fn own(prepared: &Prepared) -> Option<bool> {
    let mut sniffed = false;
    for (name, _) in prepared.fields() {
        match CONCERNS.iter().position(|other| other.eq_ignore_ascii_case(name)) {
            Some(0) => sniffed = true,
            Some(_) => return None,
            None => {}
        }
    }
    Some(sniffed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_application_says_stands() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("frame-ancestors https://a.example"),
        );
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        SecurityHeaders::Standard.apply(false, &mut headers);
        assert_eq!(headers[header::REFERRER_POLICY], "no-referrer");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(!headers.contains_key(header::X_FRAME_OPTIONS));
        assert!(!headers.contains_key(header::STRICT_TRANSPORT_SECURITY), "without TLS it says nothing");
        let mut headers = HeaderMap::new();
        SecurityHeaders::Strict.apply(true, &mut headers);
        assert_eq!(headers.len(), 8);
        assert_eq!(headers[header::STRICT_TRANSPORT_SECURITY], "max-age=31536000");
    }

    #[test]
    fn heads_that_are_written_already_get_the_same() {
        let prepared = |lines: &'static [u8]| {
            Response::new(Content::Prepared(Prepared {
                lines: Bytes::from_static(lines),
                ..Prepared::default()
            }))
        };
        for level in [SecurityHeaders::Standard, SecurityHeaders::Strict] {
            for (tls, lines) in [
                (false, &b"etag: x\r\n"[..]),
                (true, b""),
                (true, b"Content-Security-Policy: frame-ancestors x\r\n"),
                (false, b"x-frame-options: SAMEORIGIN\r\netag: x\r\n"),
                (true, b"etag: x\r\nX-Content-Type-Options: nosniff\r\n"),
            ] {
                let mut expected = prepared(lines);
                Content::unfold(&mut expected);
                level.apply(tls, expected.headers_mut());
                let mut response = prepared(lines);
                level.finish(tls, &mut response);
                Content::unfold(&mut response);
                assert_eq!(response.headers(), expected.headers(), "{level:?} {tls}");
            }
        }
    }
}
