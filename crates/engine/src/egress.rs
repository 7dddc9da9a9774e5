//! Subrequests: what workers fetch from outside, under a policy that is enforced out here.
//!
//! By default only public addresses may be reached. The check is made on the address that is connected to,
//! after name resolution, so that no name can lead inside.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body::{Body, Frame};
use hyper::client::conn::http1;
use selvedge_wire::message::{self, Head, ResetCode, Subrequest};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::connection::Connection;
use crate::shared::Shared;
use crate::stream::{Broken, Stream};

/// Longest wait for a connection and its handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the answer's head; the request's own wall time limit usually ends it earlier.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Headers that concern one connection only (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::HOST,
];

/// Where workers may connect to.
#[derive(Clone, Debug)]
pub struct Policy {
    /// `host:port` pairs that may be reached although their addresses are not public.
    allow: Vec<String>,
    tls: Arc<ClientConfig>,
}

impl Policy {
    /// A policy with the given exceptions.
    pub fn new(allow: &[String]) -> Self {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { allow: allow.to_vec(), tls: Arc::new(tls) }
    }

    fn permits(&self, host: &str, address: SocketAddr) -> bool {
        if is_public(address.ip()) {
            return true;
        }
        let port = address.port();
        let names = [format!("{host}:{port}"), address.to_string()];
        self.allow.iter().any(|allowed| names.contains(allowed))
    }
}

/// Whether an address belongs to the public internet (IANA special-purpose registries, RFC 6890).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => is_public_v4(ip),
            None => is_public_v6(ip),
        },
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b)))
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    // Global unicast is 2000::/3; out of it come documentation, Teredo, ORCHID and 6to4.
    s[0] & 0xe000 == 0x2000
        && !(s[0] == 0x2001 && s[1] < 0x0200)
        && !(s[0] == 0x2001 && s[1] == 0x0db8)
        && s[0] != 0x2002
        && s[0] != 0x3fff
}

/// Why a subrequest failed, for the worker's developer.
struct Failed(ResetCode, String);

fn refused(text: impl Into<String>) -> Failed {
    Failed(ResetCode::Refused, text.into())
}

fn unreachable(text: impl Into<String>) -> Failed {
    Failed(ResetCode::Unreachable, text.into())
}

/// Takes a subrequest off the wire and serves it in the background.
pub fn begin(
    connection: &Rc<Connection>,
    shared: &Arc<Shared>,
    id: u32,
    request: &Subrequest<'_>,
    fin: bool,
) {
    let stream = connection.accept(id, request.instance, fin);
    let (connection, shared) = (connection.clone(), shared.clone());
    let parsed = parse(request, fin, &stream);
    tokio::task::spawn_local(async move {
        let served = match parsed {
            Ok(request) => serve(&connection, &shared, &stream, request).await,
            Err(failed) => Err(failed),
        };
        match served {
            Ok(()) => {}
            Err(Failed(code, text)) => stream.cancel(code, &text),
        }
        connection.forget(&stream);
    });
}

fn parse(request: &Subrequest<'_>, fin: bool, stream: &Rc<Stream>) -> Result<Request<Outgoing>, Failed> {
    let url = std::str::from_utf8(request.url).map_err(|_| refused("The URL is not valid."))?;
    let uri: Uri = url.parse().map_err(|_| refused(format!("fetch() cannot use the URL {url:?}.")))?;
    let method = Method::from_bytes(request.method).map_err(|_| refused("The method is not valid."))?;
    if method == Method::CONNECT || method == Method::TRACE {
        return Err(refused(format!("fetch() does not send {method}.")));
    }
    let body = Outgoing((!fin).then(|| stream.clone()));
    let mut outgoing = Request::new(body);
    *outgoing.method_mut() = method;
    *outgoing.uri_mut() = uri;
    for (name, value) in message::header_pairs(request.headers) {
        let name = HeaderName::from_bytes(name).map_err(|_| refused("A header's name is not valid."))?;
        let value = HeaderValue::from_bytes(value).map_err(|_| refused("A header's value is not valid."))?;
        if !HOP_BY_HOP.contains(&name) {
            let kept = outgoing.headers_mut().try_append(name, value);
            kept.map_err(|_| refused("The request has too many headers."))?;
        }
    }
    Ok(outgoing)
}

async fn serve(
    connection: &Rc<Connection>,
    shared: &Arc<Shared>,
    stream: &Rc<Stream>,
    mut request: Request<Outgoing>,
) -> Result<(), Failed> {
    let host = request.uri().host().ok_or_else(|| refused("The URL has no host."))?.to_owned();
    let tls = match request.uri().scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(refused("fetch() takes http: and https: URLs.")),
    };
    let port = request.uri().port_u16().unwrap_or(if tls { 443 } else { 80 });
    let authority = match request.uri().port() {
        Some(_) => format!("{host}:{port}"),
        None => host.clone(),
    };
    let authority = HeaderValue::from_str(&authority).map_err(|_| refused("The host is not valid."))?;
    request.headers_mut().insert(header::HOST, authority);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).parse();
    *request.uri_mut() = path.map_err(|_| refused("The path is not valid."))?;

    let socket = tokio::time::timeout(CONNECT_TIMEOUT, connect(&shared.egress, &host, port));
    let socket =
        socket.await.map_err(|_| unreachable(format!("{host} did not accept a connection in time.")))??;
    let response = if tls {
        let name = host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(name).map_err(|_| refused("The host is not valid."))?;
        let handshake = TlsConnector::from(shared.egress.tls.clone()).connect(name, socket);
        let socket = tokio::time::timeout(CONNECT_TIMEOUT, handshake)
            .await
            .map_err(|_| unreachable(format!("{host} did not finish the TLS handshake in time.")))?
            .map_err(|error| unreachable(format!("TLS with {host} failed: {error}.")))?;
        exchange(&host, socket, request).await?
    } else {
        exchange(&host, socket, request).await?
    };
    relay(connection, stream, &host, response).await
}

async fn connect(policy: &Policy, host: &str, port: u16) -> Result<TcpStream, Failed> {
    let name = host.trim_matches(['[', ']']);
    let addresses = tokio::net::lookup_host((name, port))
        .await
        .map_err(|_| unreachable(format!("The name {host} could not be resolved.")))?;
    let mut last = refused(format!(
        "{host} is not a public address; the egress policy of this machine does not allow it."
    ));
    for address in addresses.filter(|address| policy.permits(name, *address)) {
        match TcpStream::connect(address).await {
            Ok(socket) => {
                let _ = socket.set_nodelay(true);
                return Ok(socket);
            }
            Err(error) => last = unreachable(format!("{host}:{port} could not be reached: {error}.")),
        }
    }
    Err(last)
}

async fn exchange<S>(
    host: &str,
    socket: S,
    request: Request<Outgoing>,
) -> Result<http::Response<hyper::body::Incoming>, Failed>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let broke = |error: hyper::Error| unreachable(format!("{host} broke the exchange off: {error}."));
    let (mut sender, driver) = http1::handshake(hyper_util::rt::TokioIo::new(socket)).await.map_err(broke)?;
    tokio::task::spawn_local(driver);
    let response = tokio::time::timeout(HEAD_TIMEOUT, sender.send_request(request)).await;
    response.map_err(|_| unreachable(format!("{host} did not answer in time.")))?.map_err(broke)
}

/// Passes the answer on, as fast as the isolate takes it.
async fn relay(
    connection: &Rc<Connection>,
    stream: &Rc<Stream>,
    host: &str,
    response: http::Response<hyper::body::Incoming>,
) -> Result<(), Failed> {
    let (parts, mut body) = response.into_parts();
    let mut headers = Vec::new();
    for (name, value) in parts.headers.iter().filter(|(name, _)| !HOP_BY_HOP.contains(name)) {
        message::put_header(&mut headers, name.as_str().as_bytes(), value.as_bytes());
    }
    let head = Head { status: parts.status.as_u16(), headers: &headers };
    let empty = body.is_end_stream();
    connection.answer(stream, head, empty);
    if empty {
        return Ok(());
    }
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| unreachable(format!("{host} broke its answer off: {error}.")))?;
        if let Ok(bytes) = frame.into_data()
            && !stream.send_all(&bytes, false).await
        {
            return Ok(());
        }
    }
    stream.send_data(&[], true);
    Ok(())
}

/// The worker's request body.
struct Outgoing(Option<Rc<Stream>>);

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(stream) = &self.0 else { return Poll::Ready(None) };
        stream.poll_chunk(cx).map(|chunk| {
            chunk.map(|chunk| match chunk {
                Ok(bytes) => Ok(Frame::data(bytes)),
                Err(Broken::Reset(_, text)) => Err(io::Error::other(text)),
                Err(Broken::HostLost(_)) => Err(io::Error::other("the worker's sandbox stopped")),
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|stream| stream.at_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "ff02::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["1.1.1.1", "8.8.8.8", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001::1"] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn exceptions_are_by_host_and_port() {
        let policy = Policy::new(&["localhost:9000".into()]);
        assert!(policy.permits("localhost", "127.0.0.1:9000".parse().unwrap()));
        assert!(!policy.permits("localhost", "127.0.0.1:9001".parse().unwrap()));
        assert!(!policy.permits("evil.example", "127.0.0.1:9000".parse().unwrap()));
    }
}
