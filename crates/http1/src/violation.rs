//! What can be wrong with a request, and what the client is told.

/// Why bytes are no request that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Not `METHOD target HTTP/1.x`.
    RequestLine,
    /// Not `HTTP/1.x 200 reason`.
    StatusLine,
    /// The target has bytes that none may have.
    Target,
    /// A version that this parser does not speak.
    Version,
    /// A line that ends in LF alone, or a CR within a line.
    LineEnd,
    /// A line that begins with a blank: one folded into the line before.
    Folding,
    /// A line without a colon, or a name that is no token.
    FieldName,
    /// A control character in a value.
    FieldValue,
    /// HTTP/1.1 without `Host`.
    NoHost,
    /// Several `Host`.
    Hosts,
    /// `Content-Length` is not one number.
    Length,
    /// `Content-Length` beside `Transfer-Encoding`.
    LengthAndCoding,
    /// The transfer coding does not end in `chunked`, names it twice, or comes with HTTP/1.0.
    Coding,
    /// A transfer coding before `chunked`.
    UnknownCoding,
    /// The size of a chunk is no number that can be.
    ChunkSize,
    /// What follows the size of a chunk, or its data, is wrong or too long.
    ChunkEnd,
    /// The fields after the last chunk are wrong or too long.
    Trailers,
    /// The connection ended within the body.
    BodyCut,
    /// The head is longer than allowed.
    HeadTooLarge,
    /// More fields than allowed.
    TooManyFields,
    /// The first line alone is longer than a head may be.
    TargetTooLong,
}

impl Violation {
    /// The status to answer with.
    pub fn status(self) -> u16 {
        match self {
            Self::HeadTooLarge | Self::TooManyFields => 431,
            Self::TargetTooLong => 414,
            Self::UnknownCoding => 501,
            _ => 400,
        }
    }

    /// A code that stays.
    pub fn code(self) -> &'static str {
        match self {
            Self::HeadTooLarge | Self::TooManyFields => "header_too_large",
            Self::TargetTooLong => "uri_too_long",
            Self::UnknownCoding => "unknown_transfer_coding",
            Self::Length | Self::LengthAndCoding | Self::Coding => "bad_framing",
            Self::ChunkSize | Self::ChunkEnd | Self::Trailers => "bad_chunk",
            Self::BodyCut => "body_cut_off",
            _ => "bad_request",
        }
    }

    /// One sentence for the client.
    pub fn message(self) -> &'static str {
        match self {
            Self::RequestLine => {
                "The first line of a request must be a method, a target and HTTP/1.1, with one blank between them."
            }
            Self::StatusLine => {
                "The first line of a response must be HTTP/1.1, a status of three digits and a reason."
            }
            Self::Target => "The request target has characters that a URL cannot have; encode them with %.",
            Self::Version => "This port speaks HTTP/1.0, HTTP/1.1 and HTTP/2 with prior knowledge.",
            Self::LineEnd => "Lines of a request must end with CR and LF.",
            Self::Folding => "A header field must not begin with a blank or go on in a second line.",
            Self::FieldName => {
                "A header field must be a name, a colon without a blank before it, and a value."
            }
            Self::FieldValue => "A header field has a control character in its value.",
            Self::NoHost => "A request of HTTP/1.1 must have a Host header.",
            Self::Hosts => "A request must have one Host header, not several.",
            Self::Length => "A request must have one Content-Length, which is a number.",
            Self::LengthAndCoding => "A request must not have both Content-Length and Transfer-Encoding.",
            Self::Coding => "The Transfer-Encoding of a request must be chunked, once and last, in HTTP/1.1.",
            Self::UnknownCoding => "The only Transfer-Encoding that this server knows is chunked.",
            Self::ChunkSize => "The size of a chunk must be a hexadecimal number.",
            Self::ChunkEnd => "A chunk must end with CR and LF, after its size and after its data.",
            Self::Trailers => "The fields after the last chunk are malformed or too long.",
            Self::BodyCut => "The connection ended before the whole body had arrived.",
            Self::HeadTooLarge => "The header fields are longer than allowed.",
            Self::TooManyFields => "There are more header fields than allowed.",
            Self::TargetTooLong => "The path and query are longer than allowed.",
        }
    }
}
