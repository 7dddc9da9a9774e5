//! Parts of `multipart/form-data` (RFC 7578), as far as rules need them.

/// What a part is called, and what it holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    pub(crate) name: String,
    pub(crate) file_name: Option<String>,
    /// Of a file, nothing.
    pub(crate) text: &'a [u8],
    /// The encoding that it says it has, in lower case.
    pub(crate) charset: Option<String>,
    /// Says how it is encoded on the way, which browsers never do.
    pub(crate) encoded: bool,
}

/// The boundary that a content type names.
pub(crate) fn boundary(content_type: &str) -> Option<String> {
    let at = content_type.to_ascii_lowercase().find("boundary=")?;
    let rest = &content_type[at + "boundary=".len()..];
    let text = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => rest.split([';', ' ']).next()?,
    };
    (1..=70).contains(&text.len()).then(|| text.to_owned())
}

/// The parts of a body, of which the end may be missing.
pub(crate) fn parts<'a>(body: &'a [u8], boundary: &str, parts_max: usize) -> Vec<Part<'a>> {
    let mark = format!("--{boundary}");
    let mark = mark.as_bytes();
    let mut parts = Vec::new();
    let Some(mut at) = find(body, mark) else { return parts };
    while parts.len() < parts_max {
        let start = at + mark.len();
        let rest = &body[start..];
        if rest.starts_with(b"--") {
            break;
        }
        let end = find(rest, mark).unwrap_or(rest.len());
        parts.extend(part(&rest[..end]));
        if end == rest.len() {
            break;
        }
        at = start + end;
    }
    parts
}

fn part(bytes: &[u8]) -> Option<Part<'_>> {
    // Programs differ in what they take for the end of a line.
    let (head, text) = match find(bytes, b"\r\n\r\n") {
        Some(at) => (&bytes[..at], &bytes[at + 4..]),
        None => {
            let at = find(bytes, b"\n\n")?;
            (&bytes[..at], &bytes[at + 2..])
        }
    };
    let head = String::from_utf8_lossy(head);
    let disposition =
        head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let name = parameter(disposition, "name").unwrap_or_default();
    let file_name = parameter(disposition, "filename").or_else(|| parameter(disposition, "filename*"));
    let text = text.strip_suffix(b"\r\n").unwrap_or(text);
    let field = |name: &str| head.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
    let charset = field("content-type:").and_then(|line| parameter(line, "charset"));
    Some(Part {
        name,
        text: if file_name.is_some() { b"" } else { text },
        file_name,
        charset: charset.map(|charset| charset.to_ascii_lowercase()),
        encoded: field("content-transfer-encoding:").is_some(),
    })
}

/// `name="value"` or `name=value` in a field.
fn parameter(field: &str, name: &str) -> Option<String> {
    let mut quoted = false;
    let pieces = field.split(|c: char| {
        quoted ^= c == '"';
        c == ';' && !quoted
    });
    for piece in pieces.skip(1) {
        let Some((key, value)) = piece.split_once('=') else { continue };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value.trim().trim_matches('"').to_owned());
        }
    }
    None
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_files_are_told_apart() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n<x>\r\n--b\r\nContent-Disposition: form-data; name=f; \
            filename=\"../e;.php\"\r\nContent-Type: text/plain\r\n\r\n<?php\r\n--b--\r\n";
        let found = parts(body, &boundary("multipart/form-data; Boundary=\"b\"").unwrap(), 10);
        assert_eq!(
            found[0],
            Part { name: "a".into(), file_name: None, text: b"<x>", charset: None, encoded: false }
        );
        assert_eq!(
            found[1],
            Part {
                name: "f".into(),
                file_name: Some("../e;.php".into()),
                text: b"",
                charset: None,
                encoded: false
            }
        );
        assert_eq!(parts(b"--b\r\nno head", "b", 10), []);
        assert_eq!(boundary("multipart/form-data"), None);
    }
}
