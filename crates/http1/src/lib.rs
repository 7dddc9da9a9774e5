//! HTTP/1.1 messages as bytes (RFC 9112): heads of requests and of responses, read and written, and framing of bodies.
//! No I/O, no memory of its own beyond what callers lend.
//!
//! The parser is strict. Where the RFC lets a recipient repair what it was sent, this one refuses: two programs that
//! repair a message differently are what request smuggling lives on.

mod chunked;
mod date;
mod framing;
mod grammar;
mod head;
mod response;
mod response_head;
mod violation;

pub use chunked::{ChunkedDecoder, Step, put_chunk_size};
pub use date::DateCache;
pub use framing::{Framing, ResponseFraming};
pub use head::{Field, HeadFinder, Limits, RequestHead, Span, Version, parse_request};
pub use response::{put_field, put_length, put_request_line, put_status};
pub use response_head::{ResponseHead, parse_response, parse_trailers};
pub use violation::Violation;
