//! Static files in a directory for each account, named by their digest.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use selvedge_model::{AccountId, Digest};

use crate::artifacts::{Artifacts, ArtifactsError, hash, io_error};

/// Files that no version names are kept this long: their upload may be under way.
const UPLOAD_TIME: Duration = Duration::from_secs(3600);

impl Artifacts {
    fn blobs_of(&self, account: &AccountId) -> PathBuf {
        self.dir().join("assets").join(account.as_str())
    }

    /// Where the file with this digest is, or would be.
    pub fn blob_path(&self, account: &AccountId, digest: &Digest) -> PathBuf {
        self.blobs_of(account).join(digest.as_str())
    }

    /// Whether the account has a file with this digest.
    pub fn has_blob(&self, account: &AccountId, digest: &Digest) -> bool {
        self.blob_path(account, digest).is_file()
    }

    /// Stores a file durably under its digest.
    ///
    /// # Errors
    /// The bytes have another digest, or the disk says no.
    pub fn put_blob(&self, account: &AccountId, digest: &Digest, bytes: &[u8]) -> Result<(), ArtifactsError> {
        if hash(bytes) != *digest {
            return Err(ArtifactsError::Damaged(digest.clone()));
        }
        let (dir, path) = (self.blobs_of(account), self.blob_path(account, digest));
        // Two writers of equal content must not share a temporary file.
        static WRITES: AtomicU64 = AtomicU64::new(0);
        let temporary = dir.join(format!(".{digest}.{}", WRITES.fetch_add(1, Ordering::Relaxed)));
        let write = || {
            fs::create_dir_all(&dir)?;
            let mut file = File::create(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&dir)?.sync_all()
        };
        write().map_err(io_error("write a static file", &path))
    }

    /// Removes files that are not among those in use and have been there for an hour; returns how many.
    pub(crate) fn sweep_blobs(&self, in_use: &HashSet<(AccountId, Digest)>) -> Result<usize, ArtifactsError> {
        let root = self.dir().join("assets");
        let sweep = || -> io::Result<usize> {
            let mut removed = 0;
            if !root.exists() {
                return Ok(0);
            }
            for account in fs::read_dir(&root)? {
                let account = account?;
                let Ok(id) = account.file_name().to_string_lossy().parse::<AccountId>() else { continue };
                for file in fs::read_dir(account.path())? {
                    let file = file?;
                    let digest = file.file_name().to_string_lossy().parse::<Digest>();
                    let used = digest.is_ok_and(|digest| in_use.contains(&(id.clone(), digest)));
                    let age = SystemTime::now().duration_since(file.metadata()?.modified()?);
                    if !used && age.is_ok_and(|age| age > UPLOAD_TIME) {
                        fs::remove_file(file.path())?;
                        removed += 1;
                    }
                }
            }
            Ok(removed)
        };
        sweep().map_err(io_error("sweep", &root))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_kept_by_account_and_content() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(dir.path()).unwrap();
        let (one, two): (AccountId, AccountId) = ("one".parse().unwrap(), "two".parse().unwrap());
        let digest = hash(b"hello");
        artifacts.put_blob(&one, &digest, b"hello").unwrap();
        artifacts.put_blob(&one, &digest, b"hello").unwrap();
        assert!(artifacts.has_blob(&one, &digest));
        assert!(!artifacts.has_blob(&two, &digest));
        assert!(artifacts.put_blob(&two, &digest, b"other").is_err());
        assert_eq!(fs::read(artifacts.blob_path(&one, &digest)).unwrap(), b"hello");
        // Nobody names it, but it has just come.
        assert_eq!(artifacts.sweep_blobs(&HashSet::new()).unwrap(), 0);
        let old = SystemTime::now() - Duration::from_secs(7200);
        File::open(artifacts.blob_path(&one, &digest)).unwrap().set_modified(old).unwrap();
        assert_eq!(artifacts.sweep_blobs(&HashSet::from([(one.clone(), digest.clone())])).unwrap(), 0);
        assert_eq!(artifacts.sweep_blobs(&HashSet::new()).unwrap(), 1);
        assert!(!artifacts.has_blob(&one, &digest));
    }
}
