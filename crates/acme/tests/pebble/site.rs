//! A server with automatic certificates, as small as it can be: it answers challenges, and nothing else.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use selvedge_acme::{
    ALPN, Acme, AcmeConfig, AcmeMetrics, CertificateStatus, Clock, HTTP01_PATH, IssuerConfig, Listeners,
    Name, Running,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::LazyConfigAcceptor;

/// Before a test gives up on what should come.
const PATIENCE: Duration = Duration::from_secs(90);

/// Whoever answers challenges at the moment: [`Site`]s come and go on the same ports.
type Current = Arc<Mutex<Option<Acme>>>;

/// Ports on which challenges are answered.
pub(crate) struct Doors {
    /// HTTP-01 and TLS-ALPN-01.
    pub(crate) ports: (u16, u16),
    current: Current,
}

impl Doors {
    pub(crate) async fn open() -> Self {
        let current = Current::default();
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tls = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ports = (http.local_addr().unwrap().port(), tls.local_addr().unwrap().port());
        tokio::spawn(answer_http(http, current.clone()));
        tokio::spawn(answer_tls(tls, current.clone()));
        Self { ports, current }
    }
}

async fn answer_http(listener: TcpListener, current: Current) {
    while let Ok((stream, _)) = listener.accept().await {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while stream.read_line(&mut line).await.is_ok_and(|count| count > 2) {}
        let path = line.split(' ').nth(1).unwrap_or_default();
        let acme = current.lock().unwrap().clone();
        let token = path.strip_prefix(HTTP01_PATH);
        let answer = match token.and_then(|token| acme?.http01(token)) {
            Some(answer) => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}", answer.len()),
            None => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
        };
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

#[derive(Debug)]
struct AlpnOnly(Arc<CertifiedKey>);

impl ResolvesServerCert for AlpnOnly {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

async fn answer_tls(listener: TcpListener, current: Current) {
    while let Ok((stream, _)) = listener.accept().await {
        let acme = current.lock().unwrap().clone();
        let accept = LazyConfigAcceptor::new(Default::default(), stream);
        let Ok(start) = accept.await else { continue };
        let hello = start.client_hello();
        let offers = hello.alpn().is_some_and(|mut offered| offered.any(|protocol| protocol == ALPN));
        let key = hello.server_name().and_then(|name| acme?.alpn(name));
        let Some(key) = key.filter(|_| offers) else { continue };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(AlpnOnly(key)));
        config.alpn_protocols = vec![ALPN.to_vec()];
        let _ = start.into_stream(Arc::new(config)).await;
    }
}

/// Certificates for the names of a test.
pub(crate) struct Site {
    pub(crate) acme: Acme,
    pub(crate) clock: Clock,
    running: Option<Running>,
}

pub(crate) fn config(issuers: Vec<IssuerConfig>) -> AcmeConfig {
    AcmeConfig { agree: true, email: Some("me@selvedge.example".into()), issuers, ..AcmeConfig::default() }
}

pub(crate) const HTTP: Listeners = Listeners { http: true, tls: false };
pub(crate) const TLS: Listeners = Listeners { http: false, tls: true };

pub(crate) fn names(names: &[&str]) -> Vec<Name> {
    names.iter().map(|name| Name::parse(name).unwrap()).collect()
}

/// The time by the system's clock, where pebble lives.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Site {
    /// Opens the directory, whose contents are usable, and does no work.
    pub(crate) fn open(doors: &Doors, config: AcmeConfig, dir: &Path, listeners: Listeners) -> Self {
        Self::open_at(doors, config, dir.to_owned(), listeners, Clock::manual(now()))
    }

    pub(crate) fn open_at(
        doors: &Doors,
        config: AcmeConfig,
        dir: PathBuf,
        listeners: Listeners,
        clock: Clock,
    ) -> Self {
        let config = AcmeConfig { data: dir, ..config };
        let acme = Acme::open(config, listeners, clock.clone(), AcmeMetrics::default()).unwrap();
        *doors.current.lock().unwrap() = Some(acme.clone());
        Self { acme, clock, running: None }
    }

    /// Goes to work.
    pub(crate) fn start(mut self) -> Self {
        self.running = Some(self.acme.start().unwrap());
        self
    }

    /// Waits until something is so.
    pub(crate) async fn until<T>(&self, what: &str, mut is: impl FnMut(&Acme) -> Option<T>) -> T {
        let mut changes = self.acme.changes();
        let wait = async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = is(&self.acme) {
                    return found;
                }
                changes.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        waited.unwrap_or_else(|_| panic!("{what} did not happen: {:#?}", self.acme.status()))
    }

    /// Waits until a name has a certificate, and nobody works at it.
    pub(crate) async fn certificate(&self, name: &str) -> Arc<CertifiedKey> {
        self.until("a certificate", |acme| {
            assert_eq!(error(acme, name), None);
            acme.certificate(name)
        })
        .await
    }

    /// Waits until an attempt for a name failed, and returns why.
    pub(crate) async fn failure(&self, name: &str) -> CertificateStatus {
        self.until("a failure", |acme| status(acme, name).filter(|status| status.error.is_some())).await
    }

    /// Waits until a name has another certificate than this.
    pub(crate) async fn renewed(&self, name: &str, old: &CertifiedKey) -> Arc<CertifiedKey> {
        self.until("a renewal", |acme| acme.certificate(name).filter(|new| new.cert[0] != old.cert[0])).await
    }
}

pub(crate) fn status(acme: &Acme, name: &str) -> Option<CertificateStatus> {
    acme.status().into_iter().find(|status| status.name == name)
}

fn error(acme: &Acme, name: &str) -> Option<String> {
    status(acme, name)?.error
}

/// Has a client that trusts `root` only look at a certificate.
pub(crate) fn verify(key: &CertifiedKey, root: &[u8], name: &str) {
    let mut roots = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(root) {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let verifier = verifier.build().unwrap();
    use rustls::client::danger::ServerCertVerifier;
    verifier.verify_server_cert(&key.cert[0], &key.cert[1..], &name, &[], UnixTime::now()).unwrap();
}
