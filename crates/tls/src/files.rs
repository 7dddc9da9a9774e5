//! Certificates in files: read when the server starts or gets new settings, and again when they change.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::certificate::{Certificate, CertificateError};
use crate::certificates::Certificates;
use crate::config::{CertificateFiles, TlsConfig};
use crate::names::normal;
use crate::ocsp;
use crate::server::TlsSite;

/// Largest file that is read, bytes.
const FILE_MAX: u64 = 1 << 20;

/// Why the certificate in some files cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A file cannot be read.
    #[error("could not read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is in them is of no use.
    #[error("{}: {source}", path.display())]
    Certificate {
        /// The file of the certificate or, where that is at fault, of the key.
        path: PathBuf,
        /// What is wrong.
        source: CertificateError,
    },
}

/// What the files gave so far.
#[derive(Debug, Default)]
pub(crate) struct Given(Mutex<Vec<Loaded>>);

/// One certificate and where it was read.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    files: CertificateFiles,
    /// Hosts of its site; without a site, the names that it is made out to.
    hosts: Option<Vec<String>>,
    pub(crate) certificate: Arc<Certificate>,
    stamp: Stamp,
    /// When a response of OCSP is to be fetched again.
    pub(crate) staple_due: Option<SystemTime>,
}

/// Tells whether files have changed: when each was modified, its size and its number.
pub(crate) type Stamp = Vec<Option<(Option<SystemTime>, u64, u64)>>;

impl Given {
    /// Reads all that settings name.
    pub(crate) fn read(&self, config: &TlsConfig, sites: &[TlsSite]) -> Result<Vec<Loaded>, FileError> {
        let of_sites = sites.iter().filter_map(|site| Some((site.tls.files()?, Some(site.hosts.clone()))));
        let of_server = config.certificates.iter().map(|files| (files.clone(), None));
        of_sites.chain(of_server).map(|(files, hosts)| Loaded::read(files, hosts)).collect()
    }

    /// Serves what was read, in place of all before.
    pub(crate) fn take(&self, mut loaded: Vec<Loaded>, certificates: &Certificates) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for next in &mut loaded {
            // What was fetched for it is still good.
            let same = |before: &&Loaded| before.certificate.fingerprint() == next.certificate.fingerprint();
            if let Some(before) = current.iter().find(same)
                && next.certificate.key().ocsp.is_none()
            {
                next.certificate = before.certificate.clone();
                next.staple_due = before.staple_due;
            }
        }
        *current = loaded;
        publish(&current, certificates);
    }

    /// Reads again what has changed. What is broken now stays as it was. Returns how many certificates were replaced.
    pub(crate) fn reload(&self, certificates: &Certificates) -> usize {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut replaced = 0;
        for loaded in current.iter_mut() {
            let stamp = stamp_of(&loaded.files);
            if stamp == loaded.stamp {
                continue;
            }
            let path = loaded.files.certificate.display();
            match Loaded::read(loaded.files.clone(), loaded.hosts.clone()) {
                Ok(next) => {
                    tracing::info!(certificate = %path, "a certificate was replaced");
                    *loaded = next;
                    replaced += 1;
                }
                // Said once for each state that the files are in; they may be halfway through being replaced.
                Err(error) => {
                    tracing::error!(%error, "a certificate was changed and cannot be used; the one before stays");
                    loaded.stamp = stamp;
                }
            }
        }
        if replaced > 0 {
            publish(&current, certificates);
        }
        replaced
    }

    /// What is loaded now.
    pub(crate) fn loaded(&self) -> Vec<Loaded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Serves a certificate with another response of OCSP, or with none, and notes when to ask again.
    pub(crate) fn staple(
        &self,
        fingerprint: &str,
        response: Option<Vec<u8>>,
        due: SystemTime,
        certificates: &Certificates,
    ) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for loaded in current.iter_mut().filter(|loaded| loaded.certificate.fingerprint() == fingerprint) {
            loaded.certificate = Arc::new(loaded.certificate.with_ocsp(response.clone()));
            loaded.staple_due = Some(due);
        }
        publish(&current, certificates);
    }
}

fn publish(loaded: &[Loaded], certificates: &Certificates) {
    let given = loaded.iter().map(|loaded| {
        let names = loaded.hosts.as_deref().unwrap_or_else(|| loaded.certificate.names());
        let names =
            names.iter().filter_map(|name| if name == "*" { Some(name.clone()) } else { normal(name) });
        (names.collect(), loaded.certificate.clone())
    });
    let default = loaded.iter().find(|loaded| loaded.hosts.is_none()).or(loaded.first());
    certificates.replace_given(given, default.map(|loaded| loaded.certificate.clone()));
}

impl Loaded {
    fn read(files: CertificateFiles, hosts: Option<Vec<String>>) -> Result<Self, FileError> {
        // Taken first: what changes while it is read is read again.
        let stamp = stamp_of(&files);
        let (chain, key) = (read(&files.certificate)?, read(&files.key)?);
        let mut certificate = Certificate::from_pem(&chain, &key).map_err(|source| {
            let of_key = matches!(
                source,
                CertificateError::NoKey | CertificateError::EncryptedKey | CertificateError::Key
            );
            let path = if of_key { &files.key } else { &files.certificate };
            FileError::Certificate { path: path.clone(), source }
        })?;
        for host in hosts.iter().flatten().filter(|host| *host != "*") {
            let host = normal(host).unwrap_or_else(|| host.clone());
            certificate
                .check_covers(&host)
                .map_err(|source| FileError::Certificate { path: files.certificate.clone(), source })?;
        }
        if let Some(path) = &files.ocsp {
            let response = read(path)?;
            match ocsp::check(&response, &certificate) {
                Ok(_) => certificate = certificate.with_ocsp(Some(response)),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "an OCSP response cannot be used")
                }
            }
        }
        Ok(Self { files, hosts, certificate: Arc::new(certificate), stamp, staple_due: None })
    }

    /// Whether somebody else refreshes its response of OCSP.
    pub(crate) fn has_ocsp_file(&self) -> bool {
        self.files.ocsp.is_some()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let fail = |source| FileError::Read { path: path.to_owned(), source };
    let size = fs::metadata(path).map_err(fail)?.len();
    if size > FILE_MAX {
        return Err(fail(io::Error::other("larger than 1 MiB, which no certificate is")));
    }
    fs::read(path).map_err(fail)
}

fn stamp_of(files: &CertificateFiles) -> Stamp {
    stamp([Some(&files.certificate), Some(&files.key), files.ocsp.as_ref()].into_iter().flatten())
}

/// How files are now.
pub(crate) fn stamp<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Stamp {
    let of = |metadata: Metadata| (metadata.modified().ok(), metadata.len(), number(&metadata));
    paths.into_iter().map(|path| fs::metadata(path).ok().map(of)).collect()
}

#[cfg(unix)]
fn number(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn number(_: &Metadata) -> u64 {
    0
}
