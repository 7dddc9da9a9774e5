//! Settings of a directory of files.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::coding::Coding;

/// A directory, and how its files are served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilesConfig {
    /// The directory. Nothing outside of it is ever served.
    pub root: String,
    /// Beginning of request paths that has no counterpart in the directory: with `/docs`, `/docs/a.html` is `a.html`.
    #[serde(default)]
    pub strip: String,
    /// Files that answer for their directory; the first that is there does.
    #[serde(default = "index")]
    pub index: Vec<String>,
    /// What is tried, in this order, in place of the path alone: `{path}`, `{path}.html`, `/index.html`, or last `=404`.
    #[serde(default)]
    pub try_files: Vec<String>,
    /// File that answers where nothing else does and the path has no extension, such as `/index.html` of a single-page application.
    #[serde(default)]
    pub fallback: Option<String>,
    /// Directories without an index are listed.
    #[serde(default)]
    pub listing: bool,
    /// Whether symbolic links are followed.
    #[serde(default)]
    pub symlinks: Symlinks,
    /// Names that begin with a dot are served, too. `.well-known` always is.
    #[serde(default)]
    pub dotfiles: bool,
    /// Compressed forms that may lie beside a file: `br` as `.br`, `zstd` as `.zst`, `gzip` as `.gz`. The first wins among
    /// those that a client likes equally.
    #[serde(default = "compressed")]
    pub compressed: Vec<Coding>,
    /// Types by extension, before the built-in ones: `md = "text/markdown; charset=utf-8"`. The extension `""` is for names without one.
    #[serde(default)]
    pub types: BTreeMap<String, String>,
    /// `Cache-Control` by pattern: `"/assets/*" = "public, max-age=31536000, immutable"`. Patterns without a slash are for names
    /// (`*.html`). The longest that fits wins.
    #[serde(default)]
    pub cache_control: BTreeMap<String, String>,
    /// Pages for errors by status: `404 = "/404.html"`.
    #[serde(default)]
    pub errors: BTreeMap<String, String>,
    /// Ranges that one request may ask for; who asks for more gets the whole file.
    #[serde(default = "max_ranges")]
    pub max_ranges: usize,
    /// Files that are kept in memory.
    #[serde(default)]
    pub memory: MemoryConfig,
}

/// Which symbolic links are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Symlinks {
    /// Relative ones that stay inside of the directory.
    #[default]
    Inside,
    /// None.
    Never,
}

/// Small files in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// For all files together; 0 keeps none.
    pub bytes: u64,
    /// Largest file that is kept, bytes.
    pub file_bytes: u64,
    /// How long a file is believed to be as it was, milliseconds.
    pub check_ms: u64,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { bytes: 64 << 20, file_bytes: 64 << 10, check_ms: 1000 }
    }
}

impl FilesConfig {
    /// The defaults for a directory.
    pub fn new(root: impl Into<String>) -> Self {
        Self {
            root: root.into(),
            strip: String::new(),
            index: index(),
            try_files: Vec::new(),
            fallback: None,
            listing: false,
            symlinks: Symlinks::default(),
            dotfiles: false,
            compressed: compressed(),
            types: BTreeMap::new(),
            cache_control: BTreeMap::new(),
            errors: BTreeMap::new(),
            max_ranges: max_ranges(),
            memory: MemoryConfig::default(),
        }
    }
}

fn index() -> Vec<String> {
    vec!["index.html".into()]
}

fn compressed() -> Vec<Coding> {
    vec![Coding::Br, Coding::Zstd, Coding::Gzip]
}

fn max_ranges() -> usize {
    16
}
