//! What is known about each name, for people and programs.

use std::io;
use std::path::Path;

use serde::Serialize;

use crate::clock::Seconds;
use crate::config::IssuerConfig;
use crate::disk::{Disk, Record};
use crate::keys::Certificate;
use crate::names::Name;
use crate::schedule::renewal;

/// A name and its certificate. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CertificateStatus {
    /// The name.
    pub name: String,
    /// Ordered because a client asked for it, and not because a site lists it.
    pub on_demand: bool,
    /// Who issued the certificate.
    pub issuer: Option<String>,
    /// From when it is good; absent when there is none.
    pub valid_from: Option<Seconds>,
    /// Until when it is good; absent when there is none.
    pub valid_until: Option<Seconds>,
    /// When it is to be renewed.
    pub renewal: Option<Seconds>,
    /// The issuer asks for renewal before it would be due, as after a revocation; the reason is behind this address.
    pub explanation: Option<String>,
    /// Attempts in a row that failed.
    pub failures: u32,
    /// Not before this moment is it tried again.
    pub retry: Option<Seconds>,
    /// Why the last attempt failed, and what to do.
    pub error: Option<String>,
    /// When it failed.
    pub failed: Option<Seconds>,
}

impl CertificateStatus {
    pub(crate) fn of(name: &Name, record: &Record, certificate: Option<&Certificate>) -> Self {
        let label = |url: &String| IssuerConfig::new(url.clone()).label();
        Self {
            name: name.to_string(),
            on_demand: record.on_demand,
            issuer: record.issuer.as_ref().map(label),
            valid_from: certificate.map(|certificate| certificate.validity.from),
            valid_until: certificate.map(|certificate| certificate.validity.until),
            renewal: certificate.map(|held| renewal(held.validity, record.window, held.luck)),
            explanation: record.explanation.clone(),
            failures: record.failures,
            retry: record.retry_at,
            error: record.error.clone(),
            failed: record.failed_at,
        }
    }
}

/// Reads the state of all names from the directory, whether or not somebody works with it at the moment.
pub fn read_status(dir: &Path) -> io::Result<Vec<CertificateStatus>> {
    let disk = Disk::at(dir);
    let names = match disk.names() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        names => names?,
    };
    names
        .iter()
        .map(|name| {
            let certificate = disk.pem(name)?.and_then(|pem| Certificate::read(name, &pem).ok());
            Ok(CertificateStatus::of(name, &disk.record(name).unwrap_or_default(), certificate.as_ref()))
        })
        .collect()
}
