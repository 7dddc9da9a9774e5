//! Fields that have browsers protect a site's users. Sites have them unless they say otherwise. What an application says
//! itself stands.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::exchange::Exchange;

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

/// A year, as browsers' lists of such sites ask for.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

impl SecurityHeaders {
    pub(super) fn before(self, exchange: &mut Exchange) {
        let tls = exchange.scheme() == "https";
        exchange.later.push(Box::new(move |response| self.apply(tls, response.headers_mut())));
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
}
