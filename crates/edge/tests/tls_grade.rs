//! What testssl.sh says of HTTPS: versions, ciphers, and the weaknesses it knows. Nothing beyond what is listed here may be found.
#![allow(missing_docs, clippy::print_stderr, reason = "a test crate")]

#[path = "support/pairs.rs"]
mod pairs;
mod support;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use selvedge_edge::EdgeConfig;
use serde_json::Value;
use support::{Server, sites, start_with};

/// Findings about the certificate of a test, which nobody else's authority has made out for a year.
const OF_THE_CERTIFICATE: [&str; 4] =
    ["cert_chain_of_trust", "cert_expirationStatus", "cert_notAfter", "cert_revocation"];

/// What is said of each thing: its severity and a sentence.
fn judged(profile: &str) -> BTreeMap<String, (String, String)> {
    pairs::install("testssl", "testssl.sh");
    let dir = tempfile::tempdir().unwrap();
    let settings = format!(
        "[edge.tls]\nprofile = \"{profile}\"\n[[sites]]\nhosts = [\"a.localhost\"]\n[[sites.routes]]\nrespond = {{ body = \"hello\" }}\n"
    );
    let (mut config, sites) = sites(&settings).unwrap();
    let listen = "listen = [{ address = \"127.0.0.1:0\", tls = true }]";
    config.listen = toml::from_str::<EdgeConfig>(listen).unwrap().listen;
    config.tls.data = dir.path().join("own");
    let server: Server = start_with(config, sites).unwrap();
    let report = dir.path().join("report.json");
    let status = Command::new("testssl")
        .args(["--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1", "--nodns", "none"])
        .args(["--protocols", "--std", "--fs", "--server-defaults", "--vulnerable", "--jsonfile"])
        .arg(&report)
        .arg(format!("a.localhost:{}", server.address.port()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    eprintln!("{profile}: {status}");
    let findings: Vec<Value> = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    findings
        .iter()
        .map(|finding| (text(finding, "id"), (text(finding, "severity"), text(finding, "finding"))))
        .collect()
}

fn check(profile: &str, tls_1_2: &str) {
    let findings = judged(profile);
    let said = |id: &str| findings.get(id).map(|(_, said)| said.as_str());
    for (id, expected) in [
        ("SSLv2", "not offered"),
        ("SSLv3", "not offered"),
        ("TLS1", "not offered"),
        ("TLS1_1", "not offered"),
        ("TLS1_2", tls_1_2),
        ("TLS1_3", "offered with final"),
        ("ALPN_HTTP2", "h2"),
        ("cipherlist_aNULL", "not offered"),
        ("cipherlist_EXPORT", "not offered"),
        ("cipherlist_LOW", "not offered"),
        ("cipherlist_AVERAGE", "not offered"),
    ] {
        assert_eq!(said(id), Some(expected), "{id}");
    }
    // Each was looked at, and found well.
    for id in [
        "heartbleed",
        "CCS",
        "ticketbleed",
        "ROBOT",
        "secure_renego",
        "CRIME_TLS",
        "BREACH",
        "SWEET32",
        "LOGJAM",
        "BEAST",
        "LUCKY13",
    ] {
        // With TLS 1.3 alone some have nothing to look at.
        let Some((severity, said)) = findings.get(id) else {
            assert_ne!(tls_1_2, "offered", "{id} was not looked at");
            continue;
        };
        assert!(matches!(severity.as_str(), "OK" | "INFO"), "{id}: {severity} {said}");
    }
    let weak: Vec<_> = findings
        .iter()
        .filter(|(id, (severity, _))| {
            ["LOW", "MEDIUM", "HIGH", "CRITICAL", "FATAL"].contains(&severity.as_str())
                && !OF_THE_CERTIFICATE.contains(&id.as_str())
        })
        .collect();
    assert!(weak.is_empty(), "{weak:#?}");
}

#[test]
fn testssl_finds_no_weakness() {
    check("intermediate", "offered");
}

#[test]
fn testssl_finds_the_modern_profile_modern() {
    check("modern", "not offered");
}
