//! Renewal, by the rule and by what the issuer suggests.

use std::time::Duration;

use crate::authority::{Authority, Options};
use crate::front::Front;
use crate::site::{Doors, HTTP, Site, config, names, now, status, verify};

const DAY: u64 = 86_400;

#[tokio::test]
async fn two_thirds_of_life_where_the_issuer_suggests_nothing() {
    let doors = Doors::open().await;
    let authority = Authority::start(doors.ports, Options::default());
    let dir = tempfile::tempdir().unwrap();
    let site = Site::open(&doors, config(vec![authority.issuer()]), dir.path(), HTTP).start();
    site.acme.want(names(&["a.selvedge.test"]));
    let first = site.certificate("a.selvedge.test").await;
    let known = status(&site.acme, "a.selvedge.test").unwrap();
    let (from, until) = (known.valid_from.unwrap(), known.valid_until.unwrap());
    let part = (known.renewal.unwrap() - from) as f64 / (until - from) as f64;
    assert!((0.63..0.67).contains(&part), "{part}");
    site.clock.advance(Duration::from_secs(61 * DAY));
    let second = site.renewed("a.selvedge.test", &first).await;
    verify(&second, &authority.root(), "a.selvedge.test");
    // The key is new with each certificate.
    let public = |key: &rustls::sign::CertifiedKey| key.key.public_key().unwrap().to_vec();
    assert_ne!(public(&first), public(&second));
}

#[tokio::test]
async fn the_suggested_window_decides_and_revocation_is_noticed() {
    let doors = Doors::open().await;
    let authority = Authority::start(doors.ports, Options::default());
    let front = Front::start(&authority).await;
    let start = now();
    front.state().window = Some((start + 10 * DAY, start + 11 * DAY));
    let dir = tempfile::tempdir().unwrap();
    let site = Site::open(&doors, config(vec![front.issuer()]), dir.path(), HTTP).start();
    site.acme.want(names(&["a.selvedge.test"]));
    let first = site.certificate("a.selvedge.test").await;
    let window = start + 10 * DAY..=start + 11 * DAY;
    let planned = |at: Option<u64>| at.filter(|at| window.contains(at));
    site.until("a plan", |acme| planned(status(acme, "a.selvedge.test")?.renewal)).await;
    assert_eq!(front.state().replaced, Vec::<String>::new());

    // A renewal says what it replaces.
    site.clock.advance(Duration::from_secs(11 * DAY));
    let second = site.renewed("a.selvedge.test", &first).await;
    assert_eq!(front.state().orders, 2);
    let replaced = front.state().replaced.clone();
    assert_eq!(replaced.len(), 1);
    assert_eq!(front.state().asked.first(), replaced.first(), "it was asked about under the same id");

    // Revoked: the window moves to the past. The issuer asked to be asked every hour.
    front.state().window = Some((start - 2 * DAY, start - DAY));
    front.state().explanation = Some("https://ca.example/incident".into());
    site.clock.advance(Duration::from_secs(3600));
    let third = site.renewed("a.selvedge.test", &second).await;
    verify(&third, &authority.root(), "a.selvedge.test");
    assert_eq!(front.state().replaced.len(), 2);
    // However the window lies, nobody orders without end.
    site.until("rest", |acme| status(acme, "a.selvedge.test")?.explanation).await;
    assert_eq!(front.state().orders, 3);
}

#[tokio::test]
async fn an_issuer_that_does_not_take_renewals_for_what_they_are_gets_plain_orders() {
    let doors = Doors::open().await;
    let authority = Authority::start(doors.ports, Options::default());
    let front = Front::start(&authority).await;
    let start = now();
    front.state().window = Some((start + 10 * DAY, start + 11 * DAY));
    front.state().ignore_replaces = true;
    let dir = tempfile::tempdir().unwrap();
    let site = Site::open(&doors, config(vec![front.issuer()]), dir.path(), HTTP).start();
    site.acme.want(names(&["a.selvedge.test"]));
    let first = site.certificate("a.selvedge.test").await;
    site.clock.advance(Duration::from_secs(11 * DAY));
    site.renewed("a.selvedge.test", &first).await;
    assert_eq!(front.state().orders, 3, "one was answered without the field, and one came without");
}
