//! Static files that are deployed with a worker.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// Most files of one version.
pub const ASSETS_MAX: usize = 20_000;
/// Largest file, bytes.
pub const ASSET_BYTES_MAX: u64 = 25 << 20;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asset {
    /// Its content.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Such as `text/html; charset=utf-8`; empty when unknown.
    #[serde(default)]
    pub content_type: String,
}

/// How addresses of HTML files look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HtmlHandling {
    /// `/foo` for `foo.html`, `/foo/` for `foo/index.html`; others are redirected there.
    #[default]
    AutoTrailingSlash,
    /// `/foo/` for both.
    ForceTrailingSlash,
    /// `/foo` for both.
    DropTrailingSlash,
    /// Files are found under their own names only.
    None,
}

/// What answers when no file is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotFoundHandling {
    /// The worker, or an empty 404.
    #[default]
    None,
    /// `/index.html`, with 200.
    SinglePageApplication,
    /// The nearest `404.html` on the way up, with 404.
    #[serde(rename = "404-page")]
    NotFoundPage,
}

/// Whether the worker is asked before the files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RunWorkerFirst {
    /// Always or never.
    Every(bool),
    /// For paths that match one of these (`/api/*`) and none that begins with `!`.
    Paths(Vec<String>),
}

impl Default for RunWorkerFirst {
    fn default() -> Self {
        Self::Every(false)
    }
}

/// A version's files and how they are served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Assets {
    /// By path, which begins with a slash and is not percent-encoded.
    pub files: BTreeMap<String, Asset>,
    /// How addresses of HTML files look.
    pub html_handling: HtmlHandling,
    /// What answers when no file is found.
    pub not_found_handling: NotFoundHandling,
    /// Whether the worker is asked before the files.
    pub run_worker_first: RunWorkerFirst,
    /// There is no worker's code besides the files.
    pub only: bool,
    /// The text of `_headers`.
    pub headers: String,
    /// The text of `_redirects`.
    pub redirects: String,
}
