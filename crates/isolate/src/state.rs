//! What JavaScript's calls into the host work on.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_void;
use std::rc::Rc;
use std::sync::Arc;

use selvedge_wire::message::{Load, Log, ResetCode};

use crate::connection::Outbox;
use crate::handles::Handles;
use crate::jobs::Jobs;
use crate::limits::{Buffers, CpuAccount, near_heap_limit};
use crate::modules::Modules;
use crate::ops::html::Rewriters;
use crate::snapshot::{RUNTIME, Snapshot};
use crate::stream::{Role, Streams};

/// Largest head that a worker may answer with, bytes.
pub const HEAD_MAX: usize = 128 << 10;
/// Timers that one worker may have at a time.
pub const TIMERS_MAX: usize = 10_000;

/// What JavaScript's calls into the host work on. Reached from callbacks through the isolate's data slot, so
/// everything that changes sits in a cell.
pub struct State {
    pub instance: u32,
    pub name: String,
    /// Where parts of the runtime come from.
    pub snapshot: Snapshot,
    pub streams: RefCell<Streams>,
    /// The incoming stream on whose behalf JavaScript runs now; 0 when none.
    pub current: Cell<u32>,
    /// Unix milliseconds, standing still during a turn.
    pub now_ms: Cell<f64>,
    /// `CLOCK_MONOTONIC` nanoseconds at the turn's beginning.
    pub now_ns: Cell<u64>,
    /// Timers that JavaScript started in this turn: (due in ns, token).
    pub started_timers: RefCell<Vec<(u64, u32)>>,
    pub timers: RefCell<HashMap<u32, Timer>>,
    pub next_timer: Cell<u32>,
    /// Streams that JavaScript opened in this turn: (outbox, wire id, key).
    pub opened: RefCell<Vec<(Rc<Outbox>, u32, u32)>>,
    /// WebSockets that take messages since this turn.
    pub flowing: RefCell<Vec<u32>>,
    /// Streams that ended in this turn.
    pub ended: RefCell<Vec<u32>>,
    /// The connection that loaded the worker: what is said outside of any request goes there.
    pub home: Rc<Outbox>,
    pub subrequests: u32,
    /// Outgoing streams that have not ended.
    pub subrequests_open: Cell<u32>,
    /// Bytes of bodies that wait for credit.
    pub backlog: Rc<Cell<usize>>,
    pub out_of_memory: Cell<bool>,
    pub handle: v8::IsolateHandle,
    pub cpu: CpuAccount,
    pub buffers: Arc<Buffers>,
    pub modules: RefCell<Modules>,
    /// What is switched on for the worker, see `selvedge_model::compatibility`.
    pub compatibility: u32,
    pub rewriters: RefCell<Rewriters>,
    /// Objects of the host that JavaScript holds.
    pub handles: RefCell<Handles>,
    /// Work that other threads do.
    pub jobs: Jobs,
    pub callbacks: RefCell<Option<Callbacks>>,
}

/// Entry points that are called from within JavaScript rather than between turns.
pub struct Callbacks {
    pub unhandled: v8::Global<v8::Function>,
    pub handled: v8::Global<v8::Function>,
    pub builtin: v8::Global<v8::Function>,
    pub classic: v8::Global<v8::Function>,
}

/// A timer that JavaScript started.
#[derive(Clone, Copy, Debug)]
pub struct Timer {
    pub request: u32,
    pub interval_ns: Option<u64>,
}

impl State {
    /// The state of a worker that has done nothing yet.
    pub fn new(
        load: &Load<'_>,
        snapshot: Snapshot,
        home: Rc<Outbox>,
        jobs: Jobs,
        buffers: Arc<Buffers>,
        handle: v8::IsolateHandle,
    ) -> Box<Self> {
        Box::new(Self {
            instance: load.instance,
            name: load.name.into(),
            snapshot,
            streams: RefCell::default(),
            current: Cell::new(0),
            now_ms: Cell::new(0.0),
            now_ns: Cell::new(0),
            started_timers: RefCell::default(),
            timers: RefCell::default(),
            next_timer: Cell::new(1),
            opened: RefCell::default(),
            flowing: RefCell::default(),
            ended: RefCell::default(),
            home,
            subrequests: load.subrequests,
            subrequests_open: Cell::new(0),
            backlog: Rc::default(),
            out_of_memory: Cell::new(false),
            handle,
            cpu: CpuAccount::new(load.cpu_ms, load.cpu_burst_ms),
            buffers,
            modules: RefCell::default(),
            compatibility: load.compatibility,
            rewriters: RefCell::default(),
            handles: RefCell::default(),
            jobs,
            callbacks: RefCell::default(),
        })
    }

    /// Makes this what callbacks of the isolate work on. It has to outlive the isolate.
    pub fn attach(&self, isolate: &mut v8::Isolate) {
        let pointer = (&raw const *self).cast_mut().cast::<c_void>();
        isolate.set_data(0, pointer);
        isolate.add_near_heap_limit_callback(near_heap_limit, pointer);
    }

    /// The state behind the isolate that a callback runs in.
    pub fn of<'a>(isolate: &v8::Isolate) -> &'a State {
        // SAFETY: `attach` put the pointer there, and the state outlives the isolate and so every callback.
        unsafe { &*(isolate.get_data(0) as *const State) }
    }

    /// Where output on behalf of the current request goes.
    pub fn outbox(&self) -> (Rc<Outbox>, u32) {
        match self.streams.borrow_mut().get(self.current.get()) {
            Some(stream) => (stream.outbox.clone(), stream.wire_id),
            None => (self.home.clone(), 0),
        }
    }

    /// Sends a `LOG` frame, unless the engine is far behind with reading.
    pub fn log(&self, level: u8, exception: bool, text: &str, stack: &str) {
        let (outbox, stream) = self.outbox();
        // The runtime's own frames say nothing to the worker's developer.
        let stack: Vec<&str> = stack.lines().filter(|line| !line.contains(RUNTIME)).collect();
        let stack = &stack.join("\n");
        if outbox.backlog() < crate::connection::LOG_BACKLOG_MAX {
            let log = Log { instance: self.instance, level, exception, message: text, stack };
            log.put(&mut outbox.frames(), stream);
        }
    }

    /// Whether a body of so many bytes would take the worker beyond its memory limit, were it to wait for credit.
    pub fn body_too_large(&self, len: usize) -> bool {
        self.backlog.get().saturating_add(len) > self.buffers.limit()
    }

    /// The function that gives modules of the runtime's own.
    pub fn builtin<'s>(&self, scope: &mut v8::PinScope<'s, '_>) -> Option<v8::Local<'s, v8::Function>> {
        self.callbacks.borrow().as_ref().map(|callbacks| v8::Local::new(scope, &callbacks.builtin))
    }

    /// Removes a stream if nothing can happen on it any more.
    pub fn sweep(&self, key: u32) {
        let mut streams = self.streams.borrow_mut();
        if streams.get(key).is_some_and(|stream| stream.over()) {
            self.ended.borrow_mut().push(key);
        }
    }

    /// A timer that is due; gone when it was cancelled or its request is over.
    pub fn take_due(&self, token: u32) -> Option<Timer> {
        let mut timers = self.timers.borrow_mut();
        let timer = *timers.get(&token)?;
        let alive = timer.request == 0 || self.streams.borrow_mut().get(timer.request).is_some();
        if timer.interval_ns.is_none() || !alive {
            timers.remove(&token);
        }
        alive.then_some(timer)
    }

    /// A request is over, and with it what it started.
    pub fn request_over(&self, key: u32) {
        let mut timers = self.timers.borrow_mut();
        if !timers.is_empty() {
            timers.retain(|_, timer| timer.request != key);
        }
        self.rewriters.borrow_mut().request_over(key);
        let mut streams = self.streams.borrow_mut();
        if streams.len() > 0 && self.subrequests_open.get() > 0 {
            for child in streams.keys(|stream| stream.role == Role::Outgoing(key)) {
                if let Some(stream) = streams.get(child) {
                    stream.reset(ResetCode::Canceled, "");
                }
                self.ended.borrow_mut().push(child);
            }
        }
    }

    /// JavaScript runs now on behalf of the request that this stream belongs to.
    pub fn attribute(&self, key: u32) {
        let role = self.streams.borrow_mut().get(key).map(|stream| stream.role);
        self.current.set(match role {
            Some(Role::Outgoing(request)) => request,
            _ => key,
        });
    }
}
