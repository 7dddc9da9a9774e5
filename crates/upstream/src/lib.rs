//! Servers behind the edge: connections to them, which of them is chosen, whether they are healthy, when to try again.
//!
//! [`Upstream`] is what all threads share: the servers of one group and how they are. [`Local`] is what each serving thread
//! has of its own: open connections. [`send()`] takes a request to a server and brings back the response, on the task of
//! whoever asks: read it first.

mod balance;
mod body;
mod circuit;
pub mod config;
mod connect;
mod endpoint;
mod error;
pub mod forward;
mod health;
mod http1;
mod http2;
mod local;
mod metrics;
mod outgoing;
mod pool;
mod registry;
mod resolve;
mod send;
mod stream;
mod target;
mod tls;
mod upstream;

pub use body::{BodyError, Payload, Tunnel, UpstreamBody};
pub use error::{Report, UpstreamError};
pub use local::Local;
pub use outgoing::{Hints, Outgoing};
pub use registry::Registry;
pub use send::send;
pub use upstream::{EndpointState, Upstream};
