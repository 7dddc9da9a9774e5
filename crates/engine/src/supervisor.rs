//! The engine's own thread: starts hosts, watches them, ends them, unloads what is idle.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use selvedge_confine::cgroup::CgroupRoot;
use selvedge_model::{Snapshot, VersionId};
use selvedge_wire::{Kind, frame};
use tokio::sync::{mpsc, oneshot};

use crate::host::{Group, Host, Offence, Verdict};
use crate::pool::{Found, Instance};
use crate::pulse::Beat;
use crate::shared::{Order, Shared};
use crate::{EngineError, LocalEngine, inspect, load, schedule};

/// How often hosts are looked at.
const TICK: Duration = Duration::from_millis(50);
/// How often idle instances and memory are looked at.
const SWEEP: Duration = Duration::from_millis(500);
/// How long a turn may go on after V8 was asked to stop it.
const STOP_PATIENCE: Duration = Duration::from_secs(1);
/// How long requests wait for a host while no new one may be started; beyond it they are refused at once.
const BACKOFF_WAIT: Duration = Duration::from_secs(1);
/// How long any turn may take, whatever the host says.
const TURN_MAX: Duration = Duration::from_secs(20);
/// How long a version that is not deployed stays loaded: a deploy is validated before it is recorded.
const UNDEPLOYED_GRACE_MS: u64 = 30_000;

/// A group that waits for a host, and whom to tell.
type Waiting = (Group, oneshot::Sender<Result<Arc<Host>, EngineError>>);

/// The supervisor.
pub struct Supervisor {
    shared: Arc<Shared>,
    engine: LocalEngine,
    cgroups: Option<CgroupRoot>,
    next_host: AtomicU32,
    /// Hosts being started.
    starting: std::cell::Cell<usize>,
    waiting: std::cell::RefCell<Vec<Waiting>>,
    deployed: std::cell::RefCell<Option<HashSet<VersionId>>>,
    last_failure: std::cell::RefCell<String>,
}

impl Supervisor {
    /// Takes up the work of the thread it is called on.
    pub fn new(shared: Arc<Shared>, cgroups: Option<CgroupRoot>) -> std::rc::Rc<Self> {
        std::rc::Rc::new(Self {
            engine: LocalEngine::new(shared.clone()),
            shared,
            cgroups,
            next_host: AtomicU32::new(1),
            starting: std::cell::Cell::new(0),
            waiting: std::cell::RefCell::default(),
            deployed: std::cell::RefCell::default(),
            last_failure: std::cell::RefCell::default(),
        })
    }

    /// Starts a host and waits until it serves.
    pub async fn start_host(&self) -> Result<Arc<Host>, String> {
        let id = self.next_host.fetch_add(1, Ordering::Relaxed);
        let host = Host::spawn(id, &self.shared.config, self.shared.threads, self.cgroups.as_ref())
            .map_err(|error| error.to_string())?;
        host.ready().await?;
        self.shared.counters.hosts_started.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(host))
    }

    /// Serves orders until the engine shuts down.
    pub async fn run(self: std::rc::Rc<Self>, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut swept = Instant::now();
        tokio::task::spawn_local(schedule::run(self.engine.clone()));
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Shutdown(grace, done)) => {
                        self.shutdown(grace).await;
                        let _ = done.send(());
                        return;
                    }
                    Some(order) => self.obey(order),
                    None => return self.shutdown(Duration::ZERO).await,
                },
                _ = tick.tick() => {
                    self.watch();
                    if swept.elapsed() >= SWEEP {
                        swept = Instant::now();
                        self.sweep();
                    }
                }
            }
            self.replenish();
        }
    }

    fn obey(self: &std::rc::Rc<Self>, order: Order) {
        match order {
            Order::Host(group, answer) => {
                self.waiting.borrow_mut().push((group, answer));
                self.hand_out();
            }
            Order::Validate(worker, artifact, answer) => {
                let this = self.clone();
                tokio::task::spawn_local(async move {
                    let result = match this.shared.pool.find(&worker.version, true) {
                        Found::Load(sender) => {
                            load::load(&this.engine, &worker, Some(artifact), sender).await
                        }
                        _ => Err(load::LoadError::Engine(EngineError::Overloaded)),
                    };
                    let _ = answer
                        .send(result.map(|(_, validated)| validated).map_err(load::LoadError::into_validate));
                });
            }
            Order::Inspect(worker, pauses, answer) => {
                let this = self.clone();
                tokio::task::spawn_local(async move {
                    let _ = answer.send(inspect::begin(&this.engine, &worker, pauses).await);
                });
            }
            Order::Scheduled(worker, cron, time_ms, answer) => {
                let this = self.clone();
                tokio::task::spawn_local(async move {
                    let _ = answer.send(this.engine.scheduled(&worker, &cron, time_ms).await);
                });
            }
            Order::Deployed(snapshot) => self.deployed(&snapshot),
            Order::Shutdown(..) => {}
        }
    }

    fn deployed(&self, snapshot: &Snapshot) {
        let shares = snapshot.scripts.values().flat_map(|script| &script.shares);
        *self.deployed.borrow_mut() = Some(shares.map(|share| share.worker.version.clone()).collect());
        self.sweep();
    }

    /// Starts hosts as long as some group waits for one or the warm pool is not full.
    fn replenish(self: &std::rc::Rc<Self>) {
        if self.shared.draining.load(Ordering::Relaxed) {
            return;
        }
        self.hand_out();
        let held = |group: &Group| !self.shared.pool.backoff(Some(group)).is_zero();
        let waiting = self.waiting.borrow().iter().filter(|(group, _)| !held(group)).count();
        let wanted = waiting + self.shared.config.warm_hosts;
        let have = self.shared.pool.warm() + self.starting.get();
        let backoff = self.shared.pool.backoff(None);
        if !backoff.is_zero() && backoff <= BACKOFF_WAIT {
            return;
        }
        if !backoff.is_zero() {
            for (_, answer) in self.waiting.borrow_mut().drain(..) {
                let reason = format!("sandbox hosts keep failing: {}", self.last_failure.borrow());
                let _ = answer.send(Err(EngineError::Unavailable(reason)));
            }
            return;
        }
        for _ in have..wanted {
            self.starting.set(self.starting.get() + 1);
            let this = self.clone();
            tokio::task::spawn_local(async move {
                let started = this.start_host().await;
                this.starting.set(this.starting.get() - 1);
                match started {
                    Ok(host) => this.shared.pool.host_ready(host),
                    Err(error) => {
                        tracing::error!(%error, "a sandbox host could not be started");
                        *this.last_failure.borrow_mut() = error;
                        this.shared.pool.host_ended(0, true);
                    }
                }
                this.hand_out();
            });
        }
    }

    /// Gives hosts to the groups that wait.
    fn hand_out(&self) {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for (group, answer) in waiting {
            let backoff = self.shared.pool.backoff(Some(&group));
            if backoff > BACKOFF_WAIT {
                let reason = "this worker's sandboxes keep failing".into();
                let _ = answer.send(Err(EngineError::Unavailable(reason)));
                continue;
            }
            match backoff.is_zero().then(|| self.shared.pool.host(&group)).flatten() {
                Some(host) => drop(answer.send(Ok(host))),
                None => self.waiting.borrow_mut().push((group, answer)),
            }
        }
    }

    /// Looks at each host: has it ended, is a turn beyond its limits, is its memory.
    fn watch(&self) {
        let now = monotonic_ns();
        for (host, _) in self.shared.pool.hosts() {
            if let Some(status) = host.ended() {
                self.ended(&host, host.verdict_of(status));
                continue;
            }
            for slot in &host.page.threads[..host.threads] {
                let Some((instance, running_ns)) = slot.running(now) else { continue };
                let asked = slot.stop_asked_ns.load(Ordering::Relaxed);
                let ignored = asked != 0 && now.saturating_sub(asked) > STOP_PATIENCE.as_nanos() as u64;
                if ignored || running_ns > TURN_MAX.as_nanos() as u64 {
                    let reason = "a worker would not stop at its CPU limit".into();
                    self.end(&host, Verdict { offender: Some((instance, Offence::Cpu)), reason });
                    break;
                }
            }
            if !host.closing.load(Ordering::Relaxed)
                && (0..host.threads).any(|thread| self.is_lost(&host, thread))
            {
                host.abandon();
                self.ended(&host, Verdict { offender: None, reason: "it did not answer any more".into() });
            }
        }
    }

    /// Asks a host's thread now and then whether it is there; whether it has not answered for too long.
    fn is_lost(&self, host: &Arc<Host>, thread: usize) -> bool {
        let Ok(connection) = self.engine.connection(host, thread) else { return false };
        let in_turn = host.page.threads[thread].instance.load(Ordering::Relaxed) != 0;
        match connection.pulse.look(in_turn) {
            Beat::Wait => false,
            Beat::Ask => {
                connection.send(|out| frame::put(out, Kind::Ping, 0, 0, &[]));
                false
            }
            Beat::Lost => !self.shared.pool.is_inspected(host.id, thread),
        }
    }

    /// Ends a host for what an instance did.
    fn end(&self, host: &Arc<Host>, verdict: Verdict) {
        host.kill();
        self.ended(host, verdict);
    }

    fn ended(&self, host: &Arc<Host>, verdict: Verdict) {
        self.shared.counters.hosts_ended.fetch_add(1, Ordering::Relaxed);
        let offender = verdict.offender.and_then(|(id, _)| self.shared.pool.instance(id));
        // The host wrote the number; it is believed about its own instances only.
        let offender = offender.filter(|instance| instance.host.id == host.id);
        tracing::warn!(
            pid = host.pid,
            reason = %verdict.reason,
            offender = offender.as_ref().map_or("", |instance| instance.worker.script.as_str()),
            "a sandbox host ended"
        );
        if let Some(instance) = &offender {
            self.shared.pool.offended(&instance.worker);
        }
        // A host that was closing ended on purpose.
        let on_purpose = host.closing.load(Ordering::SeqCst) && !host.failed.load(Ordering::SeqCst);
        let blameless = offender.is_none() && !on_purpose;
        self.shared.pool.host_ended(host.id, blameless);
        host.closing.store(true, Ordering::SeqCst);
        host.verdict.send_replace(Some(verdict));
        self.engine.sweep();
    }

    /// Unloads what is idle or no longer deployed, and what is least recently used beyond the memory budget.
    fn sweep(&self) {
        let pool = &self.shared.pool;
        let now = pool.now_ms();
        let mut instances = pool.instances();
        let deployed = self.deployed.borrow();
        instances.retain(|instance| {
            let idle_ms = now.saturating_sub(instance.last_used_ms.load(Ordering::Relaxed));
            let retired =
                deployed.as_ref().is_some_and(|deployed| !deployed.contains(&instance.worker.version));
            self.drain(instance, retired, now);
            let idle =
                idle_ms >= self.shared.config.idle_s * 1000 || (retired && idle_ms >= UNDEPLOYED_GRACE_MS);
            !(idle && self.retire(instance))
        });
        let mut total = 0;
        let limit = self.shared.config.host_memory_mb << 20;
        for (host, _) in pool.hosts() {
            let used = host.usage().memory_bytes;
            total += used;
            if used > limit {
                let running = host.running_instance();
                let reason = format!("{} MiB in memory, over the host's limit", used >> 20);
                self.end(&host, Verdict { offender: running.zip(Some(Offence::Memory)), reason });
            }
        }
        self.shared.measured(total, instances.len(), pool.hosts().len());
        self.evict(instances, total);
        for host in pool.idle_groups() {
            host.kill();
        }
    }

    /// Has an instance's WebSockets closed some time after its version is no longer deployed.
    fn drain(&self, instance: &Instance, retired: bool, now_ms: u64) {
        if !retired {
            instance.undeployed_ms.store(0, Ordering::Relaxed);
            // It may have come back meanwhile.
            instance.closing.send_if_modified(|closing| std::mem::replace(closing, false));
            return;
        }
        let first = instance.undeployed_ms.compare_exchange(0, now_ms, Ordering::Relaxed, Ordering::Relaxed);
        let since = first.unwrap_or_else(|since| since);
        if now_ms.saturating_sub(since) >= self.shared.config.socket_drain_s * 1000 && first.is_err() {
            instance.closing.send_if_modified(|closing| !std::mem::replace(closing, true));
        }
    }

    fn evict(&self, mut instances: Vec<Arc<Instance>>, total: u64) {
        let budget = self.shared.config.memory_budget_mb << 20;
        // Loading makes room by itself; this is for isolates that grew.
        if total <= budget + budget / 8 || instances.is_empty() {
            return;
        }
        instances.sort_by_key(|instance| instance.last_used_ms.load(Ordering::Relaxed));
        // Memory comes back only after a while: unload a share that matches the excess, not everything.
        let excess = (total - budget) as f64 / total as f64;
        let count = ((instances.len() as f64 * excess).ceil() as usize).clamp(1, instances.len());
        for instance in &instances[..count] {
            if self.retire(instance) {
                self.shared.counters.evictions.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn retire(&self, instance: &Arc<Instance>) -> bool {
        let retired = instance.retire_if_idle();
        if retired {
            load::unload(&self.engine, instance);
        }
        retired
    }

    async fn shutdown(&self, grace: Duration) {
        self.shared.draining.store(true, Ordering::Relaxed);
        let until = Instant::now() + grace;
        let busy = || self.shared.pool.instances().iter().any(|i| i.busy.load(Ordering::Relaxed) > 0);
        while busy() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for (host, _) in self.shared.pool.hosts() {
            host.kill();
            self.shared.pool.host_ended(host.id, false);
        }
        // Connections hold hosts, too; with the last of them goes the host's cgroup.
        self.engine.sweep();
    }
}

fn monotonic_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
