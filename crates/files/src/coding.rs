//! Compressed forms and which of them a client takes (RFC 9110, section 12.5.3).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a file that lies beside another was compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    /// Brotli: `.br`.
    Br,
    /// Zstandard: `.zst`.
    Zstd,
    /// gzip: `.gz`.
    Gzip,
}

impl Coding {
    /// What its files' names end with.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Br => ".br",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
        }
    }

    /// As in `Content-Encoding`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Br => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }
}

/// Which of `offered` a client wants, by its `Accept-Encoding`; `None` is the file as it is. Earlier ones win ties.
pub(crate) fn choose(accepted: &[u8], offered: impl Iterator<Item = Coding>) -> Option<Coding> {
    // Nothing said: anything goes, but old clients that say nothing know no compression.
    let accepted = std::str::from_utf8(accepted).ok().filter(|text| !text.is_empty())?;
    let identity = quality(accepted, &["identity"], false).unwrap_or(0);
    let mut best = None;
    for coding in offered {
        let names: &[&str] = match coding {
            Coding::Gzip => &["gzip", "x-gzip"],
            Coding::Br => &["br"],
            Coding::Zstd => &["zstd"],
        };
        let quality = quality(accepted, names, true).unwrap_or(0);
        // Compressed is smaller, so it wins unless the client would rather have it plain.
        if quality > 0 && quality >= identity && best.is_none_or(|(_, known)| quality > known) {
            best = Some((coding, quality));
        }
    }
    best.map(|(coding, _)| coding)
}

/// Thousandths, for the first of `names` that is there, or for `*`.
fn quality(accepted: &str, names: &[&str], star: bool) -> Option<u16> {
    let mut general = None;
    for item in accepted.split(',') {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = || {
            let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            let weight = weight.map_or(1.0, |text| text.parse::<f32>().unwrap_or(0.0));
            (weight.clamp(0.0, 1.0) * 1000.0) as u16
        };
        if names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return Some({ weight }());
        }
        if star && name == "*" {
            general = Some({ weight }());
        }
    }
    general
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_choose() {
        let all = [Coding::Br, Coding::Zstd, Coding::Gzip];
        for (accepted, expected) in [
            ("", None),
            ("identity", None),
            ("gzip, deflate, br, zstd", Some(Coding::Br)),
            ("gzip", Some(Coding::Gzip)),
            ("x-gzip", Some(Coding::Gzip)),
            ("GZIP;Q=0.5, identity;q=0.2", Some(Coding::Gzip)),
            ("br;q=0.5, gzip;q=0.8, identity;q=0.1", Some(Coding::Gzip)),
            ("br;q=0, *", Some(Coding::Zstd)),
            ("*;q=0", None),
            ("gzip;q=0", None),
            ("br;q=0.5", Some(Coding::Br)),
            ("br;q=0.5, identity", None),
            ("br;q=0.5, identity;q=0.5", Some(Coding::Br)),
            ("gzip;q=nan, br;q=-1", None),
            ("deflate, ,;;q=,=", None),
            ("\u{e9}", None),
        ] {
            assert_eq!(choose(accepted.as_bytes(), all.into_iter()), expected, "{accepted}");
        }
        assert_eq!(choose(b"br", [Coding::Gzip].into_iter()), None);
        assert_eq!(choose(b"\xff", all.into_iter()), None);
    }
}
