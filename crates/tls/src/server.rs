//! What a handshake needs: a certificate for the name that is asked for, and what is asked of the client in turn.
//!
//! Sites that ask their clients for different certificates have different *policies*. A session of one policy can
//! neither be resumed under another nor be used for another's site.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig};
use selvedge_acme::{Acme, Name};

use crate::authority::{Authority, AuthorityError};
use crate::certificates::Certificates;
use crate::client::{ClientCa, ClientCaError};
use crate::config::{Profile, SiteTlsConfig, TlsConfig, TlsMode};
use crate::files::{FileError, Given, Stamp, stamp};
use crate::names::{NameMap, is_local, normal};

/// Protocols inside of TLS, in the order of preference (RFC 7301).
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// Handshakes that verify a challenge of ACME (RFC 8737).
pub(crate) const ACME_TLS: &[u8] = b"acme-tls/1";
/// Session tickets that a client gets at once.
const TICKETS: usize = 2;

/// A site, as far as TLS concerns it.
#[derive(Clone, Debug)]
pub struct TlsSite {
    /// Its hosts, as in its settings.
    pub hosts: Vec<String>,
    /// Its `tls`.
    pub tls: SiteTlsConfig,
}

/// TLS of a server; shared by its threads.
pub struct Tls {
    certificates: Arc<Certificates>,
    profile: Profile,
    current: RwLock<Arc<Current>>,
    challenges: Arc<ServerConfig>,
    pub(crate) given: Given,
    authorities: Mutex<Authorities>,
}

/// The files with authorities of clients, as they were when they were read, and the settings that name them.
#[derive(Default)]
struct Authorities {
    files: Vec<PathBuf>,
    stamp: Stamp,
    config: TlsConfig,
    sites: Vec<TlsSite>,
}

/// What changes with settings.
struct Current {
    /// Where no site says otherwise.
    default: Arc<Policy>,
    sites: NameMap<Arc<Policy>>,
    /// Names for which ACME is to order certificates.
    wanted: Vec<String>,
}

/// What is asked of clients.
pub struct Policy {
    /// Equal for policies that ask the same; empty where nothing is asked.
    identity: String,
    pub(crate) config: Arc<ServerConfig>,
    /// The same for clients whose order of ciphers counts.
    by_client: Arc<ServerConfig>,
}

/// Settings that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or its key.
    #[error(transparent)]
    Files(#[from] FileError),
    /// Authorities of clients.
    #[error(transparent)]
    ClientCa(#[from] ClientCaError),
    /// The own authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// What rustls refuses.
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
}

impl Tls {
    /// Reads certificates and gets ready to serve.
    ///
    /// # Errors
    /// Files that cannot be read or served; says which and what to do.
    pub fn new(config: &TlsConfig, sites: &[TlsSite]) -> Result<Self, TlsError> {
        let certificates = Arc::<Certificates>::default();
        let mut challenges = server_config(config.profile, None, Arc::new(Challenges(certificates.clone())))?;
        challenges.alpn_protocols = vec![ACME_TLS.to_vec()];
        let given = Given::default();
        let default = Arc::new(Policy::open(config.profile, &certificates)?);
        let empty = Current { default, sites: NameMap::default(), wanted: Vec::new() };
        let tls = Self {
            certificates,
            profile: config.profile,
            current: RwLock::new(Arc::new(empty)),
            challenges: Arc::new(challenges),
            given,
            authorities: Mutex::default(),
        };
        tls.update(config, sites)?;
        Ok(tls)
    }

    /// Takes new settings; on an error everything stays as it was. Sessions of policies that stay can be resumed.
    ///
    /// # Errors
    /// Files that cannot be read or served; says which and what to do.
    pub fn update(&self, config: &TlsConfig, sites: &[TlsSite]) -> Result<(), TlsError> {
        // Taken first: what changes while it is read is read again.
        let files = sites.iter().filter_map(|site| Some(site.tls.client_ca()?.0.to_owned()));
        let files: Vec<PathBuf> = files.collect();
        let stamp = stamp(&files);
        let given = self.given.read(config, sites)?;
        let before = self.current();
        let mut policies: Vec<Arc<Policy>> = Vec::new();
        let (mut by_host, mut internal, mut off) =
            (NameMap::default(), NameMap::default(), NameMap::default());
        let mut wanted = Vec::new();
        for site in sites {
            let policy = match site.tls.client_ca() {
                Some((path, auth)) => {
                    let ca = ClientCa::read(path, auth, self.profile)?;
                    let known = policies.iter().chain(before.sites.values());
                    let known = known.into_iter().find(|known| known.identity == ca.identity).cloned();
                    let policy = match known {
                        Some(known) => known,
                        None => Arc::new(Policy::asking(self.profile, ca, &self.certificates)?),
                    };
                    policies.push(policy.clone());
                    policy
                }
                None => before.default.clone(),
            };
            let hosts = site
                .hosts
                .iter()
                .filter_map(|host| if host == "*" { Some(host.clone()) } else { normal(host) });
            for host in hosts {
                by_host.insert(&host, policy.clone());
                match site.tls.mode() {
                    TlsMode::Internal if config.internal => internal.insert(&host, ()),
                    TlsMode::Off => off.insert(&host, ()),
                    _ if site.tls.files().is_none() && host != "*" && !is_local(&host) => wanted.push(host),
                    _ => {}
                }
            }
        }
        let authority = match config.internal && !config.data.as_os_str().is_empty() {
            true => Some(Arc::new(Authority::open(&config.data)?)),
            false => None,
        };
        // From here on nothing fails.
        self.given.take(given, &self.certificates);
        self.certificates.serve(authority, internal, off);
        if let Some(acme) = self.certificates.orders() {
            want(&acme, &wanted);
        }
        let next = Current { default: before.default.clone(), sites: by_host, wanted };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        *self.authorities.lock().unwrap_or_else(PoisonError::into_inner) =
            Authorities { files, stamp, config: config.clone(), sites: sites.to_vec() };
        Ok(())
    }

    /// Reads the authorities of clients again where their files have changed. Clients that were believed because of one that is
    /// gone are so no more, on connections that are open, too. What is broken now stays as it was. True when they were replaced.
    pub(crate) fn reload_authorities(&self) -> bool {
        let (config, sites) = {
            let mut known = self.authorities.lock().unwrap_or_else(PoisonError::into_inner);
            let now = stamp(&known.files);
            if now == known.stamp {
                return false;
            }
            // Said once for each state that the files are in.
            known.stamp = now;
            (known.config.clone(), known.sites.clone())
        };
        match self.update(&config, &sites) {
            Ok(()) => tracing::info!("authorities of clients were replaced"),
            Err(error) => {
                tracing::error!(%error, "authorities of clients were changed and cannot be used; those before stay");
                return false;
            }
        }
        true
    }

    /// Where certificates are looked up, and where those that come at run time are put.
    pub fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    /// Serves what ACME has and answers its challenges, and tells it which names sites want, now and whenever they change.
    pub fn attach(&self, acme: Option<Acme>) {
        if let Some(acme) = &acme {
            want(acme, &self.current().wanted);
        }
        self.certificates.attach(acme);
    }

    /// ACME, where it is in use.
    pub fn acme(&self) -> Option<Acme> {
        self.certificates.orders()
    }

    /// Has a certificate ordered for a name that has none, where that is allowed. False when it is not there in time.
    pub(crate) async fn demand(&self, hello: &ClientHello<'_>) -> bool {
        let challenge = hello.alpn().is_some_and(|mut offered| offered.any(|protocol| protocol == ACME_TLS));
        let Some(name) = hello.server_name().and_then(normal).filter(|_| !challenge) else { return false };
        let Some(acme) = self.certificates.may_order(&name) else { return false };
        acme.demand(&name).await.is_ok()
    }

    /// Names of sites that nobody gave a certificate for and that may have one of a public authority.
    pub fn wanted(&self) -> Vec<String> {
        self.current().wanted.clone()
    }

    /// What is asked of clients of a host, which is without a port.
    pub fn policy(&self, host: Option<&str>) -> Arc<Policy> {
        let current = self.current();
        let found = host.and_then(normal).and_then(|host| current.sites.under(&host).cloned());
        found.unwrap_or_else(|| current.default.clone())
    }

    /// How to answer a client. `None`: there is no certificate for the name that it asks for.
    pub(crate) fn choose(&self, hello: &ClientHello<'_>) -> Option<Chosen> {
        let name = hello.server_name().map(|name| normal(name).unwrap_or_default());
        let challenge = hello.alpn().is_some_and(|mut offered| offered.any(|protocol| protocol == ACME_TLS));
        if challenge {
            self.certificates.challenge(name.as_deref()?)?;
            return Some(Chosen { config: self.challenges.clone(), policy: self.policy(None), challenge });
        }
        self.certificates.find(name.as_deref(), hello.signature_schemes())?;
        let policy = self.policy(name.as_deref());
        let config = if prefers_chacha20(hello.cipher_suites()) { &policy.by_client } else { &policy.config };
        Some(Chosen { config: config.clone(), policy, challenge })
    }

    fn current(&self) -> Arc<Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// Tells ACME which names sites have.
fn want(acme: &Acme, hosts: &[String]) {
    let names = hosts.iter().filter_map(|host| {
        let name = Name::parse(host);
        name.inspect_err(|problem| tracing::warn!(host, "no certificate is ordered: the name {problem}")).ok()
    });
    acme.want(names);
}

/// How a client is answered.
pub(crate) struct Chosen {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) policy: Arc<Policy>,
    /// It is an authority that verifies a challenge, and has no more to say.
    pub(crate) challenge: bool,
}

impl Policy {
    fn open(profile: Profile, certificates: &Arc<Certificates>) -> Result<Self, TlsError> {
        let config = server_config(profile, None, Arc::new(ByName(certificates.clone())))?;
        Ok(Self::new(String::new(), config))
    }

    fn new(identity: String, config: ServerConfig) -> Self {
        let mut by_client = config.clone();
        by_client.ignore_client_order = false;
        Self { identity, config: Arc::new(config), by_client: Arc::new(by_client) }
    }

    fn asking(profile: Profile, ca: ClientCa, certificates: &Arc<Certificates>) -> Result<Self, TlsError> {
        let ClientCa { verifier, identity } = ca;
        let config = server_config(profile, Some(verifier), Arc::new(ByName(certificates.clone())))?;
        Ok(Self::new(identity, config))
    }

    /// Whether a connection of this policy may be used for a site of another.
    pub fn is_same(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// Whether clients are asked for certificates.
    pub fn asks(&self) -> bool {
        !self.identity.is_empty()
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("identity", &self.identity).finish_non_exhaustive()
    }
}

fn server_config(
    profile: Profile,
    verifier: Option<Arc<dyn rustls::server::danger::ClientCertVerifier>>,
    resolver: Arc<dyn ResolvesServerCert>,
) -> Result<ServerConfig, TlsError> {
    let builder =
        ServerConfig::builder_with_provider(profile.provider()).with_protocol_versions(profile.versions())?;
    let verifier = verifier.unwrap_or_else(WebPkiClientVerifier::no_client_auth);
    let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(resolver);
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).into();
    // Clients that put AES-256 first have processors that do SHA-256 at a tenth of the price of its suite's SHA-384.
    config.ignore_client_order = true;
    // Sessions live in tickets that the client keeps, sealed by keys that change every six hours; all threads share
    // them, and nothing is kept for clients that left.
    config.ticketer = Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = TICKETS;
    // What could be replayed is not taken (RFC 8446, section 8).
    config.max_early_data_size = 0;
    Ok(config)
}

/// Whether a client would rather not do AES: phones whose processors have no instructions for it put ChaCha20 first.
fn prefers_chacha20(suites: &[CipherSuite]) -> bool {
    use CipherSuite as C;
    let known = suites.iter().find_map(|suite| match suite {
        C::TLS13_CHACHA20_POLY1305_SHA256
        | C::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        | C::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => Some(true),
        C::TLS13_AES_128_GCM_SHA256 | C::TLS13_AES_256_GCM_SHA384 => Some(false),
        C::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 | C::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => {
            Some(false)
        }
        C::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 | C::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => Some(false),
        _ => None,
    });
    known.unwrap_or(false)
}

/// Looks certificates up.
#[derive(Debug)]
struct ByName(Arc<Certificates>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(|name| normal(name).unwrap_or_default());
        self.0.find(name.as_deref(), hello.signature_schemes())
    }
}

/// Looks answers to challenges up.
#[derive(Debug)]
struct Challenges(Arc<Certificates>);

impl ResolvesServerCert for Challenges {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.challenge(&normal(hello.server_name()?)?)
    }
}
