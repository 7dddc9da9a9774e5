use super::*;

#[test]
fn one_returns_to_this_site_only() {
    for good in ["/", "/a/b?c=d#e", "/a//b", "/%2F/evil"] {
        assert_eq!(safe_return(good), good);
    }
    for bad in [
        "",
        "a",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil",
        "https://evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/\n/evil",
        " /a",
        "/a b",
        "/a\r\nset-cookie: x",
        "/a\\b",
        "/é",
        "///evil",
    ] {
        assert_eq!(safe_return(bad), "/", "{bad:?}");
    }
    assert_eq!(safe_return(&format!("/{}", "a".repeat(2000))), "/");
}

#[test]
fn programs_are_not_sent_to_logins() {
    let is = |method: &Method, fields: &[(&'static str, &'static str)]| {
        let fields = fields.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
        is_navigation(method, &fields.collect())
    };
    let html = ("accept", "text/html,*/*;q=0.8");
    assert!(is(&Method::GET, &[html]));
    assert!(is(&Method::GET, &[html, ("sec-fetch-mode", "navigate")]));
    assert!(!is(&Method::POST, &[html]));
    assert!(!is(&Method::GET, &[html, ("sec-fetch-mode", "cors")]));
    assert!(!is(&Method::GET, &[html, ("x-requested-with", "XMLHttpRequest")]));
    assert!(!is(&Method::GET, &[("accept", "application/json")]));
    assert!(!is(&Method::GET, &[]));
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let good = OidcConfig {
        issuer: "https://id.example".into(),
        client_id: "app".into(),
        session_keys: vec!["k".repeat(32).as_str().into()],
        ..OidcConfig::default()
    };
    let new = |config: &OidcConfig| Oidc::new(config, Path::new(""), Fetcher::new(&[]).unwrap());
    assert!(new(&good).is_ok());
    for bad in [
        OidcConfig { issuer: "http://id.example".into(), ..good.clone() },
        OidcConfig { client_id: String::new(), ..good.clone() },
        OidcConfig { session_keys: vec![], ..good.clone() },
        OidcConfig { session_keys: vec!["short".into()], ..good.clone() },
        OidcConfig { callback: "//evil".into(), ..good.clone() },
        OidcConfig { origin: Some("https://a.example/".into()), ..good.clone() },
        OidcConfig { cookie: "a b".into(), ..good.clone() },
        OidcConfig { algorithms: vec![Algorithm::HS256], ..good.clone() },
    ] {
        assert!(new(&bad).is_err(), "{bad:?}");
    }
    assert!(!format!("{good:?}").contains("kkkk"));
}
