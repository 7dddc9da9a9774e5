//! The plain form of a path, by which routes are found: however it is written, one address has one route.
//!
//! - Escapes of characters that need none are those characters, others are written in capitals (RFC 3986, section 6.2.2).
//! - Dot segments are resolved, escaped ones too, and several slashes are one.
//!
//! What some servers take for a separator and others do not, `%2F`, `\`, `%5C`, `%00` and `;`, keeps its meaning of a plain character.
//! [`other_reading`] is what those servers see.

use std::borrow::Cow;

/// The plain form of a path that begins with `/`.
pub fn plain(path: &str) -> Cow<'_, str> {
    if is_plain(path) { Cow::Borrowed(path) } else { Cow::Owned(resolve(&unescape(path))) }
}

/// How servers read a plain path that see a separator in `%2F`, `\` or `%5C`, an end in `%00`, and parameters after `;`. `None` if that
/// is the path itself.
pub fn other_reading(plain: &str) -> Option<String> {
    if !plain.contains(['%', '\\', ';']) {
        return None;
    }
    let mut path = plain.replace("%2F", "/").replace("%5C", "/").replace('\\', "/").replace("%3B", ";");
    if let Some(end) = path.find("%00") {
        path.truncate(end);
    }
    let segments: Vec<&str> =
        path.split('/').map(|segment| segment.split(';').next().unwrap_or_default()).collect();
    let path = resolve(&segments.join("/"));
    (path != plain).then_some(path)
}

/// Whether a path as it came has segments `.` or `..`, escaped or not.
pub fn has_dot_segments(path: &str) -> bool {
    unescape(path).split('/').any(|segment| matches!(segment, "." | ".."))
}

fn is_plain(path: &str) -> bool {
    let mut before = 0;
    for byte in path.bytes() {
        // Hidden files, too, are looked at closely; they are rare.
        if byte == b'%' || byte >= 0x80 || (before == b'/' && matches!(byte, b'/' | b'.')) {
            return false;
        }
        before = byte;
    }
    true
}

/// Characters that paths may have as they are, without `;`, which has a meaning to some.
fn needs_no_escape(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&byte)
}

fn unescape(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = String::with_capacity(path.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digit = |at: usize| bytes.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                let value = (high * 16 + low) as u8;
                if needs_no_escape(value) {
                    out.push(char::from(value))
                } else {
                    escape(value, &mut out)
                }
                at += 2;
            }
            // Nothing that was decoded may become part of an escape.
            (b'%' | 0x80.., ..) => escape(byte, &mut out),
            _ => out.push(char::from(byte)),
        }
        at += 1;
    }
    out
}

fn escape(byte: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Without dot segments (RFC 3986, section 5.2.4) and empty ones.
fn resolve(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            name => segments.push(name),
        }
    }
    let directory = matches!(path.rsplit('/').next(), Some("" | "." | ".."));
    let mut out = String::with_capacity(path.len());
    for segment in &segments {
        out.push('/');
        out.push_str(segment);
    }
    if directory || out.is_empty() {
        out.push('/');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_address_has_one_form() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a;b/c.d", "/a;b/c.d"),
            ("/%61dmin/x", "/admin/x"),
            ("/%41", "/A"),
            ("//admin", "/admin"),
            ("/a//b///", "/a/b/"),
            ("/a/./b/../admin", "/a/admin"),
            ("/a/%2e%2E/admin", "/admin"),
            ("/a/.%2e/admin", "/admin"),
            ("/../../admin/.", "/admin/"),
            ("/admin/..", "/"),
            ("/.", "/"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/%40me", "/@me"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/café", "/caf%C3%A9"),
            ("/a%20b%25%2f", "/a%20b%25%2F"),
            // Decoded once, as careful servers do.
            ("/%2561dmin", "/%2561dmin"),
            ("/%zz%6", "/%25zz%256"),
            ("/%%361dmin", "/%2561dmin"),
        ] {
            assert_eq!(plain(path), expected, "{path}");
        }
    }

    #[test]
    fn others_may_read_otherwise() {
        for (path, expected) in [
            ("/a/b%20c", None),
            ("/x/..%2Fadmin", Some("/admin")),
            ("/x%2F..%2Fadmin", Some("/admin")),
            ("/x/..%5Cadmin", Some("/admin")),
            ("/x/..\\admin", Some("/admin")),
            ("/admin%2Fx", Some("/admin/x")),
            ("/admin%00.png", Some("/admin")),
            ("/x/..;/admin", Some("/admin")),
            ("/x/..;a=b/admin", Some("/admin")),
            ("/x/..%3B/admin", Some("/admin")),
            ("/admin;x=1/y", Some("/admin/y")),
            ("/;/admin", Some("/admin")),
        ] {
            assert_eq!(other_reading(path).as_deref(), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn plain_is_final(path in "/(/|a|\\.|%2e|%2F|%2f|%25|%61|%|;|é|\\\\|%00|%c3){0,16}") {
            let once = plain(&path).into_owned();
            prop_assert_eq!(&plain(&once), &once);
            prop_assert!(!once.contains("//") && once.starts_with('/'));
            prop_assert!(!once.split('/').any(|segment| segment == ".." || segment == "."));
            if let Some(other) = other_reading(&once) {
                prop_assert!(!other.split('/').any(|segment| segment == ".."));
            }
        }
    }
}
