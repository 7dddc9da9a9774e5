//! Artifacts in a directory, named by their digest.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use selvedge_model::{Artifact, Digest};

/// A directory of immutable, content-addressed artifacts.
#[derive(Clone, Debug)]
pub struct Artifacts {
    dir: PathBuf,
}

/// Why an artifact could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactsError {
    /// The disk said no.
    #[error("{action} {}", path.display())]
    Io {
        /// What was attempted, such as `read artifact`.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The bytes on disk are not those that were stored.
    #[error("artifact {0} is damaged on disk; deploy the worker again")]
    Damaged(Digest),
}

impl Artifacts {
    /// Opens the directory, making it when absent, and removes what interrupted writes left there.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, ArtifactsError> {
        let dir = dir.into();
        fs::create_dir_all(&dir).map_err(io_error("create", &dir))?;
        let artifacts = Self { dir };
        for name in artifacts.names()?.iter().filter(|name| name.starts_with('.')) {
            let path = artifacts.dir.join(name);
            fs::remove_file(&path).map_err(io_error("remove", &path))?;
        }
        Ok(artifacts)
    }

    /// The name under which an artifact is stored.
    pub fn digest(artifact: &Artifact) -> Digest {
        hash(&artifact.encode())
    }

    /// Names of all stored artifacts.
    pub fn list(&self) -> Result<Vec<Digest>, ArtifactsError> {
        Ok(self.names()?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn names(&self) -> Result<Vec<String>, ArtifactsError> {
        let read = || {
            let mut names = Vec::new();
            for entry in fs::read_dir(&self.dir)? {
                names.extend(entry?.file_name().into_string().ok());
            }
            Ok(names)
        };
        read().map_err(io_error("read", &self.dir))
    }

    /// Stores an artifact durably: when this returns, it survives a power cut.
    pub fn put(&self, artifact: &Artifact) -> Result<Digest, ArtifactsError> {
        let bytes = artifact.encode();
        let name = hash(&bytes);
        let path = self.path(&name);
        if path.exists() {
            return Ok(name);
        }
        // Two writers of equal content must not share a temporary file.
        static WRITES: AtomicU64 = AtomicU64::new(0);
        let temporary = self.dir.join(format!(".{name}.{}", WRITES.fetch_add(1, Ordering::Relaxed)));
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(io_error("write artifact", &path))?;
        Ok(name)
    }

    /// Reads an artifact and checks it against its name.
    pub fn get(&self, name: &Digest) -> Result<Artifact, ArtifactsError> {
        Artifact::decode(&self.bytes(name)?).map_err(|_| ArtifactsError::Damaged(name.clone()))
    }

    /// An artifact as it was encoded, checked against its name.
    pub fn bytes(&self, name: &Digest) -> Result<Vec<u8>, ArtifactsError> {
        let path = self.path(name);
        let bytes = fs::read(&path).map_err(io_error("read artifact", &path))?;
        if hash(&bytes) == *name { Ok(bytes) } else { Err(ArtifactsError::Damaged(name.clone())) }
    }

    /// Removes an artifact that no version names any more; absent is fine.
    pub fn remove(&self, name: &Digest) -> Result<(), ArtifactsError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    fn path(&self, name: &Digest) -> PathBuf {
        self.dir.join(name.as_str())
    }
}

pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ArtifactsError {
    let path = path.to_path_buf();
    move |source| ArtifactsError::Io { action, path, source }
}

pub(crate) fn hash(bytes: &[u8]) -> Digest {
    let hex: String = digest(&SHA256, bytes).as_ref().iter().map(|b| format!("{b:02x}")).collect();
    hex.parse().expect("64 hexadecimal characters")
}

#[cfg(test)]
mod tests {
    use super::*;
    use selvedge_model::{Module, ModuleKind};

    fn artifact() -> Artifact {
        let module =
            Module { name: "a.js".into(), kind: ModuleKind::Esm, content: b"export default {}".to_vec() };
        Artifact::new("a.js", vec![module]).unwrap()
    }

    #[test]
    fn stores_by_content() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(dir.path()).unwrap();
        let name = artifacts.put(&artifact()).unwrap();
        assert_eq!(artifacts.put(&artifact()).unwrap(), name);
        assert_eq!(artifacts.get(&name).unwrap(), artifact());
        artifacts.remove(&name).unwrap();
        artifacts.remove(&name).unwrap();
        assert!(artifacts.get(&name).is_err());
    }

    #[test]
    fn an_interrupted_write_is_cleared_away() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".abc.1"), b"half").unwrap();
        let artifacts = Artifacts::open(dir.path()).unwrap();
        assert!(!dir.path().join(".abc.1").exists());
        let name = artifacts.put(&artifact()).unwrap();
        assert_eq!(artifacts.list().unwrap(), std::slice::from_ref(&name));
        assert_eq!(Artifacts::digest(&artifact()), name);
    }

    #[test]
    fn damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(dir.path()).unwrap();
        let name = artifacts.put(&artifact()).unwrap();
        fs::write(dir.path().join(name.as_str()), b"junk").unwrap();
        assert!(matches!(artifacts.get(&name), Err(ArtifactsError::Damaged(_))));
    }
}
