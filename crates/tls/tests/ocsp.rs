//! Proofs that a certificate is not revoked, of OpenSSL's responder.
#![allow(missing_docs)]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use selvedge_tls::config::{CertificateFiles, TlsConfig};
use selvedge_tls::ocsp::{OcspError, check};
use selvedge_tls::{Certificate, Tls};

/// A directory with an authority of OpenSSL's and one certificate of it, whose responder is at `port`.
fn world(port: u16) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let extensions =
        format!("subjectAltName=DNS:a.example\nauthorityInfoAccess=OCSP;URI:http://127.0.0.1:{port}/\n");
    std::fs::write(directory.path().join("extensions"), extensions).unwrap();
    let steps = "
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj /CN=authority -days 30
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout leaf.key -out leaf.csr -subj /CN=leaf
        openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -set_serial 0x1234 -days 20 -extfile extensions -out leaf.pem
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout other.key -out other.pem -subj /CN=other -days 30
        cat leaf.pem ca.pem > chain.pem";
    for step in steps.trim().lines() {
        let ran = Command::new("sh").args(["-c", step]).current_dir(directory.path()).output().unwrap();
        assert!(ran.status.success(), "{step}: {}", String::from_utf8_lossy(&ran.stderr));
    }
    directory
}

fn index(directory: &Path, line: &str) {
    std::fs::write(directory.join("index"), format!("{line}\t1234\tunknown\t/CN=leaf\n")).unwrap();
}

const GOOD: &str = "V\t351231235959Z\t";
const REVOKED: &str = "R\t351231235959Z\t250101000000Z";

/// An answer that OpenSSL makes without a responder.
fn answer(directory: &Path, signer: &str, more: &[&str]) -> Vec<u8> {
    let ran = Command::new("openssl")
        .args(["ocsp", "-index", "index", "-CA", "ca.pem", "-issuer", "ca.pem", "-cert", "leaf.pem"])
        .args([
            "-rsigner",
            &format!("{signer}.pem"),
            "-rkey",
            &format!("{signer}.key"),
            "-respout",
            "answer.der",
        ])
        .args(more)
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    std::fs::read(directory.join("answer.der")).unwrap()
}

fn certificate(directory: &Path) -> Certificate {
    let read = |name: &str| std::fs::read(directory.join(name)).unwrap();
    Certificate::from_pem(&read("chain.pem"), &read("leaf.key")).unwrap()
}

#[test]
fn answers_are_checked_as_clients_do() {
    let directory = world(1);
    let directory = directory.path();
    let certificate = certificate(directory);
    index(directory, GOOD);
    let good = answer(directory, "ca", &["-ndays", "4"]);
    let due = check(&good, &certificate).unwrap().duration_since(SystemTime::now()).unwrap();
    assert!(due > Duration::from_secs(47 * 3600) && due <= Duration::from_secs(48 * 3600), "{due:?}");
    // Signed by somebody else.
    let forged = answer(directory, "other", &["-ndays", "4"]);
    assert_eq!(check(&forged, &certificate), Err(OcspError::Signature));
    index(directory, REVOKED);
    assert_eq!(check(&answer(directory, "ca", &["-ndays", "4"]), &certificate), Err(OcspError::Revoked));
    std::fs::write(directory.join("index"), "").unwrap();
    assert_eq!(check(&answer(directory, "ca", &["-ndays", "4"]), &certificate), Err(OcspError::Unknown));
    // Damaged anywhere, it is refused and nothing panics.
    for at in 0..good.len() {
        assert!(check(&good[..at], &certificate).is_err(), "cut at {at}");
        let mut damaged = good.clone();
        damaged[at] ^= 0x01;
        let _ = check(&damaged, &certificate);
    }
    assert_eq!(check(b"\x30\x03\x0a\x01\x06", &certificate), Err(OcspError::Refused(6)));
}

/// OpenSSL's responder, ended with the test.
struct Responder(Child);

impl Drop for Responder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn proofs_are_fetched_and_handed_on() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let directory = world(port);
    let path = |name: &str| directory.path().join(name);
    index(directory.path(), GOOD);
    let responder = Command::new("openssl")
        .args([
            "ocsp", "-index", "index", "-CA", "ca.pem", "-rsigner", "ca.pem", "-rkey", "ca.key", "-ndays",
            "4",
        ])
        .args(["-port", &port.to_string()])
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut responder = Responder(responder);
    // It says when it listens; connections that ask for nothing would hold it up.
    let mut said = BufReader::new(responder.0.stderr.take().unwrap());
    said.read_line(&mut String::new()).unwrap();
    let files = CertificateFiles { certificate: path("chain.pem"), key: path("leaf.key"), ocsp: None };
    let config = TlsConfig { certificates: vec![files], internal: false, ..TlsConfig::default() };
    let tls = Tls::new(&config, &[]).unwrap();
    let stapled = || tls.certificates().find(Some("a.example"), &[]).unwrap().ocsp.clone();
    assert!(stapled().is_none());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(tls.refresh_staples());
    let first = stapled().expect("there is a proof");
    check(&first, &certificate(directory.path())).unwrap();
    // It is not asked for again before its time, and new settings do not lose it.
    runtime.block_on(tls.refresh_staples());
    tls.update(&config, &[]).unwrap();
    assert_eq!(stapled(), Some(first));
}
