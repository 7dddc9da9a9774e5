//! What each serving thread has of its own: open connections to servers, and memory for reading from them.
//!
//! Timeouts cost nothing per request: connections note until when they wait, and a sweep over all of the thread's wakes
//! those whose time is up.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use selvedge_http1::Field;
use slab::Slab;
use tokio::sync::Notify;

use crate::balance::{Members, Turn};
use crate::metrics::UpstreamCounts;
use crate::pool::Pool;
use crate::upstream::Upstream;

/// What is read at once, bytes.
const READ: usize = 64 * 1024;
/// Between two sweeps; timeouts may be late by it, twice.
const PERIOD: Duration = Duration::from_millis(50);
/// Sweeps after which idle connections are looked at.
const TIDY: u32 = 20;
/// Written buffers that are kept.
const SPARE_MAX: usize = 16;
/// Largest buffer that is kept, bytes.
const SPARE_BYTES: usize = 64 * 1024;
/// Retries that may follow each other at once, however small the budget is.
const RETRIES_MAX: f64 = 10.0;
/// Retries a second that are always allowed.
const RETRIES_PER_S: f64 = 1.0;

/// One thread's connections to all upstreams. Those of upstreams that are not in use any more are closed.
pub struct Local {
    pub(crate) shared: Rc<Shared>,
    upstreams: RefCell<HashMap<u64, Rc<LocalUpstream>>>,
}

/// What connections need of their thread.
pub(crate) struct Shared {
    /// What the read under way reads into.
    pub(crate) room: RefCell<Box<[u8]>>,
    /// The fields of the head being parsed.
    pub(crate) fields: RefCell<Vec<Field>>,
    spare: RefCell<Vec<Vec<u8>>>,
    watches: RefCell<Slab<Rc<Watch>>>,
    /// At most a period old while anything is waited for.
    now: Cell<Instant>,
    /// Told when there is something to sweep.
    stir: Notify,
}

/// One thread's side of an upstream.
pub(crate) struct LocalUpstream {
    upstream: Weak<Upstream>,
    members: RefCell<Rc<LocalMembers>>,
    pub(crate) turn: Turn,
    pub(crate) counts: Arc<UpstreamCounts>,
    /// What retries may still cost, and when it was reckoned last.
    budget: Cell<(f64, Instant)>,
}

/// The servers and this thread's connections to each.
pub(crate) struct LocalMembers {
    version: u64,
    pub(crate) members: Arc<Members>,
    /// In the order of the members.
    pub(crate) pools: Vec<Rc<Pool>>,
}

impl Local {
    /// Without connections. [`Local::run`] is to run on the same thread.
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            shared: Rc::new(Shared {
                room: RefCell::new(vec![0; READ].into()),
                fields: RefCell::default(),
                spare: RefCell::default(),
                watches: RefCell::default(),
                now: Cell::new(Instant::now()),
                stir: Notify::new(),
            }),
            upstreams: RefCell::default(),
        })
    }

    /// Ends what waits too long, and closes what nobody needs; for ever.
    pub async fn run(self: Rc<Self>) {
        let mut sweeps = 0;
        loop {
            if self.shared.watches.borrow().is_empty() {
                self.upstreams.borrow_mut().retain(|_, local| local.upstream.strong_count() > 0);
                self.shared.stir.notified().await;
            }
            tokio::time::sleep(PERIOD).await;
            let now = self.shared.tick();
            for (_, watch) in self.shared.watches.borrow().iter() {
                watch.check(now);
            }
            sweeps += 1;
            self.tidy(now, sweeps % TIDY == 0);
        }
    }

    /// Closes idle connections: those that are too old or that the server has closed, and those whose place another
    /// thread waits for.
    fn tidy(&self, now: Instant, all: bool) {
        let mut upstreams = self.upstreams.borrow_mut();
        if all {
            upstreams.retain(|_, local| local.upstream.strong_count() > 0);
        }
        for local in upstreams.values() {
            let Some(upstream) = local.upstream.upgrade() else { continue };
            for pool in &local.members.borrow().pools {
                if all {
                    pool.tidy(now, upstream.config.keep_alive());
                }
                pool.make_way();
            }
        }
    }

    /// This thread's side of an upstream, which is begun where it is new here.
    pub(crate) fn upstream(&self, upstream: &Arc<Upstream>) -> Rc<LocalUpstream> {
        if let Some(known) = self.upstreams.borrow().get(&upstream.id) {
            return known.clone();
        }
        let local = Rc::new(LocalUpstream {
            upstream: Arc::downgrade(upstream),
            members: RefCell::new(Rc::new(LocalMembers {
                version: u64::MAX,
                members: Arc::default(),
                pools: Vec::new(),
            })),
            turn: Turn::starting_at(fastrand::usize(..1024)),
            counts: upstream.counts.add(),
            budget: Cell::new((RETRIES_MAX, self.shared.now())),
        });
        self.upstreams.borrow_mut().insert(upstream.id, local.clone());
        local
    }

    /// Has the upstream looked after, if nobody does. Threads call it for all they know of, and before each request.
    pub fn keep(&self, upstream: &Arc<Upstream>) {
        if let Some(keeping) = upstream.keep() {
            tokio::task::spawn_local(keeping);
        }
    }
}

impl Shared {
    /// Reads the clock.
    pub(crate) fn tick(&self) -> Instant {
        let now = Instant::now();
        self.now.set(now);
        now
    }

    /// The last reading.
    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }

    /// An empty buffer.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(1024))
    }

    /// Takes a buffer back.
    pub(crate) fn keep(&self, mut buffer: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_MAX && buffer.capacity() > 0 && buffer.capacity() <= SPARE_BYTES {
            buffer.clear();
            spare.push(buffer);
        }
    }

    /// Something to wait with.
    pub(crate) fn watch(self: &Rc<Self>) -> Watched {
        let watch = Rc::new(Watch::default());
        let mut watches = self.watches.borrow_mut();
        if watches.is_empty() {
            self.stir.notify_one();
        }
        let key = watches.insert(watch.clone());
        Watched { shared: self.clone(), watch, key }
    }
}

/// What something waits for, and until when.
#[derive(Default)]
struct Watch {
    deadline: Cell<Option<Instant>>,
    waker: RefCell<Option<Waker>>,
}

impl Watch {
    fn check(&self, now: Instant) {
        if self.deadline.get().is_some_and(|deadline| now >= deadline)
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }
}

/// A deadline that can be set again and again.
pub(crate) struct Watched {
    shared: Rc<Shared>,
    watch: Rc<Watch>,
    key: usize,
}

impl Watched {
    /// From now on so long, at least.
    pub(crate) fn arm(&self, span: Duration) {
        self.watch.deadline.set(self.shared.now().checked_add(span + PERIOD));
    }

    /// Nothing is waited for.
    pub(crate) fn disarm(&self) {
        self.watch.deadline.set(None);
    }

    pub(crate) fn is_armed(&self) -> bool {
        self.watch.deadline.get().is_some()
    }

    /// True when the time is up; else the task is woken then.
    pub(crate) fn is_late(&self, cx: &Context<'_>) -> bool {
        if self.watch.deadline.get().is_some_and(|deadline| self.shared.now() >= deadline) {
            return true;
        }
        let mut waker = self.watch.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        false
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.shared.watches.borrow_mut().remove(self.key);
    }
}

impl LocalUpstream {
    /// The servers as they are known now.
    pub(crate) fn members(&self, upstream: &Arc<Upstream>, shared: &Rc<Shared>) -> Rc<LocalMembers> {
        let version = upstream.version();
        let known = self.members.borrow().clone();
        if known.version == version {
            return known;
        }
        let members = upstream.members();
        let pools = members.endpoints.iter().map(|endpoint| {
            let same = known.pools.iter().find(|pool| pool.endpoint.id == endpoint.id).cloned();
            same.unwrap_or_else(|| Pool::new(endpoint.clone(), upstream, shared.clone()))
        });
        let fresh = Rc::new(LocalMembers { version, pools: pools.collect(), members });
        *self.members.borrow_mut() = fresh.clone();
        fresh
    }

    /// A request adds to the budget of retries.
    pub(crate) fn earn(&self, share: f64, now: Instant) {
        let (budget, since) = self.budget.get();
        let passed = now.saturating_duration_since(since).as_secs_f64();
        self.budget.set(((budget + share + passed * RETRIES_PER_S).min(RETRIES_MAX), now));
    }

    /// Takes a retry from the budget, if there is one.
    pub(crate) fn spend(&self) -> bool {
        let (budget, since) = self.budget.get();
        let enough = budget >= 1.0;
        if enough {
            self.budget.set((budget - 1.0, since));
        }
        enough
    }
}
