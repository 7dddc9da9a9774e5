//! The client for what steps ask of other servers: keys, tokens, whether somebody may pass. Bounded in time and size; it
//! follows no redirects.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Longest answer, bytes.
pub const MAX_ANSWER_BYTES: usize = 512 * 1024;
/// Connections to one server that wait for use.
const MAX_IDLE: usize = 32;

/// An HTTP client. Clones share connections.
#[derive(Clone)]
pub struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fetcher")
    }
}

/// A server did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No address of HTTP.
    #[error("{0:?} is no address that begins with https:// or http://")]
    Address(String),
    /// Without TLS anybody on the way can give answers.
    #[error("{0} is neither https nor on this machine; `insecure_http = true` takes it nevertheless")]
    Insecure(Uri),
    /// Not in time.
    #[error("no answer in time")]
    Timeout,
    /// It cannot be reached, or breaks off.
    #[error("{0}")]
    Unreachable(String),
    /// More than can be meant.
    #[error("the answer is longer than {MAX_ANSWER_BYTES} bytes")]
    TooLong,
    /// Not 200.
    #[error("answered with status {0}")]
    Status(http::StatusCode),
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl Fetcher {
    /// A client that trusts the public authorities and `extra` ones.
    pub fn new(extra: &[CertificateDer<'static>]) -> Result<Self, FetchError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for certificate in extra {
            roots.add(certificate.clone())?;
        }
        Self::with_roots(roots)
    }

    /// A client that trusts the authorities in a PEM file, in place of the public ones; without a file, these. Relative paths
    /// begin at `directory`.
    ///
    /// # Errors
    /// A sentence that begins with `ca`.
    pub fn trusting(ca: Option<&Path>, directory: &Path) -> Result<Self, String> {
        let Some(ca) = ca else { return Self::new(&[]).map_err(|error| error.to_string()) };
        let path = directory.join(ca);
        let wrong = |reason: &dyn fmt::Display| format!("ca: {}: {reason}", path.display());
        let certificates =
            CertificateDer::pem_file_iter(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut roots = RootCertStore::empty();
        for certificate in certificates.map_err(|error| wrong(&error))? {
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
        if roots.is_empty() {
            return Err(wrong(&"there is no certificate in it"));
        }
        Self::with_roots(roots).map_err(|error| wrong(&error))
    }

    fn with_roots(roots: RootCertStore) -> Result<Self, FetchError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(Duration::from_secs(5)));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(MAX_IDLE).build(connector);
        Ok(Self { client })
    }

    /// Checks an address: https, or http to this machine, or any http when that is allowed.
    pub fn address(text: &str, insecure_http: bool) -> Result<Uri, FetchError> {
        let uri: Uri = text.parse().map_err(|_| FetchError::Address(text.to_owned()))?;
        let host = uri.host().ok_or_else(|| FetchError::Address(text.to_owned()))?;
        match uri.scheme_str() {
            Some("https") => Ok(uri),
            Some("http") if insecure_http || is_local(host) => Ok(uri),
            Some("http") => Err(FetchError::Insecure(uri)),
            _ => Err(FetchError::Address(text.to_owned())),
        }
    }

    /// The answer with its whole body, whatever its status.
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
        timeout: Duration,
    ) -> Result<Response<Bytes>, FetchError> {
        let exchange = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| FetchError::Unreachable(reasons(&error)))?;
            let (head, mut body) = response.into_parts();
            let mut bytes = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| FetchError::Unreachable(reasons(&error)))?;
                if let Ok(data) = frame.into_data() {
                    if bytes.len() + data.len() > MAX_ANSWER_BYTES {
                        return Err(FetchError::TooLong);
                    }
                    bytes.extend_from_slice(&data);
                }
            }
            Ok(Response::from_parts(head, bytes.freeze()))
        };
        tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(FetchError::Timeout))
    }

    /// What is at an address.
    ///
    /// # Errors
    /// Also any status but 200.
    pub async fn get(&self, uri: &Uri, timeout: Duration) -> Result<Response<Bytes>, FetchError> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = uri.clone();
        request
            .headers_mut()
            .insert(http::header::ACCEPT, http::HeaderValue::from_static("application/json"));
        let response = self.send(request, timeout).await?;
        if response.status() == http::StatusCode::OK {
            Ok(response)
        } else {
            Err(FetchError::Status(response.status()))
        }
    }
}

/// An address that packets do not leave this machine for.
fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// An error and what it comes from.
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_not_come_in_the_clear() {
        for good in ["https://a.example/keys", "http://127.0.0.1:8/x", "http://[::1]/x", "http://localhost/x"]
        {
            assert!(Fetcher::address(good, false).is_ok(), "{good}");
        }
        for bad in [
            "http://a.example/keys",
            "ftp://a/x",
            "/x",
            "",
            "http://127.0.0.1.evil/x",
            "http://localhost.evil",
        ] {
            assert!(Fetcher::address(bad, false).is_err(), "{bad}");
        }
        assert!(Fetcher::address("http://keycloak:8080/x", true).is_ok());
    }
}
