//! New connections.

use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::endpoint::{Address, Endpoint};
use crate::error::UpstreamError;
use crate::stream::Stream;
use crate::target::Place;
use crate::tls::server_name;
use crate::upstream::Upstream;

/// Connects to a server, within the time that the settings give. `http1` offers no HTTP/2 in TLS.
pub(crate) async fn connect(
    upstream: &Upstream,
    endpoint: &Endpoint,
    http1: bool,
) -> Result<Stream, UpstreamError> {
    let connecting = plain(upstream, endpoint, http1);
    match tokio::time::timeout(upstream.config.connect_timeout(), connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(UpstreamError::ConnectTimeout),
    }
}

async fn plain(upstream: &Upstream, endpoint: &Endpoint, http1: bool) -> Result<Stream, UpstreamError> {
    let failed = |error: std::io::Error| {
        tracing::debug!(server = &*endpoint.label, %error, "no connection");
        UpstreamError::Refused
    };
    let stream = match &endpoint.address {
        Address::Unix(path) => return Ok(Stream::Unix(UnixStream::connect(path).await.map_err(failed)?)),
        Address::Tcp(address) => TcpStream::connect(address).await.map_err(failed)?,
    };
    // Fails only when the server is gone already.
    let _ = stream.set_nodelay(true);
    let (true, Some(clients)) = (endpoint.is_tls(), &upstream.tls) else { return Ok(Stream::Tcp(stream)) };
    let Place::Host { host, .. } = &endpoint.target.place else { return Err(UpstreamError::Tls) };
    let name = server_name(&upstream.config.tls, host).map_err(|_| UpstreamError::Tls)?;
    let client = if http1 { &clients.http1 } else { &clients.any };
    match TlsConnector::from(client.clone()).connect(name, stream).await {
        Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
        Err(error) => {
            tracing::warn!(server = &*endpoint.label, %error, "TLS failed");
            Err(UpstreamError::Tls)
        }
    }
}
