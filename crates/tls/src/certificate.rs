//! One certificate with its chain and key: read from PEM, and checked before any client sees it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_PKIX_ACCESS_DESCRIPTOR_OCSP, OID_PKIX_AUTHORITY_INFO_ACCESS};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::names::{NameMap, normal};

/// Certificates of one chain.
const CHAIN_MAX: usize = 16;

/// A certificate that can be served.
pub struct Certificate {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
    not_before: SystemTime,
    not_after: SystemTime,
    fingerprint: String,
    ocsp_url: Option<String>,
}

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// No certificate in the text.
    #[error(
        "there is no certificate in it; it has to hold PEM blocks that begin with -----BEGIN CERTIFICATE-----"
    )]
    NoCertificate,
    /// No key in the text.
    #[error(
        "there is no private key in it; it has to hold a PEM block that begins with -----BEGIN PRIVATE KEY-----"
    )]
    NoKey,
    /// A key under a password.
    #[error("the private key is encrypted; decrypt it with `openssl pkey -in KEY -out PLAIN`")]
    EncryptedKey,
    /// PEM or DER that cannot be read.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// A chain that no authority makes.
    #[error(
        "more than {CHAIN_MAX} certificates; it should hold the server's and those that lead to its authority"
    )]
    LongChain,
    /// A kind of key that TLS does not know.
    #[error("the private key is of a kind that is not supported; use ECDSA (P-256, P-384), RSA or Ed25519")]
    Key,
    /// Two different pairs.
    #[error(
        "the private key does not belong to the certificate (the first in the file); check that both are of one pair"
    )]
    Mismatch,
    /// Its time is over.
    #[error("the certificate expired {0}; renew it")]
    Expired(String),
    /// Its time has not come.
    #[error("the certificate is valid only from {0} on; check this machine's clock")]
    Early(String),
    /// It is for nobody.
    #[error(
        "the certificate names no host (no subject alternative name); clients have ignored common names since 2017"
    )]
    NoNames,
    /// The chain is in disorder.
    #[error(
        "the chain is in disorder: certificate {0} was not issued by the one after it; put the server's first, then its issuer, and so on"
    )]
    Order(usize),
    /// A site's host is not among its names.
    #[error("the certificate is not made out to {host:?}, only to {names}")]
    Uncovered {
        /// The host.
        host: String,
        /// Those it is made out to.
        names: String,
    },
}

impl Certificate {
    /// Reads a chain and its key, and checks that clients can accept them now.
    ///
    /// # Errors
    /// Says what is wrong and what to do about it.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let certificates = chain_of(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            PemError::NoItemsFound if contains(key, b"ENCRYPTED PRIVATE KEY") => {
                CertificateError::EncryptedKey
            }
            PemError::NoItemsFound => CertificateError::NoKey,
            other => CertificateError::Damaged(other.to_string()),
        })?;
        Self::new(certificates, &key)
    }

    /// The same of what was read already.
    ///
    /// # Errors
    /// Says what is wrong and what to do about it.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'_>,
    ) -> Result<Self, CertificateError> {
        let certificate = Self::unchecked(chain, key)?;
        let now = SystemTime::now();
        if certificate.not_after <= now {
            return Err(CertificateError::Expired(date(certificate.not_after)));
        }
        if certificate.not_before > now {
            return Err(CertificateError::Early(date(certificate.not_before)));
        }
        if certificate.names.is_empty() {
            return Err(CertificateError::NoNames);
        }
        Ok(certificate)
    }

    /// For answers to challenges, which are no certificates that clients accept.
    ///
    /// # Errors
    /// The key does not belong to the certificate, or either cannot be read.
    pub fn unchecked(
        chain: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'_>,
    ) -> Result<Self, CertificateError> {
        let first = chain.first().ok_or(CertificateError::NoCertificate)?;
        let fingerprint = fingerprint(first);
        let facts = Facts::of(first)?;
        for (index, pair) in chain.windows(2).enumerate() {
            let (below, above) = (parsed(&pair[0])?, parsed(&pair[1])?);
            if below.issuer().as_raw() != above.subject().as_raw() {
                return Err(CertificateError::Order(index + 1));
            }
        }
        let signing = any_supported_type(key).map_err(|_| CertificateError::Key)?;
        let key = CertifiedKey::new(chain, signing);
        // Answers to challenges have an extension that nobody but their authority knows; they are not compared.
        if let Err(rustls::Error::InconsistentKeys(_)) = key.keys_match() {
            return Err(CertificateError::Mismatch);
        }
        Ok(Self {
            key: Arc::new(key),
            names: facts.names,
            not_before: facts.not_before,
            not_after: facts.not_after,
            fingerprint,
            ocsp_url: facts.ocsp_url,
        })
    }

    /// The same with another OCSP response for clients, or with none.
    pub fn with_ocsp(&self, response: Option<Vec<u8>>) -> Self {
        let mut key = CertifiedKey::clone(&self.key);
        key.ocsp = response;
        Self {
            key: Arc::new(key),
            names: self.names.clone(),
            not_before: self.not_before,
            not_after: self.not_after,
            fingerprint: self.fingerprint.clone(),
            ocsp_url: self.ocsp_url.clone(),
        }
    }

    /// What rustls serves.
    pub fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// The hosts that it is made out to, in their [`normal`] form, wildcards included.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// When its time is over.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// What is left of its time, and the whole of it.
    pub fn lifetime(&self) -> (Duration, Duration) {
        let left = self.not_after.duration_since(SystemTime::now()).unwrap_or_default();
        (left, self.not_after.duration_since(self.not_before).unwrap_or_default())
    }

    /// SHA-256 of the certificate, in hexadecimal.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Where its authority tells whether it is revoked.
    pub fn ocsp_url(&self) -> Option<&str> {
        self.ocsp_url.as_deref()
    }

    /// Checks that it is made out to a host, which may be a wildcard.
    ///
    /// # Errors
    /// It is not; says to whom it is.
    pub fn check_covers(&self, host: &str) -> Result<(), CertificateError> {
        let mut map = NameMap::default();
        for name in &self.names {
            map.insert(name, ());
        }
        if self.names.iter().any(|name| name == host) || map.covering(host).is_some() {
            return Ok(());
        }
        Err(CertificateError::Uncovered { host: host.to_owned(), names: self.names.join(", ") })
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("names", &self.names)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

/// The certificates in a PEM text.
///
/// # Errors
/// There is none, or one is damaged.
pub(crate) fn chain_of(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .take(CHAIN_MAX + 1)
        .collect::<Result<_, _>>()
        .map_err(|error: PemError| CertificateError::Damaged(error.to_string()))?;
    match chain.len() {
        0 => Err(CertificateError::NoCertificate),
        1..=CHAIN_MAX => Ok(chain),
        _ => Err(CertificateError::LongChain),
    }
}

/// SHA-256 in hexadecimal.
pub(crate) fn fingerprint(der: &[u8]) -> String {
    hex(digest(&SHA256, der).as_ref())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(crate) fn parsed<'d>(der: &'d CertificateDer<'_>) -> Result<X509Certificate<'d>, CertificateError> {
    let damaged = || CertificateError::Damaged("a certificate is no X.509".into());
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| damaged())?;
    if rest.is_empty() { Ok(certificate) } else { Err(damaged()) }
}

/// What is read of a certificate.
struct Facts {
    names: Vec<String>,
    not_before: SystemTime,
    not_after: SystemTime,
    ocsp_url: Option<String>,
}

impl Facts {
    fn of(der: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let certificate = parsed(der)?;
        let mut names = Vec::new();
        if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
            for name in &alternatives.value.general_names {
                match name {
                    GeneralName::DNSName(name) => names.extend(normal(name)),
                    // Clients name no addresses in a handshake, but the certificate is made out to somebody.
                    GeneralName::IPAddress(bytes) => names.extend(address(bytes)),
                    _ => {}
                }
            }
        }
        let validity = certificate.validity();
        Ok(Self {
            names,
            not_before: moment(validity.not_before.timestamp()),
            not_after: moment(validity.not_after.timestamp()),
            ocsp_url: ocsp_url(&certificate),
        })
    }
}

fn ocsp_url(certificate: &X509Certificate<'_>) -> Option<String> {
    let access = certificate.get_extension_unique(&OID_PKIX_AUTHORITY_INFO_ACCESS).ok()??;
    let ParsedExtension::AuthorityInfoAccess(access) = access.parsed_extension() else { return None };
    access.accessdescs.iter().find_map(|description| match &description.access_location {
        GeneralName::URI(url) if description.access_method == OID_PKIX_ACCESS_DESCRIPTOR_OCSP => {
            Some((*url).to_owned())
        }
        _ => None,
    })
}

fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| std::net::Ipv4Addr::from(bytes).to_string());
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| std::net::Ipv6Addr::from(bytes).to_string())).ok()
}

fn moment(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

fn date(at: SystemTime) -> String {
    let date = time::OffsetDateTime::from(at);
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
pub(crate) mod tests {
    use rcgen::{CertificateParams, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};

    use super::*;

    /// A certificate signed by itself, and its key, PEM.
    pub(crate) fn pair(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn read(pair: &(String, String)) -> Result<Certificate, CertificateError> {
        Certificate::from_pem(pair.0.as_bytes(), pair.1.as_bytes())
    }

    #[test]
    fn a_good_one_says_what_it_is_for() {
        let certificate = read(&pair(&["a.example", "*.B.example", "127.0.0.1"], |_| {})).unwrap();
        assert_eq!(certificate.names(), ["a.example", "*.b.example", "127.0.0.1"]);
        assert_eq!(certificate.fingerprint().len(), 64);
        assert!(certificate.ocsp_url().is_none());
        for host in ["a.example", "x.b.example", "*.b.example"] {
            certificate.check_covers(host).unwrap();
        }
        for host in ["b.example", "x.y.b.example", "*.a.example"] {
            let error = certificate.check_covers(host).unwrap_err().to_string();
            assert!(error.contains(host) && error.contains("*.b.example"), "{error}");
        }
        let (left, whole) = certificate.lifetime();
        assert!(left > Duration::ZERO && whole > left);
        assert!(!format!("{certificate:?}").contains("key"));
    }

    #[test]
    fn bad_ones_are_refused_in_words() {
        let good = pair(&["a.example"], |_| {});
        let other = pair(&["a.example"], |_| {});
        let expired = pair(&["a.example"], |params| params.not_after = rcgen::date_time_ymd(2020, 1, 2));
        let early = pair(&["a.example"], |params| params.not_before = rcgen::date_time_ymd(3000, 1, 2));
        let nameless = pair(&[], |params| params.distinguished_name.push(rcgen::DnType::CommonName, "other"));
        let encrypted = good.1.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let cut = good.0.replace("-----END", "----END");
        let noise = good.0.lines().map(|line| if line.starts_with('-') { line } else { "AAAA" });
        let noise = noise.collect::<Vec<_>>().join("\n");
        for (chain, key, word) in [
            (&good.0, &other.1, "does not belong"),
            (&expired.0, &expired.1, "expired 2020-01-02; renew"),
            (&early.0, &early.1, "clock"),
            (&nameless.0, &nameless.1, "names no host"),
            (&good.1, &good.1, "BEGIN CERTIFICATE"),
            (&good.0, &good.0, "BEGIN PRIVATE KEY"),
            (&good.0, &encrypted, "openssl pkey"),
            (&cut, &good.1, "damaged"),
            (&noise, &good.1, "damaged"),
            (&good.0.repeat(17), &good.1, "more than 16"),
            (&format!("{}{}", good.0, nameless.0), &good.1, "disorder"),
        ] {
            let error = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(word), "{word}: {error}");
        }
        assert!(Certificate::from_pem(&[0xff; 64], b"").is_err());
    }

    #[test]
    fn chains_and_kinds_of_keys() {
        let root_key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut root = CertificateParams::new([]).unwrap();
        root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        root.distinguished_name.push(rcgen::DnType::CommonName, "root");
        let root_pem = root.self_signed(&root_key).unwrap().pem();
        let issuer = Issuer::new(root, root_key);
        let key = KeyPair::generate().unwrap();
        let leaf =
            CertificateParams::new(["a.example".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let pem = format!("{}{root_pem}", leaf.pem());
        let certificate = read(&(pem, key.serialize_pem())).unwrap();
        assert_eq!(certificate.key().cert.len(), 2);
        assert_eq!(certificate.with_ocsp(Some(vec![1])).key().ocsp.as_deref(), Some(&[1][..]));
    }
}
