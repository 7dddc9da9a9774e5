//! `cargo xtask check`: formatting, lints, structure and dependencies.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::stage::timed;
use crate::structure;
use crate::tools::{cargo, loud};
use crate::workspace::Workspace;

/// Runs all checks; the first that fails ends it.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    timed("structure", || structure::check(workspace))?;
    timed("format", || loud(cargo().args(["fmt", "--all", "--check"]).current_dir(&workspace.root)))?;
    timed("lints", || {
        let flags = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
        loud(cargo().args(flags).current_dir(&workspace.root))
    })?;
    let deny =
        Command::new("cargo-deny").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if deny.is_ok_and(|status| status.success()) {
        timed("dependencies", || loud(cargo().args(["deny", "check"]).current_dir(&workspace.root)))?;
    } else {
        eprintln!("  {:<18} skipped: cargo-deny is not installed", "dependencies");
    }
    Ok(())
}
