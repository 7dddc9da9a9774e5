//! Source maps (revision 3), read with bounded memory whatever they hold.
//!
//! Maps come with uploads, so they are hostile input. A table of decoded mappings would be some twenty times
//! the map's size; instead the text is kept, checked once, and scanned from the nearest of a few remembered
//! places at each lookup. Index maps (`sections`) are not read.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Most entries of `sources` and `sourcesContent`.
const SOURCES_MAX: usize = 20_000;
/// Lines of generated code between two remembered places.
const CHECKPOINT_LINES: u32 = 64;
/// Longest excerpt, characters.
const EXCERPT_CHARS_MAX: usize = 400;
/// Longest name of a source, characters.
const SOURCE_CHARS_MAX: usize = 512;

/// A checked source map.
pub(crate) struct SourceMap {
    sources: Vec<String>,
    contents: Vec<Option<String>>,
    mappings: String,
    /// State at the start of every [`CHECKPOINT_LINES`]th line.
    checkpoints: Vec<State>,
}

/// A place in original source.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Position<'a> {
    pub(crate) source: &'a str,
    /// From 1.
    pub(crate) line: u32,
    /// From 1.
    pub(crate) column: u32,
    pub(crate) excerpt: Option<String>,
}

#[derive(Deserialize)]
struct Raw {
    version: u32,
    #[serde(default, rename = "sourceRoot")]
    source_root: Option<String>,
    sources: Capped<Option<String>>,
    #[serde(default, rename = "sourcesContent")]
    sources_content: Option<Capped<Option<String>>>,
    mappings: String,
}

/// What runs on through `mappings`, and where in it.
#[derive(Clone, Copy, Default)]
struct State {
    offset: usize,
    source: i64,
    line: i64,
    column: i64,
}

/// One mapping: the generated column (from 0) and, unless the code has no source, index, line and column there.
struct Segment {
    generated: i64,
    original: Option<(i64, i64, i64)>,
}

impl SourceMap {
    /// Reads a map; `None` when it is malformed.
    pub(crate) fn parse(json: &[u8]) -> Option<Self> {
        let raw: Raw = serde_json::from_slice(json).ok()?;
        if raw.version != 3 {
            return None;
        }
        let root = raw.source_root.unwrap_or_default();
        let source = |source: Option<String>| clean(&join(&root, &source.unwrap_or_default()));
        let mut map = Self {
            sources: raw.sources.0.into_iter().map(source).collect(),
            contents: raw.sources_content.map(|contents| contents.0).unwrap_or_default(),
            mappings: raw.mappings,
            checkpoints: Vec::new(),
        };
        map.check()?;
        Some(map)
    }

    /// Memory it takes, bytes, roughly.
    pub(crate) fn weight(&self) -> usize {
        let contents: usize = self.contents.iter().flatten().map(String::len).sum();
        let sources: usize = self.sources.iter().map(String::len).sum();
        let fixed = (self.sources.len() + self.contents.len()) * size_of::<String>();
        let checkpoints = self.checkpoints.len() * size_of::<State>();
        contents + sources + fixed + checkpoints + self.mappings.len()
    }

    /// Where the generated place (line and column from 1) comes from.
    pub(crate) fn lookup(&self, line: u32, column: u32) -> Option<Position<'_>> {
        let (line, column) = (line.checked_sub(1)?, i64::from(column.checked_sub(1)?));
        let index = (line / CHECKPOINT_LINES) as usize;
        let mut state = *self.checkpoints.get(index)?;
        let mut best: Option<Segment> = None;
        for at in index as u32 * CHECKPOINT_LINES..=line {
            let wanted = at == line;
            let more = walk_line(self.mappings.as_bytes(), &mut state, |segment| {
                let nearer = best.as_ref().is_none_or(|best| best.generated <= segment.generated);
                if wanted && segment.generated <= column && nearer {
                    best = Some(segment);
                }
            })?;
            if !more && !wanted {
                return None;
            }
        }
        let (source, line, column) = best?.original?;
        let index = usize::try_from(source).ok()?;
        let line = u32::try_from(line).ok()?.checked_add(1)?;
        Some(Position {
            source: self.sources.get(index)?,
            line,
            column: u32::try_from(column).ok()?.checked_add(1)?,
            excerpt: self.excerpt(index, line),
        })
    }

    fn excerpt(&self, source: usize, line: u32) -> Option<String> {
        let text = self.contents.get(source)?.as_deref()?;
        let line = text.lines().nth(line as usize - 1)?;
        Some(line.chars().take(EXCERPT_CHARS_MAX).collect())
    }

    /// Decodes everything once, noting places on the way.
    fn check(&mut self) -> Option<()> {
        let mut state = State::default();
        for line in 0.. {
            if line % CHECKPOINT_LINES == 0 {
                self.checkpoints.push(state);
            }
            if !walk_line(self.mappings.as_bytes(), &mut state, |_| {})? {
                break;
            }
        }
        Some(())
    }
}

/// Decodes the segments of one line and steps over its end; false when it was the last line, `None` when the
/// text is malformed.
fn walk_line(text: &[u8], state: &mut State, mut each: impl FnMut(Segment)) -> Option<bool> {
    let mut generated = 0;
    loop {
        match text.get(state.offset) {
            None => return Some(false),
            Some(b';') => {
                state.offset += 1;
                return Some(true);
            }
            Some(b',') => state.offset += 1,
            Some(_) => {
                generated += number(text, &mut state.offset)?;
                let original = match more(text, state.offset) {
                    false => None,
                    true => {
                        state.source += number(text, &mut state.offset)?;
                        state.line += number(text, &mut state.offset)?;
                        state.column += number(text, &mut state.offset)?;
                        if more(text, state.offset) {
                            // The index of a name, which stacks have already.
                            number(text, &mut state.offset)?;
                        }
                        Some((state.source, state.line, state.column))
                    }
                };
                each(Segment { generated, original });
            }
        }
    }
}

/// Whether the segment goes on.
fn more(text: &[u8], offset: usize) -> bool {
    !matches!(text.get(offset), None | Some(b',' | b';'))
}

/// A base64 VLQ of at most 32 bits. Sums of as many as a map can hold stay far from the ends of `i64`.
fn number(text: &[u8], offset: &mut usize) -> Option<i64> {
    let mut value: i64 = 0;
    for shift in (0..35).step_by(5) {
        let digit = i64::from(match text.get(*offset)? {
            b @ b'A'..=b'Z' => b - b'A',
            b @ b'a'..=b'z' => b - b'a' + 26,
            b @ b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        });
        *offset += 1;
        value |= (digit & 31) << shift;
        if digit & 32 == 0 {
            let magnitude = value >> 1;
            return Some(if value & 1 == 1 { -magnitude } else { magnitude });
        }
    }
    None
}

fn join(root: &str, source: &str) -> String {
    if root.is_empty() || source.starts_with('/') || source.contains("://") {
        return source.into();
    }
    let source = source.strip_prefix("./").unwrap_or(source);
    format!("{}/{source}", root.trim_end_matches('/'))
}

/// Names end up in terminals: no control characters, no endless ones.
fn clean(source: &str) -> String {
    let shown = source.strip_prefix("./").unwrap_or(source);
    shown.chars().filter(|c| !c.is_control()).take(SOURCE_CHARS_MAX).collect()
}

/// A list of at most [`SOURCES_MAX`] entries: `[null,null,…]` would otherwise grow fivefold in memory.
struct Capped<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Capped<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
            type Value = Capped<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {SOURCES_MAX} entries")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Capped<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(entry) = entries.next_element()? {
                    if list.len() == SOURCES_MAX {
                        return Err(serde::de::Error::invalid_length(list.len() + 1, &self));
                    }
                    list.push(entry);
                }
                Ok(Capped(list))
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(mappings: &str) -> Option<SourceMap> {
        let json = json!({
            "version": 3,
            "sourceRoot": "src/",
            "sources": ["a.ts", "./b\u{1b}[2J.ts"],
            "sourcesContent": ["one\ntwo\nthree", null],
            "names": ["x"],
            "mappings": mappings,
        });
        SourceMap::parse(json.to_string().as_bytes())
    }

    #[test]
    fn finds_the_nearest_mapping_to_the_left() {
        // Line 1: column 1 → a.ts 1:1, column 5 → a.ts 2:3. Line 2: none. Line 3: column 1 → b.ts 2:4.
        let map = map("AAAA,IACE;;ACACA").unwrap();
        let first = map.lookup(1, 3).unwrap();
        assert_eq!((first.source, first.line, first.column), ("src/a.ts", 1, 1));
        let second = map.lookup(1, 100).unwrap();
        assert_eq!((second.source, second.line, second.column), ("src/a.ts", 2, 3));
        assert_eq!(second.excerpt.as_deref(), Some("two"));
        assert_eq!(map.lookup(2, 1), None);
        let third = map.lookup(3, 1).unwrap();
        assert_eq!((third.line, third.column, third.excerpt), (2, 4, None));
        assert!(!third.source.chars().any(char::is_control), "{:?}", third.source);
        for (line, column) in [(0, 1), (1, 0), (4, 1), (u32::MAX, u32::MAX)] {
            assert_eq!(map.lookup(line, column), None);
        }
    }

    #[test]
    fn lookups_far_down_start_at_a_checkpoint() {
        // Each line maps to the next line of the source.
        let text = format!("AAAA{}", ";AACA".repeat(999));
        let map = map(&text).unwrap();
        assert!(map.checkpoints.len() > 10);
        for line in [1, 63, 64, 65, 128, 700, 1000] {
            assert_eq!(map.lookup(line, 1).unwrap().line, line);
        }
    }

    #[test]
    fn hostile_maps_are_refused_or_harmless() {
        for bad in ["!", "A,g", "AA", "AAA", "gggggggggggg", "é", "AAAA AAAA"] {
            assert!(map(bad).is_none(), "{bad:?}");
        }
        // Negative, huge and out of range: no mapping, no panic.
        for strange in
            ["AAAAAA", "D", "ADAA", "AADA", "AAAD", "A+/////DAA", "AA+/////DA", &"+/////B".repeat(4)]
        {
            if let Some(map) = map(strange) {
                map.lookup(1, 1);
                map.lookup(1, u32::MAX);
            }
        }
        let many = json!({"version": 3, "sources": vec![""; SOURCES_MAX + 1], "mappings": ""});
        assert!(SourceMap::parse(many.to_string().as_bytes()).is_none());
        for bad in ["", "null", "[]", "{}", r#"{"version":2,"sources":[],"mappings":""}"#, "\u{0}"] {
            assert!(SourceMap::parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
        let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(SourceMap::parse(nested.as_bytes()).is_none());
    }

    #[test]
    fn a_map_of_line_ends_stays_small() {
        let map = map(&";".repeat(1 << 20)).unwrap();
        assert!(map.weight() < 3 << 20, "{}", map.weight());
    }
}
