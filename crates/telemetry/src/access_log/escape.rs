//! What a client sends must never end a line, a field or a terminal's patience.

/// Appends `bytes` for a field in double quotes of the text format: `"`, `\`, control characters and
/// everything beyond ASCII as `\xHH`.
pub(super) fn text(bytes: &[u8], out: &mut Vec<u8>) {
    if all_plain(bytes) {
        return out.extend_from_slice(bytes);
    }
    for &byte in bytes {
        if plain(byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(b"\\x");
            push_hex(byte, out);
        }
    }
}

/// Appends `bytes` for the inside of a JSON string. Bytes that are no UTF-8 become U+FFFD.
pub(super) fn json(bytes: &[u8], out: &mut Vec<u8>) {
    if all_plain(bytes) {
        return out.extend_from_slice(bytes);
    }
    for c in String::from_utf8_lossy(bytes).chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            // Control characters of ASCII and Latin-1, and the separators some tools break lines at.
            '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                out.extend_from_slice(b"\\u");
                push_hex((u32::from(c) >> 8) as u8, out);
                push_hex((u32::from(c) & 0xff) as u8, out);
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Printable ASCII that means nothing in either format.
fn plain(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\')
}

/// Looks at every byte whatever it finds, which compiles to vector instructions.
fn all_plain(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |so_far, &byte| so_far & plain(byte))
}

fn push_hex(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(DIGITS[usize::from(byte >> 4)]);
    out.push(DIGITS[usize::from(byte & 15)]);
}
