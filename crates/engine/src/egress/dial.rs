//! From a name to a connection: resolve, check, connect to the very address that was checked.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use selvedge_model::Egress as Rules;
use selvedge_wire::message::ResetCode;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::failed::{Failed, causes, refused, timed_out, unreachable};
use super::policy::{Policy, check_name};

/// Longest wait for a name's addresses.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for one address while there are others.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for the last address, and for a TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 6;

/// Connects to `host`, a name or an address without brackets, in lower case.
pub async fn dial(policy: &Policy, rules: &Rules, host: &str, port: u16) -> Result<TcpStream, Failed> {
    check_name(rules, host, port)?;
    let mut addresses = resolve(host, port).await?;
    let mut last = None;
    // What is forbidden is dropped before anything is tried.
    addresses.retain(|address| match policy.permits(rules, host, *address) {
        Ok(()) => true,
        Err(failed) => {
            last = Some(failed);
            false
        }
    });
    addresses.truncate(ADDRESSES_MAX);
    let count = addresses.len();
    for (index, address) in addresses.into_iter().enumerate() {
        let patience = if index + 1 < count { ADDRESS_TIMEOUT } else { CONNECT_TIMEOUT };
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(socket)) if is_this_machine(&socket) && !policy.excepts(host, address) => {
                return Err(refused(format!(
                    "{host}:{port} leads back to this machine; the egress policy does not allow it. Its operator can, with \
                     egress_allow = [\"{host}:{port}\"] under [engine]."
                )));
            }
            Ok(Ok(socket)) => {
                let _ = socket.set_nodelay(true);
                return Ok(socket);
            }
            Ok(Err(error)) => last = Some(not_connected(host, port, &error)),
            Err(_) => last = Some(timed_out(format!("{host}:{port} did not accept a connection in time."))),
        }
    }
    Err(last.unwrap_or_else(|| no_address(host, "it has no addresses")))
}

/// A public address of this very machine: its own listeners are not to be reached from behind.
fn is_this_machine(socket: &TcpStream) -> bool {
    matches!((socket.local_addr(), socket.peer_addr()), (Ok(local), Ok(peer)) if local.ip() == peer.ip())
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Failed> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    match timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(error)) => Err(no_address(host, &error.to_string())),
        Err(_) => Err(no_address(host, "no name server answered in time")),
    }
}

fn no_address(host: &str, why: &str) -> Failed {
    let why = why.strip_prefix("failed to lookup address information: ").unwrap_or(why);
    Failed(ResetCode::DnsFailed, format!("The name {host} could not be resolved: {why}."))
}

fn not_connected(host: &str, port: u16, error: &io::Error) -> Failed {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Failed(
            ResetCode::ConnectionRefused,
            format!("{host} refused the connection: nothing listens on port {port}."),
        ),
        io::ErrorKind::TimedOut => timed_out(format!("{host}:{port} did not accept a connection in time.")),
        _ => unreachable(format!("{host}:{port} could not be reached: {error}.")),
    }
}

/// Shakes hands as the client of `host`.
pub async fn secure(
    config: &Arc<ClientConfig>,
    host: &str,
    socket: TcpStream,
) -> Result<TlsStream<TcpStream>, Failed> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| refused(format!("{host} cannot be the name of a TLS server.")))?;
    match timeout(CONNECT_TIMEOUT, TlsConnector::from(config.clone()).connect(name, socket)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => {
            Err(Failed(ResetCode::TlsFailed, format!("TLS with {host} failed: {}.", causes(&error))))
        }
        Err(_) => Err(timed_out(format!("{host} did not finish the TLS handshake in time."))),
    }
}
