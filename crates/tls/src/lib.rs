//! TLS for listeners and upstreams: certificates by server name, their rotation, an own authority, client certificates.

mod authority;
mod certificate;
mod certificates;
mod client;
mod clients;
pub mod config;
mod files;
mod handshake;
mod keeper;
pub mod names;
pub mod ocsp;
mod profile;
pub mod proxy_protocol;
mod server;
mod stream;

pub use authority::{Authority, AuthorityError};
pub use certificate::{Certificate, CertificateError};
pub use certificates::{Certificates, Shelf};
pub use client::{ClientCaError, ClientCertificate};
pub use clients::{ClientLimits, Clients, Place};
pub use files::FileError;
pub use handshake::{HandshakeError, Session, handshake};
pub use server::{Policy, Tls, TlsError, TlsSite};
pub use stream::{Buffers, TlsStream};
