//! What answers say of limits: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10), structured
//! fields (RFC 9651), and `Retry-After`.

use http::HeaderValue;

use super::{Terms, Verdict};

const SECOND: u64 = 1_000_000_000;

/// The policy as it stands: `"api";q=100;w=60`.
pub fn policy(name: &str, terms: &Terms) -> HeaderValue {
    let window = terms.window().div_ceil(SECOND).max(1);
    value(format!("{};q={};w={window}", quoted(name), terms.quota))
}

/// What is left of the quota, and in how many seconds it is whole again: `"api";r=42;t=12`.
pub fn state(name: &str, verdict: &Verdict) -> HeaderValue {
    value(format!("{};r={};t={}", quoted(name), verdict.remaining, verdict.reset.div_ceil(SECOND)))
}

/// Seconds after which the next request may pass, at least 1.
pub fn retry_after(verdict: &Verdict) -> u32 {
    u32::try_from(verdict.wait.div_ceil(SECOND).max(1)).unwrap_or(u32::MAX)
}

/// A string of a structured field, which is ASCII.
fn quoted(name: &str) -> String {
    let sane = name.chars().filter(|c| c.is_ascii_graphic() || *c == ' ');
    let mut text = String::from("\"");
    for c in sane {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    text
}

fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::super::{Algorithm, RateLimit};
    use super::*;

    #[test]
    fn fields_are_structured() {
        let limit = RateLimit { requests: 100, burst: Some(20), ..RateLimit::default() };
        assert_eq!(policy("api", &limit.terms().unwrap()), "\"api\";q=20;w=12");
        let window = RateLimit { algorithm: Algorithm::Window, ..RateLimit::default() };
        assert_eq!(policy("a\"b\\\u{e9}\n", &window.terms().unwrap()), "\"a\\\"b\\\\\";q=100;w=60");
        let verdict = Verdict { allowed: false, remaining: 0, reset: 1_500_000_000, wait: 1 };
        assert_eq!(state("api", &verdict), "\"api\";r=0;t=2");
        assert_eq!(retry_after(&verdict), 1);
    }
}
