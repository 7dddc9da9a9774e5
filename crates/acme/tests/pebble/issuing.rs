//! Proving control, each way, and what is left on disk.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use selvedge_acme::{AcmeConfig, KeyKind, Listeners, read_status};

use crate::authority::{Authority, Options};
use crate::site::{Doors, HTTP, Site, TLS, config, names, status, verify};

#[tokio::test]
async fn by_http_and_usable_after_a_restart() {
    let doors = Doors::open().await;
    let authority = Authority::start(doors.ports, Options::default());
    let dir = tempfile::tempdir().unwrap();
    let settings = AcmeConfig { key: KeyKind::P384, ..config(vec![authority.issuer()]) };
    let site = Site::open(&doors, settings.clone(), dir.path(), HTTP).start();
    site.acme.want(names(&["a.selvedge.test", "b.selvedge.test", "c.selvedge.test"]));
    let root = authority.root();
    for name in ["a.selvedge.test", "b.selvedge.test", "c.selvedge.test"] {
        verify(&*site.certificate(name).await, &root, name);
    }
    // Names that are asked for in other letters are the same.
    let first = site.acme.certificate("A.Selvedge.TEST").unwrap();
    let text = format!("{:?}", status(&site.acme, "a.selvedge.test"));
    assert!(!text.contains("KEY"), "{text}");
    drop(site);

    for part in ["certificates", "accounts"] {
        for entry in std::fs::read_dir(dir.path().join(part)).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        }
    }
    // It was never started again, so this is from disk.
    let again = Site::open(&doors, settings, dir.path(), HTTP);
    assert_eq!(again.acme.certificate("a.selvedge.test").unwrap().cert, first.cert);
    let read = read_status(dir.path()).unwrap();
    assert_eq!(read.len(), 3);
    assert!(
        read.iter().all(|status| status.error.is_none() && status.valid_until > status.renewal),
        "{read:#?}"
    );
}

#[tokio::test]
async fn by_tls() {
    let doors = Doors::open().await;
    let authority = Authority::start(doors.ports, Options::default());
    let dir = tempfile::tempdir().unwrap();
    let site = Site::open(&doors, config(vec![authority.issuer()]), dir.path(), TLS).start();
    site.acme.want(names(&["tls.selvedge.test"]));
    verify(&*site.certificate("tls.selvedge.test").await, &authority.root(), "tls.selvedge.test");
    assert!(site.acme.alpn("tls.selvedge.test").is_none(), "the answer ends with the challenge");
}

#[tokio::test]
async fn wildcards_by_a_hook_for_dns() {
    let doors = Doors::open().await;
    let authority = Authority::start(doors.ports, Options::default());
    let dir = tempfile::tempdir().unwrap();
    let (hook, log) = (dir.path().join("hook"), dir.path().join("log"));
    let script = format!(
        "#!/bin/sh\nset -e\necho \"$1 $2\" >> {log}\n\
         curl -sf -d \"{{\\\"host\\\": \\\"$2.\\\", \\\"value\\\": \\\"$3\\\"}}\" http://{records}/$1-txt\n",
        log = log.display(),
        records = authority.records,
    );
    std::fs::write(&hook, script).unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o700)).unwrap();
    let settings = AcmeConfig {
        dns_hook: vec![hook.to_str().unwrap().to_owned()],
        dns_wait_ms: 0,
        ..config(vec![authority.issuer()])
    };
    // DNS is all that there is for wildcards, also where HTTP would come first.
    let site = Site::open(&doors, settings, dir.path(), HTTP).start();
    site.acme.want(names(&["*.wild.test"]));
    let key = site.until("a certificate", |acme| acme.certificate("any.wild.test")).await;
    verify(&key, &authority.root(), "any.wild.test");
    assert!(site.acme.certificate("wild.test").is_none());
    assert!(site.acme.certificate("x.any.wild.test").is_none());
    let log = std::fs::read_to_string(log).unwrap();
    assert_eq!(log, "set _acme-challenge.wild.test\nclear _acme-challenge.wild.test\n");
}

#[tokio::test]
async fn wildcards_without_a_hook_say_what_is_missing() {
    let doors = Doors::open().await;
    let authority = Authority::stopped(doors.ports, Options::default());
    let dir = tempfile::tempdir().unwrap();
    let site = Site::open(&doors, config(vec![authority.issuer()]), dir.path(), HTTP).start();
    site.acme.want(names(&["*.wild.test"]));
    let error = site.failure("*.wild.test").await.error.unwrap();
    assert!(error.contains("dns-01") && error.contains("dns_hook"), "{error}");
    let none = Site::open(&doors, config(vec![authority.issuer()]), dir.path(), Listeners::default());
    none.acme.want(names(&["a.selvedge.test"]));
    let error = none.failure("a.selvedge.test").await.error.unwrap();
    assert!(error.contains("no challenge is possible"), "{error}");
}

#[tokio::test]
async fn a_closed_port_is_named_and_tried_again_with_pauses() {
    let doors = Doors::open().await;
    let closed = crate::authority::free_address().port();
    let authority = Authority::start((closed, doors.ports.1), Options::default());
    let dir = tempfile::tempdir().unwrap();
    let settings = config(vec![authority.issuer()]);
    let both = Listeners { http: true, tls: true };
    let site = Site::open(&doors, settings, dir.path(), both).start();
    site.acme.want(names(&["a.selvedge.test"]));
    let status = site.failure("a.selvedge.test").await;
    let error = status.error.unwrap();
    assert!(error.contains("port 80 of a.selvedge.test does not reach us"), "{error}");
    assert_eq!(status.failures, 1);
    let pause = status.retry.unwrap() - status.failed.unwrap();
    assert!((120..=150).contains(&pause), "{pause}");
    // The next attempt goes the other way, which is open.
    site.clock.advance(Duration::from_secs(150));
    let key = site.until("a certificate", |acme| acme.certificate("a.selvedge.test")).await;
    verify(&key, &authority.root(), "a.selvedge.test");
}

#[tokio::test]
async fn rejected_nonces_are_replaced() {
    let doors = Doors::open().await;
    let authority = Authority::start(doors.ports, Options { reject_nonces: 30, ..Options::default() });
    let dir = tempfile::tempdir().unwrap();
    let site = Site::open(&doors, config(vec![authority.issuer()]), dir.path(), HTTP).start();
    let all: Vec<_> = (0..4).map(|n| format!("n{n}.selvedge.test")).collect();
    site.acme.want(names(&all.iter().map(String::as_str).collect::<Vec<_>>()));
    let clock = site.clock.clone();
    site.until("certificates in spite of it", |acme| {
        // Three bad ones in a row end an attempt; the next is due after a pause.
        if acme.status().iter().any(|status| status.error.is_some()) {
            clock.advance(Duration::from_secs(3600));
        }
        all.iter().all(|name| acme.certificate(name).is_some()).then_some(())
    })
    .await;
}
