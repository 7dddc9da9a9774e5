//! `cargo xtask bench`: the measurements of docs/performance.md.

use std::ffi::OsString;

use anyhow::Result;

use crate::build;
use crate::tools::{cargo, loud};
use crate::workspace::Workspace;

/// Builds, then hands over to the harness in `bench/`.
pub(crate) fn run(workspace: &Workspace, args: &[OsString]) -> Result<()> {
    build::run(workspace)?;
    let mut harness = cargo();
    harness.args(["run", "--release", "--locked", "--package=selvedge-bench", "--"]).args(args);
    loud(harness.current_dir(&workspace.root))
}
