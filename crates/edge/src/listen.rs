//! Listening sockets: of an address one per thread, between which the kernel shares out connections; of a Unix socket one,
//! which all threads share.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use selvedge_router::Network;
use selvedge_tls::config::{Endpoint, ListenerConfig, ProxyProtocol};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::EdgeError;
use crate::stream::Plain;

/// Connections that the kernel completes while no thread accepts.
const BACKLOG: i32 = 4096;

/// One address: its sockets, and what is spoken there.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    /// As the settings have it.
    pub(crate) configured: Endpoint,
    /// With its real port.
    pub(crate) endpoint: Endpoint,
    pub(crate) manner: Manner,
    /// At least one per thread.
    pub(crate) sockets: Arc<Vec<Listener>>,
}

/// The sockets of a listener, on their way from one process to the next.
#[derive(Debug)]
pub struct Handed {
    /// Address, as the settings have it.
    pub configured: Endpoint,
    /// Address with its real port.
    pub bound: Endpoint,
    /// All of them: what waits in the queue of one that nobody has any more is lost.
    pub sockets: Vec<OwnedFd>,
}

/// What is spoken on a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manner {
    pub(crate) tls: bool,
    pub(crate) proxy: ProxyProtocol,
    /// Whose PROXY header is believed.
    from: Vec<Network>,
    unix: bool,
}

impl Manner {
    /// Whether connections begin with HTTP.
    pub(crate) fn is_plain(&self) -> bool {
        !self.tls && self.proxy == ProxyProtocol::Off
    }

    /// Whether clients connect here themselves, so that their requests can be sent elsewhere.
    pub(crate) fn is_direct(&self) -> bool {
        !self.unix && self.proxy == ProxyProtocol::Off
    }

    /// Whether a PROXY header of somebody is believed. Who may open a Unix socket is for its file to say.
    pub(crate) fn believes(&self, peer: IpAddr) -> bool {
        self.unix || self.from.iter().any(|network| network.contains(peer))
    }
}

/// A socket that listens.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The same on a thread that accepts.
pub(crate) enum Accepting {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Listener {
    pub(crate) fn accepting(self) -> io::Result<Accepting> {
        Ok(match self {
            Self::Tcp(listener) => Accepting::Tcp(tokio::net::TcpListener::from_std(listener)?),
            Self::Unix(listener) => Accepting::Unix(tokio::net::UnixListener::from_std(listener)?),
        })
    }

    /// The same socket once more.
    pub(crate) fn again(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(listener.try_clone()?),
            Self::Unix(listener) => Self::Unix(listener.try_clone()?),
        })
    }
}

impl From<Listener> for OwnedFd {
    fn from(listener: Listener) -> Self {
        match listener {
            Listener::Tcp(listener) => listener.into(),
            Listener::Unix(listener) => listener.into(),
        }
    }
}

impl Bound {
    /// Its sockets once more: those of one thread among `count`.
    pub(crate) fn of_thread(&self, n: usize, count: usize) -> io::Result<Vec<Listener>> {
        self.sockets.iter().skip(n).step_by(count).map(Listener::again).collect()
    }

    /// Its sockets once more, for another process.
    pub(crate) fn handed(&self) -> io::Result<Handed> {
        let sockets = self.sockets.iter().map(|socket| socket.again().map(OwnedFd::from));
        Ok(Handed {
            configured: self.configured.clone(),
            bound: self.endpoint.clone(),
            sockets: sockets.collect::<io::Result<_>>()?,
        })
    }
}

impl Accepting {
    /// The next connection and whose it is; loopback, where it comes over a Unix socket.
    pub(crate) async fn accept(&self) -> io::Result<(Plain, IpAddr)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Fails only when the client is gone already.
                let _ = stream.set_nodelay(true);
                Ok((Plain::Tcp(stream), peer.ip().to_canonical()))
            }
            Self::Unix(listener) => Ok((Plain::Unix(listener.accept().await?.0), Ipv4Addr::LOCALHOST.into())),
        }
    }

    /// A connection that waits already, without waiting for one. The kernel is asked itself: what the runtime knows of the
    /// socket may be older.
    pub(crate) fn accept_now(&self) -> io::Result<(Plain, IpAddr)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = SockRef::from(listener).accept()?;
                stream.set_nonblocking(true)?;
                let _ = stream.set_tcp_nodelay(true);
                let peer = peer.as_socket().map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip());
                let stream = tokio::net::TcpStream::from_std(stream.into())?;
                Ok((Plain::Tcp(stream), peer.to_canonical()))
            }
            Self::Unix(listener) => {
                let (stream, _) = SockRef::from(listener).accept()?;
                stream.set_nonblocking(true)?;
                let stream = tokio::net::UnixStream::from_std(stream.into())?;
                Ok((Plain::Unix(stream), Ipv4Addr::LOCALHOST.into()))
            }
        }
    }
}

/// What is spoken on a listener with these settings.
pub(crate) fn manner(config: &ListenerConfig) -> Result<Manner, EdgeError> {
    let from = config.from.iter().map(|network| network.parse());
    Ok(Manner {
        tls: config.tls,
        proxy: config.proxy_protocol,
        from: from
            .collect::<Result<_, _>>()
            .map_err(|error| EdgeError::Config(format!("listen: from: {error}")))?,
        unix: config.socket_address().is_none(),
    })
}

/// Opens a listener once per thread, with the sockets of a former process where there are some. `ours` are addresses that this
/// process listens on as long as the new ones are not open.
pub(crate) fn bind(
    config: &ListenerConfig,
    threads: usize,
    inherited: &mut Vec<Handed>,
    ours: &[SocketAddr],
) -> Result<Bound, EdgeError> {
    let manner = manner(config)?;
    let fail = |source: io::Error| EdgeError::Bind {
        address: config.address.to_string(),
        advice: advice(&source),
        source,
    };
    let known = inherited.iter().position(|handed| handed.configured == config.address);
    let known = known.or_else(|| inherited.iter().position(|handed| handed.bound == config.address));
    let (endpoint, sockets) = match (known, &config.address) {
        (Some(known), _) => adopt(inherited.remove(known), config, threads).map_err(fail)?,
        (None, Endpoint::Tcp(address)) => {
            let (address, sockets) = bind_tcp(*address, threads, ours).map_err(fail)?;
            (Endpoint::Tcp(address), sockets)
        }
        (None, Endpoint::Unix(path)) => {
            (config.address.clone(), bind_unix(path, config.mode, threads).map_err(fail)?)
        }
    };
    Ok(Bound { configured: config.address.clone(), endpoint, manner, sockets: Arc::new(sockets) })
}

/// Takes sockets over, all of them, and adds some where there are more threads.
fn adopt(handed: Handed, config: &ListenerConfig, threads: usize) -> io::Result<(Endpoint, Vec<Listener>)> {
    let Handed { bound, sockets, .. } = handed;
    let mut listeners: Vec<Listener> = match &bound {
        Endpoint::Tcp(_) => sockets.into_iter().map(|socket| Listener::Tcp(socket.into())).collect(),
        Endpoint::Unix(_) => sockets.into_iter().map(|socket| Listener::Unix(socket.into())).collect(),
    };
    for count in listeners.len()..threads {
        let own = match &bound {
            // Who may not bind any more shares.
            Endpoint::Tcp(address) => listener(*address).ok().map(Listener::Tcp),
            Endpoint::Unix(_) => None,
        };
        let first = listeners.get(count.checked_rem(listeners.len()).unwrap_or_default());
        let Some(first) = first else { return Err(io::ErrorKind::InvalidData.into()) };
        let next = match own {
            Some(own) => own,
            None => first.again()?,
        };
        listeners.push(next);
    }
    if let (Endpoint::Unix(path), Some(mode)) = (&bound, config.mode) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok((bound, listeners))
}

fn bind_tcp(
    address: SocketAddr,
    threads: usize,
    ours: &[SocketAddr],
) -> io::Result<(SocketAddr, Vec<Listener>)> {
    // Sockets with SO_REUSEPORT share a port with any other such socket of the same user, another Selvedge
    // included. One without it tells whether the port is taken; by ourselves it may be.
    if address.port() != 0 && !ours.iter().any(|ours| ours.port() == address.port()) {
        drop(socket(address, false)?);
    }
    let first = listener(address)?;
    let address = first.local_addr()?;
    let mut listeners = vec![Listener::Tcp(first)];
    for _ in 1..threads {
        listeners.push(Listener::Tcp(listener(address)?));
    }
    Ok((address, listeners))
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Connections of a former process in TIME_WAIT do not keep the port.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn bind_unix(path: &Path, mode: Option<u32>, threads: usize) -> io::Result<Vec<Listener>> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    // What a former process left behind answers nobody.
    if is_socket
        && matches!(UnixStream::connect(path), Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
    {
        fs::remove_file(path)?;
    }
    let first = UnixListener::bind(path)?;
    first.set_nonblocking(true)?;
    if let Some(mode) = mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    let mut listeners = Vec::new();
    for _ in 1..threads {
        listeners.push(Listener::Unix(first.try_clone()?));
    }
    listeners.push(Listener::Unix(first));
    Ok(listeners)
}

/// How many addresses are listened on, or which Unix sockets nobody finds any more.
pub(crate) fn check(endpoints: &[(Endpoint, bool)]) -> Result<String, String> {
    let lost = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Unix(path) if !path.exists());
    let lost: Vec<String> = endpoints
        .iter()
        .filter(|(endpoint, _)| lost(endpoint))
        .map(|(endpoint, _)| format!("{endpoint} was removed"))
        .collect();
    if lost.is_empty() { Ok(format!("{} bound", endpoints.len())) } else { Err(lost.join(", ")) }
}

/// Removes the files of Unix sockets.
pub(crate) fn remove<'e>(endpoints: impl IntoIterator<Item = &'e Endpoint>) {
    for endpoint in endpoints {
        if let Endpoint::Unix(path) = endpoint {
            // Another process may have removed it.
            let _ = fs::remove_file(path);
        }
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there; stop it or choose another port (0 takes any free one)"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need the capability CAP_NET_BIND_SERVICE, and a socket's directory has to be writable"
        }
        io::ErrorKind::AddrNotAvailable => "no interface of this machine has that address",
        io::ErrorKind::NotFound => "make its directory first",
        _ => "choose another address",
    }
}
