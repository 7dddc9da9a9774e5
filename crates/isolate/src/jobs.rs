//! Work that takes too long for an isolate's thread, such as making an RSA key: a few threads of the process do it.
//!
//! A job is a closure over data of its own. Its answer returns to the isolate's thread, which wakes by its eventfd and
//! delivers the event `jobDone`. The threads take from the workers in turn, and leave one thread free of any single
//! worker where there are several. A worker that is unloaded takes what waits along; what runs is told to stop.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::time::{ClockId, clock_gettime};

use crate::limits::Charge;
use crate::thread::nanoseconds;

/// Threads of the pool.
pub const THREADS: usize = 2;
/// Jobs of one worker that may wait at a time.
pub const WAITING_MAX: usize = 20_000;

/// Asked by long work whether it may go on.
pub type GoOn<'a> = &'a (dyn Fn() -> bool + 'a);

/// What a job came to, on its way into JavaScript.
pub trait Answer: Send {
    /// The value for `jobDone`; `None` when there is no memory for it, with or without an exception pending.
    fn into_value<'s>(self: Box<Self>, scope: &mut v8::PinScope<'s, '_>) -> Option<v8::Local<'s, v8::Value>>;
}

/// The work itself.
pub type Work = Box<dyn FnOnce(GoOn<'_>) -> Box<dyn Answer> + Send>;

/// An answer on its way back.
pub struct Done {
    pub instance: u32,
    pub token: u32,
    /// The request on whose behalf it was done.
    pub request: u32,
    pub cpu_ns: u64,
    /// It was stopped because it used more than its budget.
    pub over_budget: bool,
    pub answer: Box<dyn Answer>,
    /// What it holds in memory, counted until it is delivered.
    pub _charge: Charge,
}

/// A job that waits.
struct Job {
    instance: u32,
    token: u32,
    request: u32,
    budget_ns: u64,
    work: Work,
    charge: Charge,
    /// False once nobody waits for the answer.
    wanted: Arc<AtomicBool>,
    back: Back,
}

/// The way back to an isolate thread.
#[derive(Clone)]
pub struct Back {
    pub thread: usize,
    pub sender: Sender<Done>,
    pub signal: Arc<OwnedFd>,
}

impl Back {
    fn send(&self, done: Done) {
        if self.sender.send(done).is_ok() {
            let _ = rustix::io::write(&self.signal, &1u64.to_ne_bytes());
        }
    }
}

/// Names a worker among all threads: the isolate thread and the instance.
type Owner = (usize, u32);

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    running: usize,
}

#[derive(Default)]
struct Queues {
    owners: HashMap<Owner, Queue>,
    /// Owners with waiting jobs, each once, the next first.
    turn: VecDeque<Owner>,
}

impl Queues {
    /// The next job of the owner whose turn it is, among those that may have one more thread.
    fn take(&mut self) -> Option<(Owner, Job)> {
        for _ in 0..self.turn.len() {
            let owner = self.turn.pop_front()?;
            let Some(queue) = self.owners.get_mut(&owner) else { continue };
            if queue.running >= THREADS.saturating_sub(1).max(1) {
                self.turn.push_back(owner);
                continue;
            }
            let Some(job) = queue.jobs.pop_front() else { continue };
            queue.running += 1;
            if !queue.jobs.is_empty() {
                self.turn.push_back(owner);
            }
            return Some((owner, job));
        }
        None
    }

    fn finished(&mut self, owner: Owner) {
        if let Some(queue) = self.owners.get_mut(&owner) {
            queue.running -= 1;
            if queue.running == 0 && queue.jobs.is_empty() {
                self.owners.remove(&owner);
            }
        }
    }
}

/// The pool of a process.
#[derive(Default)]
pub struct Pool {
    queues: Mutex<Queues>,
    work: Condvar,
}

impl Pool {
    /// Starts the threads; to be called before the process is sealed.
    pub fn start() -> std::io::Result<Arc<Self>> {
        let pool = Arc::new(Self::default());
        for index in 0..THREADS {
            let pool = pool.clone();
            let builder = std::thread::Builder::new().name(format!("job-{index}")).stack_size(1 << 20);
            builder.spawn(move || {
                loop {
                    pool.one();
                }
            })?;
        }
        Ok(pool)
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a job and does it.
    fn one(&self) {
        let mut queues = self.queues();
        let (owner, job) = loop {
            match queues.take() {
                Some(taken) => break taken,
                None => queues = self.work.wait(queues).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(queues);
        // A defect in one job must not take the thread away from the others; that job is never answered.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(job)));
        self.queues().finished(owner);
        // A job of the same owner may have waited for this one to end.
        self.work.notify_one();
    }

    fn add(&self, owner: Owner, job: Job) -> bool {
        let mut queues = self.queues();
        let queue = queues.owners.entry(owner).or_default();
        if queue.jobs.len() >= WAITING_MAX {
            return false;
        }
        queue.jobs.push_back(job);
        if queue.jobs.len() == 1 {
            queues.turn.push_back(owner);
        }
        drop(queues);
        self.work.notify_one();
        true
    }

    fn forget(&self, owner: Owner) {
        let mut queues = self.queues();
        queues.turn.retain(|other| *other != owner);
        let waiting = queues.owners.get_mut(&owner).map(|queue| std::mem::take(&mut queue.jobs));
        if queues.owners.get(&owner).is_some_and(|queue| queue.running == 0) {
            queues.owners.remove(&owner);
        }
        drop(queues);
        // Their data is freed without the lock.
        drop(waiting);
    }
}

fn run(job: Job) {
    let Job { instance, token, request, budget_ns, work, charge, wanted, back } = job;
    if !wanted.load(Ordering::Relaxed) {
        return;
    }
    let began = cpu_ns();
    let over_budget = Cell::new(false);
    let go_on = || {
        if cpu_ns() - began > budget_ns {
            over_budget.set(true);
        }
        wanted.load(Ordering::Relaxed) && !over_budget.get()
    };
    let answer = work(&go_on);
    let over_budget = over_budget.get();
    back.send(Done {
        instance,
        token,
        request,
        cpu_ns: cpu_ns() - began,
        over_budget,
        answer,
        _charge: charge,
    });
}

/// CPU time of the calling thread, nanoseconds.
pub fn cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

/// One worker's door to the pool.
pub struct Jobs {
    pool: Arc<Pool>,
    back: Back,
    owner: Owner,
    wanted: Arc<AtomicBool>,
    next: Cell<u32>,
}

impl Jobs {
    pub fn new(pool: Arc<Pool>, back: Back, instance: u32) -> Self {
        let owner = (back.thread, instance);
        Self { pool, back, owner, wanted: Arc::new(AtomicBool::new(true)), next: Cell::new(1) }
    }

    /// Has work done that may use so much CPU time. Returns the token of its `jobDone`; `None` when too many wait.
    pub fn start(&self, request: u32, budget_ns: u64, charge: Charge, work: Work) -> Option<u32> {
        let token = self.next.get();
        let (instance, wanted, back) = (self.owner.1, self.wanted.clone(), self.back.clone());
        let job = Job { instance, token, request, budget_ns, work, charge, wanted, back };
        if !self.pool.add(self.owner, job) {
            return None;
        }
        self.next.set(token % 0x3fff_ffff + 1);
        Some(token)
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
        self.pool.forget(self.owner);
    }
}
