//! `cargo xtask build`: everything the `selvedge` executable needs to run.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::carrier::{self, Carrier};
use crate::stage::{self, Inputs};
use crate::tools::{cargo, loud, npm_ci, quiet};
use crate::workspace::{Workspace, npm_arch, replace};

/// Runs all stages in order.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let started = Instant::now();
    // Said now rather than after minutes of compiling.
    for tool in ["npm", "g++", "ar"] {
        quiet(Command::new(tool).arg("--version"))?;
    }
    let carrier = carrier::prepare(workspace)?;
    runtime(workspace)?;
    stage::timed("Rust, release", || {
        loud(
            cargo()
                .args(["build", "--release", "--locked", "--package=selvedge", "--package=selvedge-isolate"])
                .current_dir(&workspace.root),
        )
    })?;
    libexec(workspace, &carrier)?;
    snapshot(workspace)?;
    eprintln!("  {:<18} {:.1} s", "total", started.elapsed().as_secs_f64());
    Ok(())
}

/// Bundles the TypeScript of the worker runtime.
fn runtime(workspace: &Workspace) -> Result<()> {
    let dir = workspace.root.join("runtime");
    let packages =
        Inputs::new(npm_arch()?).file(&dir.join("package.json"))?.file(&dir.join("package-lock.json"))?;
    stage::run(&workspace.stamps(), "runtime packages", packages, &dir.join("node_modules"), || {
        npm_ci(&dir)
    })?;
    stage::run(
        &workspace.stamps(),
        "runtime bundle",
        Inputs::new("").tree(&dir)?,
        &workspace.runtime_pack(),
        || quiet(Command::new("npm").args(["run", "--silent", "build"]).current_dir(&dir)).map(drop),
    )
}

/// Gathers the helper files beside which `selvedge` runs.
fn libexec(workspace: &Workspace, carrier: &Carrier) -> Result<()> {
    let to = workspace.libexec();
    link(&carrier.executable, &to.join("carrier"))?;
    let esbuild = format!("runtime/node_modules/@esbuild/linux-{}/bin/esbuild", npm_arch()?);
    link(&workspace.root.join(esbuild), &to.join("esbuild"))?;
    // A copy: hosts that run keep the object they have mapped when cargo writes the next one.
    let isolate = workspace.target().join("release/libselvedge_isolate.so");
    let bytes = fs::read(&isolate).with_context(|| format!("read {}", isolate.display()))?;
    replace(&to.join("libisolate.so"), &bytes, true).map(drop)
}

/// Puts the same file at `to` without a second copy where the file system allows.
fn link(from: &Path, to: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let source = fs::metadata(from).with_context(|| format!("{} is missing", from.display()))?;
    if fs::metadata(to).is_ok_and(|old| old.ino() == source.ino() && old.dev() == source.dev()) {
        return Ok(());
    }
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir)?;
    }
    let temporary = to.with_extension(format!("{}.tmp", std::process::id()));
    if fs::hard_link(from, &temporary).is_err() {
        fs::copy(from, &temporary).with_context(|| format!("copy {}", from.display()))?;
    }
    fs::rename(&temporary, to).with_context(|| format!("replace {}", to.display()))
}

/// Has the isolate host run the runtime once and keep the heap, so that isolates start from it.
fn snapshot(workspace: &Workspace) -> Result<()> {
    let libexec = workspace.libexec();
    let output = libexec.join("runtime.snapshot");
    let (preload, runtime) = (libexec.join("libisolate.so"), workspace.runtime_pack());
    let inputs = Inputs::new("")
        .file(&preload)?
        .file(&runtime)?
        .file(&workspace.root.join("carrier/package-lock.json"))?;
    stage::run(&workspace.stamps(), "startup snapshot", inputs, &output, || {
        let made = libexec.join(format!(".snapshot.{}", std::process::id()));
        let mut host = Command::new(libexec.join("carrier"));
        host.env("LD_PRELOAD", &preload).arg("--selvedge-make-snapshot").arg(&runtime).arg(&made);
        quiet(&mut host)?;
        fs::rename(&made, &output).context("the isolate host wrote no snapshot")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_replace_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b, to) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("deep/to"));
        fs::write(&a, "a").unwrap();
        fs::write(&b, "b").unwrap();
        link(&a, &to).unwrap();
        link(&a, &to).unwrap();
        link(&b, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"b");
        assert!(link(&dir.path().join("none"), &to).unwrap_err().to_string().contains("is missing"));
    }
}
