//! Stacks and diagnostics of V8, told in terms of the original source.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use selvedge_model::{Artifact, Diagnostic, Digest, Module, ModuleKind};
use selvedge_store::{Artifacts, StoreError};

use crate::source_map::{Position, SourceMap};

/// Bytes of source maps read per artifact; further maps are ignored.
const MAP_BYTES_MAX: usize = 16 << 20;
/// Frames mapped in one stack; further ones stay as they are.
const FRAMES_MAX: usize = 100;
/// Artifacts whose maps are remembered, and the memory they may take together, bytes.
const CACHE_ENTRIES: usize = 64;
const CACHE_BYTES: usize = 64 << 20;

/// The source maps of one artifact, by the module they belong to.
#[derive(Default)]
pub(crate) struct ArtifactMaps {
    maps: BTreeMap<String, SourceMap>,
    weight: usize,
}

impl ArtifactMaps {
    /// Reads what maps the artifact has; malformed ones count as absent.
    pub(crate) fn new(artifact: &Artifact) -> Self {
        let mut maps = BTreeMap::new();
        let mut left = MAP_BYTES_MAX;
        for Module { name, kind, content } in &artifact.modules {
            let Some(module) = name.strip_suffix(".map") else { continue };
            if *kind != ModuleKind::SourceMap || content.len() > left {
                continue;
            }
            left -= content.len();
            if let Some(map) = SourceMap::parse(content) {
                maps.insert(module.to_owned(), map);
            }
        }
        let weight = maps.values().map(SourceMap::weight).sum();
        Self { maps, weight }
    }

    /// Rewrites the frames whose module has a map.
    pub(crate) fn map_stack(&self, stack: &str) -> String {
        let mut out = String::with_capacity(stack.len());
        let mut frames = 0;
        for line in stack.split_inclusive('\n') {
            let found = (frames < FRAMES_MAX).then(|| location(line)).flatten();
            let mapped = found.and_then(|(at, place)| Some((at, self.lookup(place)?)));
            match mapped {
                Some((at, position)) => {
                    frames += 1;
                    out.push_str(&line[..at.start]);
                    out.push_str(&format!("{}:{}:{}", position.source, position.line, position.column));
                    out.push_str(&line[at.end..]);
                }
                None => out.push_str(line),
            }
        }
        out
    }

    /// The diagnostic with place, excerpt and stack of the original source.
    pub(crate) fn map_diagnostic(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        if let (Some(file), Some(line)) = (&diagnostic.file, diagnostic.line)
            && let Some(position) = self.lookup((file, line, diagnostic.column.unwrap_or(1)))
        {
            // Without the source's text, the generated line would be shown under the original's place.
            diagnostic.excerpt = position.excerpt;
            diagnostic.line = Some(position.line);
            diagnostic.column = Some(position.column);
            diagnostic.file = Some(position.source.to_owned());
        }
        diagnostic.stack = diagnostic.stack.map(|stack| self.map_stack(&stack));
        diagnostic
    }

    /// The original of a place in generated code.
    pub(crate) fn lookup(&self, (module, line, column): Place<'_>) -> Option<Position<'_>> {
        let path = module.split_once("://").map_or(module, |(_, path)| path);
        self.maps.get(path.trim_start_matches('/'))?.lookup(line, column)
    }
}

/// A place in generated code: module, line and column from 1.
pub(crate) type Place<'a> = (&'a str, u32, u32);

/// Whether a text has lines that might be frames.
pub(crate) fn has_frames(text: &str) -> bool {
    text.contains("\n") && text.contains("  at ")
}

/// Finds `module:line:column` in a line such as `    at fn (main.js:3:14)` or `    at async main.js:3:14`: which
/// bytes of the line it takes, and its parts. What a log puts behind the last frame of an error is passed over.
fn location(line: &str) -> Option<(Range<usize>, Place<'_>)> {
    let body = line.trim_end_matches([' ', '\n', '\r', '{', '}', ']', ',']);
    let indent = body.len() - body.trim_start().len();
    let frame = body[indent..].strip_prefix("at ")?;
    let (start, end) = match (body.find(" ("), body.ends_with(')')) {
        (Some(open), true) => (open + 2, body.len() - 1),
        _ => {
            let place = frame.strip_prefix("async ").unwrap_or(frame);
            (body.len() - place.len(), body.len())
        }
    };
    let mut parts = body.get(start..end)?.rsplitn(3, ':');
    let column = parts.next()?.parse().ok()?;
    let line = parts.next()?.parse().ok()?;
    Some((start..end, (parts.next()?, line, column)))
}

/// Maps of recently asked artifacts, bounded in number and memory, the last used first.
#[derive(Default)]
pub(crate) struct MapCache(Mutex<VecDeque<(Digest, Arc<ArtifactMaps>)>>);

impl MapCache {
    /// The maps of an artifact, read from the disk at the first time.
    pub(crate) fn of(&self, artifacts: &Artifacts, digest: &Digest) -> Result<Arc<ArtifactMaps>, StoreError> {
        if let Some(maps) = self.touch(digest) {
            return Ok(maps);
        }
        let maps = Arc::new(ArtifactMaps::new(&artifacts.get(digest)?));
        self.insert(digest.clone(), maps.clone());
        Ok(maps)
    }

    fn touch(&self, digest: &Digest) -> Option<Arc<ArtifactMaps>> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = entries.iter().position(|(known, _)| known == digest)?;
        let entry = entries.remove(at)?;
        let maps = entry.1.clone();
        entries.push_front(entry);
        Some(maps)
    }

    fn insert(&self, digest: Digest, maps: Arc<ArtifactMaps>) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|(known, _)| *known != digest);
        entries.push_front((digest, maps));
        let mut bytes = 0;
        let fitting = entries.iter().take_while(|(_, maps)| {
            bytes += maps.weight;
            bytes <= CACHE_BYTES
        });
        // The one just asked for stays, however large: its maps are bounded by themselves.
        let keep = fitting.count().clamp(1, CACHE_ENTRIES);
        entries.truncate(keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps() -> ArtifactMaps {
        let map = r#"{"version":3,"sources":["src/a.ts"],"sourcesContent":["let a;\nthrow b"],
            "mappings":"AAAA;AACE"}"#;
        let module = |name: &str, kind, content: &str| Module {
            name: name.into(),
            kind,
            content: content.as_bytes().to_vec(),
        };
        let modules = vec![
            module("main.js", ModuleKind::Esm, ""),
            module("main.js.map", ModuleKind::SourceMap, map),
            module("other.js.map", ModuleKind::SourceMap, "{broken"),
        ];
        ArtifactMaps::new(&Artifact::new("main.js", modules).unwrap())
    }

    #[test]
    fn frames_of_mapped_modules_are_rewritten() {
        let stack = "Error: at (main.js:1:1)\n    at f (main.js:2:7)\n    at async main.js:2:7\n    at async g (file:///main.js:2:7)\n    at other.js:1:1\n    at eval (eval at f (main.js:2:7), <anonymous>:1:1)\n    at new Promise (<anonymous>)\n        at f (main.js:2:7) {\n  at async main.js:2:7 ],\n";
        let mapped = maps().map_stack(stack);
        assert_eq!(
            mapped,
            "Error: at (main.js:1:1)\n    at f (src/a.ts:2:3)\n    at async src/a.ts:2:3\n    at async g (src/a.ts:2:3)\n    at other.js:1:1\n    at eval (eval at f (main.js:2:7), <anonymous>:1:1)\n    at new Promise (<anonymous>)\n        at f (src/a.ts:2:3) {\n  at async src/a.ts:2:3 ],\n"
        );
    }

    #[test]
    fn strange_stacks_stay_as_they_are() {
        for stack in [
            "",
            "\n",
            "at ",
            "    at",
            " at (",
            "at  (:1:2)",
            "at main.js:99999999999:1",
            "at é (",
            "at )( (1:1)",
        ] {
            assert_eq!(maps().map_stack(stack), stack);
        }
    }

    #[test]
    fn a_diagnostic_shows_the_original_line() {
        let diagnostic = Diagnostic {
            file: Some("main.js".into()),
            line: Some(2),
            column: Some(1),
            excerpt: Some("generated".into()),
            ..Diagnostic::default()
        };
        let mapped = maps().map_diagnostic(diagnostic);
        assert_eq!(mapped.file.as_deref(), Some("src/a.ts"));
        assert_eq!((mapped.line, mapped.column), (Some(2), Some(3)));
        assert_eq!(mapped.excerpt.as_deref(), Some("throw b"));
    }

    #[test]
    fn the_cache_is_bounded() {
        let cache = MapCache::default();
        let digest = |n: usize| -> Digest { format!("{n:064x}").parse().unwrap() };
        for n in 0..200 {
            cache.insert(digest(n), Arc::default());
        }
        assert_eq!(cache.0.lock().unwrap().len(), CACHE_ENTRIES);
        for n in 0..10 {
            let heavy = ArtifactMaps { weight: CACHE_BYTES / 2, ..ArtifactMaps::default() };
            cache.insert(digest(n), Arc::new(heavy));
        }
        assert_eq!(cache.0.lock().unwrap().len(), 2);
        assert!(cache.touch(&digest(9)).is_some());
    }
}
