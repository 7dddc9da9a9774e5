//! From the path of a request to the name of a file below the root.
//!
//! Paths are decoded once. Whatever another program on the way could read differently (encoded slashes, backslashes, control
//! characters, dot segments, dots at the end) names nothing here. A path that is written in a roundabout way (`//`, `%61` for `a`)
//! is not served under that address: a rule for `/admin/` would not see `/%61dmin/`. Its client is sent to the plain form.

use std::borrow::Cow;

/// Longest name of a file or directory on Linux, bytes.
const SEGMENT_MAX: usize = 255;
/// Longest path that the kernel takes, bytes.
const PATH_MAX: usize = 4096;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name<'a> {
    /// Relative to the root, without slashes around it. Empty for the root.
    pub(crate) path: Cow<'a, [u8]>,
    /// It was written with a slash at its end.
    pub(crate) directory: bool,
}

/// Why a path names nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoName {
    /// It cannot be the name of something that is served.
    Nothing,
    /// A percent sign without two digits after it.
    Malformed,
    /// It has a plainer form.
    Roundabout(String),
}

impl<'a> Name<'a> {
    /// Decodes a path that begins with `/`. Names that begin with a dot are `hidden` ones.
    pub(crate) fn parse(raw: &'a str, hidden: bool) -> Result<Self, NoName> {
        let Some(rest) = raw.strip_prefix('/') else { return Err(NoName::Nothing) };
        let decoded = decode(rest)?;
        let (path, directory) = match decoded.strip_suffix(b"/") {
            Some(path) => (path.len(), true),
            None => (decoded.len(), decoded.is_empty()),
        };
        let mut roundabout = rest.len() != decoded.len() && has_plainer_form(rest);
        if path > PATH_MAX {
            return Err(NoName::Nothing);
        }
        if !decoded.is_empty() {
            for (index, segment) in decoded[..path].split(|byte| *byte == b'/').enumerate() {
                roundabout |= segment.is_empty();
                if !is_plain(segment, index == 0, hidden) {
                    return Err(NoName::Nothing);
                }
            }
        }
        if roundabout {
            return Err(NoName::Roundabout(plain(raw)));
        }
        let path = match decoded {
            Cow::Borrowed(text) => Cow::Borrowed(&text[..path]),
            Cow::Owned(mut text) => {
                text.truncate(path);
                Cow::Owned(text)
            }
        };
        Ok(Self { path, directory })
    }

    /// The same without `prefix`, if it begins with that.
    pub(crate) fn strip(mut self, prefix: &[u8]) -> Option<Self> {
        if prefix.is_empty() {
            return Some(self);
        }
        let rest = self.path.strip_prefix(prefix)?;
        let rest = match rest.strip_prefix(b"/") {
            Some(rest) => rest,
            None if rest.is_empty() => rest,
            None => return None,
        };
        let start = self.path.len() - rest.len();
        self.path = match self.path {
            Cow::Borrowed(path) => Cow::Borrowed(&path[start..]),
            Cow::Owned(mut path) => Cow::Owned(path.split_off(start)),
        };
        Some(self)
    }
}

/// Whether a decoded segment may be the name of something that is served.
fn is_plain(segment: &[u8], first: bool, hidden: bool) -> bool {
    // Also refuses `.` and `..`. Some file systems do not see a dot at the end.
    let dots = segment.ends_with(b".")
        || segment.starts_with(b".") && !hidden && !(first && segment == b".well-known");
    let bytes = segment.iter().all(|byte| *byte >= 0x20 && *byte != 0x7f && *byte != b'\\');
    !dots && bytes && segment.len() <= SEGMENT_MAX
}

fn decode(text: &str) -> Result<Cow<'_, [u8]>, NoName> {
    let bytes = text.as_bytes();
    let Some(first) = bytes.iter().position(|byte| *byte == b'%') else { return Ok(Cow::Borrowed(bytes)) };
    let mut decoded = bytes[..first].to_vec();
    let mut at = first;
    while let Some(&byte) = bytes.get(at) {
        if byte != b'%' {
            decoded.push(byte);
            at += 1;
            continue;
        }
        let value = escaped(bytes, at).ok_or(NoName::Malformed)?;
        // It would become a separator that whoever looked before did not see.
        if value == b'/' {
            return Err(NoName::Nothing);
        }
        decoded.push(value);
        at += 3;
    }
    Ok(Cow::Owned(decoded))
}

/// What the three bytes from `at` on stand for.
fn escaped(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    match bytes.get(at..at + 3)? {
        [b'%', high, low] => Some((digit(*high)? * 16 + digit(*low)?) as u8),
        _ => None,
    }
}

/// Characters that need no encoding in a path (RFC 3986, section 3.3).
fn is_pchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

fn has_plainer_form(text: &str) -> bool {
    let bytes = text.as_bytes();
    (0..bytes.len()).any(|at| {
        escaped(bytes, at)
            .is_some_and(|value| is_pchar(value) || bytes[at + 1..at + 3].iter().any(u8::is_ascii_lowercase))
    })
}

/// One slash where there are several, nothing encoded that need not be, and capital digits.
fn plain(raw: &str) -> String {
    let bytes = raw.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match escaped(bytes, at) {
            Some(value) if is_pchar(value) => plain.push(value),
            Some(_) => plain.extend(bytes[at..at + 3].iter().map(u8::to_ascii_uppercase)),
            None if byte == b'/' && plain.ends_with(b"/") => {}
            None => plain.push(byte),
        }
        at += if escaped(bytes, at).is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(raw: &str) -> Result<(String, bool), NoName> {
        Name::parse(raw, false).map(|name| (String::from_utf8_lossy(&name.path).into_owned(), name.directory))
    }

    #[test]
    fn plain_paths_name_files() {
        for (raw, path, directory) in [
            ("/", "", true),
            ("/a", "a", false),
            ("/a/", "a", true),
            ("/a/b.txt", "a/b.txt", false),
            ("/a%20b", "a b", false),
            ("/%C3%A4", "ä", false),
            ("/100%25", "100%", false),
            ("/.well-known/x", ".well-known/x", false),
            ("/a..b/c", "a..b/c", false),
        ] {
            assert_eq!(name(raw), Ok((path.into(), directory)), "{raw}");
        }
    }

    #[test]
    fn traversals_name_nothing() {
        for raw in [
            "",
            "a",
            "*",
            "/..",
            "/../x",
            "/a/../../x",
            "/./a",
            "/a/.",
            "/a/./b",
            "/%2e%2e/x",
            "/%2E%2e%2fx",
            "/..%2fx",
            "/a%2fb",
            "/a%2Fb",
            "/%5c..%5cx",
            "/..\\x",
            "/a\\b",
            "/a%00",
            "/a%00.html",
            "/%00",
            "/a%0d%0ab",
            "/a%7f",
            "/...",
            "/..../x",
            "/a.",
            "/a./b",
            "/.git/config",
            "/.env",
            "/a/.htaccess",
            "/a/.well-known/x",
            "/.%2e/x",
            "/%2e./x",
            "/..;/x",
            "/.;/x",
            "/%2e",
            "/%2egit/config",
        ] {
            assert_eq!(name(raw), Err(NoName::Nothing), "{raw}");
        }
        for raw in ["/%", "/%2", "/%zz", "/a%g0", "/%%32%65"] {
            assert_eq!(name(raw), Err(NoName::Malformed), "{raw}");
        }
        // Decoded once: what is left is a name with a percent sign in it.
        assert_eq!(name("/%252e%252e/x"), Ok(("%2e%2e/x".into(), false)));
        assert_eq!(name("/%c0%ae%c0%ae/x"), Err(NoName::Roundabout("/%C0%AE%C0%AE/x".into())));
        assert_eq!(name(&format!("/{}", "a".repeat(256))), Err(NoName::Nothing));
        assert_eq!(name(&"/a".repeat(3000)), Err(NoName::Nothing));
    }

    #[test]
    fn roundabout_paths_have_a_plainer_form() {
        for (raw, plainer) in [
            ("/%61dmin/", "/admin/"),
            ("//a", "/a"),
            ("//evil.example/x", "/evil.example/x"),
            ("/a//b///c", "/a/b/c"),
            ("/a//", "/a/"),
            ("//", "/"),
            ("/%c3%a4%7E", "/%C3%A4~"),
            ("/a%21", "/a!"),
        ] {
            assert_eq!(name(raw), Err(NoName::Roundabout(plainer.into())), "{raw}");
            assert!(name(plainer).is_ok(), "{plainer}");
        }
    }

    #[test]
    fn a_prefix_ends_where_a_segment_does() {
        let strip = |raw: &'static str| {
            let name = Name::parse(raw, false).unwrap().strip(b"docs")?;
            Some((String::from_utf8_lossy(&name.path).into_owned(), name.directory))
        };
        assert_eq!(strip("/docs/a%20b/"), Some(("a b".into(), true)));
        assert_eq!(strip("/docs"), Some((String::new(), false)));
        assert_eq!(strip("/docs/"), Some((String::new(), true)));
        assert_eq!(strip("/docsx/a"), None);
        assert_eq!(strip("/a/docs"), None);
    }

    proptest! {
        /// Whatever is asked for, what comes of it is a list of plain names, and plainer forms are the plainest.
        #[test]
        fn names_are_plain(raw in "(/|%2e|%2F|\\.|\\.\\.|a|%61|%|%00|\\\\|[ -~]){0,24}") {
            let raw = format!("/{raw}");
            match Name::parse(&raw, false) {
                Ok(name) => {
                    prop_assert!(name.path.len() < raw.len());
                    prop_assert!(!name.path.contains(&0) && !name.path.contains(&b'\\'));
                    for segment in name.path.split(|byte| *byte == b'/') {
                        prop_assert!(!segment.is_empty() || name.path.is_empty());
                        prop_assert!(segment != b"." && segment != b"..");
                        prop_assert!(!segment.starts_with(b".") || segment == b".well-known");
                    }
                }
                Err(NoName::Roundabout(plainer)) => {
                    prop_assert!(plainer.starts_with('/') && !plainer.starts_with("//"));
                    prop_assert!(Name::parse(&plainer, false).is_ok(), "{}", plainer);
                }
                Err(_) => {}
            }
        }
    }
}
