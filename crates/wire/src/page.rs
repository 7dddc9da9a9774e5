//! The status page: shared memory in which a host says what it is running at this instant.
//!
//! It lets the supervisor see a thread that no longer answers: which instance holds it and since when. The
//! host writes, the engine reads, and believes nothing that could harm anyone but that host.

// Shared memory is outside what the compiler can check: the mapping is page-aligned, zero-filled, as large as
// the structure, made of atomics only, and lives as long as the value.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Most threads of one host.
pub const THREADS_MAX: usize = 64;

/// What one host thread is doing; each on a cache line of its own.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct ThreadSlot {
    /// The instance whose JavaScript runs now; 0 when none does.
    pub instance: AtomicU32,
    /// Isolates that live on the thread.
    pub isolates: AtomicU32,
    /// When the running turn began, `CLOCK_MONOTONIC` nanoseconds.
    pub turn_began_ns: AtomicU64,
    /// When V8 was first asked to stop the running turn; 0 when it was not.
    pub stop_asked_ns: AtomicU64,
}

/// The page.
#[derive(Debug)]
#[repr(C)]
pub struct Page {
    /// One slot per thread.
    pub threads: [ThreadSlot; THREADS_MAX],
}

const SIZE: usize = size_of::<Page>();

/// A mapped page.
#[derive(Debug)]
pub struct MappedPage(NonNull<Page>);

// SAFETY: the page holds atomics only, and the mapping is not bound to a thread.
unsafe impl Send for MappedPage {}
// SAFETY: as above.
unsafe impl Sync for MappedPage {}

impl MappedPage {
    /// Makes a page and the descriptor to hand to the host.
    pub fn create() -> Result<(Self, OwnedFd), Errno> {
        let fd = memfd_create("selvedge-status", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, SIZE as u64)?;
        // A host that could shrink the file could crash its reader.
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok((Self::map(&fd)?, fd))
    }

    /// Maps a page made by [`MappedPage::create`].
    pub fn map(fd: impl AsFd) -> Result<Self, Errno> {
        if rustix::fs::fstat(&fd)?.st_size != SIZE as i64 {
            return Err(Errno::INVAL);
        }
        // SAFETY: a fresh mapping at an address of the kernel's choice, of the file's exact size.
        let address = unsafe {
            mmap(std::ptr::null_mut(), SIZE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, fd, 0)?
        };
        Ok(Self(NonNull::new(address.cast()).ok_or(Errno::NOMEM)?))
    }
}

impl std::ops::Deref for MappedPage {
    type Target = Page;
    fn deref(&self) -> &Page {
        // SAFETY: mapped for the life of `self`; any bit pattern is a valid `Page`.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for MappedPage {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this size; no reference outlives `self`.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), SIZE) };
    }
}

impl ThreadSlot {
    /// The instance that runs and for how long it has, as of `now_ns`.
    pub fn running(&self, now_ns: u64) -> Option<(u32, u64)> {
        let instance = self.instance.load(Ordering::Acquire);
        (instance != 0).then(|| (instance, now_ns.saturating_sub(self.turn_began_ns.load(Ordering::Relaxed))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_mappings_share_the_page() {
        let (engine, fd) = MappedPage::create().unwrap();
        let host = MappedPage::map(&fd).unwrap();
        host.threads[1].turn_began_ns.store(5, Ordering::Relaxed);
        host.threads[1].instance.store(7, Ordering::Release);
        assert_eq!(engine.threads[1].running(9), Some((7, 4)));
        assert_eq!(engine.threads[0].running(9), None);
    }

    #[test]
    fn the_page_cannot_be_shrunk() {
        let (_page, fd) = MappedPage::create().unwrap();
        assert!(ftruncate(&fd, 0).is_err());
        assert!(MappedPage::map(memfd_create("other", MemfdFlags::CLOEXEC).unwrap()).is_err());
    }
}
