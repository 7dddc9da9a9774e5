//! The one thread that changes what is on the disk, in the order in which it is told. Serving threads never wait for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{fs, io};

use rusqlite::ErrorCode;

use super::body::{self, Summed};
use super::index::{Gone, Index};
use crate::object::Object;
use crate::store::Purge;

/// Things to do that may wait.
pub(super) const QUEUE: usize = 1024;
/// Bodies that wait to be written, bytes. More are not written.
const WAITING_BYTES: u64 = 64 << 20;
/// Nothing is written for so long after the disk refused something, so that a full one is left alone.
const PAUSE: Duration = Duration::from_secs(10);
/// Responses that go at once where room is needed.
const EVICTED_AT_ONCE: usize = 64;
/// After so many responses taken in, it is looked again how much there is.
const RECOUNT: u64 = 4096;
/// Files that no response has are looked for by their age: younger ones may just be written, by this process or the one before it.
const ORPHAN_AGE: Duration = Duration::from_secs(600);

/// Something to do.
#[derive(Debug)]
pub(super) enum Job {
    /// Keep a response. True where its body is known to be the one of the response it takes the place of.
    Keep(Arc<Object>, bool),
    /// It was asked for.
    Touch(Arc<Object>),
    Remove(Arc<Object>),
    /// A file is not what was written.
    Damaged(i64),
    /// The table cannot be read.
    Broken,
    /// Purge, softly or not, so that it holds over a loss of power or not, and say how many were meant, or nothing where it could not
    /// be done.
    Purge(Purge, bool, bool, SyncSender<Option<u64>>),
    /// Of purges of all servers, this one was done here.
    Note(u64),
    /// Say which it was.
    Noted(SyncSender<Option<u64>>),
    Close,
}

/// The way to the thread.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    pub(super) sender: SyncSender<Job>,
    pub(super) state: Arc<State>,
}

impl Queue {
    /// To be done, unless too much waits.
    pub(super) fn offer(&self, job: Job) {
        let bytes = weight(&job);
        let before = self.state.waiting.fetch_add(bytes, Ordering::Relaxed);
        let refused = before + bytes > WAITING_BYTES && bytes > 0;
        let refused = refused || matches!(self.sender.try_send(job), Err(TrySendError::Full(_)));
        if refused {
            self.state.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.state.skipped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn weight(job: &Job) -> u64 {
    match job {
        Job::Keep(object, _) if object.body.file().is_none() => object.body.len(),
        _ => 0,
    }
}

/// What threads know of each other.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The table can be read.
    pub(super) ready: AtomicBool,
    /// Counts how often the table was made anew.
    pub(super) epoch: AtomicU64,
    /// Bytes of bodies in the queue.
    waiting: AtomicU64,
    /// What the disk could not do.
    pub(super) errors: AtomicU64,
    /// Files that were not what was written.
    pub(super) damaged: AtomicU64,
    /// Responses that were not written since too much waited.
    pub(super) skipped: AtomicU64,
    pub(super) evicted: AtomicU64,
    pub(super) objects: AtomicU64,
    pub(super) bytes: AtomicU64,
}

/// Where things are.
#[derive(Debug)]
pub(super) struct Places(pub(super) PathBuf);

impl Places {
    pub(super) fn index(&self) -> PathBuf {
        self.0.join("index.sqlite")
    }

    pub(super) fn body(&self, id: i64) -> PathBuf {
        let id = id.cast_unsigned();
        self.0.join(format!("bodies/{:02x}/{id:016x}", id % 256))
    }

    pub(super) fn temporary(&self, id: i64) -> PathBuf {
        self.0.join(format!("temporary/{:016x}", id.cast_unsigned()))
    }

    pub(super) fn create(&self) -> io::Result<()> {
        fs::create_dir_all(self.0.join("temporary"))?;
        (0..256).try_for_each(|n| fs::create_dir_all(self.0.join(format!("bodies/{n:02x}"))))
    }

    /// Takes away what no response has: a crash left it.
    fn sweep(&self, index: &Index) {
        let old = |entry: &fs::DirEntry| {
            let modified = entry.metadata().and_then(|data| data.modified()).ok();
            modified.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > ORPHAN_AGE)
        };
        let files = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
        for entry in files(self.0.join("temporary")).filter(old) {
            let _ = fs::remove_file(entry.path());
        }
        for entry in (0..256).flat_map(|n| files(self.0.join(format!("bodies/{n:02x}")))).filter(old) {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| u64::from_str_radix(name, 16).ok());
            if id.is_none_or(|id| index.has(id.cast_signed()) == Ok(false)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// A name for a file that no other has.
pub(super) fn new_id() -> i64 {
    fastrand::i64(1..)
}

pub(super) struct Writer {
    pub(super) places: Arc<Places>,
    pub(super) state: Arc<State>,
    pub(super) bytes_max: u64,
    pub(super) paused: Option<Instant>,
    /// Responses taken in.
    pub(super) kept: u64,
}

impl Writer {
    /// Does what it is told until it is told to end.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        let mut index = self.open();
        while let Ok(job) = jobs.recv() {
            self.state.waiting.fetch_sub(weight(&job), Ordering::Relaxed);
            if matches!(job, Job::Close) {
                return;
            }
            if index.is_none() && self.paused.is_none_or(|until| until <= Instant::now()) {
                index = self.open();
            }
            let Some(open) = &mut index else { continue };
            let done = match job {
                Job::Broken => Err(Trouble::Broken),
                job => self.work(open, job),
            };
            match done {
                Ok(()) => {}
                Err(Trouble::Broken) => {
                    drop(index.take());
                    self.begin_anew();
                    index = self.open();
                }
                Err(Trouble::BegunAnew) => index = self.open(),
                Err(Trouble::Disk(error)) => {
                    self.make_room(open, &*error);
                    self.failed(&error);
                }
            }
        }
    }

    /// Of a disk that others filled.
    fn make_room(&self, index: &Index, error: &(dyn std::error::Error + 'static)) {
        let full =
            error.downcast_ref().is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::StorageFull);
        if full && let Ok(gone) = index.evict(EVICTED_AT_ONCE) {
            self.state.evicted.fetch_add(gone.len() as u64, Ordering::Relaxed);
            self.unlink(&gone, None);
        }
    }

    fn open(&mut self) -> Option<Index> {
        let open = || -> Result<Index, Trouble> {
            self.places.create()?;
            let index = Index::open(&self.places.index())?;
            self.count(&index)?;
            Ok(index)
        };
        let mut opened = open();
        if matches!(opened, Err(Trouble::Broken)) {
            self.begin_anew();
            opened = open();
        }
        match opened {
            Ok(index) => {
                self.state.ready.store(true, Ordering::Release);
                let places = self.places.clone();
                // Nobody waits for it; without it, space is lost until the next start.
                let _ = std::thread::Builder::new().name("cache-sweep".into()).spawn(move || {
                    if let Ok(index) = Index::reader(&places.index()) {
                        places.sweep(&index);
                    }
                });
                Some(index)
            }
            Err(Trouble::Disk(error)) => {
                self.failed(&error);
                None
            }
            Err(Trouble::Broken | Trouble::BegunAnew) => None,
        }
    }

    /// The table is damaged. What it knew is not worth a repair.
    fn begin_anew(&self) {
        tracing::warn!(path = %self.places.0.display(), "the cache's table on the disk is damaged; the cache begins anew");
        self.state.ready.store(false, Ordering::Release);
        self.state.epoch.fetch_add(1, Ordering::AcqRel);
        self.state.errors.fetch_add(1, Ordering::Relaxed);
        for name in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
            let _ = fs::remove_file(self.places.0.join(name));
        }
        let _ = fs::remove_dir_all(self.places.0.join("bodies"));
    }

    fn failed(&mut self, error: &dyn std::fmt::Display) {
        self.state.errors.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        // Once per outage.
        if self.paused.is_none_or(|until| until + PAUSE < now) {
            tracing::warn!(%error, path = %self.places.0.display(), "the cache's disk fails; serving goes on without it");
        }
        self.paused = Some(now + PAUSE);
    }

    fn work(&mut self, index: &mut Index, job: Job) -> Result<(), Trouble> {
        match job {
            Job::Keep(object, unchanged) => {
                if self.paused.is_some_and(|until| Instant::now() < until) {
                    self.state.skipped.fetch_add(1, Ordering::Relaxed);
                    self.unlink_spooled(&object, index);
                    return Ok(());
                }
                let kept = self.keep(index, &object, unchanged);
                if kept.is_err() {
                    self.unlink_spooled(&object, index);
                }
                kept
            }
            Job::Touch(object) => Ok(index.touch(&object, now())?),
            Job::Remove(object) => {
                let gone = index.remove(&object)?;
                self.unlink(&gone, None);
                Ok(())
            }
            Job::Damaged(id) => {
                let gone = index.remove_file(id)?;
                self.state.damaged.fetch_add(gone.len() as u64, Ordering::Relaxed);
                self.unlink(&gone, None);
                Ok(())
            }
            Job::Purge(purge, soft, lasting, done) => {
                // Who asked may have left.
                match index.purge(&purge, soft, lasting) {
                    Ok((count, gone)) => {
                        let _ = done.send(Some(count));
                        self.unlink(&gone, None);
                        Ok(())
                    }
                    Err(error) => {
                        // What was to go must not be served: rather nothing is.
                        tracing::warn!(%error, "the cache's disk could not be purged");
                        self.begin_anew();
                        let _ = done.send(None);
                        Err(Trouble::BegunAnew)
                    }
                }
            }
            Job::Note(purge) => Ok(index.note(purge)?),
            Job::Noted(done) => {
                // Who asked may have left.
                let _ = done.send(index.noted()?);
                Ok(())
            }
            Job::Broken | Job::Close => Ok(()),
        }
    }

    fn keep(&mut self, index: &mut Index, object: &Object, unchanged: bool) -> Result<(), Trouble> {
        let now = now();
        let (id, (bytes, gone)) = match object.body.file() {
            // Without its file it was evicted meanwhile.
            Some(file) if !self.places.body(file.id).exists() => return Ok(()),
            Some(file) => (file.id, index.insert(file.id, object, file.len(), &file.sums, now)?),
            None => {
                let same = match unchanged {
                    true => index.same(object, &body::sums(object.body.parts()))?,
                    false => None,
                };
                let (id, (length, sums)) = match same {
                    Some(id) => (id, (object.body.len(), body::sums(object.body.parts()).into())),
                    None => {
                        let id = new_id();
                        (id, self.write(id, object)?)
                    }
                };
                let inserted = index.insert(id, object, length, &sums, now);
                if inserted.is_err() && same.is_none() {
                    let _ = fs::remove_file(self.places.body(id));
                }
                (id, inserted?)
            }
        };
        self.state.objects.fetch_add(1, Ordering::Relaxed);
        self.state.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.unlink(&gone, Some(id));
        self.kept += 1;
        if self.kept.is_multiple_of(RECOUNT) {
            self.count(index)?;
        }
        while self.state.bytes.load(Ordering::Relaxed) > self.bytes_max {
            let gone = index.evict(EVICTED_AT_ONCE)?;
            if gone.is_empty() {
                self.count(index)?;
                break;
            }
            self.state.evicted.fetch_add(gone.len() as u64, Ordering::Relaxed);
            self.unlink(&gone, None);
        }
        Ok(())
    }

    /// Looks how much there is: another process, which this one takes over from, changes the table as well.
    fn count(&self, index: &Index) -> Result<(), Trouble> {
        let (objects, bytes) = index.total()?;
        self.state.objects.store(objects, Ordering::Relaxed);
        self.state.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn write(&self, id: i64, object: &Object) -> io::Result<(u64, Arc<[u32]>)> {
        let temporary = Temporary(self.places.temporary(id));
        let mut file = Summed::create(&temporary.0)?;
        object.body.parts().iter().try_for_each(|part| file.write(part))?;
        let written = file.finish();
        temporary.persist(&self.places.body(id))?;
        Ok(written)
    }

    /// The file of a response that is not taken in.
    fn unlink_spooled(&self, object: &Object, index: &Index) {
        if let Some(file) = object.body.file()
            && index.has(file.id) == Ok(false)
        {
            let _ = fs::remove_file(self.places.body(file.id));
        }
    }

    fn unlink(&self, gone: &Gone, but: Option<i64>) {
        for (id, bytes) in gone {
            let less = |n: u64, by: u64| Some(n.saturating_sub(by));
            let _ = self.state.objects.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| less(n, 1));
            let _ = self.state.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| less(n, *bytes));
            if Some(*id) != but {
                let _ = fs::remove_file(self.places.body(*id));
            }
        }
    }
}

/// A file that is being written, and goes unless it is given its place.
#[derive(Debug)]
pub(super) struct Temporary(pub(super) PathBuf);

impl Temporary {
    pub(super) fn persist(self, to: &Path) -> io::Result<()> {
        fs::rename(&self.0, to)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // It is not there any more where it has its place.
        let _ = fs::remove_file(&self.0);
    }
}

/// Why something was not done.
enum Trouble {
    /// The table cannot be read.
    Broken,
    /// The table was thrown away.
    BegunAnew,
    Disk(Box<dyn std::error::Error + Send + Sync>),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Disk(error.into())
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        if is_broken(&error) { Self::Broken } else { Self::Disk(error.into()) }
    }
}

/// Whether the table is damaged.
pub(super) fn is_broken(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
        || matches!(
            error,
            FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..)
        )
        // A table that should be there is not.
        || matches!(error, rusqlite::Error::SqliteFailure(_, Some(text)) if text.contains("no such table"))
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
