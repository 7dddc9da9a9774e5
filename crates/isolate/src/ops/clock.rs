//! Time that stands still during a turn, timers, randomness, and whose turn it is.

use v8::{FunctionCallbackArguments, PinScope, ReturnValue, Value};

use super::{key, throw_error};
use crate::state::{State, TIMERS_MAX, Timer};

/// Longest timer, milliseconds: that of browsers, 2³¹ − 1.
const TIMER_MAX_MS: f64 = 2_147_483_647.0;

/// `timerStart(ms, repeat)`: returns a token, which comes back in the event `timer`.
pub fn timer_start(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let state = State::of(scope);
    let ms = arguments.get(0).number_value(scope).unwrap_or(0.0);
    let ms = if ms.is_nan() { 0.0 } else { ms.clamp(0.0, TIMER_MAX_MS) };
    let repeat = arguments.get(1).is_true();
    let token = state.next_timer.get();
    {
        let mut timers = state.timers.borrow_mut();
        if timers.len() >= TIMERS_MAX {
            drop(timers);
            return throw_error(scope, "Too many timers are running.");
        }
        let ns = (ms * 1e6) as u64;
        // An interval of zero would starve everybody else.
        let interval_ns = repeat.then_some(ns.max(1_000_000));
        timers.insert(token, Timer { request: state.current.get(), interval_ns });
        let due = state.now_ns.get() + if repeat { ns.max(1_000_000) } else { ns };
        state.started_timers.borrow_mut().push((due, token));
    }
    state.next_timer.set(token % 0x3fff_ffff + 1);
    result.set_uint32(token);
}

/// `timerCancel(token)`.
pub fn timer_cancel(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    _: ReturnValue<'_, Value>,
) {
    State::of(scope).timers.borrow_mut().remove(&key(&arguments));
}

/// `now()`: Unix milliseconds at the beginning of the turn.
pub fn now(
    scope: &mut PinScope<'_, '_>,
    _: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    result.set_double(State::of(scope).now_ms.get());
}

/// `temporal()`: V8's `Temporal`, whose functions read the true clock; undefined when V8 has none.
///
/// V8 gives each context an accessor that makes it in the context that runs. The worker's context has lost its own by now
/// ([`crate::shell`]), since making it takes much memory; another context's does the same.
pub fn temporal(
    scope: &mut PinScope<'_, '_>,
    _: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let current = scope.get_current_context();
    let other = v8::Context::new(scope, v8::ContextOptions::default());
    let token = current.get_security_token(scope);
    other.set_security_token(token);
    let global = other.global(scope);
    if let Some(name) = v8::String::new(scope, "Temporal")
        && let Some(temporal) = global.get(scope, name.into())
    {
        result.set(temporal);
    }
}

/// `random(view)`: fills it from the kernel's generator.
pub fn random(_: &mut PinScope<'_, '_>, arguments: FunctionCallbackArguments<'_>, _: ReturnValue<'_, Value>) {
    let Ok(view) = v8::Local::<v8::ArrayBufferView>::try_from(arguments.get(0)) else { return };
    let (data, length) = (view.data(), view.byte_length());
    if data.is_null() {
        return;
    }
    // SAFETY: the view is alive and JavaScript does not run meanwhile.
    let bytes = unsafe { std::slice::from_raw_parts_mut(data.cast::<u8>(), length) };
    for chunk in bytes.chunks_mut(256) {
        // Requests of up to 256 bytes are always answered whole.
        let wanted = chunk.len();
        let filled = rustix::rand::getrandom(chunk, rustix::rand::GetRandomFlags::empty());
        assert_eq!(filled, Ok(wanted), "the kernel gives random bytes");
    }
}

/// `asyncContext()`: what `setAsyncContext` was given, here or where the continuation that runs was made.
pub fn async_context(
    scope: &mut PinScope<'_, '_>,
    _: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    result.set(scope.get_continuation_preserved_embedder_data());
}

/// `setAsyncContext(value)`: continuations made from now on find the value again.
pub fn set_async_context(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    _: ReturnValue<'_, Value>,
) {
    scope.set_continuation_preserved_embedder_data(arguments.get(0));
}

/// `currentRequest()`: key of the request on whose behalf this runs, 0 when none.
pub fn current_request(
    scope: &mut PinScope<'_, '_>,
    _: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    result.set_uint32(State::of(scope).current.get());
}

/// `setCurrentRequest(key)`: what follows runs on behalf of that request.
pub fn set_current_request(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    _: ReturnValue<'_, Value>,
) {
    State::of(scope).current.set(key(&arguments));
}
