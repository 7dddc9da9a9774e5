//! Prepares V8: the pinned Node.js executable and the archive that the `v8` crate links. See carrier/README.md.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::stage::{self, Inputs};
use crate::tools::{cargo, npm_ci, quiet};
use crate::workspace::{Workspace, npm_arch, replace};

/// The crate's ICU namespace, and that of the ICU inside the pinned Node.js.
const ICU_NAMESPACES: &str = "-Dicu_77=icu_78";

/// What the isolate host starts from.
pub(crate) struct Carrier {
    /// The Node.js executable that holds V8.
    pub(crate) executable: PathBuf,
}

/// Installs the package and builds `librusty_v8.a`.
pub(crate) fn prepare(workspace: &Workspace) -> Result<Carrier> {
    let package = install(workspace)?;
    glue(workspace, &package)?;
    Ok(Carrier { executable: package.join("bin/node") })
}

/// Installs the pinned package below `target/carrier/npm`.
fn install(workspace: &Workspace) -> Result<PathBuf> {
    let sources = workspace.root.join("carrier");
    let installed = workspace.carrier().join("npm");
    let package = installed.join(format!("node_modules/node-linux-{}", npm_arch()?));
    let files = ["package.json", "package-lock.json", ".npmrc"];
    let mut inputs = Inputs::new(npm_arch()?);
    for file in files {
        inputs = inputs.file(&sources.join(file))?;
    }
    stage::run(&workspace.stamps(), "V8 carrier", inputs, &installed, || {
        // Beside the old one, so that a build that uses it meanwhile is not disturbed.
        let fresh = workspace.carrier().join(format!(".npm.{}", std::process::id()));
        fs::create_dir_all(&fresh)?;
        for file in files {
            fs::copy(sources.join(file), fresh.join(file))?;
        }
        npm_ci(&fresh).inspect_err(|_| drop(fs::remove_dir_all(&fresh)))?;
        if installed.exists() {
            fs::remove_dir_all(&installed)?;
        }
        fs::rename(&fresh, &installed)?;
        if !package.join("bin/node").exists() {
            bail!(
                "the npm package for this machine brought no bin/node; is npm told to omit optional packages?"
            );
        }
        Ok(())
    })?;
    Ok(package)
}

/// Compiles the `v8` crate's C++ glue against the package's headers.
fn glue(workspace: &Workspace, package: &Path) -> Result<()> {
    let crate_dir = v8_crate(workspace)?;
    let stub = workspace.root.join("carrier/stub.cc");
    let archive = workspace.carrier().join("librusty_v8.a");
    let inputs = Inputs::new(ICU_NAMESPACES)
        .file(&crate_dir.join("src/binding.cc"))?
        .file(&stub)?
        .file(&workspace.root.join("carrier/package-lock.json"))?;
    stage::run(&workspace.stamps(), "V8 glue", inputs, &archive, || {
        let work = workspace.carrier().join(format!(".glue.{}", std::process::id()));
        fs::create_dir_all(&work)?;
        let objects = [work.join("binding.o"), work.join("stub.o")];
        for (source, object) in [crate_dir.join("src/binding.cc"), stub.clone()].iter().zip(&objects) {
            compile(source, object, &package.join("include/node"), &crate_dir)?;
        }
        let made = work.join("librusty_v8.a");
        // Deterministic (D), so that equal inputs give equal bytes.
        quiet(Command::new("ar").arg("rcsD").arg(&made).args(&objects))?;
        let had_one = archive.exists();
        if replace(&archive, &fs::read(&made)?, false)? && had_one {
            // The crate's build script copies the archive and does not watch it.
            quiet(cargo().args(["clean", "--release", "--package", "v8"]).current_dir(&workspace.root))?;
        }
        Ok(fs::remove_dir_all(&work)?)
    })
}

fn compile(source: &Path, object: &Path, node_headers: &Path, crate_dir: &Path) -> Result<()> {
    let mut gxx = Command::new("g++");
    gxx.args(["-std=c++20", "-O2", "-fPIC", "-fno-rtti", "-w", ICU_NAMESPACES]);
    // Node's headers describe the V8 that is linked, so they come first; the crate's fill in what Node leaves out.
    gxx.arg("-I").arg(node_headers);
    let more = ["v8/include", "", "v8", "src", "third_party/abseil-cpp", "third_party/icu/source/common"];
    for dir in more {
        gxx.arg("-I").arg(crate_dir.join(dir));
    }
    quiet(gxx.arg("-c").arg(source).arg("-o").arg(object)).map(drop)
}

/// Directory of the `v8` crate in cargo's registry cache, at the version in Cargo.lock.
fn v8_crate(workspace: &Workspace) -> Result<PathBuf> {
    let metadata =
        quiet(cargo().args(["metadata", "--format-version=1", "--locked"]).current_dir(&workspace.root))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let manifest = packages
        .iter()
        .find(|package| package["name"] == "v8")
        .and_then(|package| package["manifest_path"].as_str())
        .context("the workspace does not depend on the crate `v8`")?;
    Ok(Path::new(manifest).parent().context("a manifest has a directory")?.to_path_buf())
}
