//! From a header block to fields.

use super::huffman;
use super::integer;
use super::table::{Entry, Name, STATIC, STATIC_ENTRIES, Table};

/// A header block cannot be read, so that the tables of both sides differ from now on: the connection is lost
/// (RFC 9113, section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadBlock;

/// Reads the header blocks of one connection, in order.
#[derive(Debug)]
pub struct Decoder {
    table: Table<Entry>,
    /// The largest table that the client may have.
    most: usize,
    /// Strings that were Huffman-coded.
    text: Vec<u8>,
}

/// A string literal: its bytes, or where they were put.
enum Text<'a> {
    Plain(&'a [u8]),
    /// In the decoder's buffer.
    Decoded,
}

impl Decoder {
    /// With a dynamic table of up to `most` bytes.
    pub fn new(most: usize) -> Self {
        Self { table: Table::new(most), most, text: Vec::new() }
    }

    /// Reads one whole block. Fields that HTTP forbids are given too, as [`Name::Bad`] and
    /// [`Value::Bad`](super::Value::Bad): the tables have to know them.
    pub fn decode(&mut self, block: &[u8], mut take: impl FnMut(&Entry)) -> Result<(), BadBlock> {
        let mut rest = block;
        let mut begun = false;
        while let Some(first) = rest.first() {
            match first {
                0x80.. => {
                    let index = number(&mut rest, 7)?;
                    take(self.entry(index)?);
                }
                0x40.. => {
                    let entry = self.literal(&mut rest, 6)?;
                    take(&entry);
                    let size = entry.size;
                    self.table.insert(entry, size);
                }
                0x20.. => {
                    let size = number(&mut rest, 5)?;
                    // Only before the first field (section 4.2).
                    if begun || size > self.most {
                        return Err(BadBlock);
                    }
                    self.table.resize(size);
                    continue;
                }
                _ => take(&self.literal(&mut rest, 4)?),
            }
            begun = true;
        }
        // A long value does not keep its room.
        if self.text.capacity() > 1024 {
            self.text = Vec::new();
        }
        Ok(())
    }

    fn entry(&self, index: usize) -> Result<&Entry, BadBlock> {
        match index.checked_sub(1).ok_or(BadBlock)? {
            place if place < STATIC.len() => STATIC_ENTRIES.get(place),
            place => self.table.get(place - STATIC.len()),
        }
        .ok_or(BadBlock)
    }

    fn literal(&mut self, rest: &mut &[u8], prefix: u32) -> Result<Entry, BadBlock> {
        let (name, name_len) = match number(rest, prefix)? {
            0 => {
                let text = self.text(rest)?;
                let bytes = self.bytes(&text);
                (Name::of(bytes), bytes.len())
            }
            index => {
                let entry = self.entry(index)?;
                (entry.name.clone(), entry.name_len)
            }
        };
        let text = self.text(rest)?;
        Ok(Entry::new(name, name_len, self.bytes(&text)))
    }

    fn text<'a>(&mut self, rest: &mut &'a [u8]) -> Result<Text<'a>, BadBlock> {
        let coded = rest.first().is_some_and(|first| first & 0x80 != 0);
        let length = number(rest, 7)?;
        let (text, after) = rest.split_at_checked(length).ok_or(BadBlock)?;
        *rest = after;
        if !coded {
            return Ok(Text::Plain(text));
        }
        self.text.clear();
        if huffman::decode(text, &mut self.text) { Ok(Text::Decoded) } else { Err(BadBlock) }
    }

    fn bytes<'a>(&'a self, text: &Text<'a>) -> &'a [u8] {
        match text {
            Text::Plain(bytes) => bytes,
            Text::Decoded => &self.text,
        }
    }
}

fn number(rest: &mut &[u8], prefix: u32) -> Result<usize, BadBlock> {
    let (value, taken) = integer::read(rest, prefix).ok_or(BadBlock)?;
    *rest = &rest[taken..];
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::*;
    use proptest::prelude::*;

    /// Fields as `name: value`.
    fn read(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<String>, BadBlock> {
        let mut fields = Vec::new();
        decoder.decode(block, |entry| {
            let name = match &entry.name {
                Name::Field(name) => name.as_str().to_owned(),
                Name::Method => ":method".into(),
                Name::Scheme => ":scheme".into(),
                Name::Path => ":path".into(),
                Name::Authority => ":authority".into(),
                other => format!("{other:?}"),
            };
            let value = match &entry.value {
                Value::Raw(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Value::Header(value) => value.to_str().unwrap_or("?").to_owned(),
                Value::Bad => "bad".into(),
            };
            fields.push(format!("{name}: {value}"));
        })?;
        Ok(fields)
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// RFC 7541, appendix C.4: three requests on one connection, with Huffman codes.
    #[test]
    fn the_requests_of_the_rfc() {
        let mut decoder = Decoder::new(4096);
        let first = read(&mut decoder, &hex("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff")).unwrap();
        let common = [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"];
        assert_eq!(first, common);
        assert_eq!(decoder.table.size(), 57);
        let second = read(&mut decoder, &hex("8286 84be 5886 a8eb 1064 9cbf")).unwrap();
        assert_eq!(second[..4], common);
        assert_eq!(second[4], "cache-control: no-cache");
        assert_eq!(decoder.table.size(), 110);
        let third = hex("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf");
        let third = read(&mut decoder, &third).unwrap();
        assert_eq!(
            third,
            [
                ":method: GET",
                ":scheme: https",
                ":path: /index.html",
                ":authority: www.example.com",
                "custom-key: custom-value"
            ]
        );
        assert_eq!(decoder.table.size(), 164);
    }

    #[test]
    fn blocks_that_cannot_be_read_are_bad() {
        for block in [
            &[0x80][..],                           // index 0
            &[0xbe],                               // beyond the tables
            &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff], // an endless index
            &[0x00, 0x01],                         // cut off in the name
            &[0x00, 0x01, b'a', 0x05, b'b'],       // cut off in the value
            &[0x00, 0x81, 0xff, 0x00],             // padding as a Huffman code
            &[0x3f, 0xe2, 0x1f],                   // a table of 4,097 bytes
            &[0x82, 0x20],                         // a change of size after a field
        ] {
            assert_eq!(read(&mut Decoder::new(4096), block), Err(BadBlock), "{block:x?}");
        }
        assert_eq!(read(&mut Decoder::new(4096), &[0x3f, 0xe1, 0x1f, 0x82]).unwrap(), [":method: GET"]);
    }

    #[test]
    fn what_http_forbids_is_told_and_kept() {
        let mut decoder = Decoder::new(4096);
        assert_eq!(read(&mut decoder, b"\x40\x01A\x01b\x40\x01a\x01\0").unwrap(), ["Bad: bad", "a: bad"]);
        // The second one's name is fine, and may be used again.
        assert_eq!(read(&mut decoder, b"\x7e\x01x").unwrap(), ["a: x"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(blocks: Vec<Vec<u8>>) {
            let mut decoder = Decoder::new(256);
            for block in &blocks {
                let _ = decoder.decode(block, |_| {});
                prop_assert!(decoder.table.size() <= 256);
            }
        }

        #[test]
        fn another_encoder_is_understood(
            fields in proptest::collection::vec(("[a-z][a-z0-9-]{0,20}", "[!-~]([ -~]{0,60}[!-~])?", 0u8..8), 0..20)
        ) {
            let mut theirs = httlib_hpack::Encoder::default();
            let mut decoder = Decoder::new(4096);
            for _ in 0..3 {
                let mut block = Vec::new();
                for (name, value, flags) in &fields {
                    // Flags: Huffman codes for both (1, 2), and whether it is indexed (4).
                    let field = (name.clone().into_bytes(), value.clone().into_bytes(), *flags);
                    theirs.encode(field, &mut block).unwrap();
                }
                let ours = read(&mut decoder, &block).unwrap();
                let expected: Vec<String> = fields.iter().map(|(name, value, _)| format!("{name}: {value}")).collect();
                prop_assert_eq!(ours, expected);
            }
        }
    }
}
