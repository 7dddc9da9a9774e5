//! What is wanted, what is there, and what is to be done next. Listeners ask here; the work is in [`crate::work`].

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use rustls::sign::CertifiedKey;
use tokio::sync::{Notify, watch};

use crate::challenges::Challenges;
use crate::clock::{Clock, Seconds};
use crate::config::{AcmeConfig, ChallengeKind};
use crate::demand::{Gate, Refused};
use crate::disk::{Disk, Record};
use crate::issuer::Issuer;
use crate::keys::Certificate;
use crate::metrics::AcmeMetrics;
use crate::names::Name;
use crate::schedule::renewal;
use crate::status::CertificateStatus;

/// A certificate that nobody wants any more is kept for so long after its end, seconds.
const KEPT_AFTER_END: Seconds = 30 * 86_400;
/// A name that was asked for and never got a certificate is remembered for so long after its last failure, seconds.
const FAILED_KEPT: Seconds = 24 * 3600;

/// What the listeners can answer to issuers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listeners {
    /// There is one for plain HTTP.
    pub http: bool,
    /// There is one for TLS.
    pub tls: bool,
}

/// Why automatic certificates cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// A setting cannot be used.
    #[error("acme.{0}")]
    Config(String),
    /// The directory cannot be used.
    #[error("the directory of certificates, {0}: {1}")]
    Directory(PathBuf, std::io::Error),
}

/// Automatic certificates. Clones are handles on the same.
#[derive(Clone)]
pub struct Acme {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: AcmeConfig,
    /// Ways to prove control, best first.
    kinds: Vec<ChallengeKind>,
    pub(crate) disk: Disk,
    pub(crate) clock: Clock,
    pub(crate) issuers: Vec<Issuer>,
    pub(crate) challenges: Challenges,
    pub(crate) metrics: AcmeMetrics,
    gate: Option<Gate>,
    /// What handshakes look at.
    live: RwLock<HashMap<Name, Arc<Held>>>,
    /// What is to be done. Taken before `live` where both are.
    entries: Mutex<BTreeMap<Name, Entry>>,
    /// Counts whatever happened to a name.
    changed: watch::Sender<u64>,
    /// There may be something to do earlier than thought.
    pub(crate) wake: Notify,
}

/// A certificate in use.
pub(crate) struct Held {
    pub(crate) certificate: Certificate,
    /// A handshake had it.
    used: AtomicBool,
    /// It waits for a handshake before it is renewed.
    waits: AtomicBool,
}

/// A name.
#[derive(Default)]
pub(crate) struct Entry {
    pub(crate) record: Record,
    /// A site lists it.
    pub(crate) listed: bool,
    /// Somebody works at it.
    pub(crate) busy: bool,
    /// A handshake waits for it.
    pub(crate) asked: bool,
    /// The disk does not know it yet.
    pub(crate) unkept: bool,
}

/// What is to be done for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Task {
    /// A handshake waits.
    OrderAsked,
    /// There is no certificate yet.
    OrderMissing,
    /// The one that is there is to be renewed.
    Renew,
    /// The issuer is to be asked when to renew.
    AskWindow,
}

impl Acme {
    /// Reads what the directory of the settings holds, which is usable at once. Nothing is ordered before
    /// [`start`](Self::start).
    ///
    /// # Errors
    /// Settings or a directory that cannot be used; says which and what to do.
    pub fn open(
        config: AcmeConfig,
        listeners: Listeners,
        clock: Clock,
        metrics: AcmeMetrics,
    ) -> Result<Self, AcmeError> {
        if let Some(problem) = config.problem() {
            return Err(AcmeError::Config(problem));
        }
        let dir = config.data.clone();
        let disk = Disk::open(&dir).map_err(|error| AcmeError::Directory(dir.clone(), error))?;
        let issuers =
            config.issuers().into_iter().map(|issuer| Issuer::new(issuer, config.concurrency, &disk));
        let issuers = issuers
            .collect::<Result<_, _>>()
            .map_err(|error| AcmeError::Config(format!("issuers: {error}")))?;
        let gate = config.on_demand.clone().map(|gate| Gate::new(gate, clock.clone())).transpose();
        let gate = gate.map_err(|error| AcmeError::Config(format!("on_demand: {error}")))?;
        let inner = Inner {
            kinds: kinds(&config, listeners),
            config,
            clock,
            issuers,
            challenges: Challenges::default(),
            metrics,
            gate,
            live: RwLock::default(),
            entries: Mutex::default(),
            changed: watch::Sender::new(0),
            wake: Notify::new(),
            disk,
        };
        let names = inner.disk.names().map_err(|error| AcmeError::Directory(dir, error))?;
        for name in names {
            let record = inner.disk.record(&name).unwrap_or_default();
            inner.entries().insert(name.clone(), Entry { record, ..Entry::default() });
            inner.load(&name);
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Says which names sites have. Names that are new get a certificate; those that are gone are not renewed.
    pub fn want(&self, names: impl IntoIterator<Item = Name>) {
        let mut entries = self.inner.entries();
        for entry in entries.values_mut() {
            entry.listed = false;
        }
        for name in names {
            let impossible = self.inner.impossible(&name);
            let is_new = !entries.contains_key(&name);
            let entry = entries.entry(name.clone()).or_default();
            entry.listed = true;
            let before = entry.record.clone();
            entry.record.on_demand = false;
            if let Some(problem) = impossible {
                tracing::warn!(%name, "no certificate can be ordered: {problem}");
                entry.record.error = Some(problem);
            } else if entry.record.failures == 0 {
                entry.record.error = None;
            }
            entry.unkept |= is_new || before != entry.record;
        }
        drop(entries);
        self.inner.wake.notify_one();
    }

    /// The certificate for a server name: its own, or that of the wildcard above it.
    pub fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let lower;
        let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            lower = name.to_ascii_lowercase();
            &lower
        } else {
            name
        };
        let live = self.inner.live.read().unwrap_or_else(PoisonError::into_inner);
        let held = live.get(name).or_else(|| {
            let (_, rest) = name.split_once('.')?;
            live.get(format!("*.{rest}").as_str())
        })?;
        if !held.used.load(Ordering::Relaxed) {
            held.used.store(true, Ordering::Relaxed);
            if held.waits.swap(false, Ordering::Relaxed) {
                self.inner.wake.notify_one();
            }
        }
        Some(held.certificate.key.clone())
    }

    /// Whether there is a certificate for a server name, which is in lower case.
    pub fn has(&self, name: &str) -> bool {
        let live = self.inner.live.read().unwrap_or_else(PoisonError::into_inner);
        let above =
            || name.split_once('.').is_some_and(|(_, rest)| live.contains_key(format!("*.{rest}").as_str()));
        live.contains_key(name) || above()
    }

    /// What HTTP-01 answers to `GET /.well-known/acme-challenge/TOKEN`, if an issuer was told to ask for it.
    pub fn http01(&self, token: &str) -> Option<Arc<str>> {
        self.inner.challenges.http01(token)
    }

    /// What a handshake that offers the protocol `acme-tls/1` gets, if an issuer was told to make one.
    pub fn alpn(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.inner.challenges.alpn(&name.to_ascii_lowercase())
    }

    /// The counters that it was given.
    pub fn metrics(&self) -> &AcmeMetrics {
        &self.inner.metrics
    }

    /// Whether names that no site has may get a certificate when a client asks for one.
    pub fn is_on_demand(&self) -> bool {
        self.inner.gate.is_some()
    }

    /// The certificate for a server name, which is ordered first where it may be. Waits as long as the settings say.
    pub async fn demand(&self, name: &str) -> Result<Arc<CertifiedKey>, Refused> {
        let result = self.demanded(name).await;
        if let Err(refused) = &result {
            self.inner.metrics.refused();
            tracing::debug!(name, "no certificate on demand: {refused}");
        }
        result
    }

    async fn demanded(&self, name: &str) -> Result<Arc<CertifiedKey>, Refused> {
        if let Some(key) = self.certificate(name) {
            return Ok(key);
        }
        let name = Name::asked(name)?;
        let gate = self.inner.gate.as_ref().ok_or(Refused::Off)?;
        let mut changes = self.changes();
        let limit = Duration::from_millis(gate.config.wait_ms);
        let wait = async {
            if !self.inner.is_under_way(&name) {
                gate.permits(&name).await?;
                self.inner.ask_for(&name, gate)?;
                self.inner.wake.notify_one();
            }
            loop {
                changes.borrow_and_update();
                if let Some(key) = self.certificate(name.as_str()) {
                    return Ok(key);
                }
                if !self.inner.is_under_way(&name) {
                    let error = self.inner.entries().get(&name).and_then(|entry| entry.record.error.clone());
                    return Err(Refused::Failed(error.unwrap_or_default()));
                }
                // Its sender is in our hand.
                let _ = changes.changed().await;
            }
        };
        tokio::time::timeout(limit, wait).await.unwrap_or(Err(Refused::Late))
    }

    /// Counts up whenever something happened to a name.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// All names that are wanted or ordered on demand.
    pub fn status(&self) -> Vec<CertificateStatus> {
        let entries = self.inner.entries();
        let wanted = entries.iter().filter(|(_, entry)| entry.listed || entry.record.on_demand);
        wanted
            .map(|(name, entry)| {
                let held = self.inner.held(name);
                CertificateStatus::of(name, &entry.record, held.as_ref().map(|held| &held.certificate))
            })
            .collect()
    }
}

impl std::fmt::Debug for Acme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acme").finish_non_exhaustive()
    }
}

/// Ways to prove control that the settings and the listeners leave, best first.
fn kinds(config: &AcmeConfig, listeners: Listeners) -> Vec<ChallengeKind> {
    let wanted = match &config.challenges[..] {
        [] => &[ChallengeKind::Http01, ChallengeKind::TlsAlpn01, ChallengeKind::Dns01],
        wanted => wanted,
    };
    let possible = |kind: &ChallengeKind| match kind {
        ChallengeKind::Http01 => listeners.http,
        ChallengeKind::TlsAlpn01 => listeners.tls,
        ChallengeKind::Dns01 => !config.dns_hook.is_empty(),
    };
    wanted.iter().copied().filter(possible).collect()
}

impl Inner {
    pub(crate) fn entries(&self) -> MutexGuard<'_, BTreeMap<Name, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn held(&self, name: &Name) -> Option<Arc<Held>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Ways to prove control over a name; after a failure, another comes first.
    pub(crate) fn kinds(&self, name: &Name, failures: u32) -> Vec<ChallengeKind> {
        if name.is_wildcard() {
            return self.kinds.iter().copied().filter(|kind| *kind == ChallengeKind::Dns01).collect();
        }
        let mut kinds = self.kinds.clone();
        if !kinds.is_empty() {
            let count = kinds.len();
            kinds.rotate_left(failures as usize % count);
        }
        kinds
    }

    /// Why nothing can be ordered for a name, whatever its DNS says.
    fn impossible(&self, name: &Name) -> Option<String> {
        if !self.kinds(name, 0).is_empty() {
            return None;
        }
        let problem = if name.is_wildcard() {
            "a wildcard name needs the challenge dns-01: set dns_hook to a program that changes your DNS"
        } else {
            "no challenge is possible: listen for HTTP on port 80 or for TLS on port 443, or set dns_hook"
        };
        Some(problem.to_owned())
    }

    /// Puts the certificate on disk into use, if it lasts longer than the one that is.
    pub(crate) fn load(&self, name: &Name) -> bool {
        let read = self.disk.pem(name).map_err(|error| error.to_string());
        match read.and_then(|pem| pem.map(|pem| Certificate::read(name, &pem)).transpose()) {
            Ok(Some(certificate)) => {
                let longer = |held: Arc<Held>| certificate.validity.until > held.certificate.validity.until;
                let better = self.held(name).is_none_or(longer);
                if better {
                    self.put(name, certificate);
                }
                better
            }
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(%name, "its certificate on disk is unusable and is ordered anew: {error}");
                false
            }
        }
    }

    /// Puts a certificate into use.
    pub(crate) fn put(&self, name: &Name, certificate: Certificate) {
        self.metrics.expires(name, certificate.validity.until);
        let (used, waits) = (AtomicBool::new(false), AtomicBool::new(false));
        let held = Arc::new(Held { certificate, used, waits });
        self.live.write().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), held);
    }

    /// Remembers on disk. Failure to do so costs timing only.
    pub(crate) fn keep(&self, name: &Name, record: &Record) {
        if let Err(error) = self.disk.keep_record(name, record) {
            tracing::warn!(%name, %error, "what is known about the name cannot be kept");
        }
    }

    /// Tells whoever waits that something happened to a name.
    pub(crate) fn changed(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn is_under_way(&self, name: &Name) -> bool {
        self.entries().get(name).is_some_and(|entry| entry.busy || entry.asked)
    }

    /// Whether a name that was ordered on demand may have another certificate.
    pub(crate) async fn still_permits(&self, name: &Name) -> Result<(), Refused> {
        match &self.gate {
            Some(gate) => gate.permits(name).await,
            None => Err(Refused::Off),
        }
    }

    /// Has a name ordered because a handshake waits for it.
    fn ask_for(&self, name: &Name, gate: &Gate) -> Result<(), Refused> {
        if let Some(problem) = self.impossible(name) {
            return Err(Refused::Failed(problem));
        }
        let now = self.clock.now();
        let mut entries = self.entries();
        if let Some(entry) = entries.get(name) {
            if entry.busy || entry.asked {
                return Ok(());
            }
            if entry.record.retry_at.is_some_and(|retry| retry > now) {
                return Err(Refused::Failed(entry.record.error.clone().unwrap_or_default()));
            }
        }
        let count = entries.values().filter(|entry| entry.record.on_demand && !entry.listed).count();
        if !entries.contains_key(name) && count >= gate.config.max_names {
            return Err(Refused::TooMany);
        }
        gate.take()?;
        let entry = entries.entry(name.clone()).or_default();
        entry.record.on_demand = !entry.listed;
        entry.asked = true;
        Ok(())
    }

    /// What is to be done for a name, and when.
    pub(crate) fn next(&self, name: &Name, entry: &Entry) -> Option<(Seconds, Task)> {
        let on_demand = entry.record.on_demand && !entry.listed;
        if entry.busy || !(entry.listed || on_demand) || self.kinds(name, 0).is_empty() {
            return None;
        }
        let held = self.held(name);
        let not_before = entry.record.retry_at.unwrap_or(0).max(self.open_again(&entry.record));
        let order = match &held {
            None if entry.asked => Some((not_before, Task::OrderAsked)),
            // Whoever wants it asks again.
            None if on_demand => None,
            None => Some((not_before, Task::OrderMissing)),
            Some(held) => {
                let at = self.renewal(&entry.record, held);
                // Told first and read second, so that a handshake in between is not missed.
                held.waits.store(on_demand, Ordering::Relaxed);
                let waits = on_demand && !held.used.load(Ordering::Relaxed);
                (!waits).then_some((at.max(not_before), Task::Renew))
            }
        };
        let ask = held.and_then(|held| {
            held.certificate.identifier.as_ref()?;
            let issuer = self.issuer_of(&entry.record)?;
            Some((entry.record.ask_at.unwrap_or(0).max(issuer.paused_until()), Task::AskWindow))
        });
        [order, ask].into_iter().flatten().min()
    }

    pub(crate) fn renewal(&self, record: &Record, held: &Held) -> Seconds {
        renewal(held.certificate.validity, record.window, held.certificate.luck)
    }

    /// Who issued the certificate, if it is among the issuers in use.
    pub(crate) fn issuer_of(&self, record: &Record) -> Option<&Issuer> {
        self.issuers.iter().find(|issuer| Some(&issuer.url) == record.issuer.as_ref())
    }

    /// When the first issuer may be asked about a name.
    pub(crate) fn open_again(&self, record: &Record) -> Seconds {
        let each = self.issuers.iter().map(|issuer| self.closed_until(issuer, record));
        each.min().unwrap_or(0)
    }

    /// Until when an issuer is not to be asked about a name.
    pub(crate) fn closed_until(&self, issuer: &Issuer, record: &Record) -> Seconds {
        issuer.paused_until().max(record.limits.get(&issuer.url).copied().unwrap_or(0))
    }

    /// Forgets names that nobody has wanted for long.
    pub(crate) fn sweep(&self) {
        let now = self.clock.now();
        let mut entries = self.entries();
        entries.retain(|name, entry| {
            let over = match self.held(name) {
                Some(held) => held.certificate.validity.until + KEPT_AFTER_END,
                None => entry.record.failed_at.unwrap_or(0) + FAILED_KEPT,
            };
            if entry.listed || entry.busy || entry.asked || over > now {
                return true;
            }
            if let Err(error) = self.disk.forget(name) {
                tracing::warn!(%name, %error, "files of a name that nobody wants cannot be removed");
            }
            self.live.write().unwrap_or_else(PoisonError::into_inner).remove(name);
            self.metrics.forgotten(name);
            false
        });
    }
}
