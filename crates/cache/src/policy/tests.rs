use super::*;
use crate::settings::AdaptiveConfig;
use http::HeaderValue;
use proptest::prelude::*;

const NOW: u64 = 784_111_777_000;

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn judge(
    config: &CacheConfig,
    status: u16,
    fields: &[(&'static str, &'static str)],
    authorized: bool,
) -> Result<Freshness, Unstored> {
    let asked = Asked { path: "/x.css", authorized, left: NOW, arrived: NOW, learned: None };
    let policy = Policy::new(config).unwrap();
    policy.judge(&asked, StatusCode::from_u16(status).unwrap(), &map(fields)).map(|(freshness, _)| freshness)
}

fn lifetime(fields: &[(&'static str, &'static str)]) -> Result<u64, Unstored> {
    judge(&CacheConfig::default(), 200, fields, false).map(|freshness| freshness.lifetime / 1000)
}

#[test]
fn what_responses_say_counts() {
    for (fields, seconds) in [
        (vec![("cache-control", "max-age=60")], Ok(60)),
        (vec![("cache-control", "max-age=60, s-maxage=5")], Ok(5)),
        (vec![("cdn-cache-control", "max-age=7"), ("cache-control", "no-store")], Ok(7)),
        (vec![("cdn-cache-control", "no-store"), ("cache-control", "max-age=60")], Err(Unstored::Forbidden)),
        (vec![("surrogate-control", "max-age=7;other"), ("cache-control", "max-age=60")], Ok(60)),
        (vec![("expires", "Sun, 06 Nov 1994 08:50:37 GMT")], Ok(60)),
        (vec![("expires", "0")], Err(Unstored::Useless)),
        (vec![("last-modified", "Sun, 06 Nov 1994 07:49:37 GMT")], Ok(360)),
        (vec![], Err(Unstored::Useless)),
        (vec![("cache-control", "private, max-age=9")], Err(Unstored::Forbidden)),
        (vec![("cache-control", "max-age=9"), ("vary", "a, *")], Err(Unstored::VariesByAll)),
        (vec![("cache-control", "max-age=9"), ("set-cookie", "a=b")], Err(Unstored::SetsCookie)),
        (vec![("cache-control", "max-age=9"), ("content-type", "text/html")], Err(Unstored::Deceiving)),
        (vec![("cache-control", "max-age=9"), ("content-type", "Text/CSS")], Ok(9)),
        (vec![("cache-control", "max-age=0"), ("etag", "\"a\"")], Ok(0)),
    ] {
        assert_eq!(lifetime(&fields), seconds, "{fields:?}");
    }
}

#[test]
fn statuses_have_their_rules() {
    let status = |status, fields: &[_]| {
        judge(&CacheConfig::default(), status, fields, false).map(|f| f.lifetime / 1000)
    };
    let fresh = ("cache-control", "max-age=99999");
    assert_eq!(status(206, &[fresh]), Err(Unstored::Status));
    assert_eq!(status(304, &[fresh]), Err(Unstored::Status));
    assert_eq!(status(404, &[fresh]), Ok(600));
    assert_eq!(status(599, &[("cache-control", "max-age=9, must-understand")]), Err(Unstored::Status));
    let old = ("last-modified", "Sun, 06 Nov 1994 07:49:37 GMT");
    assert_eq!(status(404, &[old]), Ok(360));
    assert_eq!(status(403, &[old]), Err(Unstored::Useless));
    let negative = CacheConfig { negative_ttl_ms: Some(5000), ttl_ms: Some(9000), ..CacheConfig::default() };
    assert_eq!(judge(&negative, 404, &[], false).unwrap().lifetime, 5000);
    assert_eq!(judge(&negative, 200, &[], false).unwrap().lifetime, 9000);
    assert_eq!(judge(&negative, 500, &[], false), Err(Unstored::Useless));
}

#[test]
fn credentials_keep_answers_apart() {
    let judge =
        |control| judge(&CacheConfig::default(), 200, &[("cache-control", control)], true).map(|_| ());
    assert_eq!(judge("max-age=9"), Err(Unstored::Authorized));
    for control in ["max-age=9, public", "s-maxage=9", "max-age=9, must-revalidate"] {
        assert_eq!(judge(control), Ok(()), "{control}");
    }
}

#[test]
fn ages_are_read_with_suspicion() {
    for (lines, age) in [
        (vec!["30"], 30),
        (vec!["0,7200"], 0),
        (vec!["7200,0"], 7200),
        (vec!["abc"], SECONDS_MAX),
        (vec!["-1"], SECONDS_MAX),
        (vec!["7200;a=b"], SECONDS_MAX),
        (vec!["0, 0"], SECONDS_MAX),
        (vec!["0", "7200"], SECONDS_MAX),
        (vec![], 0),
    ] {
        let mut headers = HeaderMap::new();
        for line in &lines {
            headers.append(header::AGE, HeaderValue::from_static(line));
        }
        assert_eq!(told_age(&headers), age, "{lines:?}");
    }
    assert_eq!(
        initial_age(&map(&[("date", "Sun, 06 Nov 1994 08:49:27 GMT"), ("age", "3")]), NOW, NOW),
        10_000
    );
    assert_eq!(initial_age(&map(&[("age", "3")]), NOW - 2000, NOW), 5000);
}

#[test]
fn stale_is_used_where_that_is_allowed() {
    let fresh = judge(
        &CacheConfig::default(),
        200,
        &[("cache-control", "max-age=10, stale-while-revalidate=5, stale-if-error=20")],
        false,
    )
    .unwrap();
    let (none, at) = (Wishes::default(), |s: u64| NOW + s * 1000);
    assert_eq!(fresh.usage(&none, false, at(9)), Use::Fresh);
    assert_eq!(fresh.usage(&none, true, at(9)), Use::StaleWhileRevalidate);
    assert_eq!(fresh.usage(&none, false, at(14)), Use::StaleWhileRevalidate);
    assert_eq!(fresh.usage(&none, false, at(15)), Use::Ask);
    assert!(fresh.survives_error(at(29)) && !fresh.survives_error(at(30)));
    assert_eq!(fresh.usage(&Wishes { max_stale: Some(30), ..none }, false, at(20)), Use::Fresh);
    assert_eq!(fresh.usage(&Wishes { no_cache: true, ..none }, false, at(1)), Use::Ask);
    assert_eq!(fresh.usage(&Wishes { max_age: Some(3), ..none }, false, at(4)), Use::Ask);
    assert_eq!(fresh.usage(&Wishes { min_fresh: Some(8), ..none }, false, at(4)), Use::Ask);
    let strict = judge(
        &CacheConfig::default(),
        200,
        &[("cache-control", "max-age=10, must-revalidate, stale-if-error=9")],
        false,
    )
    .unwrap();
    assert_eq!(strict.usage(&Wishes { max_stale: Some(30), ..none }, false, at(20)), Use::Ask);
    assert!(!strict.survives_error(at(11)));
}

#[test]
fn lifetimes_are_learned_within_bounds() {
    let config = CacheConfig {
        adaptive: Some(AdaptiveConfig { min_ms: 1000, max_ms: 5000 }),
        ..CacheConfig::default()
    };
    assert!(judge(&config, 200, &[], false).unwrap().learned);
    let policy = Policy::new(&config).unwrap();
    assert_eq!(policy.learn(1000, false), Some(2000));
    assert_eq!(policy.learn(4000, false), Some(5000));
    assert_eq!(policy.learn(1500, true), Some(1000));
}

proptest! {
    /// Whatever is said, what is forbidden is not stored, and what is stored is bounded.
    #[test]
    fn no_combination_overrides_a_ban(
        control in proptest::collection::vec(prop_oneof![
            Just("max-age=60"), Just("public"), Just("s-maxage=9"), Just("no-cache"), Just("must-revalidate"), Just("x=\"no-store\""),
        ], 0..5),
        ban in prop_oneof![Just("no-store"), Just("PRIVATE")],
        at in 0usize..6,
    ) {
        let mut all = control.clone();
        all.insert(at.min(all.len()), ban);
        let headers = HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_str(&all.join(", ")).unwrap()), (header::ETAG, HeaderValue::from_static("\"a\""))]);
        let asked = Asked { path: "/", authorized: false, left: NOW, arrived: NOW, learned: None };
        let policy = Policy::new(&CacheConfig::default()).unwrap();
        prop_assert_eq!(policy.judge(&asked, StatusCode::OK, &headers).map(|_| ()), Err(Unstored::Forbidden));
    }
}
