//! The event loop of one isolate thread.
//!
//! Each round: wait; take new connections; read what has arrived and dispatch all of it; fire timers; write
//! each connection once. A **turn** is one event delivered to one worker's JavaScript with the microtasks that
//! follow; the status page shows which turn runs.

mod frames;

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::epoll;
use rustix::time::{ClockId, Timespec, clock_gettime};
use selvedge_model::Limits;
use selvedge_wire::IdMap;
use selvedge_wire::door::Door;
use selvedge_wire::message::{self, ResetCode};
use selvedge_wire::page::ThreadSlot;

use crate::connection::{Connection, Place, Read};
use crate::inspector::Line;
use crate::instance::{Event, Instance, Phase};
use crate::jobs::{Back, Done, Pool};
use crate::shell::{Shell, heap_limit};
use crate::snapshot::Snapshot;
use crate::stream::Role;

/// How often deadlines are looked at while streams are open, nanoseconds.
const TICK_NS: u64 = 50_000_000;
/// How long an isolate is idle before its garbage is collected, nanoseconds.
const REST_NS: u64 = 3_000_000_000;
/// How long garbage of idle isolates is collected at a time, nanoseconds.
const TRIM_NS: u64 = 4_000_000;
/// A turn longer than this is charged by the CPU clock instead of the wall clock, nanoseconds.
const LONG_TURN_NS: u64 = 1_000_000;
/// The event loop's own descriptor among the connections' indices.
const WAKE: u64 = u64::MAX;
/// Added to an instance's number, its inspector's socket among the connections' indices.
const INSPECTOR: u64 = 1 << 32;
/// CPU time for what an inspector asks of V8 at once, nanoseconds; the worker does not pay for it.
const INSPECTOR_NS: u64 = 5_000_000_000;
/// Smallest heap of timers that is searched for cancelled ones.
const TIMERS_COMPACT: usize = 4096;
/// Answers of jobs that are delivered before anything else is looked at.
const ANSWERS_MAX: usize = 128;
/// Isolates of one thread; V8 itself has no limit.
const INSTANCES_MAX: usize = 10_000;

/// What a thread shares with the first thread, which watches over it.
#[derive(Default)]
pub struct Watched {
    /// CPU nanoseconds that the running turn may use.
    pub budget_ns: AtomicU64,
    /// The thread's CPU clock, a `clockid_t`; 0 until it runs.
    pub cpu_clock: AtomicU64,
    /// To stop an instance's JavaScript from outside.
    pub handles: Mutex<HashMap<u32, v8::IsolateHandle>>,
}

/// What a thread needs to start.
pub struct Setup {
    pub snapshot: Snapshot,
    pub platform: v8::SharedRef<v8::Platform>,
    pub slot: &'static ThreadSlot,
    pub watched: Arc<Watched>,
    pub connections: Receiver<(Door, OwnedFd)>,
    /// Readable when a connection was sent.
    pub wake: OwnedFd,
    pub confinement: Arc<str>,
    pub pool: Arc<Pool>,
    /// The pool's way to this thread, which ends at `done` and `wake`.
    pub back: Back,
    pub done: Receiver<Done>,
}

struct Thread {
    setup: Setup,
    epoll: Rc<OwnedFd>,
    connections: Vec<Option<Connection>>,
    instances: IdMap<Instance>,
    /// For the next load, made while there was nothing else to do.
    shell: Option<Shell>,
    /// Its memory limit, bytes: that of the worker that was loaded last.
    shell_limit: usize,
    /// The instance whose isolate is current.
    entered: Option<u32>,
    timers: BinaryHeap<Reverse<(u64, u32, u32)>>,
    /// Instances with turns since V8's own tasks were last run.
    touched: Vec<u32>,
    /// Instances with open streams, or on their way in or out: those that deadlines concern.
    active: Vec<u32>,
    /// Instances to look at once they have been idle for a while: (since, instance), oldest first.
    resting: VecDeque<(u64, u32)>,
    /// WebSockets that take messages again, some of which may be here.
    flowing: Vec<Place>,
    /// Size of the timers' heap at which cancelled ones are thrown out.
    compact_at: usize,
    round_ns: u64,
    unix_ms: f64,
    cpu_mark_ns: u64,
    next_tick_ns: u64,
    last_pump_ns: u64,
}

/// Runs the loop until the process ends.
pub fn run(setup: Setup) -> rustix::io::Result<()> {
    let epoll = Rc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
    epoll::add(&*epoll, &setup.wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
    let mut clock = 0;
    // SAFETY: asks for the clock of the calling thread.
    if unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) } == 0 {
        setup.watched.cpu_clock.store(u64::from(clock as u32), Ordering::Release);
    }
    let mut thread = Thread {
        setup,
        epoll,
        connections: Vec::new(),
        instances: IdMap::default(),
        shell: None,
        shell_limit: heap_limit(Limits::default().memory_mb),
        entered: None,
        timers: BinaryHeap::new(),
        touched: Vec::new(),
        active: Vec::new(),
        resting: VecDeque::new(),
        flowing: Vec::new(),
        compact_at: TIMERS_COMPACT,
        round_ns: 0,
        unix_ms: 0.0,
        cpu_mark_ns: 0,
        next_tick_ns: 0,
        last_pump_ns: 0,
    };
    let mut events = Vec::with_capacity(64);
    loop {
        thread.round(&mut events)?;
    }
}

/// `CLOCK_MONOTONIC`, nanoseconds.
pub fn monotonic_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

pub fn nanoseconds(time: Timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

impl Thread {
    fn round(&mut self, events: &mut Vec<epoll::Event>) -> rustix::io::Result<()> {
        events.clear();
        let timeout = self.timeout();
        match epoll::wait(&*self.epoll, rustix::buffer::spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        self.round_ns = monotonic_ns();
        self.unix_ms = (nanoseconds(clock_gettime(ClockId::Realtime)) / 1_000_000) as f64;
        self.cpu_mark_ns = nanoseconds(clock_gettime(ClockId::ThreadCPUTime));
        for event in events.iter() {
            match event.data.u64() {
                WAKE => self.accept(),
                token @ INSPECTOR.. => {
                    let serve = Instance::serve_inspector;
                    self.guarded((token - INSPECTOR) as u32, Some(INSPECTOR_NS), serve);
                }
                index => self.serve(index as usize, event.flags),
            }
        }
        self.fire_timers();
        for place in std::mem::take(&mut self.flowing) {
            self.deliver_messages(place);
        }
        if self.round_ns >= self.next_tick_ns {
            self.next_tick_ns = self.round_ns + TICK_NS;
            self.tick();
        }
        self.pump();
        self.leave();
        for index in 0..self.connections.len() {
            self.flush(index);
        }
        if events.is_empty() && !self.has_shell() {
            self.shell = Some(Shell::new(&self.setup.snapshot, self.shell_limit));
        }
        Ok(())
    }

    /// Until the next timer or tick; no limit where nothing is due.
    fn timeout(&self) -> Option<Timespec> {
        let tick = !self.active.is_empty() || !self.touched.is_empty() || !self.resting.is_empty();
        let tick = tick.then_some(self.next_tick_ns);
        let timer = self.timers.peek().map(|Reverse((due, ..))| *due);
        let now = (!self.flowing.is_empty()).then_some(0);
        // The wait that finds nothing makes a shell.
        let now = now.or((!self.has_shell()).then_some(0));
        let due = tick.into_iter().chain(timer).chain(now).min()?;
        let wait = due.saturating_sub(monotonic_ns());
        Some(Timespec { tv_sec: (wait / 1_000_000_000) as i64, tv_nsec: (wait % 1_000_000_000) as i64 })
    }

    fn accept(&mut self) {
        let mut counter = [0; 8];
        let _ = rustix::io::read(&self.setup.wake, &mut counter);
        self.jobs_done();
        while let Ok((door, fd)) = self.setup.connections.try_recv() {
            if let Door::Inspector { instance, pauses, .. } = door {
                let slot = self.setup.slot;
                // Without a line, the other end sees that there is nobody.
                if let Ok(line) = Line::new(fd, self.epoll.clone(), INSPECTOR + u64::from(instance)) {
                    self.guarded(instance, Some(INSPECTOR_NS), |it| it.inspect(line, slot, pauses));
                }
                continue;
            }
            let free = self.connections.iter().position(Option::is_none);
            let index = free.unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let data = epoll::EventData::new_u64(index as u64);
            if epoll::add(&*self.epoll, &fd, data, epoll::EventFlags::IN).is_ok() {
                let connection = Connection::new(fd, index);
                message::put_hello(&mut connection.outbox.frames(), &self.setup.confinement);
                self.connections[index] = Some(connection);
            }
        }
    }

    /// Delivers what the pool has done.
    fn jobs_done(&mut self) {
        for _ in 0..ANSWERS_MAX {
            let Ok(done) = self.setup.done.try_recv() else { return };
            let Some(instance) = self.instances.get(&done.instance) else { continue };
            let state = instance.state();
            state.cpu.charge(done.cpu_ns);
            if let Some(stream) = state.streams.borrow_mut().get(done.request) {
                stream.cpu_ns += done.cpu_ns;
            }
            if done.over_budget {
                self.condemn(done.instance, done.request, ResetCode::CpuExceeded);
                continue;
            }
            let answer = Cell::new(Some(done.answer));
            self.turn(done.instance, &Event::JobDone { token: done.token, request: done.request, answer });
        }
        // The others' events come first, then the rest.
        let _ = rustix::io::write(&self.setup.wake, &1u64.to_ne_bytes());
    }

    /// Reads from a connection and dispatches every whole frame.
    fn serve(&mut self, index: usize, flags: epoll::EventFlags) {
        if flags.contains(epoll::EventFlags::OUT) {
            self.flush(index);
        }
        if flags == epoll::EventFlags::OUT {
            return;
        }
        let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else { return };
        let closed = matches!(connection.read(), Read::Closed);
        let mut inbox = connection.take_inbox();
        let mut broken = closed;
        loop {
            match inbox.next() {
                Ok(Some(frame)) => {
                    if self.dispatch(index, &frame).is_err() {
                        broken = true;
                        break;
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    broken = true;
                    break;
                }
            }
        }
        if let Some(connection) = self.connections[index].as_mut() {
            connection.return_inbox(inbox);
        }
        if broken {
            self.close(index);
        }
    }

    /// One event, delivered to one worker.
    fn turn(&mut self, id: u32, event: &Event<'_>) {
        self.guarded(id, None, |instance| instance.deliver(event));
    }

    /// Runs JavaScript of one worker under the watchdog's eye, and sees to what it left. The worker pays with what its
    /// CPU account holds, unless so many nanoseconds are `free`.
    fn guarded(&mut self, id: u32, free: Option<u64>, run: impl FnOnce(&mut Instance)) {
        self.enter(id);
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let slot = self.setup.slot;
        let began = monotonic_ns();
        let state = instance.state();
        state.now_ns.set(began);
        state.now_ms.set(self.unix_ms);
        let budget = free.unwrap_or_else(|| state.cpu.budget_ns());
        self.setup.watched.budget_ns.store(budget, Ordering::Relaxed);
        slot.turn_began_ns.store(began, Ordering::Relaxed);
        // What was asked of an earlier turn in its last moment does not concern this one.
        slot.stop_asked_ns.store(0, Ordering::Relaxed);
        slot.instance.store(id, Ordering::Release);

        run(instance);

        let used = monotonic_ns() - began;
        slot.instance.store(0, Ordering::Release);
        let stopped = slot.stop_asked_ns.swap(0, Ordering::AcqRel) != 0;
        let used = if used < LONG_TURN_NS { used } else { used.min(self.cpu_since_mark()) };
        let used = if free.is_some() { 0 } else { used };
        let Some(instance) = self.instances.get(&id) else { return };
        let state = instance.state();
        state.cpu.charge(used);
        let current = state.current.replace(0);
        // Many short turns must not add up to what one turn is stopped for.
        let overdrawn = match state.streams.borrow_mut().get(current) {
            Some(stream) => stream.charge(used, self.round_ns, state.cpu.share_ns(), state.cpu.burst_ns()),
            None => state.cpu.is_overdrawn(),
        };
        if state.out_of_memory.get() {
            self.condemn(id, current, ResetCode::MemoryExceeded);
        } else if stopped || overdrawn {
            self.condemn(id, current, ResetCode::CpuExceeded);
        } else {
            self.settle_turn(id);
        }
    }

    fn cpu_since_mark(&mut self) -> u64 {
        let now = nanoseconds(clock_gettime(ClockId::ThreadCPUTime));
        now - std::mem::replace(&mut self.cpu_mark_ns, now)
    }

    /// Carries out what a turn left behind: timers, opened streams, ended streams.
    fn settle_turn(&mut self, id: u32) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        if self.touched.last() != Some(&id) && !self.touched.contains(&id) {
            self.touched.push(id);
        }
        if instance.is_active() && !self.active.contains(&id) {
            self.active.push(id);
        }
        let state = instance.state();
        for (due, token) in state.started_timers.borrow_mut().drain(..) {
            self.timers.push(Reverse((due, id, token)));
        }
        for (outbox, wire_id, key) in state.opened.borrow_mut().drain(..) {
            if let Some(connection) = self.connections.get_mut(outbox.connection).and_then(Option::as_mut)
                && Rc::ptr_eq(&connection.outbox, &outbox)
            {
                connection.streams.insert(wire_id, Place { instance: id, key });
            }
        }
        self.flowing.extend(state.flowing.borrow_mut().drain(..).map(|key| Place { instance: id, key }));
        loop {
            let Some(key) = state.ended.borrow_mut().pop() else { break };
            let Some(stream) = state.streams.borrow_mut().remove(key) else { continue };
            if let Some(connection) =
                self.connections.get_mut(stream.outbox.connection).and_then(Option::as_mut)
                && Rc::ptr_eq(&connection.outbox, &stream.outbox)
            {
                connection.streams.remove(&stream.wire_id);
            }
            if stream.role == Role::Incoming {
                state.request_over(key);
            } else {
                state.subrequests_open.set(state.subrequests_open.get() - 1);
            }
        }
        if instance.unloading {
            self.unload_if_idle(id);
        }
        if self.timers.len() > self.compact_at {
            let instances = &self.instances;
            self.timers.retain(|Reverse((_, id, token))| {
                instances.get(id).is_some_and(|instance| instance.state().timers.borrow().contains_key(token))
            });
            self.compact_at = TIMERS_COMPACT.max(self.timers.len() * 2);
        }
    }

    fn condemn(&mut self, id: u32, offender: u32, code: ResetCode) {
        self.leave();
        let Some(mut instance) = self.instances.remove(&id) else { return };
        let state = instance.state();
        if state.streams.borrow_mut().get(offender).is_none() && matches!(instance.phase, Phase::Ready) {
            // No request fails for it, so nobody else would tell the worker's owner.
            let what = if code == ResetCode::CpuExceeded { "CPU time" } else { "memory" };
            let text = format!("The worker used more {what} than its limit allows, and was started anew.");
            state.log(4, false, &text, "");
        }
        instance.condemn(offender, code, "");
        self.forget(id, instance);
    }

    fn forget(&mut self, id: u32, instance: Instance) {
        self.leave();
        drop(instance);
        self.handles().remove(&id);
        for connection in self.connections.iter_mut().flatten() {
            connection.streams.retain(|_, place| place.instance != id);
        }
        self.touched.retain(|touched| *touched != id);
        self.active.retain(|active| *active != id);
        self.setup.slot.isolates.store(self.instances.len() as u32, Ordering::Relaxed);
    }

    fn unload_if_idle(&mut self, id: u32) {
        let idle =
            self.instances.get(&id).is_some_and(|instance| instance.state().streams.borrow().len() == 0);
        if idle && let Some(instance) = self.instances.remove(&id) {
            self.forget(id, instance);
        }
    }

    fn handles(&self) -> std::sync::MutexGuard<'_, HashMap<u32, v8::IsolateHandle>> {
        self.setup.watched.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the next load finds a shell, if it is like the one before.
    fn has_shell(&self) -> bool {
        self.shell.as_ref().is_some_and(|shell| shell.suits(self.shell_limit))
    }

    /// An isolate for a worker of this memory limit, bytes.
    fn take_shell(&mut self, limit: usize) -> Shell {
        self.leave();
        self.shell_limit = limit;
        match self.shell.take_if(|shell| shell.suits(limit)) {
            Some(shell) => shell,
            None => Shell::new(&self.setup.snapshot, limit),
        }
    }

    fn enter(&mut self, id: u32) {
        if self.entered == Some(id) {
            return;
        }
        self.leave();
        if let Some(instance) = self.instances.get(&id) {
            instance.enter();
            self.entered = Some(id);
        }
    }

    fn leave(&mut self) {
        if let Some(instance) = self.entered.take().and_then(|id| self.instances.get(&id)) {
            instance.exit();
        }
    }

    fn fire_timers(&mut self) {
        while let Some(Reverse((due, id, token))) = self.timers.peek().copied() {
            if due > self.round_ns {
                break;
            }
            self.timers.pop();
            let Some(instance) = self.instances.get(&id) else { continue };
            let Some(timer) = instance.state().take_due(token) else { continue };
            if let Some(interval) = timer.interval_ns {
                self.timers.push(Reverse((self.round_ns + interval, id, token)));
            }
            self.turn(id, &Event::Timer { token, request: timer.request });
        }
    }

    /// Deadlines, evaluations that wait, memory.
    fn tick(&mut self) {
        for id in std::mem::take(&mut self.active) {
            let Some(instance) = self.instances.get_mut(&id) else { continue };
            if instance.is_active() {
                self.active.push(id);
            }
            if let Phase::Evaluating { .. } = instance.phase {
                let now = self.round_ns;
                let stop_asked = &self.setup.slot.stop_asked_ns;
                self.guarded(id, None, |instance| instance.settle(now, stop_asked));
                continue;
            }
            let now = self.round_ns;
            let late = instance.state().streams.borrow().keys(|stream| stream.deadline_ns <= now);
            for key in late {
                if let Some(instance) = self.instances.get(&id) {
                    let mut streams = instance.state().streams.borrow_mut();
                    if let Some(stream) = streams.get(key) {
                        stream.reset(ResetCode::Timeout, "");
                        stream.cancel("The request took longer than its limit allows.");
                    }
                }
                self.turn(
                    id,
                    &Event::Aborted { key, reason: "The request took longer than its limit allows." },
                );
                if let Some(instance) = self.instances.get(&id) {
                    instance.state().ended.borrow_mut().push(key);
                }
                self.settle_turn(id);
            }
            self.check_memory(id);
        }
        self.trim();
    }

    /// Collects the garbage of isolates that have been idle for a while; a little at a time, so that nobody
    /// waits long.
    fn trim(&mut self) {
        while monotonic_ns() < self.round_ns + TRIM_NS && self.trim_one() {}
    }

    /// Looks at the isolate that has rested longest. False when there is none, or it has not rested long enough.
    fn trim_one(&mut self) -> bool {
        let Some((since, id)) = self.resting.front().copied() else { return false };
        if self.round_ns < since + REST_NS {
            return false;
        }
        self.resting.pop_front();
        self.enter(id);
        let Some(instance) = self.instances.get_mut(&id) else { return true };
        let last_turn = instance.state().now_ns.get();
        if self.round_ns < last_turn + REST_NS {
            self.resting.push_back((last_turn, id));
        } else {
            instance.resting = false;
            instance.trim();
        }
        true
    }

    /// Heap and buffers together; each alone is limited by V8 and the allocator.
    fn check_memory(&mut self, id: u32) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        if !instance.state().buffers.half_used() {
            return;
        }
        self.enter(id);
        let Some(instance) = self.instances.get_mut(&id) else { return };
        if instance.memory() > instance.state().buffers.limit() + (instance.state().buffers.limit() >> 3) {
            let offender = instance.state().streams.borrow().keys(|stream| stream.role == Role::Incoming);
            self.condemn(id, offender.first().copied().unwrap_or(0), ResetCode::MemoryExceeded);
        }
    }

    /// Lets V8 do what it posted for its own threads: steps of garbage collection, compiled code to install.
    fn pump(&mut self) {
        const PUMP_NS: u64 = 2_000_000;
        if self.touched.is_empty() || self.round_ns < self.last_pump_ns + PUMP_NS {
            return;
        }
        self.last_pump_ns = self.round_ns;
        let platform = self.setup.platform.clone();
        for id in std::mem::take(&mut self.touched) {
            // Some of it is the worker's own code: what it wants done once an object was collected.
            let stop_asked = &self.setup.slot.stop_asked_ns;
            self.guarded(id, None, |instance| instance.pump(&platform, stop_asked));
            if let Some(instance) = self.instances.get_mut(&id)
                && !std::mem::replace(&mut instance.resting, true)
            {
                self.resting.push_back((self.round_ns, id));
            }
        }
        // What these turns posted in their midst was done with them.
        self.touched.clear();
    }

    fn flush(&mut self, index: usize) {
        let Some(connection) = self.connections[index].as_mut() else { return };
        if connection.outbox.backlog() == 0 && !connection.blocked {
            return;
        }
        let was_blocked = connection.blocked;
        if !connection.flush() {
            self.close(index);
            return;
        }
        if connection.blocked != was_blocked {
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, connection.blocked);
            let data = epoll::EventData::new_u64(index as u64);
            let _ = epoll::modify(&*self.epoll, connection.fd(), data, flags);
        }
    }

    /// The edge thread is gone: so are its requests.
    fn close(&mut self, index: usize) {
        let Some(mut connection) = self.connections[index].take() else { return };
        connection.close();
        let _ = epoll::delete(&*self.epoll, connection.fd());
        for (_, place) in std::mem::take(&mut connection.streams) {
            if place.key == 0 {
                self.leave();
                if let Some(instance) = self.instances.remove(&place.instance) {
                    self.forget(place.instance, instance);
                }
            } else {
                self.reset(place, ResetCode::Canceled, "");
            }
        }
    }
}
