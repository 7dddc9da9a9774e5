//! Decoding values as the programs behind might, so that a rule sees what they would.
//!
//! All of these give lower case. None takes longer than in proportion to the value.

use serde::Deserialize;

/// Times that percent-encoding is undone: what was encoded twice is decoded by two programs in a row.
const LAYERS: usize = 3;

/// How a value is decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decoding {
    /// As it came, but for the case.
    Raw,
    /// Percent-encoding, several times.
    #[default]
    Text,
    /// Then: comments are spaces, and runs of white space one.
    Sql,
    /// Then: entities, and no control characters.
    Html,
    /// Then: no quotes, carets and backslashes, and variables that are white space are it.
    Shell,
    /// Then: backslashes are slashes, and `//` and `/./` are `/`.
    Path,
}

impl Decoding {
    pub(crate) const ALL: [Self; 6] = [Self::Raw, Self::Text, Self::Sql, Self::Html, Self::Shell, Self::Path];

    /// Decodes; `text` is the value without its percent-encoding, see [`text`].
    pub fn apply(self, raw: &str, text: &str) -> String {
        match self {
            Self::Raw => raw.to_lowercase(),
            Self::Text => text.to_owned(),
            Self::Sql => sql(text),
            Self::Html => html(text),
            Self::Shell => shell(text),
            Self::Path => path(text),
        }
    }
}

/// Without percent-encoding (also `%uXXXX`), in lower case. `plus` says that `+` is a space, as in forms.
pub fn text(raw: &str, plus: bool) -> String {
    let mut now = raw.as_bytes().to_vec();
    if plus {
        now.iter_mut().filter(|byte| **byte == b'+').for_each(|byte| *byte = b' ');
    }
    for _ in 0..LAYERS {
        let next = unescaped(&now);
        if next == now {
            break;
        }
        now = next;
    }
    let now = plain_ascii(now);
    String::from_utf8_lossy(&now).to_lowercase()
}

/// One layer of percent-encoding undone.
fn unescaped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let hex = |at: usize, count: usize| -> Option<u32> {
        let digits = bytes.get(at..at + count)?;
        digits.iter().try_fold(0, |value, digit| Some(value * 16 + (*digit as char).to_digit(16)?))
    };
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let unicode = matches!(bytes.get(at + 1), Some(b'u' | b'U'));
        match (byte, unicode) {
            (b'%', true) if hex(at + 2, 4).is_some() => {
                let code = hex(at + 2, 4).and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
                // Full-width forms are read as the ASCII that they look like.
                let code = match code as u32 {
                    wide @ 0xff01..=0xff5e => char::from_u32(wide - 0xfee0).unwrap_or(code),
                    _ => code,
                };
                out.extend_from_slice(code.encode_utf8(&mut [0; 4]).as_bytes());
                at += 6;
            }
            (b'%', _) if hex(at + 1, 2).is_some() => {
                out.push(hex(at + 1, 2).unwrap_or_default() as u8);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

/// Overlong forms of ASCII (two bytes for one) as what they stand for.
fn plain_ascii(bytes: Vec<u8>) -> Vec<u8> {
    if !bytes.iter().any(|byte| matches!(byte, 0xc0 | 0xc1)) {
        return bytes;
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (byte, bytes.get(at + 1)) {
            (0xc0 | 0xc1, Some(next)) => {
                out.push(((byte & 1) << 6) | (next & 0x3f));
                at += 2;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

fn sql(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("/*") {
        out.push_str(&rest[..at]);
        let inside = &rest[at + 2..];
        match inside.find("*/") {
            // MySQL runs what stands in comments like these.
            Some(end) if inside.starts_with('!') => {
                out.push(' ');
                out.push_str(inside[1..end].trim_start_matches(|c: char| c.is_ascii_digit()));
                out.push(' ');
                rest = &inside[end + 2..];
            }
            Some(end) => {
                out.push(' ');
                rest = &inside[end + 2..];
            }
            None => {
                out.push(' ');
                rest = inside;
            }
        }
    }
    out.push_str(rest);
    squeezed(&out)
}

/// Runs of white space and control characters as one space.
fn squeezed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let space = c.is_whitespace() || c.is_control();
        if !space {
            out.push(c);
        } else if !out.ends_with(' ') {
            out.push(' ');
        }
    }
    out
}

fn html(text: &str) -> String {
    let mut out = references(text);
    out.retain(|c| !c.is_control());
    out
}

/// Character references replaced.
pub(crate) fn references(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let (c, length) = entity(&rest[at..]).unwrap_or(('&', 1));
        out.push(c);
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    out
}

/// A character reference at the start of `text`, and how long it is.
fn entity(text: &str) -> Option<(char, usize)> {
    const NAMED: [(&str, char); 12] = [
        ("&lt", '<'),
        ("&gt", '>'),
        ("&quot", '"'),
        ("&apos", '\''),
        ("&amp", '&'),
        ("&colon", ':'),
        ("&lpar", '('),
        ("&rpar", ')'),
        ("&sol", '/'),
        ("&tab", '\t'),
        ("&newline", '\n'),
        ("&nbsp", ' '),
    ];
    let closed = |length: usize| length + usize::from(text[length..].starts_with(';'));
    if let Some(number) = text.strip_prefix("&#") {
        let (digits, radix, skipped) = match number.strip_prefix('x') {
            Some(hex) => (hex, 16, 3),
            None => (number, 10, 2),
        };
        let zeros = digits.bytes().take_while(|byte| *byte == b'0').count();
        let digits = &digits[zeros..];
        let count = digits.bytes().take(8).take_while(|byte| (*byte as char).is_digit(radix)).count();
        if zeros + count == 0 {
            return None;
        }
        let code = u32::from_str_radix(&digits[..count], radix).unwrap_or(0);
        return Some((char::from_u32(code)?.to_ascii_lowercase(), closed(skipped + zeros + count)));
    }
    let (name, c) = NAMED.iter().find(|(name, _)| text.starts_with(name))?;
    Some((*c, closed(name.len())))
}

fn shell(text: &str) -> String {
    let text = text.replace("${ifs}", " ").replace("$ifs$9", " ").replace("$ifs", " ");
    let kept: String = text.chars().filter(|c| !matches!(c, '\\' | '\'' | '"' | '^')).collect();
    squeezed(&kept)
}

fn path(text: &str) -> String {
    let mut now = text.replace('\\', "/").replace('\0', "");
    // Each pass shortens it or is the last.
    loop {
        let next = now.replace("/./", "/").replace("//", "/");
        if next.len() == now.len() {
            return next;
        }
        now = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn layers_come_off() {
        assert_eq!(text("%252e%252E/A", false), "../a");
        assert_eq!(text("%u002e%uff0f+", true), "./ ");
        assert_eq!(text("%c0%ae%c0%af", false), "./");
        assert_eq!(text("100%", false), "100%");
        assert_eq!(text("%zz%4", false), "%zz%4");
    }

    #[test]
    fn programs_read_through_disguises() {
        assert_eq!(sql("un/**/ion/*x*/ \t select/*!50000 1*/"), "un ion select 1 ");
        assert_eq!(html("&#x3C;script&#62; &lt;a&colon;\u{1}b"), "<script> <a:b");
        assert_eq!(shell("c\\at${ifs}/e'tc'/pass^wd"), "cat /etc/passwd");
        assert_eq!(path("a\\..\\.//./b"), "a/.././b".replace("././", "./").replace("/./", "/"));
    }

    proptest! {
        #[test]
        fn anything_is_decoded(raw in ".{0,200}") {
            let decoded = text(&raw, true);
            for decoding in Decoding::ALL {
                decoding.apply(&raw, &decoded);
            }
        }

        #[test]
        fn encoding_hides_nothing(value in "[ -~]{0,40}", layers in 1usize..=3) {
            let mut encoded = value.clone();
            for _ in 0..layers {
                encoded = encoded.bytes().map(|byte| format!("%{byte:02x}")).collect();
            }
            // What the value itself seems to encode comes off, too, where layers are left.
            if !value.contains('%') {
                prop_assert_eq!(text(&encoded, false), value.to_lowercase());
            }
        }
    }
}
