//! HTTP/2 (RFC 9113) and HPACK (RFC 7541) as bytes and events, for servers. No I/O, no clock, no task.
//!
//! A [`Connection`] is fed with what a client sent ([`Connection::receive`]) and tells what happened, one [`Event`] at a
//! time. Bodies of requests wait in it until they are read ([`Connection::read`]), which is what opens the client's window
//! again. Responses go in by [`Connection::respond`] and [`Connection::send`]; [`Connection::fill`] makes frames of them,
//! the most urgent first (RFC 9218), in one buffer for all streams, which the caller writes.

mod config;
mod connection;
mod frame;
mod glitch;
mod head;
pub mod hpack;
mod priority;
mod receive;
mod send;
mod stream;

pub use config::Http2Config;
pub use connection::{Connection, Event, Fault, Limits};
pub use frame::{Code, MAX_PAYLOAD, PREFACE};
pub use glitch::Glitch;
pub use head::RequestHead;
pub use priority::Priority;
pub use stream::{Received, StreamRef};
