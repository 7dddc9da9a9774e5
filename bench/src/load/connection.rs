//! One connection of the load generator.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::response::{self, Response};

/// For a server on this machine to accept.
const CONNECT: Duration = Duration::from_secs(5);

/// A connection with at most one request under way.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    received: Vec<u8>,
    /// See [`response::parse_on`].
    waiting_for: usize,
    /// When the request under way was sent, or was due.
    pub(super) since: Option<Instant>,
}

/// What reading brought.
pub(super) enum Progress {
    /// More is to come.
    Waiting,
    Answered(Response),
    /// Closed, or not HTTP.
    Broken,
}

impl Connection {
    pub(super) fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, CONNECT);
        let stream = stream.with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        // A whole request fits: see `send`.
        rustix::net::sockopt::set_socket_send_buffer_size(&stream, 256 << 10)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, received: Vec::with_capacity(4096), waiting_for: 0, since: None })
    }

    /// Sends a request. One that does not fit into the empty socket buffer is an error: they are small.
    pub(super) fn send(&mut self, request: &[u8], since: Instant) -> Result<(), ()> {
        self.since = Some(since);
        match self.stream.write(request) {
            Ok(written) if written == request.len() => Ok(()),
            _ => Err(()),
        }
    }

    /// Takes what has arrived.
    pub(super) fn receive(&mut self) -> Progress {
        let mut block = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut block) {
                Ok(0) => return Progress::Broken,
                Ok(read) => self.received.extend_from_slice(&block[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Waiting,
                Err(_) => return Progress::Broken,
            }
            match response::parse_on(&self.received, &mut self.waiting_for) {
                Ok(None) if self.received.len() <= response::MAX_BYTES => {}
                // An answer without a request, or more than one answer, is as wrong as no HTTP.
                Ok(Some(response)) if self.since.is_some() && response.length == self.received.len() => {
                    self.received.clear();
                    self.waiting_for = 0;
                    return Progress::Answered(response);
                }
                Ok(_) | Err(_) => return Progress::Broken,
            }
        }
    }
}
