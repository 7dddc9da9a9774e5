//! Bodies that are too large for memory, written while they arrive.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::task::{JoinHandle, spawn_blocking};

use super::Disk;
use super::body::{DiskBody, Summed};
use super::writer::{Job, Temporary, new_id};
use crate::object::{Object, Stock};

/// Bodies that are written at the same time.
const SPOOLS_MAX: usize = 32;
/// How far a body may be ahead of the disk, bytes. Who is further ahead is not kept, so that no client waits for the disk.
const AHEAD_MAX: u64 = 32 << 20;

/// Of which address and route bodies are being written.
pub(super) type Spooling = Arc<Mutex<HashSet<(Arc<str>, u64)>>>;

/// A body that is being written.
#[derive(Debug)]
pub struct Spool {
    disk: Arc<Disk>,
    id: i64,
    sender: Sender<Bytes>,
    ahead: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
    written: JoinHandle<io::Result<Written>>,
    _place: Place,
}

#[derive(Debug)]
struct Written {
    file: Temporary,
    length: u64,
    sums: Arc<[u32]>,
}

/// Gives the place to others.
#[derive(Debug)]
struct Place(Spooling, (Arc<str>, u64));

impl Drop for Place {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

impl Spool {
    /// Begins one; nothing where the same is being written, or too much.
    pub(super) fn begin(disk: Arc<Disk>, address: Arc<str>, scope: u64) -> Option<Self> {
        let key = (address, scope);
        {
            let mut all = disk.spooling.lock();
            if all.len() >= SPOOLS_MAX || !all.insert(key.clone()) {
                return None;
            }
        }
        let place = Place(disk.spooling.clone(), key);
        let id = new_id();
        let path = disk.places.temporary(id);
        let (sender, parts) = mpsc::channel::<Bytes>();
        let (ahead, failed) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (behind, failing, most) = (ahead.clone(), failed.clone(), disk.object_bytes);
        let state = disk.queue.state.clone();
        let written = spawn_blocking(move || {
            let write = || -> io::Result<Written> {
                let temporary = Temporary(path);
                let mut file = Summed::create(&temporary.0)?;
                let mut total = 0;
                for part in parts {
                    total += part.len() as u64;
                    if total > most {
                        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
                    }
                    file.write(&part)?;
                    behind.fetch_sub(part.len() as u64, Ordering::Relaxed);
                }
                let (length, sums) = file.finish();
                Ok(Written { file: temporary, length, sums })
            };
            let written = write();
            if let Err(error) = &written {
                failing.store(true, Ordering::Relaxed);
                if error.kind() != io::ErrorKind::FileTooLarge {
                    state.errors.fetch_add(1, Ordering::Relaxed);
                }
            }
            written
        });
        Some(Self { disk, id, sender, ahead, failed, written, _place: place })
    }

    /// Adds a part. False where it is not worth going on.
    pub fn push(&self, part: Bytes) -> bool {
        let bytes = part.len() as u64;
        let ahead = self.ahead.fetch_add(bytes, Ordering::Relaxed);
        ahead <= AHEAD_MAX && !self.failed.load(Ordering::Relaxed) && self.sender.send(part).is_ok()
    }

    /// It is whole: has it found from now on. Gives the response, if the disk took it.
    pub async fn finish(self, object: impl FnOnce(Stock) -> Object) -> Option<Arc<Object>> {
        let Self { disk, id, sender, written, _place: place, .. } = self;
        drop(sender);
        let written = written.await.ok()?.ok()?;
        let opened = {
            let disk = disk.clone();
            spawn_blocking(move || {
                let path = disk.places.body(id);
                written.file.persist(&path)?;
                DiskBody::open(&path, id, written.length, written.sums, disk.queue.clone())
            })
        };
        let body = opened.await.ok()?.ok()?;
        let object = Arc::new(object(Stock::on_disk(Arc::new(body))));
        // It may wait a moment: its file would be in nobody's way otherwise.
        let kept = object.clone();
        spawn_blocking(move || disk.queue.sender.send(Job::Keep(kept, false)).is_ok()).await.ok()?;
        drop(place);
        Some(object)
    }
}
