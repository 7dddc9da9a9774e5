//! What comes before HTTP on a connection: whose it is, where a proxy says so, and the handshake of TLS.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use bytes::BytesMut;
use selvedge_telemetry::http_metrics::{CutReason, Handshake};
use selvedge_tls::config::ProxyProtocol;
use selvedge_tls::proxy_protocol::{HEADER_MAX, Parsed, parse};
use selvedge_tls::{ClientLimits, Clients, HandshakeError, Place, Tls, handshake};
use tokio::io::AsyncReadExt;

use crate::config::EdgeConfig;
use crate::connection::Connection;
use crate::listen::Manner;
use crate::stream::{Plain, Stream};
use crate::thread::Thread;

/// What all threads share to let clients in.
pub(crate) struct Entrance {
    /// Where no listener speaks TLS, there is none.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Of the first listener that speaks TLS.
    pub(crate) https_port: Option<u16>,
    clients: Arc<Clients>,
    /// Handshakes under way.
    shaking: AtomicUsize,
    max_shaking: usize,
}

impl Entrance {
    /// With what clients have taken `before`, where the limits of that are the same.
    pub(crate) fn new(
        config: &EdgeConfig,
        tls: Option<Arc<Tls>>,
        https_port: Option<u16>,
        before: Option<&Self>,
    ) -> Self {
        let limits = ClientLimits {
            connections: config.max_client_connections,
            handshakes_per_s: config.tls.client_handshakes_per_s,
            handshake_burst: config.tls.client_handshake_burst,
        };
        let known = before.map(|before| &before.clients).filter(|known| known.limits() == limits);
        Self {
            tls,
            https_port,
            clients: known.cloned().unwrap_or_else(|| Clients::new(limits)),
            shaking: AtomicUsize::new(0),
            max_shaking: config.tls.max_handshakes,
        }
    }

    /// A place for one more connection of a client; `None` when it has all that it may have.
    pub(crate) fn connect(&self, connection: &Connection) -> Option<Place> {
        self.clients.connect(connection.peer(), connection.since())
    }
}

/// A handshake under way, among all.
struct Shaking<'e>(&'e AtomicUsize);

impl Drop for Shaking<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection on which HTTP is next.
pub(crate) struct Arrived {
    pub(crate) stream: Stream,
    /// Bytes that came with the header of a proxy.
    pub(crate) received: BytesMut,
    pub(crate) place: Place,
}

/// Leads a connection to where HTTP begins. `None`: it is to be closed.
pub(crate) async fn arrive(
    mut stream: Plain,
    manner: &Manner,
    thread: &Rc<Thread>,
    connection: &Rc<Connection>,
) -> Option<Arrived> {
    let arriving = async move {
        let mut received = BytesMut::new();
        if manner.proxy != ProxyProtocol::Off {
            introduce(&mut stream, &mut received, manner, connection).await?;
        }
        let Some(place) = thread.entrance.connect(connection) else {
            thread.counters.shed.add(1);
            return None;
        };
        let tls = thread.entrance.tls.as_ref().filter(|_| manner.tls);
        let stream = match tls {
            Some(tls) => {
                let received = std::mem::take(&mut received).to_vec();
                Stream::Tls(Box::new(shake_hands(stream, received, tls, thread, connection).await?))
            }
            None => Stream::Plain(stream),
        };
        Some(Arrived { stream, received, place })
    };
    let mut arriving = pin!(arriving);
    poll_fn(|cx| {
        connection.remember(cx);
        // Nobody waits for who has asked for nothing yet.
        if connection.verdict().is_some() || connection.is_draining() {
            return Poll::Ready(None);
        }
        arriving.as_mut().poll(cx)
    })
    .await
}

/// Reads the header of a proxy, and takes the client from it.
async fn introduce(
    stream: &mut Plain,
    received: &mut BytesMut,
    manner: &Manner,
    connection: &Connection,
) -> Option<()> {
    if !manner.believes(connection.peer()) {
        // What it sends is for HTTP to judge, which knows no such header.
        return (manner.proxy == ProxyProtocol::Optional).then_some(());
    }
    loop {
        let parsed = match parse(received) {
            Ok(parsed) => parsed,
            Err(error) => {
                tracing::debug!(peer = %connection.peer(), %error, "a proxy's header was refused");
                connection.counters.cut(CutReason::Malformed);
                return None;
            }
        };
        match parsed {
            Parsed::Whole(header) => {
                if let Some(client) = header.client {
                    connection.introduce(client.ip().to_canonical());
                }
                let _ = received.split_to(header.length);
                return Some(());
            }
            Parsed::Absent if manner.proxy == ProxyProtocol::Optional => return Some(()),
            Parsed::Absent => {
                connection.counters.cut(CutReason::Malformed);
                return None;
            }
            Parsed::Partial if received.len() > HEADER_MAX => return None,
            Parsed::Partial => {}
        }
        match stream.read_buf(received).await {
            Ok(1..) => {}
            // Where no header has to be, a client that leaves is no news.
            Ok(0) | Err(_) => return None,
        }
    }
}

async fn shake_hands(
    stream: Plain,
    received: Vec<u8>,
    tls: &Tls,
    thread: &Rc<Thread>,
    connection: &Connection,
) -> Option<selvedge_tls::TlsStream<Plain>> {
    let entrance = &thread.entrance;
    let before = entrance.shaking.fetch_add(1, Ordering::Relaxed);
    let _shaking = Shaking(&entrance.shaking);
    // They would not get theirs in time, and keep others from it.
    if before >= entrance.max_shaking
        || !entrance.clients.may_shake_hands(connection.peer(), connection.since())
    {
        thread.counters.shed.add(1);
        return None;
    }
    connection.shake_hands();
    match handshake(stream, received, tls, thread.tls_buffers.clone()).await {
        Ok((stream, session)) => {
            let kind = if session.resumed { Handshake::Resumed } else { Handshake::Full };
            thread.counters.handshake(kind, session.version);
            connection.is_secured(session);
            Some(stream)
        }
        Err(HandshakeError::Challenge) => None,
        Err(error) => {
            // Scanners and clients that have seen enough leave without a word.
            let left =
                matches!(&error, HandshakeError::Io(error) if error.kind() != io::ErrorKind::InvalidData);
            tracing::debug!(peer = %connection.peer(), %error, "no TLS session");
            if !left {
                thread.counters.handshake(Handshake::Failed, "");
            }
            None
        }
    }
}
