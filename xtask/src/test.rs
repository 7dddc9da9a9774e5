//! `cargo xtask test`: everything built, then every test.

use std::ffi::OsString;
use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::build;
use crate::stage::{self, Inputs};
use crate::tools::{cargo, loud, npm_ci};
use crate::workspace::Workspace;

/// Builds and tests the whole workspace, or what `args` of `cargo test` select.
pub(crate) fn run(workspace: &Workspace, args: &[OsString]) -> Result<()> {
    build::run(workspace)?;
    packages(workspace)?;
    stage::timed("Rust tests", || {
        let mut tests = cargo();
        tests.args(["test", "--locked"]);
        if args.is_empty() {
            // The isolate host links V8 only inside the carrier; its tests go through the built host.
            tests.args(["--workspace", "--exclude=selvedge-isolate"]);
        }
        loud(tests.args(args).current_dir(&workspace.root))
    })?;
    if args.is_empty() {
        stage::timed("runtime tests", || {
            loud(Command::new("npm").args(["test", "--silent"]).current_dir(workspace.root.join("runtime")))
        })?;
    }
    Ok(())
}

/// Installs the packages of examples and tests that have any.
fn packages(workspace: &Workspace) -> Result<()> {
    for parent in ["examples", "crates/edge/tests", "crates/selvedge/tests", "crates/selvedge/tests/programs"]
    {
        let Ok(entries) = fs::read_dir(workspace.root.join(parent)) else { continue };
        for entry in entries {
            let dir = entry?.path();
            let lock = dir.join("package-lock.json");
            if lock.exists() {
                let name = format!("packages {}", dir.file_name().unwrap_or_default().to_string_lossy());
                let inputs = Inputs::new("").file(&dir.join("package.json"))?.file(&lock)?;
                stage::run(&workspace.stamps(), &name, inputs, &dir.join("node_modules"), || npm_ci(&dir))?;
            }
        }
    }
    Ok(())
}
