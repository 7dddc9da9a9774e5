//! Build stages that are skipped while their inputs stay as they were.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Collects what a stage depends on.
pub(crate) struct Inputs(Sha256);

impl Inputs {
    /// `recipe` changes when the stage's own steps do.
    pub(crate) fn new(recipe: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(recipe);
        Self(hash)
    }

    /// Adds a file's name and content.
    pub(crate) fn file(mut self, path: &Path) -> Result<Self> {
        let content = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        self.0.update(path.to_string_lossy().as_bytes());
        self.0.update((content.len() as u64).to_le_bytes());
        self.0.update(content);
        Ok(self)
    }

    /// Adds every file below a directory, in order of name, leaving out `node_modules`.
    pub(crate) fn tree(mut self, dir: &Path) -> Result<Self> {
        let mut entries: Vec<PathBuf> = fs::read_dir(dir)
            .with_context(|| format!("read {}", dir.display()))?
            .map(|entry| entry.map(|e| e.path()))
            .collect::<Result<_, _>>()?;
        entries.sort();
        for path in entries {
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "node_modules") {
                    self = self.tree(&path)?;
                }
            } else {
                self = self.file(&path)?;
            }
        }
        Ok(self)
    }

    fn fingerprint(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Runs `work` unless `output` exists as it was made and the inputs are the same, which a file in the directory
/// `stamps` tells. Prints a line with its seconds.
pub(crate) fn run(
    stamps: &Path,
    name: &str,
    inputs: Inputs,
    output: &Path,
    work: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let stamp = stamps.join(name.replace(' ', "-"));
    let fingerprint = inputs.fingerprint();
    let made = identity(output).map(|identity| format!("{fingerprint} {identity}"));
    if made.is_some_and(|made| fs::read_to_string(&stamp).is_ok_and(|old| old == made)) {
        eprintln!("  {name:<18} up to date");
        return Ok(());
    }
    timed(name, work)?;
    let identity = identity(output).with_context(|| format!("{name} made no {}", output.display()))?;
    fs::create_dir_all(stamps)?;
    fs::write(&stamp, format!("{fingerprint} {identity}"))
        .with_context(|| format!("write {}", stamp.display()))
}

/// Tells a file from one that was put in its place; for a directory only that it exists.
fn identity(output: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(output).ok()?;
    let file = format!("{} {}.{}", metadata.len(), metadata.mtime(), metadata.mtime_nsec());
    Some(if metadata.is_dir() { "directory".into() } else { file })
}

/// Runs `work`, which knows itself what is up to date, and prints its seconds.
pub(crate) fn timed(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("  {name:<18} …");
    let started = Instant::now();
    work().with_context(|| name.to_owned())?;
    eprintln!("  {name:<18} {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn runs_again_only_after_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let (source, output) = (dir.path().join("in"), dir.path().join("out"));
        let runs = Cell::new(0);
        let go = || {
            run(dir.path(), "t", Inputs::new("1").file(&source).unwrap(), &output, || {
                runs.set(runs.get() + 1);
                Ok(fs::write(&output, "made")?)
            })
            .unwrap();
        };
        fs::write(&source, "a").unwrap();
        go();
        go();
        assert_eq!(runs.get(), 1);
        fs::write(&source, "b").unwrap();
        go();
        assert_eq!(runs.get(), 2);
        fs::remove_file(&output).unwrap();
        go();
        assert_eq!(runs.get(), 3);
        fs::write(&output, "by hand").unwrap();
        go();
        assert_eq!(runs.get(), 4);
    }

    #[test]
    fn a_failed_stage_is_not_up_to_date() {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("out");
        fs::write(&output, "half").unwrap();
        assert!(run(dir.path(), "t", Inputs::new("1"), &output, || anyhow::bail!("no")).is_err());
        let mut ran = false;
        run(dir.path(), "t", Inputs::new("1"), &output, || {
            ran = true;
            Ok(())
        })
        .unwrap();
        assert!(ran);
    }

    #[test]
    fn trees_notice_names_and_skip_installed_packages() {
        let dir = tempfile::tempdir().unwrap();
        let print = || Inputs::new("").tree(dir.path()).unwrap().fingerprint();
        fs::create_dir(dir.path().join("node_modules")).unwrap();
        fs::write(dir.path().join("a"), "x").unwrap();
        let first = print();
        fs::write(dir.path().join("node_modules/b"), "y").unwrap();
        assert_eq!(print(), first);
        fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
        assert_ne!(print(), first);
    }
}
