//! `Cache-Control` and its kin: lists of directives with values that may be quoted (RFC 9111, section 5.2).

use http::{HeaderMap, HeaderName};

/// Longest time that a cache may count, seconds (RFC 9111, section 1.2.2).
pub const SECONDS_MAX: u64 = 1 << 31;
/// Name under which this cache is meant in `Surrogate-Control`, and which `Surrogate-Capability` tells.
pub const SURROGATE: &str = "selvedge";

/// What a response's directives say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// Not to be stored.
    pub no_store: bool,
    /// To be asked about before each use.
    pub no_cache: bool,
    /// For one client only.
    pub private: bool,
    /// May be stored whoever asked.
    pub public: bool,
    /// Not to be used stale.
    pub must_revalidate: bool,
    /// The same for shared caches.
    pub proxy_revalidate: bool,
    /// Not to be stored where the status is unknown, whatever else is said.
    pub must_understand: bool,
    /// Fresh for so long, seconds.
    pub max_age: Option<u64>,
    /// The same for shared caches.
    pub s_maxage: Option<u64>,
    /// May be used stale for so long while it is asked about, seconds (RFC 5861).
    pub stale_while_revalidate: Option<u64>,
    /// May be used stale for so long when its origin fails, seconds (RFC 5861).
    pub stale_if_error: Option<u64>,
    /// Fields that must not be stored, of `no-cache="…"` and `private="…"`.
    pub withheld: Vec<HeaderName>,
}

/// What a request's directives say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Ask the origin first.
    pub no_cache: bool,
    /// Do not store the answer.
    pub no_store: bool,
    /// Do not ask the origin.
    pub only_if_cached: bool,
    /// At most so old, seconds.
    pub max_age: Option<u64>,
    /// Stale by at most so much, seconds.
    pub max_stale: Option<u64>,
    /// Fresh for so long still, seconds.
    pub min_fresh: Option<u64>,
}

impl Directives {
    /// Of one field of a response, all its lines.
    pub fn of(headers: &HeaderMap, name: &HeaderName) -> Self {
        let mut found = Self::default();
        for line in headers.get_all(name) {
            for (name, value) in Split(line.as_bytes()).filter_map(directive) {
                found.take(name, value);
            }
        }
        found
    }

    /// Of a field that is meant for caches like this one (RFC 9213; the W3C's Edge Architecture for `Surrogate-Control`).
    /// Nothing where the field is not there or says nothing to us.
    pub fn targeted(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let mut found = Self::default();
        let mut any = false;
        for line in headers.get_all(name) {
            for item in Split(line.as_bytes()) {
                // `max-age=60;someone-else`
                let mut parts = item.split(|byte| *byte == b';');
                let Some(first) = parts.next() else { continue };
                if name.as_str() == "surrogate-control"
                    && parts.any(|target| !target.trim_ascii().eq_ignore_ascii_case(SURROGATE.as_bytes()))
                {
                    continue;
                }
                if let Some((name, value)) = directive(first.trim_ascii()) {
                    found.take(name, value);
                    any = true;
                }
            }
        }
        any.then_some(found)
    }

    fn take(&mut self, name: &[u8], value: Option<&[u8]>) {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        // Where one is there twice the shorter counts: section 4.2.1 leaves the choice.
        let least = |known: Option<u64>| {
            let new = seconds(value.unwrap_or_default());
            Some(known.map_or(new, |known| known.min(new)))
        };
        match () {
            () if is("no-store") => self.no_store = true,
            () if is("no-cache") => match fields(value) {
                Some(named) => self.withheld.extend(named),
                None => self.no_cache = true,
            },
            () if is("private") => match fields(value) {
                Some(named) => self.withheld.extend(named),
                None => self.private = true,
            },
            () if is("public") => self.public = true,
            () if is("must-revalidate") => self.must_revalidate = true,
            () if is("proxy-revalidate") => self.proxy_revalidate = true,
            () if is("must-understand") => self.must_understand = true,
            () if is("max-age") => self.max_age = least(self.max_age),
            () if is("s-maxage") => self.s_maxage = least(self.s_maxage),
            () if is("stale-while-revalidate") => {
                self.stale_while_revalidate = least(self.stale_while_revalidate);
            }
            () if is("stale-if-error") => self.stale_if_error = least(self.stale_if_error),
            () => {}
        }
    }

    /// Whether it must not be used stale, whatever else is said.
    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.s_maxage.is_some() || self.no_cache
    }
}

impl Wishes {
    /// Of a request's `Cache-Control`.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for line in headers.get_all(http::header::CACHE_CONTROL) {
            for (name, value) in Split(line.as_bytes()).filter_map(directive) {
                let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
                match () {
                    () if is("no-cache") => found.no_cache = true,
                    () if is("no-store") => found.no_store = true,
                    () if is("only-if-cached") => found.only_if_cached = true,
                    () if is("max-age") => found.max_age = Some(seconds(value.unwrap_or_default())),
                    () if is("max-stale") => {
                        found.max_stale = Some(value.map_or(SECONDS_MAX, seconds));
                    }
                    () if is("min-fresh") => found.min_fresh = Some(seconds(value.unwrap_or_default())),
                    () => {}
                }
            }
        }
        found
    }
}

/// Digits only; what is none means "now stale", too many mean the longest time there is.
fn seconds(value: &[u8]) -> u64 {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    let number = value
        .iter()
        .try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    number.unwrap_or(SECONDS_MAX).min(SECONDS_MAX)
}

fn fields(value: Option<&[u8]>) -> Option<Vec<HeaderName>> {
    let value = value.filter(|value| !value.is_empty())?;
    let names = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    Some(names.filter_map(|name| HeaderName::from_bytes(name).ok()).collect())
}

/// Name, and value without its quotes. A name is followed by its `=` at once.
fn directive(item: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let (name, value) = match item.iter().position(|byte| *byte == b'=') {
        Some(at) => (&item[..at], Some(&item[at + 1..])),
        None => (item, None),
    };
    if name.is_empty() {
        return None;
    }
    let unquoted = |value: &'_ [u8]| -> Option<(usize, usize)> {
        (value.len() >= 2 && value.starts_with(b"\"") && value.ends_with(b"\"")).then(|| (1, value.len() - 1))
    };
    Some((name, value.map(|value| unquoted(value).map_or(value, |(from, to)| &value[from..to]))))
}

/// The members of a list, which commas part unless they are in quotes.
pub(crate) struct Split<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Split<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.0.is_empty() {
            let (mut quoted, mut escaped) = (false, false);
            let end = self.0.iter().position(|byte| {
                let was = std::mem::take(&mut escaped);
                match byte {
                    b'\\' if quoted => escaped = !was,
                    b'"' if !was => quoted = !quoted,
                    b',' if !quoted => return true,
                    _ => {}
                }
                false
            });
            let (item, rest) = match end {
                Some(end) => (&self.0[..end], &self.0[end + 1..]),
                None => (self.0, &self.0[self.0.len()..]),
            };
            self.0 = rest;
            let item = item.trim_ascii();
            if !item.is_empty() {
                return Some(item);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::CACHE_CONTROL;
    use proptest::prelude::*;

    fn of(lines: &[&str]) -> Directives {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, line.parse().unwrap());
        }
        Directives::of(&headers, &CACHE_CONTROL)
    }

    #[test]
    fn values_are_numbers_or_nothing() {
        for (text, age) in [
            ("max-age=3600", Some(3600)),
            ("MaX-aGe=\"3600\"", Some(3600)),
            ("max-age=003600", Some(3600)),
            ("max-age='3600'", Some(0)),
            ("max-age=-1", Some(0)),
            ("max-age=3600.5", Some(0)),
            ("max-age=99999999999999999999999", Some(SECONDS_MAX)),
            ("extension=\"max-age=3600\", max-age=1", Some(1)),
            ("extension=\"\\\", max-age=9, \"", None),
            ("max-age =3600", None),
            ("max-age=5, max-age=1", Some(1)),
        ] {
            assert_eq!(of(&[text]).max_age, age, "{text}");
        }
    }

    #[test]
    fn fields_are_withheld() {
        let found = of(&["no-cache=\"a, b\", private=Set-Cookie", "s-maxage=3"]);
        assert_eq!(found.withheld, ["a", "b", "set-cookie"]);
        assert!(!found.no_cache && !found.private && found.s_maxage == Some(3));
        assert!(of(&["no-cache"]).no_cache && of(&["PRIVATE"]).private);
    }

    #[test]
    fn targets_are_kept_apart() {
        let name = HeaderName::from_static("surrogate-control");
        let of = |text: &'static str| {
            let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(text))]);
            Directives::targeted(&headers, &name).and_then(|found| found.max_age)
        };
        assert_eq!(of("max-age=5"), Some(5));
        assert_eq!(of("max-age=5;selvedge"), Some(5));
        assert_eq!(of("max-age=5;other"), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                let headers = HeaderMap::from_iter([(CACHE_CONTROL, value)]);
                Directives::of(&headers, &CACHE_CONTROL);
                Directives::targeted(&headers, &CACHE_CONTROL);
                Wishes::of(&headers);
            }
        }
    }
}
