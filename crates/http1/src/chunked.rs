//! The chunked transfer coding (RFC 9112, section 7.1), both ways.

use std::ops::Range;

use crate::Violation;
use crate::grammar::{is_token_byte, is_value_byte};

/// All chunk extensions of a body together, bytes. Nobody uses them for good.
const EXTENSIONS_MAX: u32 = 4096;
/// All trailer fields of a body together, bytes.
const TRAILERS_MAX: u32 = 8192;
/// Digits of a chunk's size, leading zeros included.
const DIGITS_MAX: u8 = 16;

/// Takes a body out of its chunks, as it arrives. Trailer fields are checked and pointed at, for whoever wants them.
#[derive(Clone, Copy, Debug)]
pub struct ChunkedDecoder {
    state: State,
    extensions: u32,
    trailers: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size {
        value: u64,
        digits: u8,
    },
    Extension {
        value: u64,
    },
    SizeFeed {
        value: u64,
    },
    Data {
        left: u64,
    },
    DataReturn,
    DataFeed,
    /// A trailer field begins, or the end.
    Line,
    Name,
    Value,
    ValueFeed,
    LastFeed,
    Over,
}

/// What one call of [`ChunkedDecoder::next`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Input bytes that are dealt with.
    pub taken: usize,
    /// Where among them the next bytes of the body are; empty when there are none.
    pub data: Range<usize>,
    /// Where among them the trailer section goes on, its empty line included; the pieces of all steps together are what
    /// [`crate::parse_trailers`] takes.
    pub trailers: Range<usize>,
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self { state: State::Size { value: 0, digits: 0 }, extensions: 0, trailers: 0 }
    }
}

impl ChunkedDecoder {
    /// Whether the last chunk and what follows it was read.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Reads on until there is data, `input` is used up or the body is over. Takes nothing of what follows the body.
    pub fn next(&mut self, input: &[u8]) -> Result<Step, Violation> {
        let mut at = 0;
        let mut trailers = if self.in_trailers() { 0 } else { usize::MAX };
        while at < input.len() && self.state != State::Over {
            if let State::Data { left } = self.state {
                let length = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - at);
                let left = left - length as u64;
                self.state = if left == 0 { State::DataReturn } else { State::Data { left } };
                let taken = at + length;
                return Ok(Step { taken, data: at..taken, trailers: taken..taken });
            }
            self.state = self.byte(input[at])?;
            at += 1;
            if trailers == usize::MAX && self.in_trailers() {
                trailers = at;
            }
        }
        Ok(Step { taken: at, data: at..at, trailers: trailers.min(at)..at })
    }

    fn in_trailers(&self) -> bool {
        matches!(self.state, State::Line | State::Name | State::Value | State::ValueFeed | State::LastFeed)
    }

    /// Every byte that is not the body's own.
    fn byte(&mut self, byte: u8) -> Result<State, Violation> {
        use State::{
            Data, DataFeed, DataReturn, Extension, LastFeed, Line, Name, Over, Size, SizeFeed, Value,
            ValueFeed,
        };
        match (self.state, byte) {
            (Size { value, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < DIGITS_MAX => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                return Ok(Size { value: value << 4 | u64::from(digit), digits: digits + 1 });
            }
            (Size { value, digits: 1.. }, b'\r') => return Ok(SizeFeed { value }),
            (Size { value, digits: 1.. }, b';') => return Ok(Extension { value }),
            (Size { .. }, _) => return Err(Violation::ChunkSize),
            (Extension { value }, b'\r') => return Ok(SizeFeed { value }),
            (Extension { value }, byte) if is_value_byte(byte) && self.extensions < EXTENSIONS_MAX => {
                self.extensions += 1;
                return Ok(Extension { value });
            }
            (SizeFeed { value: 0 }, b'\n') => return Ok(Line),
            (SizeFeed { value }, b'\n') => return Ok(Data { left: value }),
            (DataReturn, b'\r') => return Ok(DataFeed),
            (DataFeed, b'\n') => return Ok(Size { value: 0, digits: 0 }),
            (Extension { .. } | SizeFeed { .. } | Data { .. } | DataReturn | DataFeed, _) => {
                return Err(Violation::ChunkEnd);
            }
            _ => {}
        }
        self.trailers += 1;
        match (self.state, byte) {
            _ if self.trailers > TRAILERS_MAX => Err(Violation::Trailers),
            (Line, b'\r') => Ok(LastFeed),
            (Line | Name, byte) if is_token_byte(byte) => Ok(Name),
            (Name, b':') => Ok(Value),
            (Value, b'\r') => Ok(ValueFeed),
            (Value, byte) if is_value_byte(byte) => Ok(Value),
            (ValueFeed, b'\n') => Ok(Line),
            (LastFeed, b'\n') => Ok(Over),
            _ => Err(Violation::Trailers),
        }
    }
}

/// Appends the line before a chunk of `length` bytes; CR and LF follow the chunk.
pub fn put_chunk_size(length: usize, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 16];
    let mut at = text.len();
    let mut left = length;
    loop {
        at -= 1;
        text[at] = DIGITS[left & 15];
        left >>= 4;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    type Decoded<'a> = Result<Option<(Vec<u8>, &'a [u8])>, Violation>;

    /// The body, and what was left of the input.
    fn decode(input: &[u8]) -> Decoded<'_> {
        let mut decoder = ChunkedDecoder::default();
        let (mut body, mut at) = (Vec::new(), 0);
        while at < input.len() && !decoder.is_over() {
            let step = decoder.next(&input[at..])?;
            body.extend_from_slice(&input[at..][step.data]);
            at += step.taken;
        }
        Ok(decoder.is_over().then(|| (body, &input[at..])))
    }

    #[test]
    fn chunks_are_joined() {
        let input = b"3\r\nabc\r\n00A;x=\"y\"\r\n0123456789\r\n0;z\r\nExpires: never\r\nx:\r\n\r\nGET";
        assert_eq!(decode(input), Ok(Some((b"abc0123456789".to_vec(), &b"GET"[..]))));
        assert_eq!(decode(b"0\r\n\r\n"), Ok(Some((vec![], &b""[..]))));
        assert_eq!(decode(b"5\r\nabc"), Ok(None));
        assert_eq!(decode(b"ffffffffffffffff\r\na"), Ok(None));
    }

    #[test]
    fn trailers_are_pointed_at() {
        let input = b"1\r\na\r\n0\r\nA: 1\r\nb:\r\n\r\nGET";
        for piece in 1..input.len() {
            let mut decoder = ChunkedDecoder::default();
            let mut trailers = Vec::new();
            for part in input.chunks(piece) {
                let mut at = 0;
                while at < part.len() && !decoder.is_over() {
                    let step = decoder.next(&part[at..]).unwrap();
                    trailers.extend_from_slice(&part[at..][step.trailers]);
                    at += step.taken;
                }
            }
            assert_eq!(trailers, b"A: 1\r\nb:\r\n\r\n", "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_refused() {
        use Violation::{ChunkEnd, ChunkSize, Trailers};
        for (input, violation) in [
            ("\r\n", ChunkSize),
            ("x\r\n", ChunkSize),
            ("-1\r\n", ChunkSize),
            ("0x1\r\n", ChunkSize),
            (" 1\r\n", ChunkSize),
            ("1 \r\n", ChunkSize),
            ("1\n", ChunkSize),
            ("10000000000000000\r\n", ChunkSize),
            ("00000000000000001\r\n", ChunkSize),
            ("1\ra", ChunkEnd),
            ("1;a\nb", ChunkEnd),
            ("1;a\0", ChunkEnd),
            ("1;a\rb", ChunkEnd),
            ("1\r\nab", ChunkEnd),
            ("1\r\na\n", ChunkEnd),
            ("1\r\na\rb", ChunkEnd),
            ("0\r\n\n", Trailers),
            ("0\r\n a: b\r\n", Trailers),
            ("0\r\na : b\r\n", Trailers),
            ("0\r\na\r\n", Trailers),
            ("0\r\na: \0\r\n", Trailers),
            ("0\r\na: b\n", Trailers),
            ("0\r\n\rx", Trailers),
        ] {
            assert_eq!(decode(input.as_bytes()), Err(violation), "{input:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_have_bounds() {
        let long = |length| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(length));
        assert!(decode(long(4096).as_bytes()).unwrap().is_some());
        assert_eq!(decode(long(4097).as_bytes()), Err(Violation::ChunkEnd));
        let many = "1;xxxxxxx\r\na\r\n".repeat(600);
        assert_eq!(decode(many.as_bytes()), Err(Violation::ChunkEnd), "all chunks' together");
        let trailers = format!("0\r\n{}\r\n", "a: b\r\n".repeat(2000));
        assert_eq!(decode(trailers.as_bytes()), Err(Violation::Trailers));
    }

    #[test]
    fn sizes_are_hexadecimal() {
        for (length, text) in [
            (0, "0\r\n"),
            (9, "9\r\n"),
            (255, "ff\r\n"),
            (65536, "10000\r\n"),
            (usize::MAX, "ffffffffffffffff\r\n"),
        ] {
            let mut out = Vec::new();
            put_chunk_size(length, &mut out);
            assert_eq!(out, text.as_bytes());
        }
    }
}
