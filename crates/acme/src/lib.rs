//! Certificates from authorities that speak ACME (RFC 8555), ordered, renewed (RFC 9773) and kept on disk.
//!
//! [`Acme`] is given the names that sites have, and answers what listeners ask: the certificate of a name, the token of
//! HTTP-01, the certificate of TLS-ALPN-01, and names that are ordered when a client first asks for them. The work is
//! done by [`Acme::start`].

mod challenges;
mod client;
mod clock;
mod config;
mod demand;
mod disk;
mod fault;
mod hook;
mod issuer;
mod keys;
mod manager;
mod metrics;
mod names;
mod order;
mod schedule;
mod status;
mod work;

pub use challenges::{ALPN, HTTP01_PATH};
pub use clock::{Clock, Seconds};
pub use config::{AcmeConfig, ChallengeKind, EabConfig, IssuerConfig, KeyKind, OnDemandConfig};
pub use demand::Refused;
pub use manager::{Acme, AcmeError, Listeners};
pub use metrics::AcmeMetrics;
pub use names::{Name, NameProblem, Pattern};
pub use status::{CertificateStatus, read_status};
pub use work::Running;
