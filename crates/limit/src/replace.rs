//! Replaces texts in a stream, in one pass, whatever pieces it comes in.

use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, MatchKind};

/// Longest text that is looked for, bytes.
const LENGTH_MAX: usize = 1024;
/// Texts that are looked for at most.
const TEXTS_MAX: usize = 256;

/// Texts and what stands in their places.
#[derive(Debug)]
pub struct Replacements {
    find: AhoCorasick,
    with: Vec<Vec<u8>>,
    longest: usize,
}

impl Replacements {
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn new(texts: &BTreeMap<String, String>) -> Result<Self, String> {
        let longest = texts.keys().map(String::len).max().unwrap_or(0).max(1);
        if texts.len() > TEXTS_MAX || longest > LENGTH_MAX || texts.keys().any(String::is_empty) {
            return Err(format!("at most {TEXTS_MAX} texts are replaced, of 1 to {LENGTH_MAX} bytes each"));
        }
        let find = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(texts.keys());
        let with = texts.values().map(|text| text.clone().into_bytes()).collect();
        Ok(Self { find: find.map_err(|error| error.to_string())?, with, longest })
    }
}

/// Where a stream stands: what may be the beginning of a text is held back.
#[derive(Debug, Default)]
pub struct Replacing(Vec<u8>);

impl Replacing {
    /// Takes a piece, gives what is settled. With `end`, that is everything.
    pub fn step(&mut self, texts: &Replacements, piece: &[u8], end: bool) -> Vec<u8> {
        self.0.extend_from_slice(piece);
        // A match that begins before this cannot grow longer.
        let settled = if end { self.0.len() } else { (self.0.len() + 1).saturating_sub(texts.longest) };
        let (mut out, mut at) = (Vec::with_capacity(self.0.len()), 0);
        for found in texts.find.find_iter(&self.0) {
            if found.start() >= settled {
                break;
            }
            out.extend_from_slice(&self.0[at..found.start()]);
            out.extend_from_slice(&texts.with[found.pattern().as_usize()]);
            at = found.end();
        }
        let to = settled.max(at);
        out.extend_from_slice(&self.0[at..to]);
        self.0.drain(..to);
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_make_no_difference(text in "[abc]{0,60}", cuts in proptest::collection::vec(0usize..60, 0..8)) {
            let texts = [("ab", "X"), ("abc", "YY"), ("ca", ""), ("bb", "abb")];
            let texts = texts.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            let texts = Replacements::new(&texts).unwrap();
            let whole = Replacing::default().step(&texts, text.as_bytes(), true);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let (mut state, mut out) = (Replacing::default(), Vec::new());
            for pair in cuts.windows(2) {
                out.extend(state.step(&texts, &text.as_bytes()[pair[0]..pair[1]], false));
                prop_assert!(state.0.len() < 3);
            }
            out.extend(state.step(&texts, b"", true));
            prop_assert_eq!(out, whole);
        }
    }

    #[test]
    fn texts_have_bounds() {
        let one = |text: &str| Replacements::new(&[(text.to_owned(), String::new())].into_iter().collect());
        assert!(one("").is_err() && one(&"x".repeat(1025)).is_err() && one("x").is_ok());
        let texts = Replacements::new(&BTreeMap::new()).unwrap();
        assert_eq!(Replacing::default().step(&texts, b"abc", false), b"abc");
    }
}
