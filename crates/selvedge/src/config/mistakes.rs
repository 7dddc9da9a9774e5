//! Mistakes in a configuration, in words of the file rather than of Rust.

use std::ops::Range;

use super::sources::Sources;
use crate::failure::{Failure, Outcome};

/// How much two names may differ, so that one may have been meant for the other: half of the letters.
const DIFFERENT_MAX: f64 = 0.5;

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Vec<(Option<Range<usize>>, String)>);

impl Mistakes {
    /// Adds one, at its place among the bytes of all sources.
    pub(super) fn add(&mut self, span: Option<Range<usize>>, message: impl Into<String>) {
        self.0.push((span, message.into()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An error if there are any.
    pub(super) fn into_outcome(self, sources: &Sources) -> Outcome {
        if self.is_empty() { Ok(()) } else { Err(self.into_failure(sources)) }
    }

    /// All of them, in the order of the files.
    pub(super) fn into_failure(mut self, sources: &Sources) -> Failure {
        self.0.sort_by_key(|(span, _)| span.as_ref().map_or(0, |span| span.start));
        self.0.dedup();
        let count = self.0.len();
        let what = if count == 1 { "a mistake".to_owned() } else { format!("{count} mistakes") };
        let file = sources.files.first().map(|file| file.path.display().to_string()).unwrap_or_default();
        let mut failure = Failure::new("bad_config", format!("{file} has {what}"));
        let all = self.0.iter();
        failure.diagnostics = all.map(|(span, message)| sources.diagnostic(span.as_ref(), message)).collect();
        failure
    }
}

/// What serde says, for somebody who writes the file.
pub(super) fn in_words(message: &str) -> String {
    let quoted = |text: &str| text.split('`').nth(1).map(str::to_owned);
    let names =
        |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    for (kind, what) in [("unknown field ", "there is no setting"), ("unknown variant ", "")] {
        let Some(rest) = message.strip_prefix(kind) else { continue };
        let (Some(name), Some((_, known))) = (quoted(rest), rest.split_once(", ")) else { continue };
        let known = names(known);
        let start = if what.is_empty() {
            format!("`{name}` is not possible here")
        } else {
            format!("{what} `{name}` here")
        };
        return match nearest(&name, known.iter().map(String::as_str)) {
            Some(near) => format!("{start}; did you mean `{near}`?"),
            None if known.is_empty() => start,
            None => format!("{start}; there are {}", known.join(", ")),
        };
    }
    let words = [
        ("expected a sequence", "expected an array"),
        ("invalid type: sequence", "invalid type: array"),
        ("invalid type: map", "invalid type: table"),
        ("expected usize", "expected a whole number from 0"),
        ("expected u64", "expected a whole number from 0"),
        ("expected u32", "expected a whole number from 0 to 4294967295"),
        ("expected u16", "expected a whole number from 0 to 65535"),
        ("expected u8", "expected a whole number from 0 to 255"),
        ("expected i64", "expected a whole number"),
        ("expected f64", "expected a number"),
        ("expected a boolean", "expected true or false"),
    ];
    words.iter().fold(message.to_owned(), |text, (rust, plain)| text.replace(rust, plain))
}

/// The name that was probably meant: one that is close, or that goes on where the other ends.
pub(super) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let continued = |one: &str, other: &str| one.len() >= 4 && other.starts_with(one);
    let closeness = |other: &'n str| match continued(name, other) || continued(other, name) {
        true => 1.0,
        false => strsim::normalized_damerau_levenshtein(name, other),
    };
    let (score, near) = known.map(|other| (closeness(other), other)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score > 1.0 - DIFFERENT_MAX).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_file() {
        for (said, meant) in [
            (
                "unknown field `idle_seconds`, expected one of `idle_s`, `cache_mb`",
                "there is no setting `idle_seconds` here; did you mean `idle_s`?",
            ),
            ("unknown field `x`, expected `a` or `b`", "there is no setting `x` here; there are a, b"),
            ("unknown field `x`, there are no fields", "there is no setting `x` here"),
            (
                "unknown variant `jsn`, expected `text` or `json`",
                "`jsn` is not possible here; did you mean `json`?",
            ),
            ("invalid type: map, expected a sequence", "invalid type: table, expected an array"),
            ("something else", "something else"),
        ] {
            assert_eq!(in_words(said), meant);
        }
    }
}
