//! `cargo xtask wpt`: web-platform-tests against the real server, as docs/conformance.md shows them.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use crate::build;
use crate::tools::loud;
use crate::workspace::Workspace;

/// Builds, then hands over to the runner in `xtask/wpt/`.
pub(crate) fn run(workspace: &Workspace, args: &[OsString]) -> Result<()> {
    build::run(workspace)?;
    let mut runner = Command::new("node");
    runner
        .arg(workspace.root.join("xtask/wpt/run.mjs"))
        .arg("--selvedge")
        .arg(workspace.selvedge())
        .args(args);
    loud(runner.current_dir(&workspace.root))
}
