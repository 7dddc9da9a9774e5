use super::*;
use crate::condition::Test;
use proptest::prelude::*;

fn route(path: &str, target: &'static str) -> Route<&'static str> {
    Route { path: path.parse().unwrap(), methods: vec![], conditions: vec![], weight: None, target }
}

fn find<'r>(
    routes: &'r Routes<&'static str>,
    method: &str,
    path: &str,
) -> Result<Found<'r, &'static str>, Miss> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut headers = HeaderMap::new();
    headers.insert("x-beta", http::HeaderValue::from_static("yes"));
    let method = method.parse().unwrap();
    let client = "192.0.2.1".parse().unwrap();
    routes.find(&Asked { method: &method, path, query, headers: &headers, client }, || 0.5)
}

#[track_caller]
fn target(routes: &Routes<&'static str>, path: &str) -> &'static str {
    find(routes, "GET", path).map_or("none", |found| found.target)
}

#[test]
fn the_more_specific_path_wins() {
    let routes = Routes::new(vec![
        route("/*", "all"),
        route("~^/v[0-9]+/", "expression"),
        route("/users/{id}", "parameter"),
        route("/users/me", "exact"),
        route("/files/*", "files"),
        route("/files/deep/*", "deep"),
        route("/docs/{*rest}", "rest"),
    ])
    .unwrap();
    for (path, expected) in [
        ("/", "all"),
        ("/users/me", "exact"),
        ("/users/7", "parameter"),
        ("/users/7/x", "all"),
        ("/v12/x", "expression"),
        ("/files", "files"),
        ("/files/", "files"),
        ("/filesystem", "all"),
        ("/files/deep", "deep"),
        ("/files/deep/x", "deep"),
        ("/docs/a/b", "rest"),
    ] {
        assert_eq!(target(&routes, path), expected, "{path}");
    }
}

#[test]
fn parameters_are_given() {
    let routes = Routes::new(vec![
        route("/users/{id}/posts/{post}", "posts"),
        route("~^/v(?<version>[0-9]+)/(?<rest>.*)$", "versions"),
    ])
    .unwrap();
    let parameters = |path| find(&routes, "GET", path).unwrap().parameters;
    assert_eq!(
        parameters("/users/a%20b/posts/9"),
        [("id".into(), "a%20b".into()), ("post".into(), "9".into())]
    );
    assert_eq!(parameters("/v2/x/y"), [("version".into(), "2".into()), ("rest".into(), "x/y".into())]);
}

#[test]
fn methods_and_conditions_are_looked_at() {
    let condition =
        |name: &str, test: &str| Condition::Header(name.parse().unwrap(), Test::parse(test).unwrap());
    let routes = Routes::new(vec![
        Route { methods: vec![Method::GET], ..route("/a", "get") },
        Route { methods: vec![Method::POST], ..route("/a", "post") },
        route("/b", "plain"),
        Route { conditions: vec![condition("x-beta", "~^y")], ..route("/b", "beta") },
        Route { conditions: vec![condition("x-none", "*")], ..route("/b", "never") },
        Route {
            conditions: vec![Condition::Query("v".into(), Test::parse("a b").unwrap())],
            ..route("/c", "query")
        },
        Route {
            conditions: vec![Condition::Address(vec!["192.0.2.0/24".parse().unwrap()])],
            ..route("/d", "near")
        },
        Route {
            conditions: vec![Condition::Address(vec!["10.0.0.0/8".parse().unwrap()])],
            ..route("/e", "far")
        },
    ])
    .unwrap();
    assert_eq!(find(&routes, "POST", "/a").unwrap().target, &"post");
    assert_eq!(find(&routes, "HEAD", "/a").unwrap().target, &"get");
    assert_eq!(find(&routes, "PUT", "/a"), Err(Miss::Method(vec![Method::GET, Method::POST, Method::HEAD])));
    assert_eq!(target(&routes, "/b"), "beta");
    assert_eq!(target(&routes, "/c?x=1&v=a+b"), "query");
    assert_eq!(target(&routes, "/c?v=a%20b"), "query");
    assert_eq!(target(&routes, "/c?v=ab"), "none");
    assert_eq!(target(&routes, "/d"), "near");
    assert_eq!(find(&routes, "GET", "/e"), Err(Miss::NotFound));
}

#[test]
fn weights_share_traffic() {
    let routes = Routes::new(vec![
        Route { weight: Some(90), ..route("/", "old") },
        Route { weight: Some(10), ..route("/", "new") },
        Route { weight: Some(0), ..route("/", "off") },
    ])
    .unwrap();
    let method = Method::GET;
    let headers = HeaderMap::new();
    let asked =
        Asked { method: &method, path: "/", query: "", headers: &headers, client: "::1".parse().unwrap() };
    let mut counts = std::collections::BTreeMap::new();
    for step in 0..1000 {
        let found = routes.find(&asked, || f64::from(step) / 1000.0).unwrap();
        *counts.entry(*found.target).or_insert(0) += 1;
    }
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [("new", 100), ("old", 900)]);
}

#[test]
fn conflicts_are_told() {
    let (place, error) = Routes::new(vec![route("/a/{x}", "1"), route("/a/{y}", "2")]).unwrap_err();
    assert_eq!(place, 1);
    assert!(error.to_string().contains("conflict"), "{error}");
}

proptest! {
    /// The compiled routes say what one would find by looking at each route.
    #[test]
    fn prefixes_and_exact_paths_as_by_hand(
        paths in proptest::collection::hash_set("(/[ab]{1,2}){1,3}/?\\*?", 1..20),
        asked in "(/[ab]{1,2}){1,4}/?",
    ) {
        // A star belongs behind a slash.
        let paths: Vec<String> = paths.into_iter().filter(|path| !path.ends_with('*') || path.ends_with("/*")).collect();
        let leaked: Vec<&'static str> = paths.iter().map(|path| &*Box::leak(path.clone().into_boxed_str())).collect();
        let routes = Routes::new(leaked.iter().map(|path| route(path, path)).collect()).unwrap();
        let fits = |path: &&&str| match path.strip_suffix('*') {
            Some(prefix) => asked.starts_with(prefix) || format!("{asked}/") == prefix,
            None => **path == asked,
        };
        let by_hand = leaked.iter().filter(fits).max_by_key(|path| (!path.ends_with('*'), path.len()));
        prop_assert_eq!(target(&routes, &asked), by_hand.copied().unwrap_or("none"));
    }
}
