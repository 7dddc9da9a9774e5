//! Which bytes may stand where (RFC 9110, section 5).

/// `tchar`: methods and names of fields (RFC 9110, section 5.6.2).
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
};

/// Whether a byte may be in a token.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Whether this is a token; an empty one is none.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}

/// Whether a byte may be in a field's value: visible, blank, tab, or beyond ASCII (RFC 9110, section 5.5).
pub(crate) fn is_value_byte(byte: u8) -> bool {
    (byte >= b' ' && byte != 0x7f) || byte == b'\t'
}

/// Whether this may be a field's value. Looks at every byte whatever it finds, which compiles to vector instructions.
pub(crate) fn is_value(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |so_far, &byte| so_far & is_value_byte(byte))
}

/// Whether this may be a request's target: no blanks, no control characters, and no fragment, which clients keep to
/// themselves (RFC 9112, section 3.2).
pub(crate) fn is_target(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes.iter().fold(true, |so_far, &byte| so_far & (byte > b' ') & (byte != 0x7f) & (byte != b'#'))
}

/// Without blanks and tabs around it.
pub(crate) fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The elements of a list that commas part (RFC 9110, section 5.6.1), without empty ones.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trimmed).filter(|element| !element.is_empty())
}
