//! One serving thread, from its start to its end: it opens its doors, takes up new settings, leaves connections to another
//! process and drains.
//!
//! New settings of the edge are for new connections. Those that are open keep the [`Thread`] that they came to, and are asked
//! to end after their next response; none is closed for it.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use http::HeaderValue;
use selvedge_cache::store::Store;
use selvedge_model::Snapshot;
use selvedge_telemetry::place_metrics::PlaceMetrics;
use selvedge_telemetry::traces::Tracer;
use selvedge_telemetry::{AccessLogBuffer, HttpCounters};
use slab::Slab;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Notify, watch};

use crate::EdgeError;
use crate::compress::Compressors;
use crate::config::EdgeConfig;
use crate::edge::Explain;
use crate::entrance::Entrance;
use crate::http1::Scratch;
use crate::listen::{Accepting, Listener, Manner};
use crate::pulse::Pulse;
use crate::request::{accept, welcome};
use crate::request_id::RequestIds;
use crate::sites::Sites;
use crate::stream::Plain;
use crate::thread::{Clock, LogFields, Newest, Places, Routes, Thread};
use crate::workers::Workers;

/// Connections that are taken at most from the queue of a socket before it is closed.
const QUEUED_MAX: usize = 8192;

/// What a thread is made of; everything in it may move there.
pub(crate) struct Plan {
    /// The thread's number.
    pub(crate) number: usize,
    pub(crate) snapshot: watch::Receiver<Arc<Snapshot>>,
    pub(crate) sites: watch::Receiver<Arc<Sites>>,
    pub(crate) pulse: Pulse,
    pub(crate) places: PlaceMetrics,
    pub(crate) tracer: Option<Tracer>,
    pub(crate) counters: Arc<HttpCounters>,
    pub(crate) open: Arc<AtomicUsize>,
    pub(crate) explain: Option<Explain>,
    pub(crate) cache: Arc<Store>,
    /// What it begins with.
    pub(crate) terms: Terms,
    /// Whether it takes connections from the beginning.
    pub(crate) accepting: bool,
    pub(crate) orders: UnboundedReceiver<Order>,
    pub(crate) end: watch::Receiver<Option<Instant>>,
}

/// What may change while a thread serves.
pub(crate) struct Terms {
    pub(crate) config: Arc<EdgeConfig>,
    pub(crate) entrance: Arc<Entrance>,
    pub(crate) log: AccessLogBuffer,
    pub(crate) max_open: usize,
    /// All listeners. Those that are not among them any more are closed.
    pub(crate) listeners: Vec<Share>,
}

/// A thread's share of a listener.
pub(crate) struct Share {
    /// Tells listeners apart.
    pub(crate) number: u64,
    pub(crate) manner: Manner,
    /// None where the thread has them already.
    pub(crate) sockets: Vec<Listener>,
}

/// What a thread is told, and where it says that it has done so.
pub(crate) struct Order(pub(crate) What, pub(crate) mpsc::SyncSender<io::Result<()>>);

pub(crate) enum What {
    /// Serve new connections by these.
    Terms(Box<Terms>),
    /// Take connections, or leave them in the sockets' queues.
    Accept(bool),
    /// Let go of the listeners, which another process has, and have clients ask on other connections.
    Leave,
}

/// Where new connections come in.
pub(crate) struct Door {
    accepting: Accepting,
    manner: RefCell<Rc<Manner>>,
    current: Rc<RefCell<Rc<Thread>>>,
}

impl Door {
    pub(crate) async fn accept(&self) -> io::Result<(Plain, IpAddr)> {
        self.accepting.accept().await
    }

    /// What serves a connection that comes now.
    pub(crate) fn thread(&self) -> Rc<Thread> {
        self.current.borrow().clone()
    }

    pub(crate) fn manner(&self) -> Rc<Manner> {
        self.manner.borrow().clone()
    }

    /// Takes what waits in the queue, which would be lost with the socket.
    fn empty_queue(&self) {
        for _ in 0..QUEUED_MAX {
            match self.accepting.accept_now() {
                Ok((stream, peer)) => welcome(&self.thread(), &self.manner(), stream, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {}
            }
        }
    }
}

/// Starts a thread and waits until it serves.
pub(crate) fn spawn(
    plan: Plan,
    workers: impl FnOnce() -> Workers + Send + 'static,
) -> Result<JoinHandle<()>, EdgeError> {
    let (started, outcome) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new()
        .name(format!("edge-{}", plan.number))
        .spawn(move || {
            let runtime = match runtime() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            runtime.block_on(run(plan, workers, started));
        })
        .map_err(EdgeError::Thread)?;
    match outcome.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => Err(EdgeError::Thread(error)),
        // It panicked before it could say anything.
        Err(_) => Err(EdgeError::Thread(io::Error::other("it panicked"))),
    }
}

fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}

/// One thread's life.
async fn run(plan: Plan, workers: impl FnOnce() -> Workers, started: mpsc::SyncSender<io::Result<()>>) {
    let Plan { terms, accepting, mut orders, mut end, .. } = plan;
    let upstreams = selvedge_upstream::Local::new();
    tokio::task::spawn_local(upstreams.clone().run());
    let lasting = Lasting {
        number: plan.number,
        snapshot: plan.snapshot,
        sites: plan.sites,
        pulse: Rc::new(plan.pulse),
        generations: Rc::default(),
        places: plan.places,
        tracer: plan.tracer,
        counters: plan.counters,
        open: plan.open,
        explain: plan.explain,
        cache: plan.cache,
        workers: Rc::new(workers()),
        upstreams,
        clock: Rc::new(Clock::new()),
        compressors: Rc::default(),
        tls_buffers: Rc::default(),
    };
    let Terms { config, entrance, log, max_open, listeners } = terms;
    let generation = Generation::begin(lasting.thread(config, entrance, log, max_open));
    let current = Rc::new(RefCell::new(generation.thread.clone()));
    let mut serving = Serving { lasting, current, generation, doors: Vec::new(), accepting };
    let opened = serving.open(listeners);
    let failed = opened.is_err();
    // The other side waits for it unless it has failed already.
    let _ = started.send(opened);
    if failed {
        return;
    }
    // Without its sender the edge was dropped: no time is left.
    let deadline = loop {
        tokio::select! {
            end = end.wait_for(Option::is_some) => {
                break end.ok().and_then(|end| *end).unwrap_or_else(Instant::now);
            }
            Some(Order(what, done)) = orders.recv() => {
                let outcome = serving.obey(what).await;
                // Nobody waits for it any more where that failed.
                let _ = done.send(outcome);
            }
        }
    };
    serving.end(deadline).await;
}

/// What a thread keeps, whatever the settings say.
struct Lasting {
    number: usize,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    sites: watch::Receiver<Arc<Sites>>,
    pulse: Rc<Pulse>,
    /// What serves connections, the newest last.
    generations: Rc<RefCell<Vec<Weak<Thread>>>>,
    places: PlaceMetrics,
    tracer: Option<Tracer>,
    counters: Arc<HttpCounters>,
    open: Arc<AtomicUsize>,
    explain: Option<Explain>,
    cache: Arc<Store>,
    workers: Rc<Workers>,
    upstreams: Rc<selvedge_upstream::Local>,
    clock: Rc<Clock>,
    compressors: Rc<Compressors>,
    tls_buffers: Rc<selvedge_tls::Buffers>,
}

impl Lasting {
    fn thread(
        &self,
        config: Arc<EdgeConfig>,
        entrance: Arc<Entrance>,
        log: AccessLogBuffer,
        max_open: usize,
    ) -> Rc<Thread> {
        let thread = Rc::new(Thread {
            pulse: self.pulse.clone(),
            states: Cell::default(),
            generations: self.generations.clone(),
            counters: self.counters.clone(),
            routes: RefCell::new(Routes::new(self.snapshot.clone(), &config.base_domains)),
            newest_sites: RefCell::new(Newest::new(self.sites.clone())),
            workers: self.workers.clone(),
            upstreams: self.upstreams.clone(),
            trusted: config.trusted_networks(),
            ids: RequestIds::new(),
            clock: self.clock.clone(),
            scratch: Scratch::new(),
            compressors: self.compressors.clone(),
            log: RefCell::new(log),
            places: Places::new(self.places.clone(), self.number),
            tracer: self.tracer.clone(),
            timed: config.timed_networks(),
            log_fields: LogFields::new(&config.access_log),
            log_waits: Notify::new(),
            server_header: config.server_header.as_ref().and_then(|v| HeaderValue::from_str(v).ok()),
            dice: RefCell::new(fastrand::Rng::new()),
            connections: RefCell::new(Slab::new()),
            open: self.open.clone(),
            max_open,
            entrance,
            tls_buffers: self.tls_buffers.clone(),
            draining: Cell::new(false),
            drained: Notify::new(),
            empty: Notify::new(),
            retiring: Cell::new(false),
            config,
            explain: self.explain.clone(),
            cache: self.cache.clone(),
        });
        let mut generations = self.generations.borrow_mut();
        generations.retain(|generation| generation.strong_count() > 0);
        generations.push(Rc::downgrade(&thread));
        thread
    }
}

/// What serves the connections that came under the same settings.
struct Generation {
    thread: Rc<Thread>,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

impl Generation {
    fn begin(thread: Rc<Thread>) -> Self {
        let (sweeping, flushing) = (thread.clone(), thread.clone());
        let tasks = [
            tokio::task::spawn_local(async move { sweeping.sweep().await }),
            tokio::task::spawn_local(async move { flushing.flush_log().await }),
        ];
        Self { thread, tasks }
    }

    /// Goes with its last connection.
    fn retire(self) {
        self.thread.retire();
        tokio::task::spawn_local(async move {
            self.thread.emptied().await;
            for task in self.tasks {
                task.abort();
            }
            // Its log is handed over when it is dropped.
        });
    }
}

struct Serving {
    lasting: Lasting,
    /// What serves new connections.
    current: Rc<RefCell<Rc<Thread>>>,
    generation: Generation,
    doors: Vec<Opened>,
    accepting: bool,
}

/// A listener that is open here.
struct Opened {
    number: u64,
    doors: Vec<Rc<Door>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Opened {
    fn accept(&mut self, accepting: bool) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        if accepting {
            self.tasks.extend(self.doors.iter().map(|door| tokio::task::spawn_local(accept(door.clone()))));
        }
    }

    /// Closes its sockets, after what waits there was taken if anything was.
    async fn close(self, accepting: bool) {
        for task in self.tasks {
            task.abort();
            // By then it has let go of its door.
            let _ = task.await;
        }
        if accepting {
            self.doors.iter().for_each(|door| door.empty_queue());
        }
    }
}

impl Serving {
    async fn obey(&mut self, what: What) -> io::Result<()> {
        match what {
            What::Terms(terms) => self.follow(*terms).await,
            What::Accept(accepting) => {
                self.accepting = accepting;
                self.doors.iter_mut().for_each(|opened| opened.accept(accepting));
                Ok(())
            }
            What::Leave => {
                for opened in std::mem::take(&mut self.doors) {
                    opened.close(false).await;
                }
                self.generation.thread.retire();
                Ok(())
            }
        }
    }

    /// Serves new connections by other settings.
    async fn follow(&mut self, terms: Terms) -> io::Result<()> {
        let Terms { config, entrance, log, max_open, listeners } = terms;
        let next = Generation::begin(self.lasting.thread(config, entrance, log, max_open));
        *self.current.borrow_mut() = next.thread.clone();
        std::mem::replace(&mut self.generation, next).retire();
        let (kept, closed) = std::mem::take(&mut self.doors)
            .into_iter()
            .partition(|opened: &Opened| listeners.iter().any(|share| share.number == opened.number));
        self.doors = kept;
        let outcome = self.open(listeners);
        for gone in closed {
            gone.close(self.accepting).await;
        }
        outcome
    }

    /// Opens what is not open.
    fn open(&mut self, listeners: Vec<Share>) -> io::Result<()> {
        let mut outcome = Ok(());
        for Share { number, manner, sockets } in listeners {
            let manner = Rc::new(manner);
            if let Some(opened) = self.doors.iter().find(|opened| opened.number == number) {
                opened.doors.iter().for_each(|door| *door.manner.borrow_mut() = manner.clone());
                continue;
            }
            let mut opened = Opened { number, doors: Vec::new(), tasks: Vec::new() };
            for socket in sockets {
                match socket.accepting() {
                    Ok(accepting) => opened.doors.push(Rc::new(Door {
                        accepting,
                        manner: RefCell::new(manner.clone()),
                        current: self.current.clone(),
                    })),
                    Err(error) => outcome = Err(error),
                }
            }
            opened.accept(self.accepting);
            self.doors.push(opened);
        }
        outcome
    }

    /// Lets requests finish until then.
    async fn end(self, deadline: Instant) {
        for mut opened in self.doors {
            opened.accept(false);
        }
        let threads: Vec<Rc<Thread>> =
            self.lasting.generations.borrow().iter().filter_map(Weak::upgrade).collect();
        for thread in &threads {
            thread.drain();
        }
        let emptied = async {
            for thread in &threads {
                thread.emptied().await;
            }
        };
        let _ = tokio::time::timeout_at(deadline.into(), emptied).await;
    }
}
