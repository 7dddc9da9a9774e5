//! What is loaded where: hosts by group, isolates by worker version.
//!
//! Edge threads keep the instances they use; they come here only for what they do not have. Whether an instance
//! may be used and whether it may be unloaded is settled between two atomics, `busy` and `gone`, without a lock.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use selvedge_model::{AccountId, Isolation, ScriptName, VersionId, Worker};
use tokio::sync::{Notify, watch};

use crate::EngineError;
use crate::host::{Group, Host};

/// Offences within [`OFFENCE_WINDOW`] that move a worker to a host of its own.
const OFFENCES_MAX: usize = 3;
const OFFENCE_WINDOW: Duration = Duration::from_secs(60);
/// WebSockets in one instance; a host can tell some more streams apart.
const SOCKETS_MAX: u32 = 32_768;
/// How long the death of a host counts.
const CRASH_WINDOW: Duration = Duration::from_secs(30);
/// Scripts whose offences are remembered.
const OFFENDERS_MAX: usize = 10_000;

/// An isolate that serves one version of a worker.
#[derive(Debug)]
pub struct Instance {
    /// The number by which its host knows it.
    pub id: u32,
    /// Where it runs.
    pub host: Arc<Host>,
    /// On which of the host's threads.
    pub thread: usize,
    /// What it runs.
    pub worker: Arc<Worker>,
    /// Requests and WebSockets in it now.
    pub busy: AtomicU32,
    /// Those of them that are WebSockets, which have a limit of their own.
    pub sockets: AtomicU32,
    /// Unloaded, condemned, or on a host that ended.
    pub gone: AtomicBool,
    /// Milliseconds since the engine's start.
    pub last_used_ms: AtomicU64,
    /// Someone waits for a place.
    pub waiting: AtomicU32,
    /// Told when a place becomes free and someone waits.
    pub freed: Notify,
    /// Since when its version is no longer deployed, milliseconds since the engine's start; 0 while it is.
    pub undeployed_ms: AtomicU64,
    /// Told when its WebSockets are to be closed.
    pub closing: watch::Sender<bool>,
    /// Somebody profiles or debugs it.
    pub inspected: AtomicBool,
}

impl Instance {
    /// Takes a place for a request if fewer than `most` are taken.
    pub fn claim(self: &Arc<Self>, most: u32) -> Place {
        let one_more =
            |busy: u32| (busy < most.saturating_add(self.sockets.load(Ordering::SeqCst))).then_some(busy + 1);
        let taken = self.busy.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more);
        let claim = taken.is_ok().then(|| Claim { instance: self.clone(), socket: false });
        match claim {
            _ if self.gone.load(Ordering::SeqCst) => Place::Gone,
            Some(claim) => Place::Taken(claim),
            None => Place::Full,
        }
    }

    /// Requests in it now, without WebSockets.
    pub fn requests(&self) -> u32 {
        self.busy.load(Ordering::Relaxed).saturating_sub(self.sockets.load(Ordering::Relaxed))
    }

    /// Waits until its WebSockets are to be closed.
    pub async fn retired(&self) {
        let mut closing = self.closing.subscribe();
        if closing.wait_for(|closing| *closing).await.is_err() {
            std::future::pending().await
        }
    }

    /// Marks it gone if no request is in it. True when it may be unloaded now.
    pub fn retire_if_idle(&self) -> bool {
        if self.busy.load(Ordering::SeqCst) > 0 || self.gone.swap(true, Ordering::SeqCst) {
            return false;
        }
        if self.busy.load(Ordering::SeqCst) > 0 {
            // A request came in between; it saw either state, and the instance is intact.
            self.gone.store(false, Ordering::SeqCst);
            return false;
        }
        true
    }
}

/// What [`Instance::claim`] found.
#[derive(Debug)]
pub enum Place {
    /// A place.
    Taken(Claim),
    /// None at the moment.
    Full,
    /// The instance takes no more requests.
    Gone,
}

/// A request's place in an instance.
#[derive(Debug)]
pub struct Claim {
    instance: Arc<Instance>,
    socket: bool,
}

impl Claim {
    /// The instance.
    pub fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// The request became a WebSocket: its place goes to another request. False when there are too many.
    pub fn becomes_socket(&mut self) -> bool {
        if self.instance.sockets.fetch_add(1, Ordering::SeqCst) >= SOCKETS_MAX {
            self.instance.sockets.fetch_sub(1, Ordering::SeqCst);
            return false;
        }
        self.socket = true;
        self.pass_on();
        true
    }

    fn pass_on(&self) {
        if self.instance.waiting.load(Ordering::SeqCst) > 0 {
            self.instance.freed.notify_one();
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.instance.busy.fetch_sub(1, Ordering::SeqCst);
        if self.socket {
            self.instance.sockets.fetch_sub(1, Ordering::SeqCst);
        }
        self.pass_on();
    }
}

/// How a load went, for all who wait for it.
pub type Loaded = watch::Receiver<Option<Result<Arc<Instance>, EngineError>>>;

#[derive(Debug, Default)]
struct Version {
    instances: Vec<Arc<Instance>>,
    loading: Option<Loaded>,
}

/// What a caller of [`Pool::find`] is to do.
#[derive(Debug)]
pub enum Found {
    /// Use this one.
    Ready(Arc<Instance>),
    /// Somebody loads it already: wait.
    Loading(Loaded),
    /// Load it, and tell the others here.
    Load(watch::Sender<Option<Result<Arc<Instance>, EngineError>>>),
}

#[derive(Debug, Default)]
struct State {
    versions: HashMap<VersionId, Version>,
    /// Every instance from its placing to its end, also while it loads.
    placed: HashMap<u32, Arc<Instance>>,
    hosts: HashMap<u32, Arc<Host>>,
    groups: HashMap<Group, Arc<Host>>,
    warm: VecDeque<Arc<Host>>,
    offences: HashMap<(AccountId, ScriptName), VecDeque<Instant>>,
    /// Deaths of hosts without an offender, for backing off: by the group they served, none where they had not begun to.
    crashes: HashMap<Option<Group>, VecDeque<Instant>>,
}

/// The pool.
#[derive(Debug)]
pub struct Pool {
    state: Mutex<State>,
    next_instance: AtomicU32,
    started: Instant,
}

impl Default for Pool {
    fn default() -> Self {
        Self { state: Mutex::default(), next_instance: AtomicU32::new(1), started: Instant::now() }
    }
}

impl Pool {
    /// Milliseconds since the engine's start.
    pub fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// An instance of this version, or what to do to get one. `another` asks for one more than there are.
    pub fn find(&self, version: &VersionId, another: bool) -> Found {
        let mut state = self.lock();
        let version = state.versions.entry(version.clone()).or_default();
        if !another {
            let live = version.instances.iter().filter(|instance| !instance.gone.load(Ordering::SeqCst));
            if let Some(instance) = live.min_by_key(|instance| instance.busy.load(Ordering::Relaxed)) {
                return Found::Ready(instance.clone());
            }
        }
        // One whose sender is gone came to no end; it is nobody's any more.
        if let Some(loading) = version.loading.as_ref().filter(|loading| loading.has_changed().is_ok()) {
            return Found::Loading(loading.clone());
        }
        let (sender, receiver) = watch::channel(None);
        version.loading = Some(receiver);
        Found::Load(sender)
    }

    /// Instances of this version, live ones only.
    pub fn instances_of(&self, version: &VersionId) -> Vec<Arc<Instance>> {
        let state = self.lock();
        let instances = state.versions.get(version).map_or(&[][..], |version| &version.instances);
        instances.iter().filter(|instance| !instance.gone.load(Ordering::SeqCst)).cloned().collect()
    }

    /// A number and a place for a new instance on `host`.
    pub fn place(&self, worker: &Arc<Worker>, host: &Arc<Host>) -> Arc<Instance> {
        let taken: Vec<usize> = self
            .instances_of(&worker.version)
            .iter()
            .filter(|instance| instance.host.id == host.id)
            .map(|instance| instance.thread)
            .collect();
        let free = (0..host.threads).find(|thread| !taken.is_empty() && !taken.contains(thread));
        let thread = free.unwrap_or_else(|| host.least_loaded_thread());
        host.placed[thread].fetch_add(1, Ordering::Relaxed);
        let instance = Arc::new(Instance {
            id: self.next_instance.fetch_add(1, Ordering::Relaxed),
            host: host.clone(),
            thread,
            worker: worker.clone(),
            busy: AtomicU32::new(0),
            sockets: AtomicU32::new(0),
            gone: AtomicBool::new(false),
            last_used_ms: AtomicU64::new(self.now_ms()),
            waiting: AtomicU32::new(0),
            freed: Notify::new(),
            undeployed_ms: AtomicU64::new(0),
            closing: watch::Sender::new(false),
            inspected: AtomicBool::new(false),
        });
        self.lock().placed.insert(instance.id, instance.clone());
        instance
    }

    /// Whether a debugger may have stopped this thread.
    pub fn is_inspected(&self, host: u32, thread: usize) -> bool {
        let state = self.lock();
        let mut there = state.placed.values().filter(|it| (it.host.id, it.thread) == (host, thread));
        there.any(|instance| instance.inspected.load(Ordering::Relaxed))
    }

    /// The instance with this number.
    pub fn instance(&self, id: u32) -> Option<Arc<Instance>> {
        self.lock().placed.get(&id).cloned()
    }

    /// A load came to its end.
    pub fn loaded(&self, version: &VersionId, result: Option<&Arc<Instance>>) {
        let mut state = self.lock();
        let entry = state.versions.entry(version.clone()).or_default();
        entry.loading = None;
        match result {
            Some(instance) => entry.instances.push(instance.clone()),
            None if entry.instances.is_empty() => {
                state.versions.remove(version);
            }
            None => {}
        }
    }

    /// Forgets an instance that is gone.
    pub fn remove(&self, instance: &Instance) {
        instance.gone.store(true, Ordering::SeqCst);
        let mut state = self.lock();
        if state.placed.remove(&instance.id).is_some() {
            instance.host.placed[instance.thread].fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(version) = state.versions.get_mut(&instance.worker.version) {
            version.instances.retain(|other| other.id != instance.id);
            if version.instances.is_empty() && version.loading.is_none() {
                state.versions.remove(&instance.worker.version);
            }
        }
        drop(state);
        instance.freed.notify_waiters();
    }

    /// All live instances.
    pub fn instances(&self) -> Vec<Arc<Instance>> {
        self.lock().versions.values().flat_map(|version| version.instances.iter().cloned()).collect()
    }

    /// The group that a worker belongs to now.
    pub fn group(&self, worker: &Worker) -> Group {
        let key = (worker.account.clone(), worker.script.clone());
        let offends = self.lock().offences.get(&key).is_some_and(|offences| {
            offences.iter().filter(|at| at.elapsed() < OFFENCE_WINDOW).count() >= OFFENCES_MAX
        });
        match worker.isolation {
            _ if offends => Group::Worker(key.0, key.1),
            Isolation::Shared => Group::Shared,
            Isolation::Account => Group::Account(key.0),
            Isolation::Worker => Group::Worker(key.0, key.1),
        }
    }

    /// Whether a worker broke a limit a moment ago, so that it gets no advance of CPU time.
    pub fn is_suspect(&self, worker: &Worker) -> bool {
        let key = (worker.account.clone(), worker.script.clone());
        let last = self.lock().offences.get(&key).and_then(|offences| offences.back().copied());
        last.is_some_and(|at| at.elapsed() < OFFENCE_WINDOW)
    }

    /// Takes note that a worker broke a limit so that it had to be taken down.
    pub fn offended(&self, worker: &Worker) {
        let mut state = self.lock();
        if state.offences.len() >= OFFENDERS_MAX {
            state
                .offences
                .retain(|_, offences| offences.back().is_some_and(|at| at.elapsed() < OFFENCE_WINDOW));
        }
        let offences = state.offences.entry((worker.account.clone(), worker.script.clone())).or_default();
        offences.push_back(Instant::now());
        if offences.len() > OFFENCES_MAX {
            offences.pop_front();
        }
    }

    /// The host of a group; takes one out of the warm pool when the group has none. `None` when neither is there.
    pub fn host(&self, group: &Group) -> Option<Arc<Host>> {
        let mut state = self.lock();
        if let Some(host) = state.groups.get(group).filter(|host| !host.closing.load(Ordering::SeqCst)) {
            return Some(host.clone());
        }
        let host = state.warm.pop_front()?;
        state.groups.insert(group.clone(), host.clone());
        Some(host)
    }

    /// A host says that it is ready.
    pub fn host_ready(&self, host: Arc<Host>) {
        let mut state = self.lock();
        state.hosts.insert(host.id, host.clone());
        state.warm.push_back(host);
    }

    /// Hosts that wait for a group.
    pub fn warm(&self) -> usize {
        self.lock().warm.len()
    }

    /// All hosts with their groups.
    pub fn hosts(&self) -> Vec<(Arc<Host>, Option<Group>)> {
        let state = self.lock();
        let group = |id| state.groups.iter().find(|(_, host)| host.id == id).map(|(group, _)| group.clone());
        state.hosts.values().map(|host| (host.clone(), group(host.id))).collect()
    }

    /// Forgets a host that ended; returns the instances that were on it.
    pub fn host_ended(&self, id: u32, blameless: bool) -> Vec<Arc<Instance>> {
        let mut state = self.lock();
        state.hosts.remove(&id);
        let group = state.groups.iter().find(|(_, host)| host.id == id).map(|(group, _)| group.clone());
        state.groups.retain(|_, host| host.id != id);
        state.warm.retain(|host| host.id != id);
        if blameless {
            let recent =
                |crashes: &VecDeque<Instant>| crashes.back().is_some_and(|at| at.elapsed() < CRASH_WINDOW);
            state.crashes.retain(|_, crashes| recent(crashes));
            let crashes = state.crashes.entry(group).or_default();
            crashes.push_back(Instant::now());
            if crashes.len() > 16 {
                crashes.pop_front();
            }
        }
        for version in state.versions.values_mut() {
            version.instances.retain(|instance| instance.host.id != id);
        }
        let lost: Vec<_> =
            state.placed.extract_if(|_, instance| instance.host.id == id).map(|(_, i)| i).collect();
        state.versions.retain(|_, version| !version.instances.is_empty() || version.loading.is_some());
        for instance in &lost {
            instance.gone.store(true, Ordering::SeqCst);
            instance.freed.notify_waiters();
        }
        lost
    }

    /// Groups without instances give their host back: it is ended, since it may hold what its tenants left.
    pub fn idle_groups(&self) -> Vec<Arc<Host>> {
        let mut state = self.lock();
        let used: Vec<u32> = state
            .versions
            .values()
            .flat_map(|version| version.instances.iter().map(|instance| instance.host.id))
            .collect();
        if state.versions.values().any(|version| version.loading.is_some()) {
            return Vec::new();
        }
        let idle: Vec<_> = state.groups.values().filter(|host| !used.contains(&host.id)).cloned().collect();
        state.groups.retain(|_, host| used.contains(&host.id));
        idle
    }

    /// How long to wait before this group gets another host, or before any is started, after crashes that no worker can be
    /// blamed for. One group's do not hold up the others.
    pub fn backoff(&self, group: Option<&Group>) -> Duration {
        let state = self.lock();
        let Some(crashes) = state.crashes.get(&group.cloned()) else { return Duration::ZERO };
        let recent = crashes.iter().filter(|at| at.elapsed() < CRASH_WINDOW).count() as u32;
        let wait = Duration::from_millis(if recent == 0 { 0 } else { 10 << recent.min(9) });
        let since = crashes.back().map_or(Duration::MAX, Instant::elapsed);
        wait.saturating_sub(since)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(isolation: Isolation) -> Worker {
        Worker { isolation, ..crate::testing::worker("s") }
    }

    #[test]
    fn repeat_offenders_get_a_host_of_their_own() {
        let pool = Pool::default();
        let worker = worker(Isolation::Shared);
        for _ in 0..OFFENCES_MAX {
            assert_eq!(pool.group(&worker), Group::Shared);
            pool.offended(&worker);
        }
        assert_eq!(pool.group(&worker), Group::Worker(worker.account.clone(), worker.script.clone()));
    }

    #[test]
    fn one_loads_and_the_others_wait() {
        let pool = Pool::default();
        let version = worker(Isolation::Account).version;
        let Found::Load(sender) = pool.find(&version, false) else { panic!("the first one loads") };
        let Found::Loading(waiting) = pool.find(&version, false) else { panic!("the second one waits") };
        pool.loaded(&version, None);
        sender.send(Some(Err(EngineError::Timeout))).unwrap();
        assert_eq!(waiting.borrow().clone().unwrap().unwrap_err(), EngineError::Timeout);
        assert!(matches!(pool.find(&version, false), Found::Load(_)), "after a failure somebody tries again");
    }

    #[test]
    fn crashes_without_a_culprit_back_off() {
        let pool = Pool::default();
        assert_eq!(pool.backoff(None), Duration::ZERO);
        for _ in 0..5 {
            pool.host_ended(1, true);
        }
        assert!(pool.backoff(None) > Duration::from_millis(100));
        assert_eq!(pool.backoff(Some(&Group::Shared)), Duration::ZERO);
    }
}
