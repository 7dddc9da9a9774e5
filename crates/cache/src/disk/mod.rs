//! Cached responses on a disk: what does not fit into memory, and what is to be there after a restart.
//!
//! Bodies are files, each under a name that is never used again; everything else is in a table (`index`). One thread (`writer`) changes
//! both. A body is written beside its place and renamed, and its row comes last, so that a crash leaves a file that nobody finds, never
//! half a response that somebody does. Each block has a checksum that is looked at before it is sent.

mod body;
mod index;
mod spool;
mod writer;

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use http::HeaderMap;
use parking_lot::Mutex;

pub use body::{BLOCK, DiskBody};
pub use spool::Spool;

use crate::object::{Object, Stock};
use crate::record;
use crate::settings::DiskConfig;
use crate::store::{Found, Purge};
use index::Index;
use spool::Spooling;
use writer::{Job, Places, QUEUE, Queue, State, Writer, is_broken};

/// Connections to the table that are kept for looking.
const READERS_KEPT: usize = 8;

/// Responses on a disk.
#[derive(Debug)]
pub struct Disk {
    places: Arc<Places>,
    object_bytes: u64,
    bytes_max: u64,
    queue: Queue,
    readers: Mutex<Vec<(u64, Index)>>,
    spooling: Spooling,
    writer: Option<JoinHandle<()>>,
}

/// How the disk does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct DiskCounts {
    /// Responses.
    pub objects: u64,
    /// Bytes in use.
    pub bytes: u64,
    /// Bytes that may be used.
    pub bytes_max: u64,
    /// Responses that had to make room.
    pub evicted: u64,
    /// Files that were not what was written.
    pub damaged: u64,
    /// Responses that were not written since too much waited, or the disk had failed a moment ago.
    pub skipped: u64,
    /// What the disk could not do.
    pub errors: u64,
}

impl Disk {
    /// Opens what is there. Serving need not wait: until the table is open, nothing is found. The error is a sentence.
    pub fn open(config: &DiskConfig) -> Result<Arc<Self>, String> {
        if config.path.as_os_str().is_empty() {
            return Err("name a directory as `path`".into());
        }
        let places = Arc::new(Places(config.path.clone()));
        places
            .create()
            .map_err(|error| format!("the directory {} cannot be used: {error}", config.path.display()))?;
        let (sender, jobs) = sync_channel(QUEUE);
        let state = Arc::<State>::default();
        let writer = Writer {
            places: places.clone(),
            state: state.clone(),
            bytes_max: config.bytes,
            paused: None,
            kept: 0,
        };
        let writer = std::thread::Builder::new()
            .name("cache-disk".into())
            .spawn(move || writer.run(&jobs))
            .map_err(|error| format!("no thread for the disk: {error}"))?;
        Ok(Arc::new(Self {
            places,
            object_bytes: config.object_bytes,
            bytes_max: config.bytes,
            queue: Queue { sender, state },
            readers: Mutex::default(),
            spooling: Spooling::default(),
            writer: Some(writer),
        }))
    }

    /// The largest body that is kept, bytes.
    pub fn object_bytes(&self) -> u64 {
        self.object_bytes
    }

    /// What there is for a request. Bodies of up to `whole` bytes are read into memory. Waits for the disk.
    pub fn find(&self, address: &str, scope: u64, request: &HeaderMap, whole: u64) -> Found {
        if !self.queue.state.ready.load(Ordering::Acquire) {
            return Found::Nothing;
        }
        let rows = match self.reading(|index| index.find(address, scope)) {
            Ok(rows) => rows,
            Err(error) => {
                self.queue.state.errors.fetch_add(1, Ordering::Relaxed);
                if is_broken(&error) {
                    self.queue.offer(Job::Broken);
                }
                return Found::Nothing;
            }
        };
        let others = !rows.is_empty();
        for row in rows {
            let Some(head) = record::read(&row.head).filter(|head| *head.address == *address) else {
                self.queue.offer(Job::Damaged(row.id));
                continue;
            };
            if !head.variant.matches(scope, request) {
                continue;
            }
            let path = self.places.body(row.id);
            let opened = DiskBody::open(&path, row.id, row.length, row.sums, self.queue.clone());
            let body = match opened {
                Ok(body) => body,
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => {
                    self.queue.offer(Job::Damaged(row.id));
                    continue;
                }
                // Such as too many open files: it may be had later.
                Err(_) => {
                    self.queue.state.errors.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
            };
            let stock = if body.len() <= whole {
                match body.read_all() {
                    Ok(parts) => Stock::new(parts),
                    Err(_) => continue,
                }
            } else {
                Stock::on_disk(Arc::new(body))
            };
            let object = Arc::new(head.object(stock));
            if row.expired {
                object.expire();
            }
            self.queue.offer(Job::Touch(object.clone()));
            return Found::Object(object);
        }
        if others { Found::Others } else { Found::Nothing }
    }

    fn reading<T>(&self, read: impl FnOnce(&Index) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let epoch = self.queue.state.epoch.load(Ordering::Acquire);
        let kept = self.readers.lock().pop().filter(|(of, _)| *of == epoch);
        let index = match kept {
            Some((_, index)) => index,
            None => Index::reader(&self.places.index())?,
        };
        let found = read(&index)?;
        let mut readers = self.readers.lock();
        if readers.len() < READERS_KEPT {
            readers.push((epoch, index));
        }
        Ok(found)
    }

    /// Keeps a response, soon. `unchanged` where its body is the one of the response it takes the place of.
    pub fn keep(&self, object: &Arc<Object>, unchanged: bool) {
        if object.body.len() <= self.object_bytes {
            self.queue.offer(Job::Keep(object.clone(), unchanged));
        }
    }

    /// A response was asked for, and should stay.
    pub fn touch(&self, object: &Arc<Object>) {
        self.queue.offer(Job::Touch(object.clone()));
    }

    /// Takes out a response, soon.
    pub fn remove(&self, object: &Arc<Object>) {
        self.queue.offer(Job::Remove(object.clone()));
    }

    /// Purges, and says how many responses were meant; nothing where the disk cannot be used. What was to be kept before is meant as well.
    /// `lasting` where a loss of power must not undo it. Waits for the disk.
    pub fn purge(&self, purge: &Purge, soft: bool, lasting: bool) -> Option<u64> {
        let (done, told) = sync_channel(1);
        self.queue.sender.send(Job::Purge(purge.clone(), soft, lasting, done)).ok()?;
        told.recv().ok().flatten()
    }

    /// Remembers the last purge of all servers that was done here.
    pub fn note(&self, purge: u64) {
        self.queue.offer(Job::Note(purge));
    }

    /// Which it was. Waits for the disk.
    pub fn noted(&self) -> Option<u64> {
        let (done, told) = sync_channel(1);
        self.queue.sender.send(Job::Noted(done)).ok()?;
        told.recv().ok().flatten()
    }

    /// Writes a body while it arrives, where that can be.
    pub fn spool(self: &Arc<Self>, address: &Arc<str>, scope: u64) -> Option<Spool> {
        Spool::begin(self.clone(), address.clone(), scope)
    }

    /// How it does.
    pub fn counts(&self) -> DiskCounts {
        let state = &self.queue.state;
        let [objects, bytes, evicted, damaged, skipped, errors] =
            [&state.objects, &state.bytes, &state.evicted, &state.damaged, &state.skipped, &state.errors]
                .map(|number| number.load(Ordering::Relaxed));
        DiskCounts { objects, bytes, bytes_max: self.bytes_max, evicted, damaged, skipped, errors }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What waits is written first.
        let _ = self.queue.sender.send(Job::Close);
        if let Some(writer) = self.writer.take() {
            // Its panic was reported when it happened.
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
mod tests;
