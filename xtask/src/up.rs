//! `cargo xtask up`: from a fresh clone to a running Selvedge.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Result, anyhow};

use crate::build;
use crate::workspace::Workspace;

/// Builds, then becomes `selvedge up`.
pub(crate) fn run(workspace: &Workspace, args: &[OsString]) -> Result<()> {
    build::run(workspace)?;
    let error = Command::new(workspace.selvedge()).arg("up").args(args).exec();
    Err(anyhow!(error).context(format!("start {}", workspace.selvedge().display())))
}
