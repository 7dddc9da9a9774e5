use super::*;
use crate::object::Stock;
use crate::policy::{Freshness, Policy};
use crate::settings::CacheConfig;
use crate::variant::Variant;
use http::{HeaderValue, StatusCode};

fn object(
    address: &str,
    tags: &'static str,
    vary: Option<&'static str>,
    request: &HeaderMap,
    size: usize,
) -> Arc<Object> {
    let mut headers =
        HeaderMap::from_iter([(http::HeaderName::from_static("cache-tag"), HeaderValue::from_static(tags))]);
    if let Some(vary) = vary {
        headers.insert("vary", HeaderValue::from_static(vary));
    }
    let policy = Policy::new(&CacheConfig::default()).unwrap();
    let variant = Variant::of(0, request, &headers, &policy).unwrap();
    let body = Stock::new(vec![vec![0; size].into()]);
    Arc::new(Object::new(address.into(), StatusCode::OK, headers, body, Freshness::default(), variant))
}

fn found(store: &Store, address: &str) -> bool {
    matches!(store.find(address, 0, &HeaderMap::new(), 0), Found::Object(_))
}

fn small() -> Store {
    Store::new(&StoreConfig { memory_bytes: 1 << 20, object_bytes: 1 << 17, ..StoreConfig::default() })
}

#[test]
fn purges_find_what_they_mean() {
    let fill = || {
        let store = small();
        let none = HeaderMap::new();
        for (address, tags) in [("http://a/1", "x, y"), ("http://a/1/2", "y"), ("http://b/", "z")] {
            assert!(store.put(&object(address, tags, None, &none, 10), false, None));
        }
        store
    };
    let left =
        |store: &Store| ["http://a/1", "http://a/1/2", "http://b/"].map(|address| found(store, address));
    for (purge, count, stays) in [
        (Purge::Address("http://a/1".into()), 1, [false, true, true]),
        (Purge::Prefix("http://a/".into()), 2, [false, false, true]),
        (Purge::Tag("y".into()), 2, [false, false, true]),
        (Purge::Tag("nothing".into()), 0, [true; 3]),
        (Purge::All, 3, [false; 3]),
    ] {
        let store = fill();
        assert_eq!(store.purge(&purge, true), count);
        assert_eq!(left(&store), [true; 3]);
        assert_eq!(store.purge(&purge, false), count, "{purge:?}");
        assert_eq!(left(&store), stays, "{purge:?}");
    }
}

#[test]
fn variants_live_side_by_side() {
    let store = small();
    let ask = |value: usize| HeaderMap::from_iter([(http::header::ACCEPT, HeaderValue::from(value))]);
    for n in 0..VARIANTS_MAX + 5 {
        store.put(&object("http://a/", "x", Some("accept"), &ask(n), 10), false, None);
    }
    let kept = |n: usize| matches!(store.find("http://a/", 0, &ask(n), 0), Found::Object(_));
    assert!(kept(VARIANTS_MAX + 4) && kept(5) && !kept(4));
    assert!(matches!(store.find("http://a/", 0, &HeaderMap::new(), 0), Found::Others));
    store.pass(&"http://a/".into(), 0, 10, 0);
    assert!(matches!(store.find("http://a/", 0, &HeaderMap::new(), 9), Found::Pass));
    assert!(matches!(store.find("http://a/", 0, &HeaderMap::new(), 10), Found::Others));
}

#[test]
fn memory_is_bounded_and_scans_do_no_harm() {
    let store = small();
    let none = HeaderMap::new();
    let hot = "http://a/hot";
    store.put(&object(hot, "x", None, &none, 1000), false, None);
    for n in 0..20 {
        assert!(found(&store, hot), "{n}");
    }
    for n in 0..20_000 {
        store.put(&object(&format!("http://a/{n}"), "x", None, &none, 1000), false, None);
        if n % 50 == 0 {
            found(&store, hot);
        }
    }
    assert!(found(&store, hot));
    assert!(store.counts().bytes <= 1 << 20);
    assert!(!store.put(&object("http://a/large", "x", None, &none, (1 << 17) + 1), false, None));
}
