//! What one serving thread owns. Nothing here is shared between threads, except counters that are.

#![allow(
    clippy::redundant_allocation,
    reason = "a thread's own count keeps threads from contending for the shared one"
)]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{HeaderName, HeaderValue};
use selvedge_model::{AccountId, RouteTable, ScriptDeployment, ScriptName, Snapshot, Worker};
use selvedge_router::Network;
use selvedge_telemetry::http_metrics::StateCounts;
use selvedge_telemetry::place_metrics::{Place, PlaceCounters, PlaceMetrics};
use selvedge_telemetry::traces::Tracer;
use selvedge_telemetry::{AccessLogBuffer, AccessLogConfig, Exemplar, HttpCounters};
use slab::Slab;
use tokio::sync::{Notify, watch};

use crate::compress::Compressors;
use crate::config::EdgeConfig;
use crate::connection::Connection;
use crate::edge::Explain;
use crate::entrance::Entrance;
use crate::exchange::Exchange;
use crate::http1::Scratch;
use crate::pulse::Pulse;
use crate::refusal::Refusal;
use crate::request_id::RequestIds;
use crate::sites::Sites;
use crate::workers::Workers;

/// How long a log line may wait in its buffer.
const LOG_DELAY: Duration = Duration::from_millis(50);

/// State of one serving thread, for the connections that came while the same settings were in effect.
pub(crate) struct Thread {
    pub(crate) config: Arc<EdgeConfig>,
    pub(crate) counters: Arc<HttpCounters>,
    pub(crate) routes: RefCell<Routes>,
    /// What the settings say now; see [`Thread::sites`].
    pub(crate) newest_sites: RefCell<Newest>,
    pub(crate) workers: Rc<Workers>,
    /// Connections to servers behind this one.
    pub(crate) upstreams: Rc<selvedge_upstream::Local>,
    /// The networks of our proxies.
    pub(crate) trusted: Vec<Network>,
    pub(crate) ids: RequestIds,
    pub(crate) clock: Rc<Clock>,
    /// Says that the thread is alive.
    pub(crate) pulse: Rc<Pulse>,
    /// What its connections wait for, as of the last look.
    pub(crate) states: Cell<StateCounts>,
    /// This one and others of the same thread of the system, which serve what came before or after.
    pub(crate) generations: Rc<RefCell<Vec<Weak<Thread>>>>,
    pub(crate) scratch: Scratch,
    pub(crate) compressors: Rc<Compressors>,
    pub(crate) log: RefCell<AccessLogBuffer>,
    /// What is counted by what answers.
    pub(crate) places: Places,
    /// Where traces go, if they go anywhere.
    pub(crate) tracer: Option<Tracer>,
    /// Networks of clients that are told what took how long.
    pub(crate) timed: Vec<Network>,
    /// Fields that lines tell.
    pub(crate) log_fields: LogFields,
    /// Told when a line was put into an empty buffer.
    pub(crate) log_waits: Notify,
    pub(crate) server_header: Option<HeaderValue>,
    pub(crate) dice: RefCell<fastrand::Rng>,
    pub(crate) connections: RefCell<Slab<Rc<Connection>>>,
    /// Open connections of all threads.
    pub(crate) open: Arc<AtomicUsize>,
    pub(crate) max_open: usize,
    /// What comes before HTTP.
    pub(crate) entrance: Arc<Entrance>,
    /// For TLS, one connection after the other.
    pub(crate) tls_buffers: Rc<selvedge_tls::Buffers>,
    /// No new requests are wanted on open connections.
    pub(crate) draining: Cell<bool>,
    /// Told when `draining` begins.
    pub(crate) drained: Notify,
    /// Told when the last connection closed.
    pub(crate) empty: Notify,
    /// Clients are to ask on other connections, which another process or newer settings serve.
    pub(crate) retiring: Cell<bool>,
    /// Cached responses, of all threads.
    pub(crate) cache: Arc<selvedge_cache::store::Store>,
    /// Tells developers what went wrong.
    pub(crate) explain: Option<Explain>,
}

impl Thread {
    /// Whether a connection's other side is a proxy of ours, which says who asks.
    pub(crate) fn is_trusted(&self, peer: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(peer))
    }

    /// The sites as the settings have them now. Whoever holds them keeps what they were.
    pub(crate) fn sites(&self) -> Rc<Arc<Sites>> {
        let mut newest = self.newest_sites.borrow_mut();
        // Without its sender they stay what they are.
        if newest.source.has_changed().unwrap_or(false) {
            let sites = newest.source.borrow_and_update().clone();
            newest.now = Rc::new(sites);
        }
        newest.now.clone()
    }

    /// Of a deployment's versions the one whose turn it is.
    pub(crate) fn pick(&self, deployment: &ScriptDeployment) -> Result<Arc<Worker>, Refusal> {
        match &*deployment.shares {
            [] => Err(Refusal::NO_SUCH_WORKER),
            [only] => Ok(only.worker.clone()),
            _ => Ok(deployment.pick(self.dice.borrow_mut().f64()).clone()),
        }
    }

    /// A place among the open connections, unless all are taken.
    pub(crate) fn admit(self: &Rc<Self>, client: IpAddr) -> Option<Admitted> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.max_open {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        self.counters.opened.add(1);
        let connection = Rc::new(Connection::new(client, self.clock.clone(), self.counters.clone()));
        if self.draining.get() {
            connection.drain();
        }
        if self.retiring.get() {
            connection.retire();
        }
        let key = self.connections.borrow_mut().insert(connection.clone());
        Some(Admitted { thread: self.clone(), connection, key })
    }

    /// Asks open connections to end after the requests in flight.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        self.drained.notify_waiters();
        for (_, connection) in self.connections.borrow().iter() {
            connection.drain();
        }
    }

    /// Asks open connections to end after the next response, and closes none: one that waits may have a request on its way.
    pub(crate) fn retire(&self) {
        self.retiring.set(true);
        for (_, connection) in self.connections.borrow().iter() {
            connection.retire();
        }
    }

    /// Waits until no connection is open.
    pub(crate) async fn emptied(&self) {
        while !self.connections.borrow().is_empty() {
            self.empty.notified().await;
        }
    }

    /// Waits until the server goes down.
    pub(crate) async fn going_down(&self) {
        let notified = self.drained.notified();
        if !self.draining.get() {
            notified.await;
        }
    }

    /// Cuts connections whose time is up, for ever.
    pub(crate) async fn sweep(&self) {
        let config = &self.config;
        let mut shortest = config
            .header_timeout()
            .min(config.idle_timeout())
            .min(config.stall_timeout())
            .min(config.tls.handshake_timeout());
        if config.http2.ping_interval_ms > 0 {
            let pings = config.http2.ping_interval_ms.min(config.http2.ping_timeout_ms);
            shortest = shortest.min(Duration::from_millis(pings));
        }
        let period = (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(1));
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = self.clock.tick();
            self.pulse.beat(now);
            self.clock.follow_wall_clock(now);
            let mut states = StateCounts::default();
            for (_, connection) in self.connections.borrow().iter() {
                connection.check(now, config);
                states[connection.state() as usize] += 1;
            }
            self.states.set(states);
            let mut sums = StateCounts::default();
            for generation in self.generations.borrow().iter().filter_map(Weak::upgrade) {
                let states = generation.states.get();
                sums.iter_mut().zip(states).for_each(|(sum, count)| *sum += count);
            }
            self.counters.states(&sums);
        }
    }

    /// Hands log lines over soon after they were made, for ever.
    pub(crate) async fn flush_log(&self) {
        loop {
            self.log_waits.notified().await;
            tokio::time::sleep(LOG_DELAY).await;
            self.log.borrow_mut().flush();
        }
    }
}

/// Counters of what answers.
pub(crate) struct Places {
    metrics: PlaceMetrics,
    /// This thread's number.
    number: usize,
    /// Of workers, which come and go.
    workers: RefCell<HashMap<String, Vec<Counted>>>,
}

/// Whose worker of a name, and its counters.
type Counted = (AccountId, Arc<PlaceCounters>);

/// Workers whose counters a thread remembers.
const WORKERS_MAX: usize = 1000;

impl Places {
    pub(crate) fn new(metrics: PlaceMetrics, number: usize) -> Self {
        Self { metrics, number, workers: RefCell::default() }
    }

    /// Counts a request by the site's route that answered, or else the worker.
    pub(crate) fn count(&self, exchange: &Exchange, duration_us: u64, exemplar: Option<Exemplar>) {
        let status = exchange.status.as_u16();
        let request = |counters: &PlaceCounters| {
            counters.request(self.number, status, duration_us);
            if let Some(exemplar) = exemplar {
                counters.exemplar(status, exemplar);
            }
        };
        if let Some(route) = &exchange.route {
            let counters = route.counters.get_or_init(|| {
                self.metrics.place(Place { site: route.site.clone(), route: route.name.clone() })
            });
            return request(counters);
        }
        let Some(worker) = &exchange.worker else { return };
        let mut workers = self.workers.borrow_mut();
        if let Some(known) = workers.get(worker.script.as_str())
            && let Some((_, counters)) = known.iter().find(|(account, _)| *account == worker.account)
        {
            return request(counters);
        }
        if workers.len() >= WORKERS_MAX {
            workers.clear();
        }
        let route = format!("{}/{}", worker.account, worker.script);
        let counters = self.metrics.place(Place { site: String::new(), route });
        request(&counters);
        workers.entry(worker.script.to_string()).or_default().push((worker.account.clone(), counters));
    }
}

/// Names of header fields that log lines tell.
#[derive(Debug, Default)]
pub(crate) struct LogFields {
    pub(crate) request: Vec<HeaderName>,
    pub(crate) response: Vec<HeaderName>,
}

impl LogFields {
    pub(crate) fn new(config: &AccessLogConfig) -> Self {
        let names = |names: Vec<String>| names.iter().filter_map(|name| name.parse().ok()).collect();
        Self { request: names(config.request_fields()), response: names(config.response_fields()) }
    }
}

/// A connection's place; dropping it frees the place.
pub(crate) struct Admitted {
    thread: Rc<Thread>,
    pub(crate) connection: Rc<Connection>,
    key: usize,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut connections = self.thread.connections.borrow_mut();
        connections.remove(self.key);
        self.thread.counters.closed.add(1);
        self.thread.open.fetch_sub(1, Ordering::Relaxed);
        if connections.is_empty() {
            self.thread.empty.notify_waiters();
        }
    }
}

/// The sites of the newest settings. Counted by this thread, so that threads do not contend for each request.
pub(crate) struct Newest {
    source: watch::Receiver<Arc<Sites>>,
    now: Rc<Arc<Sites>>,
}

impl Newest {
    pub(crate) fn new(mut source: watch::Receiver<Arc<Sites>>) -> Self {
        let now = Rc::new(source.borrow_and_update().clone());
        Self { source, now }
    }
}

/// The thread's own copy of the route table.
pub(crate) struct Routes {
    snapshot: watch::Receiver<Arc<Snapshot>>,
    base_domains: Vec<String>,
    table: RouteTable,
}

impl Routes {
    pub(crate) fn new(mut snapshot: watch::Receiver<Arc<Snapshot>>, base_domains: &[String]) -> Self {
        let table = RouteTable::new(snapshot.borrow_and_update().clone(), base_domains);
        Self { snapshot, base_domains: base_domains.to_vec(), table }
    }

    /// The deployment that answers, by the newest snapshot: its arrival costs one atomic load to notice.
    pub(crate) fn lookup(&mut self, host: &str, path: &str) -> Option<&Arc<ScriptDeployment>> {
        self.follow();
        self.table.lookup(host, path)
    }

    /// The deployment of a script, by the newest snapshot.
    pub(crate) fn script(&mut self, name: &(AccountId, ScriptName)) -> Option<&Arc<ScriptDeployment>> {
        self.follow();
        self.table.snapshot().scripts.get(name)
    }

    fn follow(&mut self) {
        // Without its sender the snapshot stays what it is.
        if self.snapshot.has_changed().unwrap_or(false) {
            let snapshot = self.snapshot.borrow_and_update().clone();
            self.table = RouteTable::new(snapshot, &self.base_domains);
        }
    }
}

/// Time, read from the system as rarely as possible.
#[derive(Debug)]
pub(crate) struct Clock {
    /// The last reading, at most a sweep old.
    now: Cell<Instant>,
    /// A moment, and what the wall clock said then.
    wall: Cell<(Instant, Duration)>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { now: Cell::new(now), wall: Cell::new((now, wall_clock())) }
    }

    /// Reads the clock.
    pub(crate) fn tick(&self) -> Instant {
        let now = Instant::now();
        self.now.set(now);
        now
    }

    /// The last reading.
    pub(crate) fn recent(&self) -> Instant {
        self.now.get()
    }

    /// Since the Unix epoch.
    pub(crate) fn since_epoch(&self, at: Instant) -> Duration {
        let (moment, wall) = self.wall.get();
        if at >= moment { wall + (at - moment) } else { wall.saturating_sub(moment - at) }
    }

    fn follow_wall_clock(&self, now: Instant) {
        self.wall.set((now, wall_clock()));
    }
}

fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
