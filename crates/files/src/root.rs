//! The directory that everything is in, and what is opened below it.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2};
use rustix::io::Errno;

use crate::config::Symlinks;

/// How often a path is looked up again when something moved meanwhile.
const TRIES: usize = 16;

/// Whether it may be waited for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// No: what needs that gives [`Trouble::WouldWait`](crate::Miss::WouldWait).
    Never,
    /// Yes, on a thread that may wait.
    Allowed,
}

/// The open directory. Its path is looked at again from time to time: deployments replace what a link there points to.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    follow: ResolveFlags,
    directory: RwLock<Arc<OwnedFd>>,
    /// Milliseconds on the owner's clock.
    checked: AtomicU64,
    period: u64,
}

/// Something that is open.
#[derive(Debug)]
pub(crate) enum Opened {
    File(OwnedFd, Stat),
    Directory(OwnedFd),
}

impl Root {
    pub(crate) fn open(path: PathBuf, symlinks: Symlinks, period: u64) -> Result<Self, String> {
        let directory = openat2(CWD, &path, directory_flags(), Mode::empty(), ResolveFlags::NO_MAGICLINKS)
            .map_err(|error| format!("the directory {} cannot be opened: {error}", path.display()))?;
        let mut follow = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        if symlinks == Symlinks::Never {
            follow |= ResolveFlags::NO_SYMLINKS;
        }
        let directory = RwLock::new(Arc::new(directory));
        Ok(Self { path, follow, directory, checked: AtomicU64::new(0), period })
    }

    /// Opens what a name stands for. Neither devices nor pipes are waited for, and none of them is given.
    pub(crate) fn get(&self, name: &[u8], wait: Wait, now: u64) -> Result<Opened, Errno> {
        let root = self.directory(wait, now)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = resolve(&root, name, flags, self.follow, wait)?;
        let stat = fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Opened::File(file, stat)),
            FileType::Directory => Ok(Opened::Directory(file)),
            _ => Err(Errno::NOENT),
        }
    }

    fn directory(&self, wait: Wait, now: u64) -> Result<Arc<OwnedFd>, Errno> {
        let open = || self.directory.read().unwrap_or_else(PoisonError::into_inner).clone();
        if now.saturating_sub(self.checked.load(Ordering::Relaxed)) < self.period {
            return Ok(open());
        }
        let cached = if wait == Wait::Never { ResolveFlags::CACHED } else { ResolveFlags::empty() };
        match openat2(CWD, &self.path, directory_flags(), Mode::empty(), ResolveFlags::NO_MAGICLINKS | cached)
        {
            Ok(newest) => {
                let (old, new) = (fstat(&*open())?, fstat(&newest)?);
                if (old.st_dev, old.st_ino) != (new.st_dev, new.st_ino) {
                    *self.directory.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(newest);
                }
            }
            Err(Errno::AGAIN) if wait == Wait::Never => return Err(Errno::AGAIN),
            // Gone for the moment in which it is replaced, as it may be: what was there still is open.
            Err(_) => {}
        }
        self.checked.store(now, Ordering::Relaxed);
        Ok(open())
    }
}

fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC
}

fn resolve(
    root: &OwnedFd,
    name: &[u8],
    flags: OFlags,
    follow: ResolveFlags,
    wait: Wait,
) -> Result<OwnedFd, Errno> {
    let name = if name.is_empty() { b"." } else { name };
    if wait == Wait::Never {
        return openat2(root, name, flags, Mode::empty(), follow | ResolveFlags::CACHED);
    }
    for _ in 0..TRIES {
        match openat2(root, name, flags, Mode::empty(), follow) {
            // Something on the path was renamed while it was walked, or a signal came.
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
    Err(Errno::BUSY)
}
