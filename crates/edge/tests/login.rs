//! Logins at a real OpenID provider (npm's oidc-provider), with a browser's cookies.
#![allow(missing_docs, reason = "a test crate")]

#[path = "support/provider.rs"]
mod provider;
mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use http::{HeaderMap, Method, Uri};
use provider::{KEY, Provider};
use selvedge_auth::fetch::Fetcher;
use selvedge_auth::oidc::{Oidc, Outcome};
use selvedge_auth::unix_now;
use support::{Server, start_sites};

#[derive(Debug)]
struct Page {
    status: u16,
    head: String,
    body: String,
}

impl Page {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter_map(move |(field, value)| field.eq_ignore_ascii_case(name).then_some(value.trim()))
    }

    fn location(&self) -> &str {
        self.header("location").unwrap_or_else(|| panic!("no redirect: {self:?}"))
    }
}

/// Cookies by host, and where hosts are.
struct Browser {
    app: SocketAddr,
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

impl Browser {
    fn new(server: &Server) -> Self {
        Self { app: server.address, cookies: BTreeMap::new() }
    }

    fn request(&mut self, method: &str, url: &str, fields: &str, body: &str) -> Page {
        let uri: Uri = url.parse().unwrap();
        let host = uri.authority().unwrap().to_string();
        let address = if host == "app.example" { self.app } else { host.parse().unwrap() };
        let jar = self.cookies.entry(host.clone()).or_default();
        let cookies: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut stream = TcpStream::connect(address).unwrap();
        let target = uri.path_and_query().unwrap();
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncookie: {}\r\ncontent-length: {}\r\n{fields}\r\n{body}",
            cookies.join("; "),
            body.len()
        )
        .unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let page = Page { status: head[9..12].parse().unwrap(), head: head.into(), body: body.into() };
        for cookie in page.headers("set-cookie") {
            let (name, rest) = cookie.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if rest.to_ascii_lowercase().contains("max-age=0") || rest.contains("1970") {
                jar.remove(name);
            } else {
                jar.insert(name.into(), value.into());
            }
        }
        page
    }

    fn open(&mut self, url: &str) -> Page {
        self.request("GET", url, "accept: text/html\r\n", "")
    }

    /// From the provider's first page to where it sends the browser back.
    fn log_in(&mut self, url: &str, user: &str) -> String {
        let mut url = url.to_owned();
        for _ in 0..12 {
            if url.starts_with("http://app.example/") {
                return url;
            }
            let origin = url.split('/').take(3).collect::<Vec<_>>().join("/");
            let mut page = self.open(&url);
            if page.status == 200 {
                let action = page.body.split("action=\"").nth(1).unwrap_or_else(|| panic!("{page:?}"));
                let action = action.split('"').next().unwrap().to_owned();
                let prompt = if page.body.contains("value=\"consent\"") { "consent" } else { "login" };
                let action = if action.starts_with('/') { format!("{origin}{action}") } else { action };
                let form = format!("prompt={prompt}&login={user}&password=x");
                page = self.request(
                    "POST",
                    &action,
                    "content-type: application/x-www-form-urlencoded\r\n",
                    &form,
                );
            }
            let next = page.location();
            url = if next.starts_with('/') { format!("{origin}{next}") } else { next.to_owned() };
        }
        panic!("the login does not end")
    }

    fn app_cookies(&self) -> HeaderMap {
        let jar = &self.cookies["app.example"];
        let pairs: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        HeaderMap::from_iter([(http::header::COOKIE, pairs.join("; ").parse().unwrap())])
    }
}

#[test]
fn people_log_in_and_out() {
    let provider = Provider::start();
    let server = provider.edge("");
    let mut browser = Browser::new(&server);

    // Programs are told, people are sent.
    let page = browser.request("GET", "http://app.example/deep?a=b", "accept: application/json\r\n", "");
    assert_eq!((page.status, page.header("location")), (401, None));
    assert!(page.body.contains("login_required"));
    let page = browser.open("http://app.example/deep?a=b");
    assert_eq!(page.status, 303);
    let asked = page.location().to_owned();
    assert!(
        asked.starts_with(&format!("{}/auth?response_type=code&client_id=app&", provider.issuer)),
        "{asked}"
    );
    assert!(
        asked.contains("code_challenge_method=S256") && asked.contains("nonce=") && asked.contains("state=")
    );

    let back = browser.log_in(&asked, "ann");
    let page = browser.open(&back);
    assert_eq!((page.status, page.location()), (303, "http://app.example/deep?a=b"), "{page:?}");
    for cookie in page.headers("set-cookie") {
        assert!(cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
        assert!(!cookie.contains("ann"), "{cookie}");
    }
    let jar = &browser.cookies["app.example"];
    assert_eq!(jar.keys().collect::<Vec<_>>(), ["session", "session-hint"], "the login's cookie is gone");
    let hints = page.headers("set-cookie").filter(|cookie| cookie.starts_with("session-hint="));
    let hints: Vec<&str> = hints.collect();
    assert!(hints.len() == 1 && hints[0].contains("; Path=/.auth/logout; "), "{hints:?}");
    for _ in 0..2 {
        let page =
            browser.request("GET", "http://app.example/deep", "accept: text/html\r\nx-user: root\r\n", "");
        assert_eq!((page.status, page.body.as_str()), (200, "ann|staff|"), "the cookie goes no further");
    }
    // Known, but no admin.
    assert_eq!(browser.open("http://app.example/admin").status, 403);

    // A code is used once, in the browser and login it was made for.
    assert_eq!(browser.open(&back).status, 400);

    // Other sites cannot log anybody out.
    let page =
        browser.request("GET", "http://app.example/.auth/logout", "sec-fetch-site: cross-site\r\n", "");
    assert_eq!(page.status, 403);
    let page = browser.open("http://app.example/.auth/logout");
    assert_eq!(page.status, 303);
    assert!(page.location().starts_with(&format!("{}/session/end?client_id=app&", provider.issuer)));
    let end = page.location().to_owned();
    // Who it is, so that the provider need not ask; signed by the provider itself.
    let hint = end.split("&id_token_hint=").nth(1).unwrap().split('&').next().unwrap();
    assert_eq!(hint.split('.').count(), 3, "{end}");
    assert!(page.headers("set-cookie").any(|cookie| cookie.starts_with("session-hint=; ")));
    let page = browser.open(&end);
    assert_eq!(page.status, 200, "the provider asks whether that is meant");
    // One that is not the provider's is refused there: so it was looked at.
    let bent = end.replace(hint, &hint[..hint.len() - 5]);
    assert_eq!(browser.open(&bent).status, 400);
    assert_eq!(browser.open("http://app.example/deep").status, 303);
}

#[test]
fn logins_cannot_be_forged() {
    let provider = Provider::start();
    let server = provider.edge("");
    let (mut ann, mut eve) = (Browser::new(&server), Browser::new(&server));
    let asked = eve.open("http://app.example/").location().to_owned();
    let back = eve.log_in(&asked, "eve");
    // Eve's answer in Ann's browser would have Ann work in Eve's account.
    let page = ann.open(&back);
    assert_eq!(page.status, 400);
    assert!(page.body.contains("login_unknown"));
    ann.open("http://app.example/");
    assert_eq!(ann.open(&back).status, 400);
    // Eve's own, but bent.
    for (from, to) in
        [("state=", "state=x"), ("code=", "code=x&code="), ("iss=", "iss=x"), ("iss=", "not_iss=")]
    {
        let bent = back.replace(from, to);
        assert_ne!(bent, back);
        assert!([400, 403].contains(&eve.open(&bent).status), "{bent}");
    }
    assert_eq!(eve.open(&back.replace("code=", "code=x")).status, 403);
    let state = back.split("state=").nth(1).unwrap().split('&').next().unwrap();
    let issuer = back.split("iss=").nth(1).unwrap().split('&').next().unwrap();
    let refused = format!("http://app.example/.auth/callback?error=access_denied&state={state}&iss={issuer}");
    assert_eq!(eve.open(&refused).status, 403);
    assert_eq!(eve.open(&back).status, 303, "the good one works all the same");
    // A session is not what somebody writes into the cookie, nor is a login's cookie one.
    let good = eve.cookies["app.example"]["session"].clone();
    ann.open("http://app.example/");
    let login =
        ann.cookies["app.example"].iter().find(|(name, _)| name.contains("-login-")).unwrap().1.clone();
    for bad in ["", "1~", "1~e30", "9~x", &login, &good[..good.len() - 2], &good.replace("1~", "2~")] {
        ann.cookies.get_mut("app.example").unwrap().insert("session".into(), bad.into());
        assert_eq!(ann.open("http://app.example/").status, 303, "{bad}");
    }
}

#[test]
fn nobody_is_sent_to_other_sites() {
    let provider = Provider::start();
    let server = provider.edge("");
    for (asked, end) in [
        ("/ok?x=1", "http://app.example/ok?x=1"),
        ("https://evil.example/", "http://app.example/"),
        ("//evil.example/", "http://app.example/"),
        ("/\\evil.example", "http://app.example/"),
        ("javascript:alert(1)", "http://app.example/"),
    ] {
        let mut browser = Browser::new(&server);
        let asked: String = asked.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let page = browser.open(&format!("http://app.example/.auth/login?return_to={asked}"));
        let to = page.location().to_owned();
        let back = browser.log_in(&to, "ann");
        assert_eq!(browser.open(&back).location(), end);
    }
    // A path that looks like another site's address stays on this one.
    let mut browser = Browser::new(&server);
    let to = browser.open("http://app.example//evil.example/x").location().to_owned();
    let back = browser.log_in(&to, "ann");
    assert_eq!(browser.open(&back).location(), "http://app.example//evil.example/x");
}

#[test]
fn long_sessions_take_several_cookies_and_keys_may_change() {
    let provider = Provider::start();
    let server = provider.edge("userinfo = true");
    let mut browser = Browser::new(&server);
    let to = browser.open("http://app.example/").location().to_owned();
    let back = browser.log_in(&to, "long");
    assert_eq!(browser.open(&back).status, 303);
    assert!(browser.cookies["app.example"].contains_key("session.1"));
    assert_eq!(browser.open("http://app.example/").body, "long|staff|");
    let other = "another session key, thirty-two b";
    let renewed = start_sites_with_keys(&provider, &format!("[\"{other}\", \"{KEY}\"]"));
    browser.app = renewed.address;
    assert_eq!(browser.open("http://app.example/").status, 200);
    let gone = start_sites_with_keys(&provider, &format!("[\"{other}\"]"));
    browser.app = gone.address;
    assert_eq!(browser.open("http://app.example/").status, 303);
}

fn start_sites_with_keys(provider: &Provider, keys: &str) -> Server {
    let settings = format!(
        "[middleware.login.oidc]\nissuer = \"{}\"\nclient_id = \"app\"\nsession_keys = {keys}\n\
         [[sites]]\nhosts = [\"app.example\"]\nuse = [\"login\"]\n[[sites.routes]]\nrespond = {{ body = \"in\" }}\n",
        provider.issuer
    );
    start_sites(&settings)
}

#[test]
fn sessions_are_refreshed_once_and_end_when_the_provider_says_so() {
    let provider = Provider::start();
    let server = provider.edge("");
    let mut browser = Browser::new(&server);
    let to = browser.open("http://app.example/").location().to_owned();
    let back = browser.log_in(&to, "ann");
    assert_eq!(browser.open(&back).status, 303);
    let cookies = browser.app_cookies();
    let oidc = Oidc::new(&provider.config(), Path::new(""), Fetcher::new(&[]).unwrap()).unwrap();
    support::runtime().block_on(async {
        let check = async |cookies: &HeaderMap, now: u64| {
            let mut headers = cookies.clone();
            let uri = Uri::from_static("/");
            match oidc.check(&Method::POST, &uri, &mut headers, "http://app.example", now).await {
                Ok(Outcome::Pass(identity, cookies)) => Some((identity.unwrap().subject.clone(), cookies)),
                _ => None,
            }
        };
        let now = unix_now();
        assert_eq!(check(&cookies, now).await.unwrap().1.len(), 0, "not yet");
        // The provider takes a refresh token once; requests that come together share the new one.
        let (one, two, three) =
            tokio::join!(check(&cookies, now + 40), check(&cookies, now + 40), check(&cookies, now + 41));
        for refreshed in [&one, &two, &three] {
            let (subject, cookies) = refreshed.as_ref().unwrap();
            assert_eq!((subject.as_str(), cookies.len()), ("ann", 1));
        }
        let renewed = one.unwrap().1.remove(0);
        let pair = renewed.to_str().unwrap().split(';').next().unwrap();
        let renewed = HeaderMap::from_iter([(http::header::COOKIE, pair.parse().unwrap())]);
        assert!(check(&renewed, now + 45).await.unwrap().1.is_empty());
        // Long after, the old cookie's token is used up: the provider takes that for theft and ends all of it.
        assert!(check(&cookies, now + 400).await.is_none());
        assert!(check(&renewed, now + 400).await.is_none());
        // And at the latest when the longest time is over.
        assert!(check(&cookies, now + 9 * 3600).await.is_none());
    });
}

#[test]
fn without_a_provider_nobody_passes() {
    let provider = Provider::start();
    let server = provider.edge("");
    drop(provider);
    let page = Browser::new(&server).open("http://app.example/");
    assert_eq!(page.status, 503);
    assert!(page.body.contains("login_unavailable"));
}
