//! `_headers`: fields that are added to files by their path.
//!
//! ```text
//! /static/*
//!   Cache-Control: public, max-age=31536000, immutable
//!   ! X-Robots-Tag
//! ```

use crate::pattern::{Pattern, fill};

/// Most rules.
const RULES_MAX: usize = 100;
/// Longest line, bytes.
const LINE_MAX: usize = 2000;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    pattern: Pattern,
    set: Vec<(String, String)>,
    unset: Vec<String>,
}

/// The rules of one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers(Vec<Rule>);

impl Headers {
    /// Reads the file; an error names its line.
    pub(crate) fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut rules: Vec<Rule> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            if line.len() > LINE_MAX {
                return Err((number, format!("the line is longer than {LINE_MAX} characters")));
            }
            if trimmed.starts_with('/') || trimmed.starts_with("https://") || trimmed.starts_with("http://") {
                if rules.len() == RULES_MAX {
                    return Err((number, format!("there are more than {RULES_MAX} rules")));
                }
                let pattern = Pattern::parse(trimmed).map_err(|problem| (number, problem))?;
                rules.push(Rule { pattern, set: Vec::new(), unset: Vec::new() });
                continue;
            }
            let Some(rule) = rules.last_mut() else {
                return Err((number, "a field must come after the path that it is for".into()));
            };
            if let Some(name) = trimmed.strip_prefix('!') {
                rule.unset.push(field_name(name.trim()).map_err(|problem| (number, problem))?);
                continue;
            }
            let (name, value) =
                trimmed.split_once(':').ok_or((number, "a field is written `Name: value`".to_owned()))?;
            let name = field_name(name.trim()).map_err(|problem| (number, problem))?;
            let value = value.trim();
            if value.bytes().any(|byte| byte < 0x20 && byte != b'\t' || byte == 0x7f) {
                return Err((number, format!("the value of {name} has characters that HTTP does not allow")));
            }
            rule.set.push((name, value.into()));
        }
        Ok(Self(rules))
    }

    /// Changes the fields of a file's answer. Fields of one name from several rules are joined with commas.
    pub(crate) fn apply(&self, host: &str, path: &str, fields: &mut Vec<(String, String)>) {
        let mut given: Vec<String> = Vec::new();
        for rule in &self.0 {
            let Some(matched) = rule.pattern.matches(host, path) else { continue };
            for name in &rule.unset {
                fields.retain(|(known, _)| known != name);
            }
            for (name, value) in &rule.set {
                let value = fill_value(value, &matched);
                match fields.iter_mut().find(|(known, _)| known == name) {
                    Some((_, old)) if given.contains(name) => {
                        old.push_str(", ");
                        old.push_str(&value);
                    }
                    Some((_, old)) => *old = value,
                    None => fields.push((name.clone(), value)),
                }
                given.push(name.clone());
            }
        }
    }
}

/// A value without names is taken as it is, colons and stars included.
fn fill_value(value: &str, matched: &crate::pattern::Matched) -> String {
    if matched.is_empty() || !value.contains(':') { value.into() } else { fill(value, matched) }
}

fn field_name(name: &str) -> Result<String, String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(format!("{name:?} is no name of a header field"));
    }
    Ok(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_add_up() {
        let text = "# all\n/*\n  X-A: 1\n  Cache-Control: no-store\n\n/static/:file\n  Cache-Control: immutable\n  X-File: :file\n  ! X-Gone\n";
        let headers = Headers::parse(text).unwrap();
        let mut fields = vec![("cache-control".into(), "public".into()), ("x-gone".into(), "1".into())];
        headers.apply("h", "/static/a.js", &mut fields);
        fields.sort();
        assert_eq!(
            fields,
            [("cache-control", "no-store, immutable"), ("x-a", "1"), ("x-file", "a.js")]
                .map(|(name, value)| (name.into(), value.into()))
        );
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        assert_eq!(Headers::parse("\n  X: 1").unwrap_err().0, 2);
        assert_eq!(Headers::parse("/a\n  no field").unwrap_err().0, 2);
        assert_eq!(Headers::parse("/a\n  X Y: 1").unwrap_err().0, 2);
        assert_eq!(Headers::parse(&"/a\n".repeat(101)).unwrap_err().0, 101);
    }
}
