//! One process for each data directory.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Outcome};

/// A child that a killed Selvedge was about to start holds its lock until it executes its own program, so a lock is
/// believed only when it stays.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// The right to use a data directory. The kernel takes it back when the process ends, in whatever way.
#[derive(Debug)]
pub(crate) struct DataLock {
    /// Holds the lock while open.
    file: File,
}

impl DataLock {
    /// Makes the directory when absent and locks it for this process.
    pub(crate) fn take(dir: &Path) -> Outcome<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| {
            Failure::io("create", dir, &error).help("choose another directory with --data")
        })?;
        let path = dir.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let file = file.map_err(|error| Failure::io("open", &path, &error))?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) if started.elapsed() < PATIENCE => sleep(PAUSE),
                result => break Self::judge(result, file, dir, &path),
            }
        }
    }

    /// The lock of a former process, which is held by both until one has let go of it.
    pub(crate) fn inherit(file: File) -> Self {
        Self { file }
    }

    /// The same lock once more, for another process.
    pub(crate) fn copy(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }

    fn judge(result: Result<(), TryLockError>, file: File, dir: &Path, path: &Path) -> Outcome<Self> {
        match result {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(path).unwrap_or_default();
                let message = format!("{} is in use by another Selvedge ({})", dir.display(), holder.trim());
                Err(Failure::new("data_in_use", message)
                    .help("stop that one first, or choose another directory with --data"))
            }
            Err(TryLockError::Error(error)) => Err(Failure::io("lock", path, &error)),
        }
    }

    /// Says who holds the lock, for people who meet it.
    pub(crate) fn describe(&mut self, holder: &str) -> Outcome {
        let write = self.file.set_len(0).and_then(|()| self.file.rewind());
        let write = write.and_then(|()| self.file.write_all(holder.as_bytes()));
        write.map_err(|error| Failure::io("write", Path::new("lock"), &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let mut first = DataLock::take(&data).unwrap();
        first.describe("process 7").unwrap();
        let refused = DataLock::take(&data).unwrap_err();
        assert_eq!(refused.code, "data_in_use");
        assert!(refused.message.contains("process 7"), "{refused}");
        // Handed on, it is still the same lock.
        let mut heir = DataLock::inherit(first.copy().unwrap().into());
        drop(first);
        heir.describe("8").unwrap();
        assert!(DataLock::take(&data).unwrap_err().message.ends_with("(8)"));
        drop(heir);
        DataLock::take(&data).unwrap();
    }
}
