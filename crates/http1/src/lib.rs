//! HTTP/1.1 messages as bytes (RFC 9112): heads of requests, framing of bodies, heads of responses. No I/O, no memory of
//! its own beyond what callers lend.
//!
//! The parser is strict. Where the RFC lets a recipient repair what it was sent, this one refuses: two programs that
//! repair a message differently are what request smuggling lives on.

mod chunked;
mod date;
mod framing;
mod grammar;
mod head;
mod response;
mod violation;

pub use chunked::{ChunkedDecoder, Step, put_chunk_size};
pub use date::DateCache;
pub use framing::Framing;
pub use head::{Field, HeadFinder, Limits, RequestHead, Span, Version, parse_request};
pub use response::{put_field, put_length, put_status};
pub use violation::Violation;
