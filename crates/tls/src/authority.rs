//! An authority of this server's own: certificates for `localhost` and for names that no public authority knows. Whoever
//! trusts its root certificate has HTTPS without warnings.
//!
//! Certificates are made when a handshake first asks for them, live for days, and are made anew when most of that is
//! over. The root's key stays in the data directory; no certificate but the root's is ever written.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

use crate::certificate::{Certificate, CertificateError, chain_of};

/// How long a certificate is valid.
const LEAF_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long the root is valid.
const ROOT_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// A certificate with less of its life left is made anew.
const RENEWED_AT: u32 = 3;
/// Clocks of clients may be behind by this.
const SKEW: Duration = Duration::from_secs(3600);
/// Certificates that are kept; beyond that the one with the least life left goes.
const KEPT_MAX: usize = 1024;

/// The authority: a root certificate with its key, and what it issued lately.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: Arc<Certificate>,
    root_pem: String,
    path: PathBuf,
    issued: Mutex<HashMap<Option<String>, Arc<Certificate>>>,
}

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is there cannot be used.
    #[error("{}: {source}; remove the directory to begin anew (clients have to trust the new root then)", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: CertificateError,
    },
    /// Keys or certificates could not be made.
    #[error("the own authority failed: {0}")]
    Failed(#[from] rcgen::Error),
}

impl Authority {
    /// The authority that is kept in `directory`, made if there is none. Its root is made anew, too, when its time is over.
    ///
    /// # Errors
    /// Files that cannot be read, written or used.
    pub fn open(directory: &Path) -> Result<Self, AuthorityError> {
        let path = directory.join("root.pem");
        match fs::read_to_string(&path) {
            Ok(pem) => match Self::load(directory, pem) {
                Err(AuthorityError::Certificate { source: CertificateError::Expired(_), .. }) => {
                    tracing::warn!(path = %path.display(), "the own authority's time is over; a new one is made, which clients have to trust");
                    Self::create(directory)
                }
                other => other,
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(directory),
            Err(source) => Err(AuthorityError::Io { path, source }),
        }
    }

    /// The root that is kept in `directory`, PEM, where there is one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn root_in(directory: &Path) -> io::Result<Option<(PathBuf, String)>> {
        let path = directory.join("root.pem");
        match fs::read_to_string(&path) {
            Ok(pem) => Ok(Some((path, pem))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn load(directory: &Path, pem: String) -> Result<Self, AuthorityError> {
        let (path, key_path) = (directory.join("root.pem"), directory.join("root.key"));
        let key = fs::read_to_string(&key_path)
            .map_err(|source| AuthorityError::Io { path: key_path.clone(), source })?;
        let bad = |source| AuthorityError::Certificate { path: path.clone(), source };
        let chain = chain_of(pem.as_bytes()).map_err(bad)?;
        let pair = KeyPair::from_pem(&key)?;
        let der = PrivateKeyDer::try_from(pair.serialize_der()).map_err(|_| bad(CertificateError::Key))?;
        let root = Certificate::unchecked(chain, &der).map_err(bad)?;
        if root.lifetime().0 <= LEAF_LIFE {
            return Err(bad(CertificateError::Expired("or soon will".into())));
        }
        let issuer = Issuer::from_ca_cert_pem(&pem, pair)?;
        Ok(Self { issuer, root: Arc::new(root), root_pem: pem, path, issued: Mutex::default() })
    }

    fn create(directory: &Path) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // Several of them in one trust store are to be told apart.
        let number = crate::certificate::hex(&key.public_key_raw()[1..4]);
        params.distinguished_name = name(&format!("Selvedge authority {number}"));
        valid_for(&mut params, ROOT_LIFE);
        let pem = params.self_signed(&key)?.pem();
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| AuthorityError::Io { path, source }
        };
        fs::create_dir_all(directory).map_err(io(directory))?;
        let (path, key_path) = (directory.join("root.pem"), directory.join("root.key"));
        // The key first: a root without its key would be taken for damaged.
        write(&key_path, key.serialize_pem().as_bytes(), 0o600).map_err(io(&key_path))?;
        write(&path, pem.as_bytes(), 0o644).map_err(io(&path))?;
        Self::load(directory, pem)
    }

    /// The root certificate, PEM: what clients have to trust.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// The root certificate.
    pub fn root(&self) -> &Arc<Certificate> {
        &self.root
    }

    /// The file of the root certificate.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A certificate for a name that is [`normal`](crate::names::normal); without one, for this machine's loopback.
    pub fn certificate(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        let key = name.map(str::to_owned);
        let fresh = |certificate: &Arc<Certificate>| {
            let (left, whole) = certificate.lifetime();
            left > whole / RENEWED_AT
        };
        if let Some(certificate) = issued.get(&key).filter(|kept| fresh(kept)) {
            return Some(certificate.key().clone());
        }
        match self.issue(name) {
            Ok(certificate) => {
                if issued.len() >= KEPT_MAX {
                    let oldest =
                        issued.iter().min_by_key(|(_, kept)| kept.not_after()).map(|(name, _)| name.clone());
                    oldest.and_then(|name| issued.remove(&name));
                }
                let served = certificate.key().clone();
                issued.insert(key, Arc::new(certificate));
                Some(served)
            }
            Err(error) => {
                tracing::error!(%error, ?name, "the own authority could not issue a certificate");
                None
            }
        }
    }

    fn issue(&self, host: Option<&str>) -> Result<Certificate, AuthorityError> {
        let mut params = match host {
            Some(host) => CertificateParams::new([host.to_owned()])?,
            None => {
                let mut params = CertificateParams::new(["localhost".to_owned()])?;
                let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
                params.subject_alt_names.extend(loopback.map(SanType::IpAddress));
                params
            }
        };
        params.distinguished_name = DistinguishedName::new();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        valid_for(&mut params, LEAF_LIFE);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let bad = |source| AuthorityError::Certificate { path: self.path.clone(), source };
        let der = PrivateKeyDer::try_from(key.serialize_der()).map_err(|_| bad(CertificateError::Key))?;
        Certificate::new(vec![certificate.der().clone()], &der).map_err(bad)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("path", &self.path).finish_non_exhaustive()
    }
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn valid_for(params: &mut CertificateParams, life: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - SKEW).into();
    params.not_after = (now + life).into();
}

/// Writes a file as a whole, readable for its owner, or for everybody, from its first moment on.
fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(part, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_kept_and_its_key_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("authority");
        assert!(Authority::root_in(&directory).unwrap().is_none());
        let first = Authority::open(&directory).unwrap();
        let again = Authority::open(&directory).unwrap();
        assert_eq!(first.root_pem(), again.root_pem());
        assert_eq!(Authority::root_in(&directory).unwrap().unwrap().1, first.root_pem());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(directory.join("root.key")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        // Two authorities have different names.
        let other = tempfile::tempdir().unwrap();
        let other = Authority::open(other.path()).unwrap();
        assert_ne!(other.root_pem(), first.root_pem());
    }

    #[test]
    fn certificates_are_kept_and_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open(directory.path()).unwrap();
        let first = authority.certificate(Some("a.localhost")).unwrap();
        let again = authority.certificate(Some("a.localhost")).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        for n in 0..KEPT_MAX + 5 {
            assert!(authority.certificate(Some(&format!("n{n}.localhost"))).is_some());
        }
        assert_eq!(authority.issued.lock().unwrap().len(), KEPT_MAX);
        assert!(authority.certificate(None).is_some());
    }

    #[test]
    fn a_root_without_its_key_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open(directory.path()).unwrap();
        fs::remove_file(directory.path().join("root.key")).unwrap();
        assert!(Authority::open(directory.path()).unwrap_err().to_string().contains("root.key"));
        let other = tempfile::tempdir().unwrap();
        Authority::open(other.path()).unwrap();
        fs::copy(other.path().join("root.key"), directory.path().join("root.key")).unwrap();
        let error = Authority::open(directory.path()).unwrap_err().to_string();
        assert!(error.contains("does not belong") && error.contains("begin anew"), "{error}");
        drop(authority);
    }
}
