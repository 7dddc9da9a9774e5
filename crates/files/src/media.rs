//! Types of files, by extension.

use std::collections::BTreeMap;

use http::HeaderValue;

/// What nothing is known of.
const UNKNOWN: &str = "application/octet-stream";

/// Types by extension.
#[derive(Debug, Default)]
pub(crate) struct Types(BTreeMap<String, HeaderValue>);

impl Types {
    /// With these before the built-in ones.
    pub(crate) fn new(own: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut types = BTreeMap::new();
        for (extension, kind) in own {
            let value = HeaderValue::from_str(kind).ok().filter(|_| kind.contains('/'));
            let value = value.ok_or_else(|| format!("{kind:?} is no type; write it as \"text/plain\""))?;
            types.insert(extension.trim_start_matches('.').to_ascii_lowercase(), value);
        }
        Ok(Self(types))
    }

    /// The type of a file with this name.
    pub(crate) fn of(&self, path: &[u8]) -> HeaderValue {
        let extension = extension(path).unwrap_or_default().to_ascii_lowercase();
        if let Some(own) = self.0.get(&extension) {
            return own.clone();
        }
        let Some(kind) = mime_guess::from_ext(&extension).first_raw() else {
            return HeaderValue::from_static(UNKNOWN);
        };
        // RFC 9239.
        let kind = if kind == "application/javascript" { "text/javascript" } else { kind };
        if kind.starts_with("text/") || kind == "application/manifest+json" {
            return HeaderValue::from_str(&format!("{kind}; charset=utf-8"))
                .unwrap_or(HeaderValue::from_static(UNKNOWN));
        }
        HeaderValue::from_static(kind)
    }
}

/// What stands behind the last dot of a name, if that is not where it begins.
pub(crate) fn extension(path: &[u8]) -> Option<&str> {
    let name = path.rsplit(|byte| *byte == b'/').next()?;
    let dot = name.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0)?;
    std::str::from_utf8(&name[dot + 1..]).ok()
}

/// False for what is compressed by its nature, so that nobody puts compressed forms beside it.
pub(crate) fn may_be_compressed(kind: &HeaderValue) -> bool {
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    match kind.split_once('/') {
        Some(("video" | "audio", _)) => false,
        Some(("image", kind)) => matches!(kind, "svg+xml" | "bmp" | "x-icon" | "vnd.microsoft.icon"),
        Some(("font", kind)) => !kind.starts_with("woff"),
        Some(("application", kind)) => !matches!(
            kind,
            "zip"
                | "gzip"
                | "x-gzip"
                | "zstd"
                | "x-7z-compressed"
                | "x-bzip2"
                | "x-xz"
                | "vnd.rar"
                | "x-rar-compressed"
                | "font-woff"
        ),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_tell_types() {
        let own = BTreeMap::from([(".MD".into(), "text/x-own".into()), (String::new(), "text/plain".into())]);
        let types = Types::new(&own).unwrap();
        for (path, expected) in [
            ("a/index.HTML", "text/html; charset=utf-8"),
            ("a.css", "text/css; charset=utf-8"),
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.mjs", "text/javascript; charset=utf-8"),
            ("a.json", "application/json"),
            ("a.svg", "image/svg+xml"),
            ("a.wasm", "application/wasm"),
            ("a.woff2", "font/woff2"),
            ("a.webp", "image/webp"),
            ("a.avif", "image/avif"),
            ("a.tar.gz", "application/gzip"),
            ("a.md", "text/x-own"),
            ("dir.html/LICENSE", "text/plain"),
            ("a/.profile", "text/plain"),
            ("a.unknownext", "application/octet-stream"),
        ] {
            assert_eq!(types.of(path.as_bytes()), expected, "{path}");
        }
        assert_eq!(Types::default().of(b"LICENSE"), UNKNOWN);
        assert!(Types::new(&BTreeMap::from([("a".into(), "b".into())])).is_err());
        assert!(Types::new(&BTreeMap::from([("a".into(), "b/c\r\n".into())])).is_err());
    }
}
