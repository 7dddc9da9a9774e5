//! One loaded worker: its isolate, its context out of the snapshot, and the entry points into its JavaScript.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use selvedge_wire::message::{self, Fetch, Head, Invoke, Load, ResetCode, Scheduled};
use selvedge_wire::page::ThreadSlot;
use selvedge_wire::socket::{self, BROKEN, MessageKind};
use selvedge_wire::{Kind, frame};

use crate::connection::Outbox;
use crate::handles;
use crate::inspector::{Inspector, Line};
use crate::jobs::{Answer, Jobs};
use crate::modules::{self, Failure};
use crate::shell::{Entry, Shell};
use crate::snapshot::Snapshot;
use crate::socket::Message;
use crate::state::State;
use crate::stream::{Role, Stream};

/// Where an instance stands.
pub enum Phase {
    /// The engine is sending artifact and code cache.
    Receiving { wire_id: u32, received: Vec<u8>, env_len: usize, artifact_len: usize, want_code_cache: bool },
    /// The module's top level awaits something.
    Evaluating { wire_id: u32, want_code_cache: bool, env: String, deadline_ns: u64 },
    /// Serves.
    Ready,
}

/// One loaded worker.
pub struct Instance {
    isolate: v8::OwnedIsolate,
    state: Box<State>,
    context: v8::Global<v8::Context>,
    entry: Entry,
    inspector: Option<Inspector>,
    /// Its modules are to be visible to inspectors.
    inspectable: bool,
    pub phase: Phase,
    pub created_ns: u64,
    /// In the thread's queue of isolates whose garbage is to be collected.
    pub resting: bool,
    /// The engine wants it gone once its last stream is over.
    pub unloading: bool,
}

/// An event for a worker's JavaScript.
pub enum Event<'a> {
    Fetch { key: u32, fetch: &'a Fetch<'a>, has_body: bool },
    Invoke { key: u32, invoke: &'a Invoke<'a>, has_body: bool },
    Scheduled { key: u32, scheduled: &'a Scheduled<'a> },
    Timer { token: u32, request: u32 },
    Readable(u32),
    Writable(u32),
    Piped { key: u32, error: &'a str },
    Aborted { key: u32, reason: &'a str },
    Response { key: u32, head: Head<'a> },
    Failed { key: u32, code: ResetCode, message: &'a str },
    JobDone { token: u32, request: u32, answer: Cell<Option<Box<dyn Answer>>> },
    Message { key: u32, message: &'a Message },
}

impl Instance {
    /// Moves a worker into an isolate, which must not be entered.
    pub fn new(
        shell: Shell,
        snapshot: &Snapshot,
        load: &Load<'_>,
        wire_id: u32,
        home: Rc<Outbox>,
        jobs: Jobs,
        now_ns: u64,
    ) -> Self {
        let mut parts = shell.open();
        let handle = parts.isolate.thread_safe_handle();
        let state = State::new(load, *snapshot, home, jobs, parts.buffers, handle);
        state.now_ns.set(now_ns);
        state.attach(&mut parts.isolate);
        *state.callbacks.borrow_mut() = Some(parts.callbacks);
        let phase = Phase::Receiving {
            wire_id,
            received: Vec::new(),
            env_len: load.env_len as usize,
            artifact_len: load.artifact_len as usize,
            want_code_cache: load.want_code_cache,
        };
        Self {
            isolate: parts.isolate,
            state,
            context: parts.context,
            entry: parts.entry,
            inspector: None,
            inspectable: load.inspectable,
            phase,
            created_ns: now_ns,
            resting: false,
            unloading: false,
        }
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn handle(&self) -> v8::IsolateHandle {
        self.state.handle.clone()
    }

    /// Makes this isolate the thread's current one.
    pub fn enter(&self) {
        // SAFETY: paired with `exit` by the thread, which has at most one isolate entered.
        unsafe { self.isolate.enter() }
    }

    /// Undoes [`Instance::enter`].
    pub fn exit(&self) {
        // SAFETY: see `enter`.
        unsafe { self.isolate.exit() }
    }

    /// Delivers an event and runs the microtasks that follow from it. The isolate must be entered.
    pub fn deliver(&mut self, event: &Event<'_>) {
        let state: &State = &self.state;
        let entry = &self.entry;
        v8::scope!(let scope, &mut self.isolate);
        let context = v8::Local::new(scope, &self.context);
        let scope = &mut v8::ContextScope::new(scope, context);
        let undefined = v8::undefined(scope).into();
        // What `AsyncLocalStorage` keeps belongs to the turn that has just ended.
        scope.set_continuation_preserved_embedder_data(undefined);
        match event {
            Event::Fetch { key, fetch, has_body } => {
                state.current.set(*key);
                let arguments = [
                    v8::Integer::new_from_unsigned(scope, *key).into(),
                    latin1(scope, fetch.method),
                    latin1(scope, fetch.url),
                    latin1(scope, fetch.headers),
                    v8::Boolean::new(scope, *has_body).into(),
                    v8::Boolean::new(scope, fetch.http2).into(),
                ];
                v8::Local::new(scope, &entry.fetch).call(scope, undefined, &arguments);
            }
            Event::Invoke { key, invoke, has_body } => {
                state.current.set(*key);
                let arguments = [
                    v8::Integer::new_from_unsigned(scope, *key).into(),
                    latin1(scope, invoke.fetch.method),
                    latin1(scope, invoke.fetch.url),
                    latin1(scope, invoke.fetch.headers),
                    v8::Boolean::new(scope, *has_body).into(),
                    utf8(scope, invoke.entrypoint),
                    utf8(scope, invoke.props),
                ];
                v8::Local::new(scope, &entry.invoke).call(scope, undefined, &arguments);
            }
            Event::Scheduled { key, scheduled } => {
                state.current.set(*key);
                let arguments = [
                    v8::Integer::new_from_unsigned(scope, *key).into(),
                    latin1(scope, scheduled.cron.as_bytes()),
                    v8::Number::new(scope, scheduled.time_ms as f64).into(),
                ];
                v8::Local::new(scope, &entry.scheduled).call(scope, undefined, &arguments);
            }
            Event::Timer { token, request } => {
                state.current.set(*request);
                let argument = v8::Integer::new_from_unsigned(scope, *token).into();
                v8::Local::new(scope, &entry.timer).call(scope, undefined, &[argument]);
            }
            Event::Readable(key) | Event::Writable(key) => {
                state.attribute(*key);
                let function =
                    if matches!(event, Event::Readable(_)) { &entry.readable } else { &entry.writable };
                let argument = v8::Integer::new_from_unsigned(scope, *key).into();
                v8::Local::new(scope, function).call(scope, undefined, &[argument]);
            }
            Event::Piped { key, error: text } | Event::Aborted { key, reason: text } => {
                state.attribute(*key);
                let function =
                    if matches!(event, Event::Piped { .. }) { &entry.piped } else { &entry.aborted };
                let arguments = [v8::Integer::new_from_unsigned(scope, *key).into(), utf8(scope, text)];
                v8::Local::new(scope, function).call(scope, undefined, &arguments);
            }
            Event::Response { key, head } => {
                state.attribute(*key);
                let arguments = [
                    v8::Integer::new_from_unsigned(scope, *key).into(),
                    v8::Integer::new(scope, i32::from(head.status)).into(),
                    latin1(scope, b""),
                    latin1(scope, head.headers),
                ];
                v8::Local::new(scope, &entry.response).call(scope, undefined, &arguments);
            }
            Event::Failed { key, code, message } => {
                state.attribute(*key);
                let code = match code {
                    ResetCode::Refused => "egress_refused",
                    ResetCode::DnsFailed => "dns_failed",
                    ResetCode::ConnectionRefused => "connection_refused",
                    ResetCode::Timeout | ResetCode::TimedOut => "timed_out",
                    ResetCode::TlsFailed => "tls_failed",
                    ResetCode::BadResponse => "bad_response",
                    ResetCode::Exception => "exception",
                    _ => "connection_lost",
                };
                let arguments = [
                    v8::Integer::new_from_unsigned(scope, *key).into(),
                    latin1(scope, code.as_bytes()),
                    utf8(scope, message),
                ];
                v8::Local::new(scope, &entry.failed).call(scope, undefined, &arguments);
            }
            Event::JobDone { token, request, answer } => {
                // Somebody may wait for it even where the request that asked for it is over.
                let alive = state.streams.borrow_mut().get(*request).is_some();
                state.current.set(if alive { *request } else { 0 });
                v8::tc_scope!(let scope, scope);
                let value = answer.take().and_then(|answer| answer.into_value(scope));
                scope.reset();
                let value = value.unwrap_or_else(|| utf8(scope, "OperationError: There is no memory left."));
                let token = v8::Integer::new_from_unsigned(scope, *token).into();
                v8::Local::new(scope, &entry.job_done).call(scope, undefined, &[token, value]);
            }
            Event::Message { key, message } => {
                state.attribute(*key);
                let number = v8::Integer::new_from_unsigned(scope, *key).into();
                let (code, reason) = match message.kind {
                    MessageKind::Close => socket::decode_close(&message.payload).unwrap_or((BROKEN, "")),
                    _ => (BROKEN, "The message does not fit into the worker's memory."),
                };
                let value = match message.kind {
                    MessageKind::Close => None,
                    _ => message_value(scope, state, *key, message),
                };
                if let Some(value) = value {
                    v8::Local::new(scope, &entry.socket_message).call(scope, undefined, &[number, value]);
                } else {
                    let arguments =
                        [number, v8::Integer::new(scope, code.into()).into(), utf8(scope, reason)];
                    v8::Local::new(scope, &entry.socket_closed).call(scope, undefined, &arguments);
                }
            }
        }
        scope.perform_microtask_checkpoint();
    }

    /// Compiles, links and evaluates the worker's modules. The isolate must be entered.
    pub fn load(&mut self, now_ns: u64, slot: &'static ThreadSlot) {
        if self.inspectable {
            self.make_inspectable(slot);
        }
        let Phase::Receiving { wire_id, received, env_len, artifact_len, want_code_cache } =
            std::mem::replace(&mut self.phase, Phase::Ready)
        else {
            return;
        };
        let (env, code) = received.split_at(env_len.min(received.len()));
        let env = String::from_utf8_lossy(env).into_owned();
        let bindings = env.clone();
        self.phase =
            Phase::Evaluating { wire_id, want_code_cache, env, deadline_ns: now_ns + 10_000_000_000 };
        let started = {
            v8::scope!(let scope, &mut self.isolate);
            let context = v8::Local::new(scope, &self.context);
            let scope = &mut v8::ContextScope::new(scope, context);
            // What V8 adds when a context leaves the snapshot is taken in hand before the worker's code sees it.
            let start = v8::Local::new(scope, &self.entry.start);
            let undefined = v8::undefined(scope).into();
            let bindings = utf8(scope, &bindings);
            let switches = v8::Integer::new_from_unsigned(scope, self.state.compatibility).into();
            start.call(scope, undefined, &[bindings, switches]);
            modules::start(scope, &self.state, code, artifact_len)
        };
        match started {
            Ok(()) => self.settle(now_ns, &slot.stop_asked_ns),
            Err(failure) => self.refuse(failure),
        }
    }

    /// Sees whether the evaluation has come to its end, and answers the engine if so.
    pub fn settle(&mut self, now_ns: u64, stop_asked: &AtomicU64) {
        let Phase::Evaluating { wire_id, want_code_cache, env, deadline_ns } = &self.phase else { return };
        let (wire_id, want_code_cache, deadline_ns) = (*wire_id, *want_code_cache, *deadline_ns);
        let settled = {
            v8::scope!(let scope, &mut self.isolate);
            let context = v8::Local::new(scope, &self.context);
            let scope = &mut v8::ContextScope::new(scope, context);
            scope.perform_microtask_checkpoint();
            match modules::evaluated(scope, &self.state) {
                Ok(None) if now_ns < deadline_ns => return,
                Ok(None) => Err(Failure::stalled(scope, &self.state)),
                Ok(Some(namespace)) => {
                    let arguments = [namespace, utf8(scope, env), utf8(scope, &self.state.name)];
                    let init = v8::Local::new(scope, &self.entry.init);
                    modules::init(scope, &self.state, init, &arguments).map(|handlers| {
                        let cache = want_code_cache.then(|| modules::code_cache(scope, &self.state));
                        (handlers, cache.unwrap_or_default())
                    })
                }
                Err(failure) => Err(failure),
            }
        };
        match settled {
            // It is about to be condemned, whatever its top level came to.
            Ok(_) if self.state.out_of_memory.get() || stop_asked.load(Ordering::Acquire) != 0 => {}
            Ok((handlers, cache)) => {
                let startup_us = crate::thread::monotonic_ns().saturating_sub(self.created_ns) / 1000;
                let answer = format!("{{\"handlers\":\"{handlers}\",\"startup_us\":{startup_us}}}\n");
                self.answer(wire_id, 200, &[answer.as_bytes(), &cache]);
                self.state.modules.borrow_mut().forget_sources();
                self.phase = Phase::Ready;
            }
            Err(failure) => self.refuse(failure),
        }
    }

    fn refuse(&mut self, failure: Failure) {
        // Code that wanted too much memory is condemned, and told why.
        if let Phase::Evaluating { wire_id, .. } = self.phase
            && !self.state.out_of_memory.get()
        {
            self.answer(wire_id, 422, &[failure.json().as_bytes()]);
        }
    }

    /// Answers the `Load` call. Code caches are small against a stream's credit only most of the time, so the
    /// engine grants a `Load` stream unlimited credit.
    fn answer(&self, wire_id: u32, status: u16, parts: &[&[u8]]) {
        let mut out = self.state.home.frames();
        Head { status, headers: b"" }.put(&mut out, 0, wire_id);
        for chunk in parts.iter().flat_map(|part| part.chunks(selvedge_wire::DATA_MAX)) {
            frame::put(&mut out, Kind::Data, 0, wire_id, chunk);
        }
        frame::put(&mut out, Kind::Data, frame::FIN | frame::DONE, wire_id, &[]);
    }

    /// Breaks every stream off, and a load that has not been answered.
    pub fn condemn(&mut self, offender: u32, code: ResetCode, text: &str) {
        if let Phase::Receiving { wire_id, .. } | Phase::Evaluating { wire_id, .. } = self.phase {
            message::put_reset(&mut self.state.home.frames(), wire_id, code, text);
        }
        let mut streams = self.state.streams.borrow_mut();
        for key in streams.keys(|_| true) {
            let stream = streams.get(key).expect("listed just now");
            if stream.role != Role::Incoming || key == offender {
                stream.reset(code, text);
            } else {
                stream.reset(ResetCode::Bystander, text);
            }
        }
        drop(streams);
        let mut out = self.state.home.frames();
        frame::put(&mut out, Kind::Gone, 0, 0, &self.state.instance.to_le_bytes());
    }

    /// Used heap and array buffers, bytes.
    pub fn memory(&mut self) -> usize {
        self.isolate.get_heap_statistics().used_heap_size() + self.state.buffers.used()
    }

    /// Gives back what a small heap holds beyond what lives in it. The isolate must be entered.
    pub fn trim(&mut self) {
        const SMALL_HEAP: usize = 16 << 20;
        if self.memory() < SMALL_HEAP {
            self.isolate.low_memory_notification();
        }
        handles::sweep(&mut self.isolate);
    }

    /// Ends V8's own background work for this isolate that waits for its thread; `stop_asked` is not 0 once it takes too long.
    pub fn pump(&mut self, platform: &v8::SharedRef<v8::Platform>, stop_asked: &AtomicU64) {
        while v8::Platform::pump_message_loop(platform, &self.isolate, false)
            && stop_asked.load(Ordering::Acquire) == 0
        {}
    }

    /// Begins an inspector's session, unless there is one. The isolate must be entered.
    pub fn inspect(&mut self, line: Rc<Line>, slot: &'static ThreadSlot, pauses: bool) {
        // The one before may have left just now.
        self.serve_inspector();
        if !matches!(self.phase, Phase::Ready) {
            return;
        }
        self.make_inspectable(slot);
        if let Some(inspector) = self.inspector.as_ref().filter(|inspector| !inspector.connected()) {
            inspector.connect(&mut self.isolate, line, pauses);
            self.tell_inspected(pauses);
            self.serve_inspector();
        }
    }

    fn make_inspectable(&mut self, slot: &'static ThreadSlot) {
        if self.inspector.is_none() {
            let name = &self.state.name;
            self.inspector = Some(Inspector::new(&mut self.isolate, &self.context, name, slot));
        }
    }

    /// Does what an inspector asks for. The isolate must be entered.
    pub fn serve_inspector(&mut self) {
        let Some(inspector) = self.inspector.as_ref().filter(|inspector| inspector.connected()) else {
            return;
        };
        if inspector.serve(&mut self.isolate) {
            return;
        }
        self.tell_inspected(false);
        if !self.inspectable
            && let Some(inspector) = self.inspector.take()
        {
            inspector.detach(&mut self.isolate);
        }
    }

    /// `console` shows its values to an inspector, too.
    fn tell_inspected(&mut self, inspected: bool) {
        v8::scope!(let scope, &mut self.isolate);
        let context = v8::Local::new(scope, &self.context);
        let scope = &mut v8::ContextScope::new(scope, context);
        let undefined = v8::undefined(scope).into();
        let inspected = v8::Boolean::new(scope, inspected).into();
        v8::Local::new(scope, &self.entry.inspected).call(scope, undefined, &[inspected]);
    }

    /// Whether time alone may change something about it.
    pub fn is_active(&self) -> bool {
        !matches!(self.phase, Phase::Ready) || self.unloading || self.state.streams.borrow().len() > 0
    }

    /// Opens a stream for an incoming call.
    pub fn open(&self, outbox: Rc<Outbox>, wire_id: u32, wall_ms: u32, fin: bool) -> Option<u32> {
        let deadline = self.state.now_ns.get() + u64::from(wall_ms) * 1_000_000;
        let backlog = self.state.backlog.clone();
        let mut stream = Stream::new(Role::Incoming, outbox, wire_id, backlog);
        stream.deadline_ns = deadline;
        stream.wall_ns = u64::from(wall_ms) * 1_000_000;
        stream.subrequests = self.state.subrequests;
        stream.incoming_ended = fin;
        self.state.cpu.request();
        self.state.streams.borrow_mut().insert(stream)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // V8 insists that an isolate is current when it is disposed of; dropping the field exits it.
        self.enter();
        if let Some(inspector) = self.inspector.take() {
            inspector.detach(&mut self.isolate);
        }
        self.state.modules.take();
        self.state.handles.take();
        self.state.callbacks.take();
    }
}

/// A message as JavaScript sees it: a string or a `Uint8Array`. `None` when there is no memory for it, and the socket
/// is broken off.
fn message_value<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &State,
    key: u32,
    message: &Message,
) -> Option<v8::Local<'s, v8::Value>> {
    let value = if message.kind == MessageKind::Text {
        v8::String::new_from_utf8(scope, &message.payload, v8::NewStringType::Normal).map(Into::into)
    } else {
        v8::tc_scope!(let scope, scope);
        crate::ops::uint8_array(scope, &message.payload)
    };
    if value.is_none()
        && let Some(stream) = state.streams.borrow_mut().get(key)
    {
        stream.give_up(ResetCode::MemoryExceeded);
        stream.limit_rest(state.now_ns.get());
    }
    value
}

fn latin1<'s>(scope: &v8::PinScope<'s, '_>, bytes: &[u8]) -> v8::Local<'s, v8::Value> {
    match v8::String::new_from_one_byte(scope, bytes, v8::NewStringType::Normal) {
        Some(string) => string.into(),
        None => v8::String::empty(scope).into(),
    }
}

fn utf8<'s>(scope: &v8::PinScope<'s, '_>, text: &str) -> v8::Local<'s, v8::Value> {
    match v8::String::new_from_utf8(scope, text.as_bytes(), v8::NewStringType::Normal) {
        Some(string) => string.into(),
        None => v8::String::empty(scope).into(),
    }
}
