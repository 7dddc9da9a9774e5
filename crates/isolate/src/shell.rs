//! An isolate and its context out of the snapshot, before a worker moves in.
//!
//! Reading the snapshot is most of a cold start, and is the same for all workers. So a thread with nothing to do makes a
//! shell ahead of the next load ([`crate::thread`]).

use std::sync::Arc;

use crate::limits::{Buffers, fatal_out_of_memory};
use crate::modules;
use crate::snapshot::Snapshot;
use crate::state::{Callbacks, State};

/// An isolate that belongs to no worker yet. No JavaScript of a worker has run in it, and none can until it has a state.
pub struct Shell {
    /// `None` once a worker moved in.
    parts: Option<Parts>,
    limit: usize,
}

/// What a worker takes over.
pub struct Parts {
    pub isolate: v8::OwnedIsolate,
    pub context: v8::Global<v8::Context>,
    pub entry: Entry,
    pub callbacks: Callbacks,
    pub buffers: Arc<Buffers>,
}

/// The functions of the runtime's JavaScript that the host calls.
pub struct Entry {
    pub start: v8::Global<v8::Function>,
    pub fetch: v8::Global<v8::Function>,
    pub invoke: v8::Global<v8::Function>,
    pub scheduled: v8::Global<v8::Function>,
    pub init: v8::Global<v8::Function>,
    pub timer: v8::Global<v8::Function>,
    pub readable: v8::Global<v8::Function>,
    pub writable: v8::Global<v8::Function>,
    pub piped: v8::Global<v8::Function>,
    pub aborted: v8::Global<v8::Function>,
    pub response: v8::Global<v8::Function>,
    pub failed: v8::Global<v8::Function>,
    pub job_done: v8::Global<v8::Function>,
    pub socket_message: v8::Global<v8::Function>,
    pub socket_closed: v8::Global<v8::Function>,
    pub inspected: v8::Global<v8::Function>,
}

/// A worker's memory limit, bytes, within what V8 can do with.
pub fn heap_limit(memory_mb: u32) -> usize {
    (memory_mb.clamp(16, 8192) as usize) << 20
}

impl Shell {
    /// Makes an isolate of this limit, bytes, and its context. No isolate may be entered, and none is afterwards.
    pub fn new(snapshot: &Snapshot, limit: usize) -> Self {
        let buffers = Buffers::new(limit);
        let params =
            snapshot.params().heap_limits(0, limit).array_buffer_allocator(buffers.allocator().make_shared());
        let mut isolate = v8::Isolate::new(params);
        isolate.set_microtasks_policy(v8::MicrotasksPolicy::Explicit);
        isolate.set_oom_error_handler(fatal_out_of_memory);
        isolate.set_promise_reject_callback(promise_rejected);
        isolate.set_host_import_module_dynamically_callback(modules::import_dynamically);
        isolate.set_allow_wasm_code_generation_callback(wasm_from_bytes);
        let (context, (entry, callbacks)) = {
            v8::scope!(let scope, &mut isolate);
            let context = v8::Context::new(scope, Default::default());
            let scope = &mut v8::ContextScope::new(scope, context);
            // `eval` and `new Function` stay off: code is what was deployed.
            context.set_allow_generation_from_strings(false);
            let entry = Entry::take(scope, context);
            (v8::Global::new(scope, context), entry)
        };
        // SAFETY: creation entered it; nothing else was entered in between.
        unsafe { isolate.exit() };
        Self { parts: Some(Parts { isolate, context, entry, callbacks, buffers }), limit }
    }

    /// Whether a worker of this limit, bytes, can move in.
    pub fn suits(&self, limit: usize) -> bool {
        self.limit == limit
    }

    /// The parts, for a worker to move in.
    pub fn open(mut self) -> Parts {
        self.parts.take().expect("only taken here")
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        if let Some(parts) = &self.parts {
            // SAFETY: V8 insists that an isolate is current when it is disposed of; dropping the field exits it.
            unsafe { parts.isolate.enter() };
        }
    }
}

impl Entry {
    /// Takes the entry points out of the global, where the snapshot left them.
    fn take(scope: &mut v8::PinScope<'_, '_>, context: v8::Local<'_, v8::Context>) -> (Self, Callbacks) {
        let global = context.global(scope);
        let name = v8::String::new(scope, "__selvedge").expect("short string");
        let entry = global.get(scope, name.into()).and_then(|value| value.to_object(scope));
        let entry = entry.expect("the snapshot holds the entry points");
        global.delete(scope, name.into());
        // With shared memory a worker could build itself the clock that stands still for it. `Temporal` comes back
        // when it is used, with another clock.
        for name in ["SharedArrayBuffer", "Atomics", "Temporal"] {
            let name = v8::String::new(scope, name).expect("short string");
            global.delete(scope, name.into());
        }
        let take = |name: &str| {
            let key = v8::String::new(scope, name).expect("short string");
            let value = entry.get(scope, key.into()).expect("plain object");
            let function = v8::Local::<v8::Function>::try_from(value)
                .unwrap_or_else(|_| panic!("the runtime lacks the entry point {name}"));
            v8::Global::new(scope, function)
        };
        let callbacks = Callbacks {
            unhandled: take("unhandledRejection"),
            handled: take("rejectionHandled"),
            builtin: take("builtin"),
            classic: take("classic"),
        };
        let entry = Self {
            start: take("start"),
            fetch: take("fetch"),
            invoke: take("invoke"),
            scheduled: take("scheduled"),
            init: take("init"),
            timer: take("timer"),
            readable: take("readable"),
            writable: take("writable"),
            piped: take("piped"),
            aborted: take("aborted"),
            response: take("response"),
            failed: take("failed"),
            job_done: take("jobDone"),
            socket_message: take("socketMessage"),
            socket_closed: take("socketClosed"),
            inspected: take("inspected"),
        };
        (entry, callbacks)
    }
}

extern "C" fn promise_rejected(message: v8::PromiseRejectMessage<'_>) {
    v8::callback_scope!(unsafe scope, &message);
    let state = State::of(scope);
    let (function, reason) = {
        let rejections = state.callbacks.borrow();
        let Some(rejections) = rejections.as_ref() else { return };
        match message.get_event() {
            v8::PromiseRejectEvent::PromiseRejectWithNoHandler => {
                (v8::Local::new(scope, &rejections.unhandled), message.get_value())
            }
            v8::PromiseRejectEvent::PromiseHandlerAddedAfterReject => {
                (v8::Local::new(scope, &rejections.handled), None)
            }
            _ => return,
        }
    };
    let undefined: v8::Local<'_, v8::Value> = v8::undefined(scope).into();
    let promise = message.get_promise().into();
    function.call(scope, undefined, &[reason.unwrap_or(undefined), promise]);
}

extern "C" fn wasm_from_bytes(
    _context: v8::Local<'_, v8::Context>,
    _source: v8::Local<'_, v8::String>,
) -> bool {
    false
}
