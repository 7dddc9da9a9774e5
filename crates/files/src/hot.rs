//! Files in memory, with the heads of their answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::coding::Coding;
use crate::config::MemoryConfig;
use crate::stamp::Stamp;

/// What an entry takes beside its bodies, about, bytes.
const OVERHEAD: u64 = 2048;

/// A file and its compressed forms, as they were at one time.
#[derive(Debug)]
pub(crate) struct HotFile {
    /// Of the file and of each form that might be there.
    pub(crate) stamps: Vec<Option<Stamp>>,
    /// When it was last known to be as it is on disk, milliseconds on the owner's clock.
    pub(crate) checked: AtomicU64,
    /// Another state would show in the stamps.
    pub(crate) settled: bool,
    /// The file as it is comes first.
    pub(crate) forms: Vec<Form>,
}

/// One form of a file.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    /// `None` for the file as it is.
    pub(crate) coding: Option<Coding>,
    /// A strong one.
    pub(crate) tag: HeaderValue,
    pub(crate) modified: u64,
    /// Fields of answers with status 200, without those of the message.
    pub(crate) headers: HeaderMap,
    /// The same as lines of a head.
    pub(crate) lines: Bytes,
    /// Those of answers with status 304.
    pub(crate) lines_304: Bytes,
    pub(crate) body: Bytes,
}

/// Fields as lines of a head of HTTP/1.1.
pub(crate) fn lines(headers: &HeaderMap) -> Bytes {
    let mut lines = Vec::with_capacity(256);
    for (name, value) in headers {
        lines.extend_from_slice(name.as_str().as_bytes());
        lines.extend_from_slice(b": ");
        lines.extend_from_slice(value.as_bytes());
        lines.extend_from_slice(b"\r\n");
    }
    lines.into()
}

/// All that are in memory, by name below the root.
#[derive(Debug)]
pub(crate) struct HotFiles {
    files: Cache<Box<[u8]>, Arc<HotFile>, Weight>,
    /// Largest body, bytes.
    pub(crate) file_bytes: u64,
    period: u64,
}

#[derive(Clone, Debug)]
struct Weight;

impl Weighter<Box<[u8]>, Arc<HotFile>> for Weight {
    fn weight(&self, name: &Box<[u8]>, file: &Arc<HotFile>) -> u64 {
        let bodies: usize = file.forms.iter().map(|form| form.body.len() + form.lines.len() * 3).sum();
        (bodies + name.len()) as u64 + OVERHEAD
    }
}

impl HotFiles {
    /// `None` where nothing is to be kept.
    pub(crate) fn new(config: &MemoryConfig) -> Option<Self> {
        if config.bytes == 0 || config.file_bytes == 0 {
            return None;
        }
        let average = config.file_bytes.clamp(1, 8 << 10) + OVERHEAD;
        let estimate = usize::try_from(config.bytes / average).unwrap_or(usize::MAX).clamp(16, 1 << 16);
        let files = Cache::with_weighter(estimate, config.bytes, Weight);
        Some(Self { files, file_bytes: config.file_bytes, period: config.check_ms })
    }

    /// What is known of a file, and whether that may be believed.
    pub(crate) fn get(&self, name: &[u8], now: u64) -> Option<(Arc<HotFile>, bool)> {
        let file = self.files.get(name)?;
        let fresh = now.saturating_sub(file.checked.load(Ordering::Relaxed)) < self.period;
        Some((file, fresh))
    }

    pub(crate) fn put(&self, name: &[u8], file: Arc<HotFile>) {
        self.files.insert(name.into(), file);
    }

    pub(crate) fn forget(&self, name: &[u8]) {
        self.files.remove(name);
    }
}
