//! A body that is read from a file while it is sent.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{Advice, fadvise, fstat, fstatfs};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};

use crate::stamp::Stamp;

/// What is read at once to have it in the page cache, bytes.
const WARM_READ: usize = 64 * 1024;
/// File systems that are nothing but memory: tmpfs and ramfs.
const IN_MEMORY: [i128; 2] = [0x0102_1994, 0x8584_58f6];

/// A part of a body.
#[derive(Clone, Debug)]
pub enum Part {
    /// Text between ranges.
    Bytes(Bytes),
    /// Bytes of the file, never none.
    File(Range<u64>),
}

/// The file was changed while it was sent: what is there is not what was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file changed while it was sent")]
pub struct Changed;

/// Parts of one file. The file stays open, so that replacing it by another does no harm.
#[derive(Debug)]
pub struct Pieces {
    file: Arc<OwnedFd>,
    stamp: Stamp,
    parts: VecDeque<Part>,
}

impl Pieces {
    pub(crate) fn new(file: Arc<OwnedFd>, stamp: Stamp, parts: impl IntoIterator<Item = Part>) -> Self {
        Self { file, stamp, parts: parts.into_iter().collect() }
    }

    /// Bytes left.
    pub fn len(&self) -> u64 {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Bytes(bytes) => bytes.len() as u64,
                Part::File(range) => range.end - range.start,
            })
            .sum()
    }

    /// Nothing is left.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// What comes next.
    pub fn next(&self) -> Option<&Part> {
        self.parts.front()
    }

    /// The file, for `sendfile`.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The file, for another thread.
    pub fn shared_file(&self) -> Arc<OwnedFd> {
        self.file.clone()
    }

    /// So many bytes of what comes next were dealt with.
    pub fn advance(&mut self, count: u64) {
        match self.parts.front_mut() {
            Some(Part::Bytes(bytes)) if count < bytes.len() as u64 => {
                bytes::Buf::advance(bytes, count as usize)
            }
            Some(Part::File(range)) if count < range.end - range.start => range.start += count,
            _ => {
                self.parts.pop_front();
            }
        }
    }

    /// Whether the file still is what was announced. It may have grown: what was announced is still there.
    pub fn check(&self) -> Result<(), Changed> {
        let now = Stamp::of(&fstat(&self.file).map_err(|_| Changed)?);
        let shrunk = now.size < self.stamp.size;
        let rewritten = now.size == self.stamp.size && now.modified != self.stamp.modified;
        if shrunk || rewritten { Err(Changed) } else { Ok(()) }
    }

    /// Whether the file's next bytes, up to `most`, can be had without waiting for a disk, as far as their first and last one tell.
    pub fn is_warm(&self, most: u64) -> bool {
        let Some(Part::File(range)) = self.parts.front() else { return true };
        let last = range.end.min(range.start.saturating_add(most)) - 1;
        is_in_cache(&self.file, range.start) && (last == range.start || is_in_cache(&self.file, last))
    }

    /// Reads the file's next bytes, up to `most`, if that needs no waiting; else `None`.
    pub fn read_now(&self, most: usize) -> Result<Option<Bytes>, Changed> {
        let Some(Part::File(range)) = self.parts.front() else { return Ok(None) };
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(most);
        let mut bytes = vec![0; length];
        match preadv2(&self.file, &mut [IoSliceMut::new(&mut bytes)], range.start, ReadWriteFlags::NOWAIT) {
            Ok(0) => Err(Changed),
            Ok(count) => {
                bytes.truncate(count);
                Ok(Some(bytes.into()))
            }
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::INTR) => Ok(None),
            Err(_) => Err(Changed),
        }
    }
}

/// Reads from a file, waiting for it. Empty where it ends or cannot be read.
pub fn read_at(file: &OwnedFd, range: Range<u64>) -> Bytes {
    let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
    let mut filled = 0;
    while filled < bytes.len() {
        match pread(file, &mut bytes[filled..], range.start + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    bytes.truncate(filled);
    bytes.into()
}

/// Brings a range of a file into memory, waiting for it.
pub fn warm(file: &OwnedFd, range: Range<u64>) {
    // Only advice; without it the reads below still do their work.
    let length = std::num::NonZeroU64::new(range.end.saturating_sub(range.start));
    let _ = fadvise(file, range.start, length, Advice::WillNeed);
    let mut at = range.start;
    let mut buffer = vec![0; WARM_READ];
    while at < range.end {
        let most = usize::try_from(range.end - at).unwrap_or(WARM_READ).min(WARM_READ);
        match pread(file, &mut buffer[..most], at) {
            Ok(0) => return,
            Ok(count) => at += count as u64,
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

fn is_in_cache(file: &OwnedFd, at: u64) -> bool {
    match preadv2(file, &mut [IoSliceMut::new(&mut [0])], at, ReadWriteFlags::NOWAIT) {
        Ok(_) => true,
        Err(Errno::OPNOTSUPP) => is_in_memory(file),
        Err(_) => false,
    }
}

/// Whether a file's file system has no disk behind it.
#[allow(clippy::unnecessary_cast, reason = "the type of this field differs between machines")]
pub(crate) fn is_in_memory(file: &OwnedFd) -> bool {
    fstatfs(file).is_ok_and(|system| IN_MEMORY.contains(&(system.f_type as i128)))
}
