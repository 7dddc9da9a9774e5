//! Listening sockets: of an address one per thread, between which the kernel shares out connections; of a Unix socket one,
//! which all threads share.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
#[cfg(unix)]
use std::{
    fs,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
};

use selvedge_router::Network;
use selvedge_tls::config::{Endpoint, ListenerConfig, ProxyProtocol};
use socket2::{Domain, Protocol, Socket, Type};

use crate::EdgeError;
use crate::stream::Plain;

/// Connections that the kernel completes while no thread accepts.
const BACKLOG: i32 = 4096;

/// One address: its sockets, and what is spoken there.
pub(crate) struct Bound {
    /// With its real port.
    pub(crate) endpoint: Endpoint,
    pub(crate) manner: Manner,
    /// One per thread.
    pub(crate) listeners: Vec<Listener>,
}

/// What is spoken on a listener.
#[derive(Clone, Debug)]
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
pub(crate) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

/// The same on a thread that accepts.
pub(crate) enum Accepting {
    Tcp(tokio::net::TcpListener),
    #[cfg(unix)]
    Unix(tokio::net::UnixListener),
}

impl Listener {
    pub(crate) fn accepting(self, manner: Manner) -> io::Result<(Accepting, Rc<Manner>)> {
        let accepting = match self {
            Self::Tcp(listener) => Accepting::Tcp(tokio::net::TcpListener::from_std(listener)?),
            #[cfg(unix)]
            Self::Unix(listener) => Accepting::Unix(tokio::net::UnixListener::from_std(listener)?),
        };
        Ok((accepting, Rc::new(manner)))
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
            #[cfg(unix)]
            Self::Unix(listener) => Ok((Plain::Unix(listener.accept().await?.0), Ipv4Addr::LOCALHOST.into())),
        }
    }
}

/// Binds a listener once per thread.
pub(crate) fn bind(config: &ListenerConfig, threads: usize) -> Result<Bound, EdgeError> {
    let mut from = Vec::new();
    for network in &config.from {
        let network = network.parse().map_err(|error| EdgeError::Config(format!("listen: from: {error}")))?;
        from.push(network);
    }
    let manner = Manner {
        tls: config.tls,
        proxy: config.proxy_protocol,
        from,
        unix: config.socket_address().is_none(),
    };
    let fail = |source: io::Error| EdgeError::Bind {
        address: config.address.to_string(),
        advice: advice(&source),
        source,
    };
    match &config.address {
        Endpoint::Tcp(address) => {
            let (address, listeners) = bind_tcp(*address, threads).map_err(fail)?;
            Ok(Bound { endpoint: Endpoint::Tcp(address), manner, listeners })
        }
        #[cfg(unix)]
        Endpoint::Unix(path) => {
            let listeners = bind_unix(path, config.mode, threads).map_err(fail)?;
            Ok(Bound { endpoint: config.address.clone(), manner, listeners })
        }
        #[cfg(not(unix))]
        Endpoint::Unix(_) => Err(fail(io::ErrorKind::Unsupported.into())),
    }
}

fn bind_tcp(address: SocketAddr, threads: usize) -> io::Result<(SocketAddr, Vec<Listener>)> {
    // Sockets with SO_REUSEPORT share a port with any other such socket of the same user, another Selvedge
    // included. One without it tells whether the port is taken.
    if address.port() != 0 {
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
    #[cfg(unix)]
    {
        // Connections of a former process in TIME_WAIT do not keep the port.
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(shared)?;
    }
    #[cfg(not(unix))]
    let _ = shared;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(unix)]
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
pub(crate) fn remove(endpoints: &[(Endpoint, bool)]) {
    for (endpoint, _) in endpoints {
        if let Endpoint::Unix(path) = endpoint {
            // Another process may have removed it.
            let _ = std::fs::remove_file(path);
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
