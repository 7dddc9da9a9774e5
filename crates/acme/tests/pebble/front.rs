//! A proxy before pebble that adds what Debian's pebble lacks, renewal information (RFC 9773), and the moods of a busy
//! issuer; it counts orders on the way.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use selvedge_acme::IssuerConfig;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::authority::{Authority, make_server_certificate};

pub(crate) struct Front {
    dir: tempfile::TempDir,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(crate) struct State {
    /// What is suggested, seconds since 1970; no suggestion is made without.
    pub(crate) window: Option<(u64, u64)>,
    pub(crate) explanation: Option<String>,
    /// Certificates that were asked about.
    pub(crate) asked: Vec<String>,
    /// Certificates that orders said to replace.
    pub(crate) replaced: Vec<String>,
    /// Behaves as if it did not know the field.
    pub(crate) ignore_replaces: bool,
    /// Requests for new orders.
    pub(crate) orders: usize,
    /// Orders are refused for so many seconds.
    pub(crate) limit: Option<u64>,
}

/// Whom the proxy speaks for.
struct Behind {
    address: SocketAddr,
    tls: TlsConnector,
}

impl Front {
    pub(crate) async fn start(authority: &Authority) -> Self {
        let dir = tempfile::tempdir().unwrap();
        make_server_certificate(dir.path());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = vec![CertificateDer::from_pem_file(dir.path().join("cert.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(dir.path().join("key.pem")).unwrap();
        let server = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority.ca()).unwrap()).unwrap();
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let behind = Arc::new(Behind { address: authority.address(), tls: Arc::new(client).into() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, behind, state) = (acceptor.clone(), behind.clone(), shared.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| {
                        let (behind, state) = (behind.clone(), state.clone());
                        async move { Ok::<_, std::io::Error>(serve(request, &behind, &state).await) }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { dir, address, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn issuer(&self) -> IssuerConfig {
        let ca: PathBuf = self.dir.path().join("ca.pem");
        let directory = format!("https://localhost:{}/dir", self.address.port());
        IssuerConfig { ca: Some(ca), ..IssuerConfig::new(directory) }
    }
}

async fn serve(request: Request<Incoming>, behind: &Behind, state: &Mutex<State>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let host = request.headers()[header::HOST].to_str().unwrap().to_owned();
    if let Some(id) = path.strip_prefix("/renewal-info/") {
        return renewal_info(id, &mut state.lock().unwrap());
    }
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut replaces = None;
    if path == "/order-plz" {
        let mut state = state.lock().unwrap();
        state.orders += 1;
        if let Some(seconds) = state.limit {
            let problem = "{\"type\": \"urn:ietf:params:acme:error:rateLimited\", \"detail\": \"too many\"}";
            let limited = Response::builder().status(StatusCode::TOO_MANY_REQUESTS);
            return limited.header(header::RETRY_AFTER, seconds).body(problem.into()).unwrap();
        }
        let jws: Value = serde_json::from_slice(&body).unwrap();
        let payload = BASE64_URL_SAFE_NO_PAD.decode(jws["payload"].as_str().unwrap()).unwrap();
        let order: Value = serde_json::from_slice(&payload).unwrap();
        replaces = order["replaces"].as_str().map(str::to_owned).filter(|_| !state.ignore_replaces);
        state.replaced.extend(replaces.clone());
    }
    let answer = behind.pass(Request::from_parts(parts, Full::new(body))).await;
    let (mut parts, body) = answer.into_parts();
    let Ok(mut json) = serde_json::from_slice::<Value>(&body) else {
        return Response::from_parts(parts, Full::new(body));
    };
    if path == "/dir" && state.lock().unwrap().window.is_some() {
        json["renewalInfo"] = format!("https://{host}/renewal-info").into();
    }
    if let Some(replaces) = replaces {
        json["replaces"] = replaces.into();
    }
    let body = Bytes::from(json.to_string());
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    Response::from_parts(parts, Full::new(body))
}

fn renewal_info(id: &str, state: &mut State) -> Response<Full<Bytes>> {
    state.asked.push(id.to_owned());
    let time = |seconds: u64| {
        let output = std::process::Command::new("date")
            .args(["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%SZ"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let (start, end) = state.window.unwrap();
    let info = serde_json::json!({
        "suggestedWindow": { "start": time(start), "end": time(end) },
        "explanationURL": state.explanation,
    });
    Response::builder().header(header::RETRY_AFTER, 3600).body(info.to_string().into()).unwrap()
}

impl Behind {
    async fn pass(&self, request: Request<Full<Bytes>>) -> Response<Bytes> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = self.tls.connect(name, stream).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
        Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
    }
}
