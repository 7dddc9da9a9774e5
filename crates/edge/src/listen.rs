//! Listening sockets: for each address one per thread, between which the kernel shares out connections.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::EdgeError;

/// Connections that the kernel completes while no thread accepts.
const BACKLOG: i32 = 4096;

/// The sockets of one address, and the address with its real port.
pub(crate) struct Bound {
    pub(crate) address: SocketAddr,
    /// One per thread.
    pub(crate) listeners: Vec<TcpListener>,
}

/// Binds `address` once per thread.
pub(crate) fn bind(address: SocketAddr, threads: usize) -> Result<Bound, EdgeError> {
    let fail = |source| EdgeError::Bind { address, advice: advice(&source), source };
    // Sockets with SO_REUSEPORT share a port with any other such socket of the same user, another Selvedge
    // included. One without it tells whether the port is taken.
    if address.port() != 0 {
        drop(socket(address, false).map_err(fail)?);
    }
    let first = listener(address).map_err(fail)?;
    let address = first.local_addr().map_err(fail)?;
    let mut listeners = vec![first];
    for _ in 1..threads {
        listeners.push(listener(address).map_err(fail)?);
    }
    Ok(Bound { address, listeners })
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

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there; stop it or choose another port (0 takes any free one)"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need the capability CAP_NET_BIND_SERVICE; choose a higher one"
        }
        io::ErrorKind::AddrNotAvailable => "no interface of this machine has that address",
        _ => "choose another address",
    }
}
