//! Whether a response may be stored in a shared cache, and how long it is fresh.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

/// Longest freshness, as long as a cache may count (RFC 9111, section 1.2.2).
const LIFETIME_MAX: Duration = Duration::from_secs(1 << 31);

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `Cache-Control` forbids it, or it is stale at once.
    Forbidden,
    /// It sets a cookie, which is for one client.
    SetsCookie,
    /// `Vary: *`: no later request matches it.
    VariesByAll,
    /// A part of a whole.
    Partial,
}

/// How long a shared cache may use the response without asking (RFC 9111, section 4.2.1), its age subtracted. Where it does
/// not say, by its status, as content delivery networks do.
///
/// # Errors
/// It must not be stored.
pub fn lifetime(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Result<Duration, Refusal> {
    if status == StatusCode::PARTIAL_CONTENT {
        return Err(Refusal::Partial);
    }
    let list = |name: header::HeaderName| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
    };
    if list(header::VARY).contains(&"*") {
        return Err(Refusal::VariesByAll);
    }
    let control = list(header::CACHE_CONTROL);
    let named = |name: &str| control.iter().find_map(|word| directive(word, name));
    if named("no-store").is_some() || named("no-cache").is_some_and(|value| value.is_empty()) {
        return Err(Refusal::Forbidden);
    }
    // `private` with a list of fields is about those fields only.
    let private = named("private");
    if private.is_some_and(str::is_empty) {
        return Err(Refusal::Forbidden);
    }
    if headers.contains_key(header::SET_COOKIE)
        && !private.is_some_and(|fields| fields.to_ascii_lowercase().contains("set-cookie"))
    {
        return Err(Refusal::SetsCookie);
    }
    let seconds = |value: &str| value.parse::<u64>().map_or(Duration::ZERO, Duration::from_secs);
    let date =
        |name| headers.get(name).and_then(|value| httpdate::parse_http_date(value.to_str().ok()?).ok());
    let given = named("s-maxage").or_else(|| named("max-age")).map(seconds).or_else(|| {
        // A date that cannot be read is in the past (section 5.3).
        headers.get(header::EXPIRES).map(|_| {
            let from = date(header::DATE).unwrap_or(now);
            date(header::EXPIRES).and_then(|expires| expires.duration_since(from).ok()).unwrap_or_default()
        })
    });
    let age = headers.get(header::AGE).and_then(|age| age.to_str().ok()).map_or(Duration::ZERO, seconds);
    let fresh = given.unwrap_or_else(|| by_status(status)).min(LIFETIME_MAX).saturating_sub(age);
    if fresh.is_zero() { Err(Refusal::Forbidden) } else { Ok(fresh) }
}

/// The value of a directive, empty when it has none.
fn directive<'a>(word: &'a str, name: &str) -> Option<&'a str> {
    let (found, value) = word.split_once('=').unwrap_or((word, ""));
    found.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
}

fn by_status(status: StatusCode) -> Duration {
    let minutes = match status.as_u16() {
        200 | 203 | 300 | 301 | 308 => 120,
        302 | 303 | 307 => 20,
        404 | 410 => 3,
        _ => 0,
    };
    Duration::from_secs(minutes * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(status: u16, fields: &[(&'static str, &str)]) -> Result<u64, Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        lifetime(StatusCode::from_u16(status).unwrap(), &headers, now).map(|fresh| fresh.as_secs())
    }

    #[test]
    fn what_the_response_says_counts() {
        assert_eq!(fresh(200, &[("cache-control", "max-age=60")]), Ok(60));
        assert_eq!(fresh(200, &[("cache-control", "max-age=60, S-MaxAge=\"5\"")]), Ok(5));
        assert_eq!(fresh(200, &[("cache-control", "max-age=60"), ("age", "50")]), Ok(10));
        assert_eq!(fresh(200, &[("expires", "Sun, 06 Nov 1994 08:50:37 GMT")]), Ok(60));
        assert_eq!(fresh(200, &[("expires", "0")]), Err(Refusal::Forbidden));
        assert_eq!(fresh(500, &[("cache-control", "max-age=1")]), Ok(1));
        assert_eq!(fresh(200, &[]), Ok(7200));
        assert_eq!(fresh(500, &[]), Err(Refusal::Forbidden));
        assert_eq!(fresh(200, &[("cache-control", "max-age=99999999999999")]), Ok(1 << 31));
        assert_eq!(fresh(200, &[("cache-control", "max-age=x")]), Err(Refusal::Forbidden));
    }

    #[test]
    fn what_must_not_be_stored() {
        for control in ["no-store", "private", "no-cache", "max-age=0", "max-age=60, No-Store"] {
            assert_eq!(fresh(200, &[("cache-control", control)]), Err(Refusal::Forbidden), "{control}");
        }
        assert_eq!(fresh(206, &[]), Err(Refusal::Partial));
        assert_eq!(fresh(200, &[("vary", "accept, *")]), Err(Refusal::VariesByAll));
        assert_eq!(fresh(200, &[("set-cookie", "a=b")]), Err(Refusal::SetsCookie));
        let private = [("set-cookie", "a=b"), ("cache-control", "private=Set-Cookie, max-age=5")];
        assert_eq!(fresh(200, &private), Ok(5));
    }
}
