//! WebSockets of workers: their clients' ([`WorkerSocket`]) and those that they open themselves ([`outgoing`]).
//!
//! The protocol of RFC 6455 is spoken here, outside of the sandbox; a worker's host sees whole messages on a stream of
//! the wire (`selvedge_wire::socket`).

pub mod handshake;
pub(crate) mod outgoing;
mod protocol;
mod relay;

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use selvedge_wire::message::ResetCode;
use selvedge_wire::socket::MESSAGE_MAX;
use tokio::io::{AsyncRead, AsyncWrite};
use tungstenite::protocol::Role;

pub use relay::Closing;
use relay::Terms;

use crate::host::Offence;
use crate::local::Exchange;
use crate::shared::Shared;
use crate::stream::Broken;

/// A client's WebSocket that a worker has accepted. Dropping it breaks it off.
#[derive(Debug)]
pub struct WorkerSocket(pub(crate) Exchange);

/// How a WebSocket went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketEnd {
    /// Bytes written to the client.
    pub sent: u64,
    /// Close code.
    pub code: u16,
    /// The worker's failure that ended it, as [`EngineError::code`](crate::EngineError::code) names it.
    pub failure: Option<&'static str>,
}

impl WorkerSocket {
    /// Carries messages between the worker and its client until both have closed or one is gone. `received` is what
    /// was read from the client after its handshake; once `going_down` is ready the socket is closed with 1001.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        io: S,
        received: Bytes,
        going_down: impl Future<Output = ()>,
    ) -> SocketEnd {
        let call = self.0;
        call.shared.counters.sockets.fetch_add(1, Ordering::Relaxed);
        let _count = Count(&call.shared);
        let updated = async {
            match &call.claim {
                Some(claim) => claim.instance().retired().await,
                None => std::future::pending().await,
            }
        };
        let closing = async {
            let (mut going_down, mut updated) = (pin!(going_down), pin!(updated));
            std::future::poll_fn(|cx| {
                if going_down.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Closing { code: 1001, reason: "The server is going down." });
                }
                updated.as_mut().poll(cx).map(|()| Closing { code: 1012, reason: "The worker was updated." })
            })
            .await
        };
        let ended =
            relay::relay(io, received, Role::Server, &call.stream, terms(&call.shared), closing).await;
        let failure = ended.broken.map(|broken| call.conclude(&broken).code());
        SocketEnd { sent: ended.sent, code: ended.code, failure }
    }
}

/// One of the open sockets.
struct Count<'a>(&'a Shared);

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.0.counters.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

fn terms(shared: &Shared) -> Terms<'_> {
    Terms {
        message_max: shared.config.socket_message_bytes.min(MESSAGE_MAX),
        ping: Duration::from_secs(shared.config.socket_ping_s.max(1)),
        kept: &shared.socket_bytes,
    }
}

/// What the client of a worker that broke is told.
fn closing_of(broken: &Broken) -> Closing {
    let closing = |code, reason| Closing { code, reason };
    match broken {
        Broken::HostLost(Some(Offence::Cpu)) | Broken::Reset(ResetCode::CpuExceeded, _) => {
            closing(1011, "The worker used too much CPU time.")
        }
        Broken::HostLost(Some(Offence::Memory)) | Broken::Reset(ResetCode::MemoryExceeded, _) => {
            closing(1011, "The worker used too much memory.")
        }
        Broken::Reset(ResetCode::Canceled, _) => closing(1001, "The request is over."),
        Broken::Reset(ResetCode::BodyTooLarge, _) => closing(1013, "The client takes messages too slowly."),
        Broken::HostLost(None) | Broken::Reset(ResetCode::Bystander | ResetCode::UnknownInstance, _) => {
            closing(1012, "The worker was started anew. Connect again.")
        }
        Broken::Reset(..) => closing(1011, "The worker failed."),
    }
}
