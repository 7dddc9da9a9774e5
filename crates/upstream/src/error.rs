//! Why there is no response, and what is remembered of how one came about.

use std::sync::Arc;
use std::time::Duration;

use selvedge_http1::Violation;

/// Why there is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// No connection to the server came about.
    #[error("the server refused the connection")]
    Refused,
    /// The connection was not there in time.
    #[error("no connection to the server came about in time")]
    ConnectTimeout,
    /// The name has no address.
    #[error("the name of the server has no address")]
    Unresolved,
    /// TLS failed: a certificate that is not believed, or no common version.
    #[error("TLS with the server failed")]
    Tls,
    /// The head of the response was not there in time.
    #[error("the server did not answer in time")]
    ResponseTimeout,
    /// The connection ended before the response's head did.
    #[error("the server closed the connection instead of answering")]
    Closed,
    /// What arrived is no response that can be passed on.
    #[error("the server's answer is no valid response: {0:?}")]
    BadResponse(Option<Violation>),
    /// All servers are unwell or left out.
    #[error("no server is healthy")]
    NoHealthy,
    /// Most requests failed lately.
    #[error("the circuit is open")]
    CircuitOpen,
    /// Too many requests wait for a connection, or this one did for too long.
    #[error("too many requests wait for the server")]
    Overloaded,
    /// The body of the request did not arrive whole.
    #[error("the request's body did not arrive whole")]
    RequestBody,
    /// A WebSocket was asked for of a server that speaks HTTP/2.
    #[error("the server cannot take a WebSocket")]
    NoTunnel,
}

impl UpstreamError {
    /// All codes.
    pub(crate) const CODES: [&str; 12] = [
        "upstream_refused",
        "upstream_connect_timeout",
        "upstream_unresolved",
        "upstream_tls",
        "upstream_timeout",
        "upstream_closed",
        "upstream_bad_response",
        "no_healthy_upstream",
        "circuit_open",
        "upstream_overloaded",
        "body_cut_off",
        "upstream_no_websocket",
    ];

    /// The place of its code among all.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Refused => 0,
            Self::ConnectTimeout => 1,
            Self::Unresolved => 2,
            Self::Tls => 3,
            Self::ResponseTimeout => 4,
            Self::Closed => 5,
            Self::BadResponse(_) => 6,
            Self::NoHealthy => 7,
            Self::CircuitOpen => 8,
            Self::Overloaded => 9,
            Self::RequestBody => 10,
            Self::NoTunnel => 11,
        }
    }

    /// The status to answer with.
    pub fn status(self) -> u16 {
        match self {
            Self::ConnectTimeout | Self::ResponseTimeout => 504,
            Self::NoHealthy | Self::CircuitOpen | Self::Overloaded => 503,
            Self::RequestBody => 400,
            Self::NoTunnel => 501,
            _ => 502,
        }
    }

    /// A code that stays.
    pub fn code(self) -> &'static str {
        Self::CODES[self.index()]
    }

    /// One sentence for the client. Where servers are and what they said is for the log.
    pub fn message(self) -> &'static str {
        match self {
            Self::Refused => "The server behind this one refuses connections.",
            Self::ConnectTimeout => "The server behind this one could not be reached in time.",
            Self::Unresolved => "The name of the server behind this one has no address.",
            Self::Tls => "A safe connection to the server behind this one could not be made.",
            Self::ResponseTimeout => "The server behind this one did not answer in time.",
            Self::Closed => "The server behind this one ended the connection instead of answering.",
            Self::BadResponse(_) => {
                "The server behind this one gave an answer that is no valid HTTP response."
            }
            Self::NoHealthy => "No server behind this one is healthy. Try again soon.",
            Self::CircuitOpen => {
                "Most requests to the servers behind this one failed lately. Try again soon."
            }
            Self::Overloaded => "The servers behind this one have too many requests waiting. Try again soon.",
            Self::RequestBody => "The connection ended before the whole body had arrived.",
            Self::NoTunnel => "The server behind this one does not take WebSockets.",
        }
    }

    /// Seconds after which to try again, where that may help.
    pub fn retry_after(self) -> Option<u32> {
        matches!(self, Self::NoHealthy | Self::CircuitOpen | Self::Overloaded).then_some(1)
    }

    /// Whether it tells against the server.
    pub(crate) fn is_servers(self) -> bool {
        matches!(
            self,
            Self::Refused
                | Self::ConnectTimeout
                | Self::Tls
                | Self::ResponseTimeout
                | Self::Closed
                | Self::BadResponse(_)
        )
    }
}

/// How a response came about, for the log. Filled in as far as the request got.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The server asked last.
    pub server: Option<Arc<str>>,
    /// Servers asked.
    pub attempts: u32,
    /// The last request went over a connection that was there before.
    pub reused: bool,
    /// From the beginning to the response's head, or to the error.
    pub waited: Duration,
}
