//! From the fields of a response to a header block.

use std::sync::LazyLock;

use http::{HeaderName, HeaderValue, header};

use super::table::{OVERHEAD, STATIC, Table};
use super::{DEFAULT_TABLE, huffman, integer};

/// The largest table that is made use of, bytes. What is looked for is looked for in all of it, and idle connections
/// keep it.
const TABLE: usize = 1536;
/// Values longer than this are no use to a table of that size.
const INDEXED_MAX: usize = 256;

/// Writes the header blocks of one connection, in order.
#[derive(Debug)]
pub struct Encoder {
    table: Table<(HeaderName, HeaderValue)>,
    /// The client wants to know of the table's size before the next field: the smallest it had since, and its own.
    resized: Option<(usize, usize)>,
}

/// How a field is written that no table has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Literal {
    /// And put into the table.
    Indexed,
    Plain,
    /// Nor may anybody who passes it on put it into a table.
    Never,
}

impl Default for Encoder {
    fn default() -> Self {
        // Clients expect a table of 4,096 bytes: they are told of the smaller one.
        Self { table: Table::new(TABLE), resized: Some((TABLE, TABLE)) }
    }
}

impl Encoder {
    /// The client allows a table of `size` bytes.
    pub fn allow(&mut self, size: usize) {
        let size = size.min(TABLE);
        if size == self.table.capacity() {
            return;
        }
        self.table.resize(size);
        let least = self.resized.map_or(size, |(least, _)| least.min(size));
        self.resized = Some((least, size));
    }

    /// Begins a block.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some((least, now)) = self.resized.take() {
            if least < now {
                integer::put(least, 5, 0x20, out);
            }
            integer::put(now, 5, 0x20, out);
        }
    }

    /// Appends `:status`, which comes before all fields.
    pub fn status(&mut self, status: u16, out: &mut Vec<u8>) {
        let index = match status {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => {
                out.extend_from_slice(&[0x08, 3]);
                out.extend(
                    [status / 100 % 10, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8),
                );
                return;
            }
        };
        out.push(0x80 | index);
    }

    /// Appends a field.
    pub fn field(&mut self, name: &HeaderName, value: &HeaderValue, out: &mut Vec<u8>) {
        let mut index = static_index(name.as_str());
        let mut named = None;
        for (place, (known, its)) in self.table.iter().enumerate() {
            if known == name {
                if its == value && !value.is_sensitive() {
                    return integer::put(STATIC.len() + 1 + place, 7, 0x80, out);
                }
                named.get_or_insert(STATIC.len() + 1 + place);
            }
        }
        let literal = literal(name, value, index.is_some(), named.is_some());
        index = index.or(named);
        let (prefix, first) = match literal {
            Literal::Indexed => (6, 0x40),
            Literal::Plain => (4, 0x00),
            Literal::Never => (4, 0x10),
        };
        let kept = literal == Literal::Indexed;
        integer::put(index.unwrap_or(0), prefix, first, out);
        if index.is_none() {
            put_text(name.as_str().as_bytes(), true, out);
        }
        put_text(value.as_bytes(), kept, out);
        if kept {
            let size = name.as_str().len() + value.len() + OVERHEAD;
            self.table.insert((name.clone(), value.clone()), size);
        }
    }

    /// Appends a field whose value is a number and differs from response to response.
    pub fn length(&mut self, length: u64, out: &mut Vec<u8>) {
        // `content-length` of the static table.
        integer::put(28, 4, 0x00, out);
        let mut digits = [0; 20];
        let (mut at, mut left) = (digits.len(), length);
        loop {
            at -= 1;
            digits[at] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        put_text(&digits[at..], false, out);
    }
}

/// `known`: a table has the name; `used`: it is in the dynamic table, with another value.
fn literal(name: &HeaderName, value: &HeaderValue, known: bool, used: bool) -> Literal {
    match *name {
        _ if value.is_sensitive() => Literal::Never,
        // Secrets in a table can be guessed by who can have others put beside them (RFC 7541, section 7.1).
        header::SET_COOKIE | header::AUTHORIZATION | header::PROXY_AUTHORIZATION => Literal::Never,
        _ if value.len() > INDEXED_MAX => Literal::Plain,
        header::DATE => Literal::Indexed,
        header::CONTENT_LENGTH
        | header::CONTENT_RANGE
        | header::ETAG
        | header::LAST_MODIFIED
        | header::LOCATION
        | header::EXPIRES
        | header::AGE => Literal::Plain,
        // A name of the application's own that already came with another value comes with a new one each time.
        _ if !known && used => Literal::Plain,
        _ => Literal::Indexed,
    }
}

/// Strings that go into a table are worth a Huffman code.
fn put_text(bytes: &[u8], huffman: bool, out: &mut Vec<u8>) {
    if huffman {
        let length = huffman::encoded_len(bytes);
        if length < bytes.len() {
            integer::put(length, 7, 0x80, out);
            return huffman::encode(bytes, out);
        }
    }
    integer::put(bytes.len(), 7, 0, out);
    out.extend_from_slice(bytes);
}

/// The first place of a name in the static table.
fn static_index(name: &str) -> Option<usize> {
    static BY_LENGTH: LazyLock<Vec<Vec<usize>>> = LazyLock::new(|| {
        let longest = STATIC.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut table = vec![Vec::new(); longest + 1];
        for (place, (name, _)) in STATIC.iter().enumerate() {
            table[name.len()].push(place);
        }
        table
    });
    let places = BY_LENGTH.get(name.len())?;
    places.iter().find(|place| STATIC[**place].0 == name).map(|place| place + 1)
}

const _: () = assert!(TABLE <= DEFAULT_TABLE);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(encoder: &mut Encoder, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        encoder.begin(&mut out);
        encoder.status(200, &mut out);
        for (name, value) in fields {
            encoder.field(
                &HeaderName::from_bytes(name.as_bytes()).unwrap(),
                &HeaderValue::from_str(value).unwrap(),
                &mut out,
            );
        }
        out
    }

    fn decoded(decoder: &mut httlib_hpack::Decoder<'_>, block: &[u8]) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        decoder.decode(&mut block.to_vec(), &mut fields).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        fields.into_iter().map(|(name, value, _)| (text(name), text(value))).collect()
    }

    #[test]
    fn what_comes_again_is_short() {
        let mut encoder = Encoder::default();
        let fields = [("content-type", "text/plain"), ("x-request-id", "0123"), ("server", "s")];
        let first = block(&mut encoder, &fields);
        let again = block(&mut encoder, &fields);
        assert!(again.len() == 4 && first.len() > 20, "{first:x?} {again:x?}");
        // A new value under the application's own name is written out, and keeps the table as it is.
        let other = block(&mut encoder, &[("x-request-id", "4567"), ("x-request-id", "0123")]);
        assert_eq!(other, [0x88, 0x0f, 48, 4, b'4', b'5', b'6', b'7', 0x80 | 63]);
    }

    #[test]
    fn secrets_are_never_indexed() {
        let mut encoder = Encoder::default();
        for _ in 0..2 {
            let out = block(&mut encoder, &[("set-cookie", "a=b")]);
            assert!(out.ends_with(&[0x1f, 55 - 15, 3, b'a', b'=', b'b']), "{out:x?}");
        }
    }

    #[test]
    fn statuses_and_lengths_are_written() {
        let (mut encoder, mut decoder) = (Encoder::default(), httlib_hpack::Decoder::default());
        for status in [200, 204, 206, 304, 400, 404, 500, 103, 599] {
            let mut out = Vec::new();
            encoder.status(status, &mut out);
            encoder.length(u64::from(status) * 1000, &mut out);
            let fields = decoded(&mut decoder, &out);
            assert_eq!(fields[0], (":status".into(), status.to_string()));
            assert_eq!(fields[1], ("content-length".into(), (u64::from(status) * 1000).to_string()));
        }
    }

    proptest! {
        #[test]
        fn another_decoder_understands(
            blocks in proptest::collection::vec(
                (
                    proptest::collection::vec(("[a-z][a-z0-9-]{0,12}|date|content-type|etag", "[ -~]{0,80}"), 0..12),
                    proptest::option::of(0usize..5000),
                ),
                1..8,
            )
        ) {
            let (mut encoder, mut decoder) = (Encoder::default(), httlib_hpack::Decoder::default());
            for (fields, allowed) in &blocks {
                if let Some(size) = allowed {
                    encoder.allow(*size);
                    encoder.allow(*size / 2);
                    encoder.allow(*size);
                }
                let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let read = decoded(&mut decoder, &block(&mut encoder, &fields));
                prop_assert_eq!(read.len(), fields.len() + 1);
                for (one, (name, value)) in read.iter().skip(1).zip(&fields) {
                    prop_assert_eq!((one.0.as_str(), one.1.as_str()), (*name, *value));
                }
            }
        }
    }
}
