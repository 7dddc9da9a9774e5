//! Clients that show certificates: whom to believe, and who it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use crate::certificate::{CertificateError, chain_of, fingerprint, hex, parsed};
use crate::config::{ClientAuth, Profile};

/// Longest subject that is told, bytes.
const SUBJECT_MAX: usize = 512;

/// What a client's certificate says, after its chain was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Its subject, as in RFC 4514 text: `CN=alice, O=Example`. Printable ASCII only.
    pub subject: String,
    /// Who made it out, in the same form.
    pub issuer: String,
    /// SHA-256 of the certificate, in hexadecimal.
    pub fingerprint: String,
    /// Its serial number, in hexadecimal.
    pub serial: String,
}

impl ClientCertificate {
    /// Of the first certificate that the client sent.
    pub(crate) fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let first = chain.first()?;
        let certificate = parsed(first).ok()?;
        let printable = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
        let name = |name: &x509_parser::x509::X509Name<'_>| -> String {
            name.to_string().chars().map(printable).take(SUBJECT_MAX).collect()
        };
        Some(Self {
            subject: name(certificate.subject()),
            issuer: name(certificate.issuer()),
            fingerprint: fingerprint(first),
            serial: hex(certificate.raw_serial()),
        })
    }
}

/// Why the authorities of clients cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", path.display())]
pub struct ClientCaError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub message: String,
}

/// The authorities in a file, and a name for exactly them: other authorities have another.
pub(crate) struct ClientCa {
    pub(crate) verifier: Arc<dyn ClientCertVerifier>,
    pub(crate) identity: String,
}

impl ClientCa {
    pub(crate) fn read(path: &Path, auth: ClientAuth, profile: Profile) -> Result<Self, ClientCaError> {
        let fail = |message: String| ClientCaError { path: path.to_owned(), message };
        let pem = fs::read(path).map_err(|error| fail(error.to_string()))?;
        let chain = chain_of(&pem).map_err(|error| match error {
            CertificateError::LongChain => fail("more than 16 authorities; split the site".into()),
            other => fail(other.to_string()),
        })?;
        let mut roots = RootCertStore::empty();
        for certificate in chain {
            roots
                .add(certificate)
                .map_err(|error| fail(format!("one of its certificates is no authority's: {error}")))?;
        }
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), profile.provider());
        if auth == ClientAuth::Optional {
            builder = builder.allow_unauthenticated();
        }
        let verifier = builder.build().map_err(|error| fail(error.to_string()))?;
        Ok(Self { verifier, identity: format!("{auth:?} {}", fingerprint(&pem)) })
    }
}
