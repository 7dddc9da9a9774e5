//! What is below memory, and how both are kept in step.
//!
//! A purge goes through all tiers while requests go on. What a request has read from below is brought into memory only where no purge
//! began since: else it could come back after it was purged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderMap;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::{Event, Found, Purge, Store};
use crate::disk::{Disk, Spool};
use crate::object::Object;
use crate::settings::StoreConfig;
use crate::shared::{Shared, Unavailable};

/// Requests that read from the disk at the same time, and so bodies that are brought into memory.
const READS_MAX: usize = 32;
/// How long a request waits for the disk before it goes on as if nothing was stored.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is below memory.
#[derive(Debug)]
pub(super) struct Below {
    pub(super) disk: Option<Arc<Disk>>,
    pub(super) shared: Option<Arc<Shared>>,
    reads: Arc<Semaphore>,
    purges: Purges,
}

impl Default for Below {
    fn default() -> Self {
        Self {
            disk: None,
            shared: None,
            reads: Arc::new(Semaphore::new(READS_MAX)),
            purges: Purges::default(),
        }
    }
}

/// Purges that run, and how many began.
#[derive(Debug, Default)]
struct Purges {
    begun: AtomicU64,
    wide: AtomicUsize,
    addresses: Mutex<Vec<String>>,
}

impl Purges {
    fn begin(&self, purge: &Purge) {
        // In this order: who sees that it began sees that it runs.
        match purge {
            Purge::Address(address) => self.addresses.lock().push(address.clone()),
            _ => {
                self.wide.fetch_add(1, Ordering::SeqCst);
            }
        }
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    fn end(&self, purge: &Purge) {
        match purge {
            Purge::Address(address) => {
                let mut addresses = self.addresses.lock();
                if let Some(at) = addresses.iter().position(|running| running == address) {
                    addresses.swap_remove(at);
                }
            }
            _ => {
                self.wide.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }

    /// For who begins to read: nothing where a purge runs that may mean it.
    fn mark(&self, address: &str) -> Option<u64> {
        let begun = self.begun.load(Ordering::SeqCst);
        let running = self.wide.load(Ordering::SeqCst) > 0
            || self.addresses.lock().iter().any(|running| running == address);
        (!running).then_some(begun)
    }

    fn is_since(&self, mark: u64) -> bool {
        self.begun.load(Ordering::SeqCst) != mark
    }
}

impl Store {
    /// With all tiers of the settings. The error is a sentence.
    pub fn open(config: &StoreConfig) -> Result<Arc<Self>, String> {
        let mut store = Self::new(config);
        let disk = config.disk.as_ref().map(Disk::open).transpose();
        store.below.disk = disk.map_err(|problem| format!("disk: {problem}"))?;
        let shared = config.redis.as_ref().map(Shared::new).transpose();
        let shared = shared.map_err(|problem| format!("redis: {problem}"))?.map(Arc::new);
        store.below.shared = shared.clone();
        let store = Arc::new(store);
        if let Some(shared) = &shared {
            shared.follow(&store).map_err(|error| format!("redis: no thread to follow it: {error}"))?;
        }
        Ok(store)
    }

    /// Whether there is more than memory.
    pub fn has_below(&self) -> bool {
        self.below.disk.is_some() || self.below.shared.is_some()
    }

    /// The last purge of all servers that this one knows of, for what is asked for now.
    pub fn generation(&self) -> Option<u64> {
        self.below.shared.as_ref()?.generation()
    }

    /// The largest body that is stored, wherever, bytes.
    pub fn largest(&self) -> u64 {
        let disk = self.below.disk.as_ref().map_or(0, |disk| disk.object_bytes());
        disk.max(self.object_bytes)
    }

    /// What there is for a request below memory; it is brought there where it fits.
    pub async fn find_below(&self, address: &Arc<str>, scope: u64, request: &HeaderMap, now: u64) -> Found {
        if !self.has_below() {
            return Found::Nothing;
        }
        let found = tokio::time::timeout(PATIENCE, self.read_below(address, scope, request, now)).await;
        found.unwrap_or_else(|_| {
            self.count(Event::DiskSlow);
            Found::Nothing
        })
    }

    async fn read_below(&self, address: &Arc<str>, scope: u64, request: &HeaderMap, now: u64) -> Found {
        if let Some(found) = self.read_shared(address, scope, request).await {
            return Found::Object(found);
        }
        let Some(disk) = self.below.disk.clone() else { return Found::Nothing };
        let Ok(permit) = self.below.reads.clone().acquire_owned().await else { return Found::Nothing };
        // Somebody else may have brought it meanwhile.
        if let found @ Found::Object(_) = self.find(address, scope, request, now) {
            return found;
        }
        let Some(mark) = self.below.purges.mark(address) else { return Found::Nothing };
        let (at, request, whole) = (address.clone(), request.clone(), self.object_bytes);
        let read = spawn_blocking(move || {
            let found = disk.find(&at, scope, &request, whole);
            drop(permit);
            found
        });
        let found = read.await.unwrap_or(Found::Nothing);
        if let Found::Object(object) = &found {
            if object.body.file().is_none() {
                self.take_in(object);
            }
            if self.below.purges.is_since(mark) {
                self.take_out(object);
                return Found::Nothing;
            }
            self.count(Event::DiskHit);
        }
        found
    }

    /// From Redis.
    async fn read_shared(&self, address: &Arc<str>, scope: u64, request: &HeaderMap) -> Option<Arc<Object>> {
        let shared = self.below.shared.as_ref()?;
        let mark = self.below.purges.mark(address)?;
        let object = shared.find(address, scope, request).await?;
        self.take_in(&object);
        if let Some(disk) = &self.below.disk {
            disk.keep(&object, false);
        }
        if self.below.purges.is_since(mark) {
            self.remove(&object);
            return None;
        }
        Some(object)
    }

    /// Stores a response in place of the one for the same requests. False where it is too large. `unchanged` where its body is the one
    /// that is stored; `since` is the [`generation`](Self::generation) of when it was asked for.
    pub fn put(&self, object: &Arc<Object>, unchanged: bool, since: Option<u64>) -> bool {
        if let Some(shared) = &self.below.shared {
            shared.keep(object, since);
        }
        if object.body.file().is_none() && !self.take_in(object) {
            return false;
        }
        if let Some(disk) = &self.below.disk {
            disk.keep(object, unchanged);
        }
        self.count(Event::Stored);
        true
    }

    /// Takes out one response of this server, if it is still there.
    pub fn remove(&self, object: &Arc<Object>) {
        self.take_out(object);
        if let Some(disk) = &self.below.disk {
            disk.remove(object);
        }
    }

    /// A response answered.
    pub fn touch(&self, object: &Arc<Object>, now: u64) {
        if let Some(disk) = &self.below.disk
            && object.touch(now)
        {
            disk.touch(object);
        }
    }

    /// Keeps a body that is too large for memory, while it arrives.
    pub fn spool(&self, address: &Arc<str>, scope: u64) -> Option<Spool> {
        self.below.disk.as_ref()?.spool(address, scope)
    }

    /// Counts a response that a spool took.
    pub fn spooled(&self) {
        self.count(Event::Stored);
    }

    /// Purges: softly, responses are asked about before their next use, and answer while that is done and when it fails; hard, they
    /// are gone, also from the disk and after a restart. Returns how many. Answers that are on their way are not stored either. May
    /// wait for the disk, and may walk over all that is in memory.
    pub fn purge(&self, purge: &Purge, soft: bool) -> u64 {
        self.purge_tiers(purge, soft, true)
    }

    /// Tells other servers of a purge, where there are some.
    ///
    /// # Errors
    /// Redis does not answer. They hear of it when it does.
    pub async fn announce(&self, purge: &Purge, soft: bool) -> Option<Result<(), Unavailable>> {
        Some(self.below.shared.as_ref()?.announce(purge, soft).await)
    }

    /// The last purge of all servers that was done here, as the disk remembers it. Waits for the disk.
    pub(crate) fn noted(&self) -> Option<u64> {
        self.below.disk.as_ref()?.noted()
    }

    pub(crate) fn note(&self, purge: u64) {
        if let Some(disk) = &self.below.disk {
            disk.note(purge);
        }
    }

    fn purge_tiers(&self, purge: &Purge, soft: bool, lasting: bool) -> u64 {
        self.purge_flights(purge);
        let Some(disk) = &self.below.disk else { return self.purge_memory(purge, soft) };
        self.below.purges.begin(purge);
        let below = disk.purge(purge, soft, lasting).unwrap_or(0);
        let above = self.purge_memory(purge, soft);
        self.below.purges.end(purge);
        // Most are in both.
        above.max(below)
    }

    /// Purges an address, since a request may have changed what is there.
    pub async fn invalidate(self: &Arc<Self>, address: String) {
        let purge = Purge::Address(address);
        if !self.has_below() {
            self.purge(&purge, false);
            return;
        }
        if let (Some(shared), Purge::Address(address)) = (&self.below.shared, &purge) {
            shared.forget(address).await;
        }
        let store = self.clone();
        // It goes on where it takes too long; meanwhile nothing of this address is read from below.
        let purged = spawn_blocking(move || store.purge_tiers(&purge, false, false));
        let _ = tokio::time::timeout(PATIENCE, purged).await;
    }
}
