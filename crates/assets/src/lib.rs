//! Which static file answers a request: paths, redirects, headers. No I/O; the engine reads the files.
//!
//! The rules are those of Workers static assets: `html_handling`, `not_found_handling`, `run_worker_first`, and the files
//! `_headers` and `_redirects`.

mod headers;
mod pattern;
mod redirects;
mod site;

pub use site::{Decision, Found, Problem, Site};
