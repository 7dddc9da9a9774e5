//! Answering a request, and opening subrequests.

use std::rc::Rc;

use selvedge_wire::message::{Call, Head, ResetCode, Subrequest};
use selvedge_wire::{DATA_MAX, DONE, FIN, Kind, frame};
use v8::{FunctionCallbackArguments, PinScope, ReturnValue, Value};

use super::{
    LOG_TEXT_MAX, append_bytes, append_latin1, append_utf8, body_length, key, text, throw_error,
    throw_type_error,
};
use crate::connection::Outbox;
use crate::state::{HEAD_MAX, State};
use crate::stream::{Role, Stream};

/// Longest URL or method of a subrequest, characters.
const URL_MAX: usize = 64 << 10;

fn status(arguments: &FunctionCallbackArguments<'_>) -> u16 {
    v8::Local::<v8::Integer>::try_from(arguments.get(1))
        .map_or(500, |status| status.value().clamp(0, 999) as u16)
}

/// Appends a `HEAD` frame, or says why it cannot be.
fn put_head(
    scope: &PinScope<'_, '_>,
    arguments: &FunctionCallbackArguments<'_>,
    wire_id: u32,
    flags: u8,
    out: &mut Vec<u8>,
) -> bool {
    let start = out.len();
    let head = Head { status: status(arguments), headers: &[] };
    let Ok(block) = v8::Local::<v8::String>::try_from(arguments.get(2)) else { return false };
    head.put(out, flags, wire_id);
    if !append_latin1(scope, block, HEAD_MAX, out) {
        out.truncate(start);
        return false;
    }
    frame::end(out, start);
    true
}

/// `respond(id, status, head, body, done)`: the whole response at once. The hot path of every short answer.
pub fn respond(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    _: ReturnValue<'_, Value>,
) {
    let state = State::of(scope);
    let key = key(&arguments);
    let mut streams = state.streams.borrow_mut();
    let Some(stream) = streams.get(key).filter(|stream| !stream.head_sent && !stream.over()) else { return };
    let done = arguments.get(4).is_true();
    let body = arguments.get(3);
    // Native code may finish what took too much memory before it notices that it was told to stop.
    if state.out_of_memory.get() || state.body_too_large(body_length(body)) {
        stream.reset(
            ResetCode::MemoryExceeded,
            "The response's body is larger than the worker's memory limit.",
        );
        drop(streams);
        return state.sweep(key);
    }
    let mut out = stream.outbox.frames();
    let end_flags = if done { FIN | DONE } else { FIN };
    let empty = body.is_null_or_undefined();
    let head_flags = if empty { end_flags } else { 0 };
    if !put_head(scope, &arguments, stream.wire_id, head_flags, &mut out) {
        drop(out);
        stream.reset(ResetCode::NoResponse, "The response's headers are too large, or no byte strings.");
    } else if empty {
        drop(out);
        stream.ended_whole(done);
    } else {
        // Encode straight into the frame; where that is too much for one frame or the credit, take it out again.
        let start = frame::begin(&mut out, Kind::Data, end_flags, stream.wire_id);
        let at = out.len();
        append_bytes(scope, body, &mut out);
        let length = out.len() - at;
        if length <= DATA_MAX && length <= stream.send.available() {
            frame::end(&mut out, start);
            drop(out);
            stream.send.sent(length);
            stream.ended_whole(done);
        } else {
            let bytes = out.split_off(at);
            out.truncate(start);
            drop(out);
            stream.head_sent = true;
            stream.done |= done;
            stream.send_body(&bytes, true);
        }
    }
    drop(streams);
    state.sweep(key);
}

/// `respondStream(id, status, head)`: the head now, the body by `bodyWrite` and `bodyEnd`.
pub fn respond_stream(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    _: ReturnValue<'_, Value>,
) {
    let state = State::of(scope);
    let mut streams = state.streams.borrow_mut();
    let Some(stream) = streams.get(key(&arguments)).filter(|stream| !stream.head_sent && !stream.over())
    else {
        return;
    };
    stream.head_sent = true;
    let sent = put_head(scope, &arguments, stream.wire_id, 0, &mut stream.outbox.frames());
    if !sent {
        stream.reset(ResetCode::NoResponse, "The response's headers are too large, or no byte strings.");
    }
}

/// `requestDone(id)`: response and `waitUntil` work are finished.
pub fn request_done(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    _: ReturnValue<'_, Value>,
) {
    let state = State::of(scope);
    let key = key(&arguments);
    if let Some(stream) = state.streams.borrow_mut().get(key) {
        // A schedule has no response: its end is its answer.
        if !stream.head_sent {
            Head { status: 204, headers: &[] }.put(&mut stream.outbox.frames(), FIN | DONE, stream.wire_id);
            stream.ended_whole(true);
        }
        stream.finish();
    }
    state.sweep(key);
}

/// `fail(id, kind, message, stack)`: the handler threw or gave no response.
pub fn fail(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    _: ReturnValue<'_, Value>,
) {
    let state = State::of(scope);
    let key = key(&arguments);
    let kind = text(scope, arguments.get(1), 64);
    let message = text(scope, arguments.get(2), LOG_TEXT_MAX);
    let stack = text(scope, arguments.get(3), LOG_TEXT_MAX);
    let code = match kind.as_str() {
        "canceled" => ResetCode::Canceled,
        "no_response" => ResetCode::NoResponse,
        _ if state.buffers.take_refused() => ResetCode::MemoryExceeded,
        _ => ResetCode::Exception,
    };
    // The engine itself reports an answer that is none.
    if !matches!(code, ResetCode::Canceled | ResetCode::NoResponse) {
        state.log(4, true, &message, &stack);
    }
    if let Some(stream) = state.streams.borrow_mut().get(key) {
        stream.reset(code, &message);
    }
    state.sweep(key);
}

/// Counts a subrequest of the current request: the request's key, the way to the engine, and the request's number there.
pub fn allowance(state: &State) -> Result<(u32, Rc<Outbox>, u32), &'static str> {
    let request = state.current.get();
    match state.streams.borrow_mut().get(request) {
        None => Err("The outside can be reached only while a request or schedule is handled."),
        Some(stream) if stream.subrequests == 0 => Err("This request has reached its limit of subrequests."),
        Some(stream) => {
            stream.subrequests -= 1;
            Ok((request, stream.outbox.clone(), stream.wire_id))
        }
    }
}

/// A stream to the engine, its key and its number on the wire; `None` when too many are open.
pub fn open(state: &State, request: u32, outbox: &Rc<Outbox>, has_body: bool) -> Option<(u32, u32)> {
    let wire_id = outbox.open_stream();
    let mut stream = Stream::new(Role::Outgoing(request), outbox.clone(), wire_id, state.backlog.clone());
    stream.out_ended = !has_body;
    let key = state.streams.borrow_mut().insert(stream)?;
    state.subrequests_open.set(state.subrequests_open.get() + 1);
    state.opened.borrow_mut().push((outbox.clone(), wire_id, key));
    Some((key, wire_id))
}

/// `fetchStart(method, url, head, hasBody)`: asks the engine for something outside; returns the stream's key.
pub fn fetch_start(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let parts = [arguments.get(0), arguments.get(1), arguments.get(2)];
    if let Some(key) = open_call(scope, parts, arguments.get(3).is_true(), false) {
        result.set_uint32(key);
    }
}

/// Opens a stream for a call to the outside, of this method, URL and head; its key. `None` with an exception pending.
pub(super) fn open_call(
    scope: &mut PinScope<'_, '_>,
    arguments: [v8::Local<'_, Value>; 3],
    has_body: bool,
    socket: bool,
) -> Option<u32> {
    let state = State::of(scope);
    let (request, outbox, parent) = match allowance(state) {
        Ok(allowance) => allowance,
        Err(text) => {
            throw_error(scope, text);
            return None;
        }
    };
    let mut parts = [Vec::new(), Vec::new(), Vec::new()];
    for (index, part) in parts.iter_mut().enumerate() {
        let Ok(string) = v8::Local::<v8::String>::try_from(arguments[index]) else {
            throw_type_error(scope, "fetchStart takes three strings");
            return None;
        };
        if index == 2 {
            if !append_latin1(scope, string, HEAD_MAX, part) {
                throw_type_error(scope, "The request's headers are too large, or no byte strings.");
                return None;
            }
        } else if string.length() > URL_MAX {
            throw_type_error(scope, "The request's URL is too long.");
            return None;
        } else {
            append_utf8(scope, string, part);
        }
    }
    let Some((key, wire_id)) = open(state, request, &outbox, has_body) else {
        throw_error(scope, "Too many streams are open.");
        return None;
    };
    if let Some(stream) = state.streams.borrow_mut().get(key) {
        stream.may_switch = socket;
    }
    let (instance, [method, url, headers]) = (state.instance, &parts);
    let request = Subrequest { instance, parent, method, url, headers };
    let call = if socket { Call::WebSocket(request) } else { Call::Subrequest(request) };
    call.put(&mut outbox.frames(), if has_body { 0 } else { FIN }, wire_id);
    Some(key)
}

/// `fetchCancel(id)`: the worker is no longer interested.
pub fn fetch_cancel(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    _: ReturnValue<'_, Value>,
) {
    let state = State::of(scope);
    let key = key(&arguments);
    let mut streams = state.streams.borrow_mut();
    if let Some(stream) = streams.get(key).filter(|stream| matches!(stream.role, Role::Outgoing(_))) {
        stream.reset(ResetCode::Canceled, "");
        stream.discard();
        drop(streams);
        state.ended.borrow_mut().push(key);
    }
}
