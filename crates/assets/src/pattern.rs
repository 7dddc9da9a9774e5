//! Patterns of paths, as `_headers` and `_redirects` have them: `*` stands for anything (its text is `:splat`), `:name` for
//! a part between slashes.

/// Longest pattern, bytes.
const PATTERN_MAX: usize = 2000;

/// A pattern, optionally of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    host: Option<String>,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(String),
    Splat,
}

/// What names and the splat stood for.
pub(crate) type Matched = Vec<(String, String)>;

impl Pattern {
    /// Reads `/path` or `https://host/path`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > PATTERN_MAX {
            return Err(format!("longer than {PATTERN_MAX} characters"));
        }
        let absolute = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let (host, path) = match absolute {
            Some(rest) => {
                let slash = rest.find('/').unwrap_or(rest.len());
                (
                    Some(rest[..slash].to_ascii_lowercase()),
                    if slash == rest.len() { "/" } else { &rest[slash..] },
                )
            }
            None => (None, text),
        };
        if !path.starts_with('/') {
            return Err("a path begins with /".into());
        }
        if path.matches('*').count() > 1 {
            return Err("only one * is allowed".into());
        }
        Ok(Self { host, parts: parts(path) })
    }

    /// Whether nothing in it stands for something else.
    pub(crate) fn is_literal(&self) -> bool {
        self.host.is_none() && self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// What its names stand for in this path, if it matches.
    pub(crate) fn matches(&self, host: &str, path: &str) -> Option<Matched> {
        if self.host.as_ref().is_some_and(|wanted| !wanted.eq_ignore_ascii_case(host)) {
            return None;
        }
        let mut matched = Vec::new();
        walk(&self.parts, path, &mut matched).then_some(matched)
    }
}

fn parts(path: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = path;
    while let Some(character) = rest.chars().next() {
        let name = rest.strip_prefix(':').filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()));
        let part = match name {
            Some(name) => {
                let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
                Some((Part::Name(name[..end].into()), end + 1))
            }
            None => (character == '*').then_some((Part::Splat, 1)),
        };
        match part {
            Some((part, length)) => {
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                parts.push(part);
                rest = &rest[length..];
            }
            None => {
                text.push(character);
                rest = &rest[character.len_utf8()..];
            }
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    parts
}

/// One splat at most, so that this takes time in the length of the path.
fn walk(parts: &[Part], path: &str, matched: &mut Matched) -> bool {
    let Some((part, rest)) = parts.split_first() else { return path.is_empty() };
    match part {
        Part::Text(text) => path.strip_prefix(text.as_str()).is_some_and(|path| walk(rest, path, matched)),
        Part::Name(name) => {
            let end = path.find('/').unwrap_or(path.len());
            matched.push((name.clone(), path[..end].into()));
            end > 0 && walk(rest, &path[end..], matched)
        }
        Part::Splat => {
            let kept = matched.len();
            let ends = path.char_indices().map(|(at, _)| at).chain([path.len()]);
            for end in ends.collect::<Vec<_>>().into_iter().rev() {
                matched.truncate(kept);
                matched.push(("splat".into(), path[..end].into()));
                if walk(rest, &path[end..], matched) {
                    return true;
                }
            }
            false
        }
    }
}

/// Puts what names stood for into a template, such as `/news/:year/:splat`.
pub(crate) fn fill(template: &str, matched: &Matched) -> String {
    let mut out = String::with_capacity(template.len());
    for part in parts(&template.replace('*', ":splat")) {
        match part {
            Part::Text(text) => out.push_str(&text),
            Part::Name(name) => match matched.iter().find(|(known, _)| *known == name) {
                Some((_, value)) => out.push_str(value),
                None => {
                    out.push(':');
                    out.push_str(&name);
                }
            },
            Part::Splat => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(pattern: &str, path: &str) -> Option<Matched> {
        Pattern::parse(pattern).unwrap().matches("example.com", path)
    }

    #[test]
    fn names_and_splats() {
        assert_eq!(matched("/a", "/a"), Some(vec![]));
        assert_eq!(matched("/a", "/a/"), None);
        assert_eq!(matched("/a/*", "/a/"), Some(vec![("splat".into(), String::new())]));
        assert_eq!(matched("/a/*", "/a/b/c"), Some(vec![("splat".into(), "b/c".into())]));
        assert_eq!(matched("/*.png", "/x/y.png"), Some(vec![("splat".into(), "x/y".into())]));
        assert_eq!(matched("/:one/x/:two", "/1/x/2").unwrap().len(), 2);
        assert_eq!(matched("/:one", "/"), None);
        assert_eq!(matched("/:one", "/a/b"), None);
        assert_eq!(matched("https://example.com/a", "/a"), Some(vec![]));
        assert_eq!(matched("https://other.example/a", "/a"), None);
        let both = matched("/blog/:year/*", "/blog/2026/a/b").unwrap();
        assert_eq!(fill("/news/:year/:splat?y=:year&z=:none", &both), "/news/2026/a/b?y=2026&z=:none");
        for bad in ["a", "/*/*", ""] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_pattern_and_path_are_fine(pattern in "/?[a:*/é]{0,12}", path in "/[ab:*/é]{0,12}") {
            if let Ok(pattern) = Pattern::parse(&pattern)
                && let Some(matched) = pattern.matches("h", &path)
            {
                fill("/:a/:splat*", &matched);
            }
        }
    }
}
