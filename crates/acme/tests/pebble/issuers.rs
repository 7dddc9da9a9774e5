//! Issuers that are down, that forget, that want a binding, and several of them; several of us.

use std::time::Duration;

use selvedge_acme::{Clock, EabConfig, IssuerConfig};

use crate::authority::{Authority, EAB_KEY, EAB_KID, Options};
use crate::front::Front;
use crate::site::{Doors, HTTP, Site, config, names, now, status, verify};

#[tokio::test]
async fn an_issuer_that_comes_back_is_asked_again() {
    let doors = Doors::open().await;
    let mut authority = Authority::stopped(doors.ports, Options::default());
    let dir = tempfile::tempdir().unwrap();
    let site = Site::open(&doors, config(vec![authority.issuer()]), dir.path(), HTTP).start();
    site.acme.want(names(&["a.selvedge.test", "b.selvedge.test"]));
    let failed = site.failure("a.selvedge.test").await;
    assert!(failed.error.unwrap().contains("cannot be reached"));
    assert_eq!(failed.failures, 0, "it says nothing about the name");
    authority.restart();
    site.clock.advance(Duration::from_secs(40));
    let key = site.until("a certificate", |acme| acme.certificate("a.selvedge.test")).await;
    verify(&key, &authority.root(), "a.selvedge.test");
    site.until("the other", |acme| acme.certificate("b.selvedge.test")).await;

    // It forgets all accounts.
    authority.restart();
    site.acme.want(names(&["c.selvedge.test"]));
    let key = site.until("a certificate", |acme| acme.certificate("c.selvedge.test")).await;
    verify(&key, &authority.root(), "c.selvedge.test");
}

#[tokio::test]
async fn the_second_issuer_helps_out_with_a_binding() {
    let doors = Doors::open().await;
    let down = Authority::stopped(doors.ports, Options::default());
    let binding = Authority::start(doors.ports, Options { binding: true, ..Options::default() });
    let eab = |hmac: &str| Some(EabConfig { kid: EAB_KID.into(), hmac: hmac.into() });
    let dir = tempfile::tempdir().unwrap();
    let issuers = vec![down.issuer(), IssuerConfig { eab: eab(EAB_KEY), ..binding.issuer() }];
    let site = Site::open(&doors, config(issuers), dir.path(), HTTP).start();
    site.acme.want(names(&["a.selvedge.test"]));
    verify(&*site.certificate("a.selvedge.test").await, &binding.root(), "a.selvedge.test");

    // Without, and with the wrong key, it says so.
    for (eab, words) in [(None, "set eab"), (eab("d3Jvbmc"), "")] {
        let dir = tempfile::tempdir().unwrap();
        let issuer = IssuerConfig { eab, ..binding.issuer() };
        let site = Site::open(&doors, config(vec![issuer]), dir.path(), HTTP).start();
        site.acme.want(names(&["a.selvedge.test"]));
        let error = site.failure("a.selvedge.test").await.error.unwrap();
        assert!(error.contains(words), "{error}");
        assert!(site.acme.certificate("a.selvedge.test").is_none());
    }
}

#[tokio::test]
async fn a_stranger_is_no_issuer() {
    let doors = Doors::open().await;
    let authority = Authority::start(doors.ports, Options::default());
    let dir = tempfile::tempdir().unwrap();
    // Its certificate is not by a public authority.
    let issuer = IssuerConfig { ca: None, ..authority.issuer() };
    let site = Site::open(&doors, config(vec![issuer]), dir.path(), HTTP).start();
    site.acme.want(names(&["a.selvedge.test"]));
    let error = site.failure("a.selvedge.test").await.error.unwrap();
    assert!(error.contains("no TLS with") && error.contains("UnknownIssuer"), "{error}");
}

#[tokio::test]
async fn limits_are_respected_also_after_a_restart() {
    let doors = Doors::open().await;
    let authority = Authority::start(doors.ports, Options::default());
    let front = Front::start(&authority).await;
    front.state().limit = Some(7200);
    let dir = tempfile::tempdir().unwrap();
    let settings = config(vec![front.issuer()]);
    let site = Site::open(&doors, settings.clone(), dir.path(), HTTP).start();
    site.acme.want(names(&["a.selvedge.test"]));
    let failed = site.failure("a.selvedge.test").await;
    let retry = failed.retry.unwrap();
    assert!(failed.error.unwrap().contains("enough orders"));
    assert!(retry >= failed.failed.unwrap() + 7200);
    assert_eq!(front.state().orders, 1);
    drop(site);

    front.state().limit = None;
    let clock = Clock::manual(retry - 2);
    let site = Site::open_at(&doors, settings, dir.path().to_owned(), HTTP, clock).start();
    site.acme.want(names(&["a.selvedge.test", "b.selvedge.test"]));
    // Its neighbour is served, and by then it would have been, too.
    site.until("a certificate", |acme| acme.certificate("b.selvedge.test")).await;
    assert_eq!(front.state().orders, 2);
    assert_eq!(status(&site.acme, "a.selvedge.test").unwrap().retry, Some(retry));
    site.clock.advance(Duration::from_secs(2));
    site.until("a certificate", |acme| acme.certificate("a.selvedge.test")).await;
    assert_eq!(front.state().orders, 3);
}

#[tokio::test]
async fn two_of_us_on_one_directory_order_once() {
    let doors = Doors::open().await;
    let authority = Authority::start(doors.ports, Options::default());
    let front = Front::start(&authority).await;
    let dir = tempfile::tempdir().unwrap();
    let settings = config(vec![front.issuer()]);
    let clock = Clock::manual(now());
    let open = || Site::open_at(&doors, settings.clone(), dir.path().to_owned(), HTTP, clock.clone());
    let (other, mine) = (open(), open());
    mine.acme.want(names(&["a.selvedge.test"]));
    other.acme.want(names(&["a.selvedge.test"]));
    // Only mine answers challenges, so it goes first.
    let mine = mine.start();
    let key = mine.certificate("a.selvedge.test").await;
    let other = other.start();
    let same = other.certificate("a.selvedge.test").await;
    assert_eq!(key.cert, same.cert);
    assert_eq!(front.state().orders, 1);
}
