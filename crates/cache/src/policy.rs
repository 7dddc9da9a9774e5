//! Whether a response may be stored, how long it is fresh, and what may be done with it later (RFC 9111, sections 3 and 4).
//!
//! Times are milliseconds since the Unix epoch, durations milliseconds.

use http::{HeaderMap, HeaderName, StatusCode, header};

use crate::directives::{Directives, SECONDS_MAX, Split, Wishes};
use crate::settings::{CacheConfig, SetCookie};

/// A route's settings, ready for use.
#[derive(Debug)]
pub struct Policy {
    /// As they were written.
    pub config: CacheConfig,
    /// Fields for caches like this one.
    pub targeted: Vec<HeaderName>,
    /// Request fields that tell responses apart.
    pub key_headers: Vec<HeaderName>,
    /// Request fields that are not passed on.
    pub unkeyed: Vec<HeaderName>,
}

/// What decides about a response's use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// When it arrived.
    pub arrived: u64,
    /// Its age then.
    pub initial_age: u64,
    /// It is fresh until it is so old.
    pub lifetime: u64,
    /// May be used for so long after that while a new one is fetched.
    pub while_revalidate: u64,
    /// May be used for so long after that when its origin fails.
    pub if_error: u64,
    /// It is to be asked about before each use.
    pub no_cache: bool,
    /// It must not be used stale even where settings or clients would have it.
    pub strict: bool,
    /// Its lifetime was learned, not told.
    pub learned: bool,
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unstored {
    /// Its status is never stored, or not without being told so.
    Status,
    /// `no-store` or `private`.
    Forbidden,
    /// It answered a request with credentials and does not say that others may have it.
    Authorized,
    /// It sets a cookie.
    SetsCookie,
    /// `Vary: *`.
    VariesByAll,
    /// It would be stale at once, and there is nothing to ask its origin about it with.
    Useless,
    /// Its type does not fit the ending of its name.
    Deceiving,
    /// It is too large, or its body broke off.
    Body,
}

impl Unstored {
    /// For `Cache-Status`.
    pub fn detail(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Forbidden => "forbidden",
            Self::Authorized => "authorization",
            Self::SetsCookie => "set-cookie",
            Self::VariesByAll => "vary",
            Self::Useless => "no-freshness",
            Self::Deceiving => "content-type",
            Self::Body => "too-large",
        }
    }
}

/// What may be done with a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It answers.
    Fresh,
    /// It answers, and a new one is fetched.
    StaleWhileRevalidate,
    /// Its origin is asked first.
    Ask,
}

impl Policy {
    /// Of settings. The error is a sentence.
    pub fn new(config: &CacheConfig) -> Result<Self, String> {
        let names = |list: &[String]| {
            let parsed = list.iter().map(|name| {
                name.parse::<HeaderName>().map_err(|_| format!("{name:?} is no name of a header field"))
            });
            parsed.collect::<Result<Vec<_>, _>>()
        };
        if let Some(adaptive) = config.adaptive
            && (adaptive.min_ms == 0 || adaptive.min_ms > adaptive.max_ms)
        {
            return Err("adaptive: min_ms must be at least 1 and at most max_ms".into());
        }
        if config.slice_bytes.is_some_and(|bytes| !(4096..=1 << 30).contains(&bytes)) {
            return Err("slice_bytes must be between 4096 and 1073741824".into());
        }
        Ok(Self {
            targeted: names(&config.targeted)?,
            key_headers: names(&config.key_headers)?,
            unkeyed: names(&config.unkeyed)?,
            config: config.clone(),
        })
    }

    /// Whether origins are to be told that `Surrogate-Control` is understood.
    pub fn is_surrogate(&self) -> bool {
        self.targeted.iter().any(|name| name.as_str() == "surrogate-control")
    }

    /// The directives that count for this cache (RFC 9213, section 2.2): whether they were targeted, and they.
    fn directives(&self, headers: &HeaderMap) -> (bool, Directives) {
        match self.targeted.iter().find_map(|name| Directives::targeted(headers, name)) {
            Some(found) => (true, found),
            None => (false, Directives::of(headers, &header::CACHE_CONTROL)),
        }
    }

    /// Looks at a response to GET: how fresh it is, if it may be stored, and which fields must not be. `adaptive` is the lifetime
    /// that was learned; `asked` and `arrived` are when the request left and the response came.
    pub fn judge(
        &self,
        asked: &Asked<'_>,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<(Freshness, Vec<HeaderName>), Unstored> {
        let config = &self.config;
        let (targeted, says) = self.directives(headers);
        if !is_final_whole(status) || says.must_understand && !is_understood(status) {
            return Err(Unstored::Status);
        }
        if says.no_store && !says.must_understand || says.private {
            return Err(Unstored::Forbidden);
        }
        if lists_star(headers) {
            return Err(Unstored::VariesByAll);
        }
        if asked.authorized && !(says.public || says.must_revalidate || says.s_maxage.is_some()) {
            return Err(Unstored::Authorized);
        }
        let mut withheld = says.withheld.clone();
        let told = self.told(targeted, &says, headers, asked.arrived);
        if headers.contains_key(header::SET_COOKIE) && !withheld.contains(&header::SET_COOKIE) {
            match config.set_cookie {
                SetCookie::Keep if told.is_some() => {}
                SetCookie::Strip => withheld.push(header::SET_COOKIE),
                _ => return Err(Unstored::SetsCookie),
            }
        }
        if config.deception_guard && deceives(asked.path, headers) {
            return Err(Unstored::Deceiving);
        }
        let learned = told.is_none() && config.adaptive.is_some() && status == StatusCode::OK;
        let lifetime = told.or_else(|| self.guessed(status, &says, headers, asked));
        let lifetime = lifetime.map(|lifetime| match status.as_u16() {
            400.. => lifetime.min(config.negative_max_ms),
            _ => lifetime,
        });
        let strict = says.forbids_stale();
        let stale = |told: Option<u64>, usual: u64| match (told, strict) {
            (_, true) => 0,
            (Some(seconds), _) => seconds * 1000,
            (None, _) => usual,
        };
        let freshness = Freshness {
            arrived: asked.arrived,
            initial_age: initial_age(headers, asked.left, asked.arrived),
            lifetime: lifetime.unwrap_or(0),
            while_revalidate: stale(says.stale_while_revalidate, config.stale_while_revalidate_ms),
            if_error: stale(says.stale_if_error, config.stale_if_error_ms),
            no_cache: says.no_cache,
            strict,
            learned,
        };
        if lifetime.is_none() && !says.no_cache {
            return Err(Unstored::Useless);
        }
        let askable = headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED);
        let usable = !freshness.no_cache
            && freshness.stale_for(asked.arrived) < freshness.while_revalidate.max(freshness.if_error);
        if freshness.is_fresh(asked.arrived) && !freshness.no_cache || askable || usable {
            Ok((freshness, withheld))
        } else {
            Err(Unstored::Useless)
        }
    }

    /// How long the response says it is fresh (RFC 9111, section 4.2.1).
    fn told(&self, targeted: bool, says: &Directives, headers: &HeaderMap, now: u64) -> Option<u64> {
        if let Some(seconds) = says.s_maxage.or(says.max_age) {
            return Some(seconds.min(SECONDS_MAX) * 1000);
        }
        if targeted || !headers.contains_key(header::EXPIRES) {
            return None;
        }
        // What cannot be read, or is there twice, is in the past (section 5.3).
        let from = date(headers, &header::DATE).unwrap_or(now);
        Some(date(headers, &header::EXPIRES).map_or(0, |expires| expires.saturating_sub(from)))
    }

    /// Where it does not say (section 4.2.2).
    fn guessed(
        &self,
        status: StatusCode,
        says: &Directives,
        headers: &HeaderMap,
        asked: &Asked<'_>,
    ) -> Option<u64> {
        let config = &self.config;
        let negative = matches!(status.as_u16(), 404 | 405 | 410 | 414 | 501);
        let known = negative || matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308);
        if !known && !says.public {
            return None;
        }
        if negative && let Some(ttl) = config.negative_ttl_ms {
            return Some(ttl);
        }
        if let Some(bounds) = config.adaptive
            && status == StatusCode::OK
        {
            return Some(asked.learned.unwrap_or(bounds.min_ms).clamp(bounds.min_ms, bounds.max_ms));
        }
        if config.heuristic_max_ms > 0
            && let Some(modified) = date(headers, &header::LAST_MODIFIED)
        {
            let from = date(headers, &header::DATE).unwrap_or(asked.arrived);
            return Some((from.saturating_sub(modified) / 10).min(config.heuristic_max_ms));
        }
        config.ttl_ms.filter(|_| !negative)
    }

    /// The lifetime to try next for a response that said nothing.
    pub fn learn(&self, before: u64, changed: bool) -> Option<u64> {
        let bounds = self.config.adaptive?;
        let next = if changed { before / 2 } else { before.saturating_mul(2) };
        Some(next.clamp(bounds.min_ms, bounds.max_ms))
    }
}

/// What of a request decides whether its answer is stored.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Path of the address.
    pub path: &'a str,
    /// It had `Authorization`.
    pub authorized: bool,
    /// When it left.
    pub left: u64,
    /// When its answer came.
    pub arrived: u64,
    /// The lifetime that was learned for this address.
    pub learned: Option<u64>,
}

impl Freshness {
    /// Age now (section 4.2.3).
    pub fn age(&self, now: u64) -> u64 {
        self.initial_age.saturating_add(now.saturating_sub(self.arrived))
    }

    /// Whether it is fresh, were it not for `no-cache`.
    pub fn is_fresh(&self, now: u64) -> bool {
        self.age(now) < self.lifetime
    }

    /// For how long it has been stale.
    pub fn stale_for(&self, now: u64) -> u64 {
        self.age(now).saturating_sub(self.lifetime)
    }

    /// What is left of its lifetime, negative where it is stale, seconds.
    pub fn ttl(&self, now: u64) -> i64 {
        let signed = |ms: u64| i64::try_from(ms / 1000).unwrap_or(i64::MAX);
        signed(self.lifetime) - signed(self.age(now))
    }

    /// What to do for a client that wishes something. `expired` when it was purged softly.
    pub fn usage(&self, wishes: &Wishes, expired: bool, now: u64) -> Use {
        let (age, limit) =
            (self.age(now), |seconds: Option<u64>| seconds.map(|seconds| seconds.saturating_mul(1000)));
        let too_old = limit(wishes.max_age).is_some_and(|most| age > most || most == 0);
        let too_stale =
            limit(wishes.min_fresh).is_some_and(|least| age.saturating_add(least) >= self.lifetime);
        if self.no_cache || wishes.no_cache || too_old {
            return Use::Ask;
        }
        if !expired && self.is_fresh(now) && !too_stale {
            return Use::Fresh;
        }
        let stale_for = if expired { 0 } else { self.stale_for(now) };
        if !self.strict && !expired && limit(wishes.max_stale).is_some_and(|most| stale_for <= most) {
            return Use::Fresh;
        }
        if !self.strict && !too_stale && self.while_revalidate > stale_for {
            return Use::StaleWhileRevalidate;
        }
        Use::Ask
    }

    /// Whether it may answer although its origin failed.
    pub fn survives_error(&self, now: u64) -> bool {
        !self.strict && self.if_error > 0 && self.stale_for(now) < self.if_error
    }
}

/// A date field that is there once and can be read.
pub fn date(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let mut lines = headers.get_all(name).into_iter();
    let line = lines.next().filter(|_| lines.next().is_none())?;
    let time = httpdate::parse_http_date(line.to_str().ok()?).ok()?;
    let since = time.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).ok()
}

/// Age when the response arrived (section 4.2.3).
fn initial_age(headers: &HeaderMap, left: u64, arrived: u64) -> u64 {
    let apparent = date(headers, &header::DATE).map_or(0, |date| arrived.saturating_sub(date));
    // A date has seconds only: less than one tells nothing.
    let apparent = if apparent < 1000 { 0 } else { apparent };
    let told = told_age(headers).saturating_mul(1000);
    apparent.max(told.saturating_add(arrived.saturating_sub(left)))
}

/// The first member of `Age` counts (section 5.1). What no cache writes, such as words, several lines or the same member twice,
/// is taken for very old: somebody on the way is confused.
fn told_age(headers: &HeaderMap) -> u64 {
    let mut lines = headers.get_all(header::AGE).into_iter();
    let Some(line) = lines.next() else { return 0 };
    let mut members = Split(line.as_bytes());
    let first = members.next().unwrap_or_default();
    let confused = lines.next().is_some() || members.any(|other| other == first);
    if confused || first.is_empty() || !first.iter().all(u8::is_ascii_digit) {
        return SECONDS_MAX;
    }
    let number = std::str::from_utf8(first).ok().and_then(|digits| digits.parse().ok());
    number.unwrap_or(SECONDS_MAX).min(SECONDS_MAX)
}

fn lists_star(headers: &HeaderMap) -> bool {
    headers.get_all(header::VARY).into_iter().any(|line| Split(line.as_bytes()).any(|name| name == b"*"))
}

/// Interim answers, parts and answers about other answers are not stored.
fn is_final_whole(status: StatusCode) -> bool {
    !status.is_informational() && !matches!(status.as_u16(), 206 | 304 | 416) && status.as_u16() < 600
}

/// Statuses whose rules for caches are known here.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 302 | 303 | 307 | 308 | 400 | 404 | 405 | 410 | 414 | 500..=504
    )
}

/// Endings of names that promise a file, and how its type begins.
const PROMISES: &[(&str, &[&str])] = &[
    ("css", &["text/css"]),
    ("js", &["text/javascript", "application/javascript", "application/x-javascript"]),
    ("mjs", &["text/javascript", "application/javascript"]),
    ("png", &["image/"]),
    ("jpg", &["image/"]),
    ("jpeg", &["image/"]),
    ("gif", &["image/"]),
    ("webp", &["image/"]),
    ("avif", &["image/"]),
    ("svg", &["image/"]),
    ("ico", &["image/"]),
    ("woff", &["font/", "application/"]),
    ("woff2", &["font/", "application/"]),
    ("pdf", &["application/pdf"]),
];

/// Whether a page comes under the name of a file: the trick of web cache deception.
fn deceives(path: &str, headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()) else {
        return false;
    };
    let kind = kind.trim_start().to_ascii_lowercase();
    let name = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    // `page;x.css` and `page%3Bx.css` end the same way.
    let Some((_, ending)) = name.rsplit_once('.') else { return false };
    let promised = PROMISES.iter().find(|(known, _)| *known == ending);
    promised.is_some_and(|(_, kinds)| {
        !kinds.iter().any(|start| kind.starts_with(start)) && !kind.starts_with("application/octet-stream")
    })
}

#[cfg(test)]
mod tests;
