//! Bodies in files, with a checksum for each block: what a disk gives back is looked at before it is sent.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::writer::{Job, Queue};

/// What is read, checked and held in memory at once, bytes.
pub const BLOCK: u64 = 256 * 1024;

/// The body of a stored response, in an open file. It stays readable when the cache lets go of it meanwhile.
#[derive(Debug)]
pub struct DiskBody {
    pub(super) id: i64,
    file: File,
    length: u64,
    pub(super) sums: Arc<[u32]>,
    queue: Queue,
}

impl DiskBody {
    /// The error says that it is not what was written.
    pub(super) fn open(
        path: &Path,
        id: i64,
        length: u64,
        sums: Arc<[u32]>,
        queue: Queue,
    ) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.len() != length || sums.len() as u64 != length.div_ceil(BLOCK) {
            return Err(damaged());
        }
        Ok(Self { id, file, length, sums, queue })
    }

    /// Bytes.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Bytes in memory.
    pub fn size(&self) -> usize {
        self.sums.len() * 4 + 256
    }

    /// The beginning of a range, up to the end of its block. Waits for the disk.
    ///
    /// # Errors
    /// The file cannot be read, or is not what was written; then it is taken out of the cache.
    pub fn read(&self, range: &Range<u64>) -> io::Result<Bytes> {
        let block = range.start / BLOCK;
        let (start, end) = (block * BLOCK, self.length.min((block + 1) * BLOCK));
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(start)).unwrap_or(0)];
        let read = self.file.read_exact_at(&mut bytes, start);
        let sum = usize::try_from(block).ok().and_then(|block| self.sums.get(block));
        if read.is_err() || sum != Some(&crc32fast::hash(&bytes)) {
            self.queue.offer(Job::Damaged(self.id));
            return Err(damaged());
        }
        let (from, to) = (range.start - start, range.end.min(end) - start);
        Ok(Bytes::from(bytes).slice(from as usize..to as usize))
    }

    /// All of it. Waits for the disk.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_all(&self) -> io::Result<Vec<Bytes>> {
        let mut parts = Vec::new();
        let mut at = 0;
        while at < self.length {
            let part = self.read(&(at..self.length))?;
            at += part.len() as u64;
            parts.push(part);
        }
        Ok(parts)
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a file of the cache is not what was written")
}

/// Writes a body, and sums it up.
pub(super) struct Summed {
    file: File,
    length: u64,
    sums: Vec<u32>,
    sum: crc32fast::Hasher,
}

impl Summed {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = File::create_new(path)?;
        Ok(Self { file, length: 0, sums: Vec::new(), sum: crc32fast::Hasher::new() })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        add(&mut self.length, &mut self.sums, &mut self.sum, bytes);
        Ok(())
    }

    /// Length and sums. What the system has not written yet by a crash of the machine shows by its sum.
    pub(super) fn finish(mut self) -> (u64, Arc<[u32]>) {
        if !self.length.is_multiple_of(BLOCK) {
            self.sums.push(self.sum.finalize());
        }
        (self.length, self.sums.into())
    }
}

fn add(length: &mut u64, sums: &mut Vec<u32>, sum: &mut crc32fast::Hasher, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let room = (BLOCK - *length % BLOCK) as usize;
        let (now, rest) = bytes.split_at(room.min(bytes.len()));
        sum.update(now);
        *length += now.len() as u64;
        bytes = rest;
        if length.is_multiple_of(BLOCK) {
            sums.push(std::mem::take(sum).finalize());
        }
    }
}

/// The sums of a body in memory.
pub(super) fn sums(parts: &[Bytes]) -> Vec<u32> {
    let (mut length, mut sums, mut sum) = (0, Vec::new(), crc32fast::Hasher::new());
    parts.iter().for_each(|part| add(&mut length, &mut sums, &mut sum, part));
    if !length.is_multiple_of(BLOCK) {
        sums.push(sum.finalize());
    }
    sums
}
