//! Names that a client's handshake asks for first.

use std::sync::Arc;
use std::time::Duration;

use selvedge_acme::{AcmeConfig, NameProblem, OnDemandConfig, Refused};

use crate::authority::{Authority, Options};
use crate::front::Front;
use crate::site::{Doors, HTTP, Site, config, names, verify};

fn on_demand(front: &Front, demand: OnDemandConfig) -> AcmeConfig {
    AcmeConfig { on_demand: Some(demand), ..config(vec![front.issuer()]) }
}

#[tokio::test]
async fn who_is_allowed_gets_one_order_and_nobody_else_any() {
    let doors = Doors::open().await;
    let authority = Authority::start(doors.ports, Options::default());
    let front = Front::start(&authority).await;
    let dir = tempfile::tempdir().unwrap();
    let allow = vec!["*.customers.test".into()];
    let demand = OnDemandConfig { allow, names_per_minute: 2, wait_ms: 60_000, ..OnDemandConfig::default() };
    let settings = on_demand(&front, demand);
    let site = Site::open(&doors, settings.clone(), dir.path(), HTTP).start();
    site.acme.want(names(&[]));
    let site = Arc::new(site);

    for (name, refused) in [
        ("127.0.0.1", Refused::Name(NameProblem::Address)),
        ("a_b.customers.test", Refused::Name(NameProblem::Label)),
        ("xn--e.customers.test", Refused::Name(NameProblem::Internationalised)),
        ("*.customers.test", Refused::Name(NameProblem::Wildcard)),
        ("customers.test", Refused::NotAllowed),
        ("a.b.customers.test", Refused::NotAllowed),
        ("elsewhere.test", Refused::NotAllowed),
    ] {
        assert_eq!(site.acme.demand(name).await.unwrap_err(), refused, "{name}");
    }
    assert_eq!(front.state().orders, 0);

    let waiting: Vec<_> = (0..20)
        .map(|n| {
            let site = site.clone();
            // In other letters it is the same name.
            let name = if n % 2 == 0 { "one.customers.test" } else { "ONE.customers.test" };
            tokio::spawn(async move { site.acme.demand(name).await.unwrap() })
        })
        .collect();
    for key in waiting {
        verify(&key.await.unwrap(), &authority.root(), "one.customers.test");
    }
    assert_eq!(front.state().orders, 1);

    site.acme.demand("two.customers.test").await.unwrap();
    assert_eq!(site.acme.demand("three.customers.test").await.unwrap_err(), Refused::TooMany);
    site.clock.advance(Duration::from_secs(60));
    site.acme.demand("three.customers.test").await.unwrap();
    assert_eq!(front.state().orders, 3);

    // After a restart they are there, and are renewed only when somebody wants them.
    let Ok(site) = Arc::try_unwrap(site).map_err(drop) else { panic!("somebody still waits") };
    let clock = site.clock.clone();
    drop(site);
    clock.advance(Duration::from_secs(70 * 86_400));
    let site = Site::open_at(&doors, settings, dir.path().to_owned(), HTTP, clock).start();
    let old = site.acme.certificate("one.customers.test").unwrap();
    site.renewed("one.customers.test", &old).await;
    assert_eq!(front.state().orders, 4);
}

#[tokio::test]
async fn what_fails_is_not_tried_at_every_handshake() {
    let doors = Doors::open().await;
    let closed = crate::authority::free_address().port();
    let authority = Authority::start((closed, closed), Options::default());
    let front = Front::start(&authority).await;
    let dir = tempfile::tempdir().unwrap();
    let allow = vec!["*.customers.test".into()];
    let demand = OnDemandConfig { allow, max_names: 2, wait_ms: 60_000, ..OnDemandConfig::default() };
    let site = Site::open(&doors, on_demand(&front, demand), dir.path(), HTTP).start();
    for _ in 0..3 {
        let refused = site.acme.demand("one.customers.test").await.unwrap_err();
        assert!(matches!(&refused, Refused::Failed(why) if why.contains("port 80")), "{refused}");
    }
    assert_eq!(front.state().orders, 1);
    site.acme.demand("two.customers.test").await.unwrap_err();
    assert_eq!(site.acme.demand("three.customers.test").await.unwrap_err(), Refused::TooMany);
    // Nobody asks any more: nothing is tried.
    site.clock.advance(Duration::from_secs(3600));
    let refused = site.acme.demand("one.customers.test").await.unwrap_err();
    assert!(matches!(refused, Refused::Failed(_)));
    assert_eq!(front.state().orders, 3);
}

#[tokio::test]
async fn a_handshake_waits_no_longer_than_it_may() {
    let doors = Doors::open().await;
    let authority = Authority::start(doors.ports, Options::default());
    let front = Front::start(&authority).await;
    let dir = tempfile::tempdir().unwrap();
    let demand =
        OnDemandConfig { allow: vec!["*.customers.test".into()], wait_ms: 1, ..OnDemandConfig::default() };
    let site = Site::open(&doors, on_demand(&front, demand), dir.path(), HTTP).start();
    assert_eq!(site.acme.demand("one.customers.test").await.unwrap_err(), Refused::Late);
    // The order goes on without it.
    site.until("a certificate", |acme| acme.certificate("one.customers.test")).await;
    site.acme.demand("one.customers.test").await.unwrap();
    assert_eq!(front.state().orders, 1);
}
