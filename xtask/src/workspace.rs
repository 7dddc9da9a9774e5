//! Where things are in this repository.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The repository and its build directory.
pub(crate) struct Workspace {
    /// Holds the root `Cargo.toml`.
    pub(crate) root: PathBuf,
}

impl Workspace {
    /// The repository that this program was built from.
    pub(crate) fn locate() -> Self {
        let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self { root: xtask.parent().unwrap_or(xtask).to_path_buf() }
    }

    /// Where everything built goes.
    pub(crate) fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// What each build stage was last made from.
    pub(crate) fn stamps(&self) -> PathBuf {
        self.target().join("stamps")
    }

    /// The pinned Node.js package and the archive of V8 glue.
    pub(crate) fn carrier(&self) -> PathBuf {
        self.target().join("carrier")
    }

    /// The bundled JavaScript of the worker runtime.
    pub(crate) fn runtime_pack(&self) -> PathBuf {
        self.target().join("runtime/runtime.pack")
    }

    /// The helper files that the `selvedge` executable finds beside itself.
    pub(crate) fn libexec(&self) -> PathBuf {
        self.target().join("libexec/selvedge")
    }

    /// The executable that users run.
    pub(crate) fn selvedge(&self) -> PathBuf {
        self.target().join("release/selvedge")
    }
}

/// This machine's architecture as npm packages name it.
pub(crate) fn npm_arch() -> Result<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Ok("x64"),
        ("linux", "aarch64") => Ok("arm64"),
        (os, arch) => bail!("Selvedge runs on Linux on x86_64 and aarch64; this is {os} on {arch}"),
    }
}

/// Puts `bytes` at `path` in one step, and only when they differ from what is there. Says whether they did.
pub(crate) fn replace(path: &Path, bytes: &[u8], executable: bool) -> Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    let dir = path.parent().context("a file has a directory")?;
    std::fs::create_dir_all(dir)?;
    let temporary = dir.join(format!(".{}.tmp", std::process::id()));
    std::fs::write(&temporary, bytes).with_context(|| format!("write {}", temporary.display()))?;
    let mode = if executable { 0o755 } else { 0o644 };
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(mode))?;
    std::fs::rename(&temporary, path).with_context(|| format!("replace {}", path.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_only_what_differs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/file");
        assert!(replace(&path, b"one", false).unwrap());
        assert!(!replace(&path, b"one", false).unwrap());
        assert!(replace(&path, b"two", true).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(dir.path().join("deep")).unwrap().count(), 1);
    }
}
