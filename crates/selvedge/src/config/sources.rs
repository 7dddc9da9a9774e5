//! The files that settings come from. Together they are one text, so that a byte's number says file, line and column.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use globset::GlobBuilder;
use selvedge_model::Diagnostic;
use toml::de::DeTable;

use super::mistakes::Mistakes;
use crate::failure::{Failure, Outcome};

/// Largest file, bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Files of one configuration.
const FILES_MAX: usize = 256;

/// One file.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// Where its text begins in that of all.
    pub(super) start: usize,
}

/// The files in the order in which they are read.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) files: Vec<Source>,
}

impl Sources {
    /// Reads a file, and the files that it includes. Mistakes in its `include` go to `mistakes`.
    pub(super) fn read(path: &Path, mistakes: &mut Mistakes) -> Outcome<Self> {
        let mut sources = Self::default();
        let text = text_of(path).map_err(|error| Failure::io("read", path, &error))?;
        sources.push(path.into(), text);
        let mut next = 0;
        while next < sources.files.len() {
            for (span, pattern) in sources.includes(next, mistakes) {
                sources.include(next, &span, &pattern, mistakes);
            }
            next += 1;
        }
        Ok(sources)
    }

    fn push(&mut self, path: PathBuf, text: String) {
        // A byte between two files belongs to neither.
        let start = self.files.last().map_or(0, |last| last.start + last.text.len() + 1);
        self.files.push(Source { path, text, start });
    }

    /// The patterns in a file's `include`. What is wrong with the file otherwise is found later.
    fn includes(&self, file: usize, mistakes: &mut Mistakes) -> Vec<(Range<usize>, String)> {
        let source = &self.files[file];
        let (table, _) = DeTable::parse_recoverable(&source.text);
        let Some(include) = table.get_ref().get("include") else { return Vec::new() };
        let shifted = |span: Range<usize>| span.start + source.start..span.end + source.start;
        let Some(patterns) = include.get_ref().as_array() else {
            mistakes.add(
                Some(shifted(include.span())),
                "`include` is an array of paths, such as [\"conf.d/*.toml\"]",
            );
            return Vec::new();
        };
        let mut found = Vec::new();
        for pattern in patterns.iter() {
            match pattern.get_ref().as_str() {
                Some(text) => found.push((shifted(pattern.span()), text.to_owned())),
                None => mistakes.add(Some(shifted(pattern.span())), "a path is a string"),
            }
        }
        found
    }

    /// Adds the files of one pattern, which is relative to the file that names it.
    fn include(&mut self, by: usize, span: &Range<usize>, pattern: &str, mistakes: &mut Mistakes) {
        let mut wrong = |message: String| mistakes.add(Some(span.clone()), message);
        let base = self.files[by].path.parent().unwrap_or(Path::new("")).to_path_buf();
        let paths = match matching(&base, pattern) {
            Ok(paths) => paths,
            Err(message) => return wrong(message),
        };
        for path in paths {
            if self.files.iter().any(|file| same(&file.path, &path)) {
                wrong(format!("{} is included twice, or includes itself", path.display()));
                continue;
            }
            if self.files.len() >= FILES_MAX {
                return wrong(format!("more than {FILES_MAX} files"));
            }
            match text_of(&path) {
                Ok(text) => self.push(path, text),
                Err(error) => wrong(format!("could not read {}: {error}", path.display())),
            }
        }
    }

    /// Paths of the files.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|file| file.path.clone()).collect()
    }

    /// File, line and column of a byte, from 1, and the line itself; columns count characters.
    pub(super) fn diagnostic(&self, span: Option<&Range<usize>>, message: &str) -> Diagnostic {
        let mut diagnostic =
            Diagnostic { code: "bad_config".into(), message: message.into(), ..Diagnostic::default() };
        let at = span.map_or(0, |span| span.start);
        let Some(file) = self.files.iter().rev().find(|file| file.start <= at) else { return diagnostic };
        diagnostic.file = Some(file.path.display().to_string());
        if span.is_some() {
            let mut at = (at - file.start).min(file.text.len());
            while !file.text.is_char_boundary(at) {
                at -= 1;
            }
            let (before, after) = file.text.split_at(at);
            let line = before.rsplit('\n').next().unwrap_or_default();
            diagnostic.line = Some(before.matches('\n').count() as u32 + 1);
            diagnostic.column = Some(line.chars().count() as u32 + 1);
            let rest = after.lines().next().unwrap_or_default();
            diagnostic.excerpt = Some(format!("{line}{rest}"));
        }
        diagnostic
    }
}

fn text_of(path: &Path) -> std::io::Result<String> {
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("it is larger than {} MiB", FILE_BYTES_MAX >> 20)));
    }
    fs::read_to_string(path)
}

fn same(one: &Path, other: &Path) -> bool {
    one == other || matches!((one.canonicalize(), other.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// The files that a pattern means, in the order of their names. `*` may stand in the last part; then there may be none.
fn matching(base: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let path = base.join(pattern);
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(format!("{pattern:?} names no file"));
    };
    if !name.contains(['*', '?', '[', '{']) {
        return Ok(vec![path]);
    }
    let glob = GlobBuilder::new(name).literal_separator(true).build();
    let glob = glob.map_err(|error| format!("{pattern:?}: {error}"))?.compile_matcher();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("could not list {}: {error}", dir.display())),
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file() && path.file_name().is_some_and(|name| glob.is_match(name)))
        .collect();
    paths.sort();
    Ok(paths)
}
