//! A running pebble with its own name server, on free ports.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use selvedge_acme::IssuerConfig;

/// Before a server that does not start fails the test.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that ends with the test.
pub(crate) struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended on its own.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The authority and its name server, in which every name leads here.
pub(crate) struct Authority {
    dir: tempfile::TempDir,
    listen: SocketAddr,
    management: SocketAddr,
    /// Where TXT records are set, for hooks.
    pub(crate) records: SocketAddr,
    dns: SocketAddr,
    ports: (u16, u16),
    options: Options,
    _names: Program,
    pebble: Option<Program>,
}

#[derive(Clone, Default)]
pub(crate) struct Options {
    /// Of a hundred good nonces, so many are rejected.
    pub(crate) reject_nonces: u32,
    /// Accounts need a binding, with [`EAB_KID`] and [`EAB_KEY`].
    pub(crate) binding: bool,
}

pub(crate) const EAB_KID: &str = "kid-1";
pub(crate) const EAB_KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

/// Installs pebble where it is missing.
fn installed() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let there = |program: &str| {
            let asked = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
            asked.is_ok_and(|asked| asked.status.success())
        };
        if there("pebble") && there("pebble-challtestsrv") && there("curl") {
            return;
        }
        let installed = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../xtask/apt-install"))
            .args(["pebble", "curl"])
            .status()
            .expect("apt-get can be run");
        assert!(installed.success(), "pebble cannot be installed");
    });
}

pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub(crate) fn wait_for(address: SocketAddr) {
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(started.elapsed() < PATIENCE, "nothing listens on {address}");
        sleep(Duration::from_millis(20));
    }
}

/// An authority for `localhost` with its certificate and key: `ca.pem`, `cert.pem`, `key.pem`.
pub(crate) fn make_server_certificate(dir: &Path) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = ca.self_signed(&ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let certificate = server.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    std::fs::write(dir.join("ca.pem"), root.pem()).unwrap();
    std::fs::write(dir.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
}

impl Authority {
    /// Starts one that looks for HTTP-01 and TLS-ALPN-01 on these ports.
    pub(crate) fn start(ports: (u16, u16), options: Options) -> Self {
        let mut authority = Self::stopped(ports, options);
        authority.restart();
        authority
    }

    /// One that is down.
    pub(crate) fn stopped(ports: (u16, u16), options: Options) -> Self {
        installed();
        let dir = tempfile::tempdir().unwrap();
        make_server_certificate(dir.path());
        let (records, dns) = (free_address(), free_address());
        let names = Command::new("pebble-challtestsrv")
            .args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""])
            .args(["-dns01", &dns.to_string(), "-management", &records.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for(records);
        let (listen, management) = (free_address(), free_address());
        let _names = Program(names);
        Self { dir, listen, management, records, dns, ports, options, _names, pebble: None }
    }

    /// Stops it, with all that it knows of accounts.
    pub(crate) fn stop(&mut self) {
        self.pebble = None;
    }

    /// Starts it, fresh, where it was.
    pub(crate) fn restart(&mut self) {
        self.stop();
        let keys = serde_json::json!({ EAB_KID: EAB_KEY });
        let config = serde_json::json!({ "pebble": {
            "listenAddress": self.listen.to_string(),
            "managementListenAddress": self.management.to_string(),
            "certificate": self.dir.path().join("cert.pem"),
            "privateKey": self.dir.path().join("key.pem"),
            "httpPort": self.ports.0,
            "tlsPort": self.ports.1,
            "externalAccountBindingRequired": self.options.binding,
            "externalAccountMACKeys": keys,
            "certificateValidityPeriod": 90 * 86_400,
        }});
        let path = self.dir.path().join("config.json");
        std::fs::write(&path, config.to_string()).unwrap();
        let pebble = Command::new("pebble")
            .arg("-strict")
            .arg("-config")
            .arg(&path)
            .args(["-dnsserver", &self.dns.to_string()])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_AUTHZREUSE", "0")
            .env("PEBBLE_WFE_NONCEREJECT", self.options.reject_nonces.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.pebble = Some(Program(pebble));
        wait_for(self.listen);
        wait_for(self.management);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listen
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// How the settings name it.
    pub(crate) fn issuer(&self) -> IssuerConfig {
        let directory = format!("https://localhost:{}/dir", self.listen.port());
        IssuerConfig { ca: Some(self.ca()), ..IssuerConfig::new(directory) }
    }

    /// The root of the certificates that it issues since its last start, as PEM.
    pub(crate) fn root(&self) -> Vec<u8> {
        let address = format!("https://{}/roots/0", self.management);
        let output = Command::new("curl").args(["-sfk", &address]).output().unwrap();
        assert!(output.status.success());
        output.stdout
    }
}
