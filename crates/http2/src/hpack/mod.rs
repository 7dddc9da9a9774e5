//! HPACK: how HTTP/2 writes header fields (RFC 7541).

mod decoder;
mod encoder;
mod huffman;
mod integer;
mod table;

pub use decoder::{BadBlock, Decoder};
pub use encoder::Encoder;
pub use table::{Entry, Name, Value};

/// Bytes of a dynamic table that every peer has until it says otherwise (RFC 9113, section 6.5.2).
pub const DEFAULT_TABLE: usize = 4096;
