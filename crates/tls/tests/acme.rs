//! Handshakes with what ACME has: certificates of sites, answers to challenges, and names that are ordered while their
//! client waits. The authority is `pebble`, and comes to see on the very port that clients use.
#![allow(missing_docs)]

#[allow(dead_code)]
#[path = "../../acme/tests/pebble/authority.rs"]
mod authority;

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use authority::{Authority, Options, free_address};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use selvedge_acme::{Acme, AcmeConfig, AcmeMetrics, Clock, Listeners, OnDemandConfig, Running};
use selvedge_tls::config::{Profile, SiteTlsConfig, TlsConfig};
use selvedge_tls::{HandshakeError, Tls, TlsSite, handshake};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;

/// Before a test gives up on what should come.
const PATIENCE: Duration = Duration::from_secs(90);

struct World {
    tls: Arc<Tls>,
    config: TlsConfig,
    acme: Acme,
    authority: Authority,
    address: SocketAddr,
    _running: Running,
    _dir: tempfile::TempDir,
}

fn site(host: &str, tls: &str) -> TlsSite {
    let tls: SiteTlsConfig = serde_json::from_value(tls.into()).unwrap();
    TlsSite { hosts: vec![host.into()], tls }
}

impl World {
    async fn new(sites: &[TlsSite], on_demand: Option<OnDemandConfig>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ports = (free_address().port(), address.port());
        let authority = Authority::start(ports, Options::default());
        let acme =
            AcmeConfig { agree: true, issuers: vec![authority.issuer()], on_demand, ..AcmeConfig::default() };
        let config = TlsConfig { acme: Some(acme), data: dir.path().into(), ..TlsConfig::default() };
        assert_eq!(config.problem(), None);
        let tls = Arc::new(Tls::new(&config, sites).unwrap());
        let acme = open(&config, dir.path());
        tls.attach(Some(acme.clone()));
        let running = acme.start().unwrap();
        let serving = tls.clone();
        tokio::task::spawn_local(async move {
            let buffers = Rc::default();
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, buffers) = (serving.clone(), Rc::clone(&buffers));
                tokio::task::spawn_local(async move {
                    match handshake(stream, Vec::new(), &tls, buffers).await {
                        Ok((mut stream, _)) => drop(stream.shutdown().await),
                        Err(HandshakeError::Challenge | HandshakeError::UnknownName(_)) => {}
                        Err(error) => drop(error),
                    }
                });
            }
        });
        Self { tls, config, acme, authority, address, _running: running, _dir: dir }
    }

    /// Shakes hands, as a client that trusts the authority only, and returns what it was shown.
    async fn connect(&self, name: &str) -> std::io::Result<CertificateDer<'static>> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(&self.authority.root()) {
            roots.add(root.unwrap()).unwrap();
        }
        let config = ClientConfig::builder_with_provider(Profile::Modern.provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        Ok(stream.get_ref().1.peer_certificates().unwrap()[0].clone())
    }

    async fn until_issued(&self, name: &str) {
        let mut changes = self.acme.changes();
        let wait = async {
            while self.acme.certificate(name).is_none() {
                changes.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "no certificate: {:#?}", self.acme.status());
    }
}

fn open(config: &TlsConfig, dir: &Path) -> Acme {
    let listeners = Listeners { http: false, tls: true };
    let config = AcmeConfig { data: dir.join("acme"), ..config.acme.clone().unwrap() };
    Acme::open(config, listeners, Clock::System, AcmeMetrics::default()).unwrap()
}

fn local<F: Future<Output = ()> + 'static>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

fn unknown_name(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::AlertReceived(AlertDescription::UnrecognisedName)))
}

#[test]
fn sites_get_certificates_and_keep_them() {
    local(async {
        let sites = [site("a.selvedge.example", "auto"), site("own.selvedge.example", "internal")];
        let world = World::new(&sites, None).await;
        world.until_issued("a.selvedge.example").await;
        world.connect("a.selvedge.example").await.unwrap();
        // Sites of the own authority and sites without TLS are nobody else's business.
        let names: Vec<_> = world.acme.status().into_iter().map(|status| status.name).collect();
        assert_eq!(names, ["a.selvedge.example"]);
        assert!(unknown_name(&world.connect("b.selvedge.example").await.unwrap_err()));

        // New settings bring new names.
        let sites = [site("a.selvedge.example", "auto"), site("b.selvedge.example", "auto")];
        world.tls.update(&world.config, &sites).unwrap();
        world.until_issued("b.selvedge.example").await;
        world.connect("b.selvedge.example").await.unwrap();
    });
}

#[test]
fn a_client_waits_for_a_name_that_is_allowed() {
    local(async {
        let on_demand = OnDemandConfig {
            allow: vec!["*.customers.example".into()],
            wait_ms: 60_000,
            ..OnDemandConfig::default()
        };
        let off = [site("off.customers.example", "off")];
        let world = World::new(&off, Some(on_demand)).await;
        let first = world.connect("one.customers.example").await.unwrap();
        assert_eq!(world.connect("one.customers.example").await.unwrap(), first);
        for name in
            ["elsewhere.example", "a.b.customers.example", "xn--e.customers.example", "off.customers.example"]
        {
            assert!(unknown_name(&world.connect(name).await.unwrap_err()), "{name}");
        }
        assert_eq!(world.acme.status().len(), 1);
    });
}
