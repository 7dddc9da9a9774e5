//! The protocol between the engine and a sandbox host: isolates today, WASM, processes and microVM guests alike.
//!
//! One connection is one stream socket between one edge thread and one host thread. It carries **frames**
//! ([`frame`]), little-endian, each with a 12-byte header. After a `HELLO` from both sides, either side opens
//! **streams**: the engine's have odd ids, the host's even ones. A stream is one call ([`message::Call`]): load a
//! worker, answer a request, run a schedule; or, from the host, what the worker asks of the outside, such as a
//! subrequest. A host never reaches the outside in another way.
//!
//! ```text
//! engine → host   OPEN(fetch) DATA* FIN          host → engine   HEAD DATA* FIN DONE
//! ```
//!
//! `FIN` ends the sender's half. `DONE` says that the host has finished all work of the stream, which may be
//! later than its response (`waitUntil`); only then may the engine unload the worker. `RESET` ends both halves.
//!
//! **WebSockets.** A stream whose call is answered with status 101 carries whole messages from then on; see
//! [`socket`].
//!
//! **Inspectors.** A socket for the Chrome DevTools protocol is none of these connections; see [`door`].
//!
//! **Flow control.** Each direction of a stream starts with [`INITIAL_CREDIT`] bytes of `DATA`; the receiver
//! grants more with `CREDIT` as its consumer takes bytes. The number of streams is bounded by the engine, so
//! memory on both sides is bounded by streams × credit.
//!
//! **System calls.** Encoders append to a byte vector, decoders read from a slice that holds whatever had
//! arrived; both sides flush once per turn of their loop, so that under load many frames share a call.

pub mod door;
pub mod flow;
pub mod frame;
pub mod id_map;
pub mod message;
pub mod page;
pub mod shrink;
pub mod socket;

pub use flow::{Overrun, RecvWindow, SendWindow};
pub use frame::{DONE, FIN, Frame, Kind, WireError, decode};
pub use id_map::IdMap;
pub use shrink::Shrink;

/// The protocol's version, said in `HELLO`; both sides must have the same.
pub const VERSION: u16 = 2;
/// `DATA` bytes that may be sent on a new stream before the first `CREDIT`.
pub const INITIAL_CREDIT: u32 = 256 << 10;
/// Bytes in a frame's header.
pub const HEADER_LEN: usize = 12;
/// Most bytes of one frame's payload. `OPEN` may be this large, `DATA` is kept to [`DATA_MAX`].
pub const PAYLOAD_MAX: usize = 1 << 20;
/// Most bytes that a sender puts into one `DATA` frame, so that streams interleave.
pub const DATA_MAX: usize = 64 << 10;
