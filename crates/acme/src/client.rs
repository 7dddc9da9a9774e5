//! HTTPS to issuers: one request at a time, bounded in time and size, and never where the settings do not say.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient, Problem};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::clock::Seconds;
use crate::schedule::ARI_RETRY;

/// For name lookup, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// For a response to begin, and again for it to end.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);
const LATE: &str = "it did not answer in time";
/// Longest response, bytes.
const RESPONSE_MAX: usize = 256 << 10;
/// Connections kept for the next request.
const IDLE_MAX: usize = 4;

type Sender = SendRequest<BodyWrapper<Bytes>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A client for one issuer, or for the address that is asked about names.
#[derive(Clone)]
pub(crate) struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    tls: Arc<ClientConfig>,
    /// Connections that wait for a request, with the place they lead to.
    idle: Mutex<Vec<(Place, Sender)>>,
}

#[derive(Clone, PartialEq, Eq)]
struct Place {
    tls: bool,
    host: String,
    port: u16,
}

/// An issuer that cannot serve now, or answers in no language of ACME.
#[derive(Debug)]
pub(crate) struct Unwell {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Seconds>,
    pub(crate) problem: Option<Problem>,
}

impl fmt::Display for Unwell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problem.as_ref().and_then(|problem| problem.detail.as_ref()) {
            Some(detail) => write!(f, "it answered {}: {}", self.status, detail),
            None => write!(f, "it answered {}", self.status),
        }
    }
}

impl std::error::Error for Unwell {}

impl Client {
    /// A client that trusts the public authorities, or those in the PEM file `ca`.
    pub(crate) fn new(ca: Option<&std::path::Path>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        match ca {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(path) => {
                let unusable = |error: &dyn fmt::Display| format!("ca file {}: {error}", path.display());
                let pem = std::fs::read(path).map_err(|error| unusable(&error))?;
                for root in CertificateDer::pem_slice_iter(&pem) {
                    let root = root.map_err(|error| unusable(&error))?;
                    roots.add(root).map_err(|error| unusable(&error))?;
                }
                if roots.is_empty() {
                    return Err(unusable(&"it holds no certificate"));
                }
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { shared: Arc::new(Shared { tls: Arc::new(tls), idle: Mutex::default() }) })
    }

    /// Status of the answer to a GET.
    pub(crate) async fn status(&self, uri: Uri) -> Result<u16, String> {
        let request = Request::get(uri).body(BodyWrapper::default()).map_err(|error| error.to_string())?;
        let answer = self.exchange(request).await.map_err(|error| error.to_string())?;
        Ok(answer.status().as_u16())
    }

    async fn exchange(&self, request: Request<BodyWrapper<Bytes>>) -> Result<Response<Bytes>, BoxError> {
        let place = Place::of(request.uri())?;
        let (mut parts, body) = request.into_parts();
        let authority = parts.uri.authority().map(|authority| authority.as_str().to_owned());
        parts.headers.insert(HOST, HeaderValue::from_str(&authority.unwrap_or_default())?);
        parts.uri = Uri::from(parts.uri.path_and_query().cloned().ok_or("an address without a path")?);
        let request = Request::from_parts(parts, body);
        let (mut sender, request) = match self.shared.take(&place) {
            None => (self.connect_in_time(&place).await?, request),
            // One that was kept may have been closed meanwhile; then the request comes back unsent.
            Some(mut kept) => match timeout(EXCHANGE_TIMEOUT, kept.try_send_request(request)).await {
                Ok(Ok(response)) => return self.finish(place, kept, response).await,
                Ok(Err(mut failed)) => match failed.take_message() {
                    Some(request) => (self.connect_in_time(&place).await?, request),
                    None => return Err(failed.into_error().into()),
                },
                Err(_) => return Err(LATE.into()),
            },
        };
        let response = timeout(EXCHANGE_TIMEOUT, sender.send_request(request)).await.map_err(|_| LATE)??;
        self.finish(place, sender, response).await
    }

    async fn finish(
        &self,
        place: Place,
        sender: Sender,
        response: Response<Incoming>,
    ) -> Result<Response<Bytes>, BoxError> {
        let (parts, body) = response.into_parts();
        let body = timeout(EXCHANGE_TIMEOUT, Limited::new(body, RESPONSE_MAX).collect());
        let body = body.await.map_err(|_| LATE)??.to_bytes();
        self.shared.give_back(place, sender);
        Ok(Response::from_parts(parts, body))
    }

    async fn connect_in_time(&self, place: &Place) -> Result<Sender, BoxError> {
        timeout(CONNECT_TIMEOUT, self.connect(place))
            .await
            .map_err(|_| format!("{}:{} cannot be reached in time", place.host, place.port))?
    }

    async fn connect(&self, place: &Place) -> Result<Sender, BoxError> {
        let host = place.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, place.port))
            .await
            .map_err(|error| format!("{}:{} cannot be reached: {error}", place.host, place.port))?;
        stream.set_nodelay(true)?;
        if !place.tls {
            return begin(stream).await;
        }
        let name = ServerName::try_from(host.to_owned())?;
        let connector = TlsConnector::from(self.shared.tls.clone());
        let stream = connector
            .connect(name, stream)
            .await
            .map_err(|error| format!("no TLS with {}:{}: {error}", place.host, place.port))?;
        begin(stream).await
    }
}

async fn begin(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Sender, BoxError> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an issuer broke off");
        }
    });
    Ok(sender)
}

impl Place {
    fn of(uri: &Uri) -> Result<Self, BoxError> {
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(format!("{uri} is no http or https address").into()),
        };
        let host = uri.host().ok_or("an address without a host")?.to_owned();
        Ok(Self { tls, host, port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }) })
    }
}

impl Shared {
    fn take(&self, place: &Place) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, sender)| !sender.is_closed());
        // One that is not ready has its last response's end still to come.
        let found = idle.iter().position(|(held, sender)| held == place && sender.is_ready())?;
        Some(idle.swap_remove(found).1)
    }

    fn give_back(&self, place: Place, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX && !sender.is_closed() {
            idle.push((place, sender));
        }
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.clone();
        Box::pin(async move {
            // Accounts and orders are POSTs; a GET is for the directory or a renewal window, which anybody may read.
            if request.uri().scheme_str() != Some("https") {
                return Err(Error::Other(format!("{} is no https address", request.uri()).into()));
            }
            let method = request.method().clone();
            let mut response = client.exchange(request).await.map_err(Error::Other)?;
            let status = response.status();
            if status.is_client_error() || status.is_server_error() {
                let problem = serde_json::from_slice::<Problem>(response.body()).ok();
                if status.as_u16() == 429 || status.is_server_error() || problem.is_none() {
                    let retry_after = retry_after(response.headers());
                    let status = status.as_u16();
                    return Err(Error::Other(Box::new(Unwell { status, retry_after, problem })));
                }
            }
            // An issuer that does not say when to ask for the window again is asked as often as the RFC advises.
            if method == Method::GET && !response.headers().contains_key(RETRY_AFTER) {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(ARI_RETRY));
            }
            Ok(BytesResponse::from(response.map(Full::new)))
        })
    }
}

/// Seconds that the header asks to wait, in either of its forms.
fn retry_after(headers: &HeaderMap) -> Option<Seconds> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let then = httpdate::parse_http_date(text).ok()?;
    Some(then.duration_since(SystemTime::now()).map_or(0, |left| left.as_secs()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers each connection with the next of `answers`, whatever is asked.
    async fn server(answers: Vec<Vec<u8>>) -> Uri {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/ask?domain=a.example", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                let count = stream.read(&mut request).await.unwrap();
                assert!(request[..count].starts_with(b"GET /ask?domain=a.example HTTP/1.1\r\n"));
                // The client may have had enough.
                let _ = stream.write_all(&answer).await;
            }
        });
        uri.parse().unwrap()
    }

    #[tokio::test]
    async fn answers_are_bounded() {
        let huge = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", RESPONSE_MAX + 1).into_bytes();
        let huge = [huge, vec![b'x'; RESPONSE_MAX + 1]].concat();
        let small = b"HTTP/1.1 204 No Content\r\n\r\n".to_vec();
        let truncated = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n123".to_vec();
        let uri = server(vec![huge, small, truncated, b"garbage\r\n\r\n".to_vec()]).await;
        let client = Client::new(None).unwrap();
        assert!(client.status(uri.clone()).await.is_err());
        assert_eq!(client.status(uri.clone()).await, Ok(204));
        assert!(client.status(uri.clone()).await.is_err());
        assert!(client.status(uri).await.is_err());
    }

    #[tokio::test]
    async fn issuers_are_spoken_to_over_tls_only() {
        let client = Client::new(None).unwrap();
        let request = Request::get("http://127.0.0.1:1/dir").body(BodyWrapper::default()).unwrap();
        let error = HttpClient::request(&client, request).await.err().unwrap();
        assert!(error.to_string().contains("no https address"), "{error}");
    }

    #[test]
    fn both_forms_of_retry_after_are_read() {
        let with = |text: &'static str| {
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]))
        };
        assert_eq!(with("120"), Some(120));
        assert_eq!(with("Fri, 31 Dec 1999 23:59:59 GMT"), Some(0));
        assert!(with("Fri, 31 Dec 2100 23:59:59 GMT").unwrap() > 1_000_000);
        assert_eq!(with("soon"), None);
    }
}
