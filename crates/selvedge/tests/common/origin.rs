//! Servers on this machine for workers to fetch from: a proper one with HTTP/1.1, HTTP/2 and TLS, and ones that misbehave.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What an origin's handler gives.
pub type Reply = Response<Full<Bytes>>;

/// A whole body.
pub fn reply(body: impl Into<Bytes>) -> Reply {
    Response::new(Full::new(body.into()))
}

/// A server that goes on until the test ends.
pub struct Origin {
    pub port: u16,
    /// Connections it has accepted.
    pub connections: Arc<AtomicUsize>,
}

impl Origin {
    /// `http://localhost:<port>`.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://localhost:{}", self.port)
    }

    /// Connections so far.
    pub fn count(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A certificate for `localhost`, and the authority's file that makes workers trust it.
pub struct Authority {
    pub pem: String,
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

impl Authority {
    pub fn new(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        Self {
            pem: made.cert.pem(),
            chain: vec![made.cert.der().clone()],
            key: made.signing_key.serialize_der(),
        }
    }

    /// Writes the certificate where a setting can name it.
    pub fn write(&self, dir: &Path) -> String {
        let path = dir.join("authority.pem");
        std::fs::write(&path, &self.pem).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Shakes hands as a server on this connection and gives the first line back.
    pub fn echo_line(&self, socket: TcpStream) {
        let mut session = rustls::ServerConnection::new(self.config(&[])).unwrap();
        let mut socket = socket;
        let mut tls = rustls::Stream::new(&mut session, &mut socket);
        let mut line = Vec::new();
        let mut byte = [0];
        while byte[0] != b'\n' {
            tls.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        tls.write_all(&line).unwrap();
        tls.conn.send_close_notify();
        let _ = tls.flush();
    }

    fn acceptor(&self, protocols: &[&str]) -> tokio_rustls::TlsAcceptor {
        tokio_rustls::TlsAcceptor::from(self.config(protocols))
    }

    fn config(&self, protocols: &[&str]) -> Arc<rustls::ServerConfig> {
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// A proper server; with `tls` it speaks the given protocols of ALPN.
pub fn serve(
    tls: Option<(&Authority, &[&str])>,
    handler: impl Fn(Request<()>, Bytes) -> Reply + Send + Sync + 'static,
) -> Origin {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tls.map(|(authority, protocols)| authority.acceptor(protocols));
    let handler = Arc::new(handler);
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let Ok((socket, _)) = listener.accept().await else { return };
                counted.fetch_add(1, Ordering::SeqCst);
                let (handler, acceptor) = (handler.clone(), acceptor.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let handler = handler.clone();
                    async move {
                        let (parts, body) = request.into_parts();
                        let bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                        Ok::<_, Infallible>(handler(Request::from_parts(parts, ()), bytes))
                    }
                });
                tokio::spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    match acceptor {
                        None => drop(server.serve_connection(TokioIo::new(socket), service).await),
                        Some(acceptor) => {
                            if let Ok(socket) = acceptor.accept(socket).await {
                                let _ = server.serve_connection(TokioIo::new(socket), service).await;
                            }
                        }
                    }
                });
            }
        });
    });
    Origin { port, connections }
}

/// A server that does with each connection, numbered from 0, what `handler` does, after it read one head.
pub fn raw(handler: impl Fn(usize, &mut TcpStream, &str) + Send + Sync + 'static) -> Origin {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let handler = Arc::new(handler);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            let (handler, mut stream) = (handler.clone(), stream.unwrap());
            std::thread::spawn(move || {
                let head = read_head(&mut stream);
                handler(number, &mut stream, &head);
            });
        }
    });
    Origin { port, connections }
}

/// Reads up to the empty line, byte by byte, so that nothing after it is taken.
pub fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count > 0) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// A server that answers every request with these bytes and closes.
pub fn answering(answer: impl Into<Vec<u8>>) -> Origin {
    let answer = answer.into();
    raw(move |_, stream, _| drop(stream.write_all(&answer)))
}
