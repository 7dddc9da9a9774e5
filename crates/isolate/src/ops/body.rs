//! Bodies: chunks out with credit, chunks in on demand.

use selvedge_wire::message::ResetCode;
use v8::{FunctionCallbackArguments, PinScope, ReturnValue, Value};

use super::text::utf8_string;
use super::{append_bytes, body_length, key, throw_range_error, throw_type_error, uint8_array};
use crate::relay::Relay;
use crate::state::State;
use crate::stream::Role;

/// Most that may wait beyond the credit of a stream; a writer that ignores its credit is stopped there.
const PENDING_MAX: i64 = 16 << 20;

/// `bodyWrite(id, chunk)`: takes the chunk; returns the credit left, zero or less meaning wait for `writable`.
pub fn write(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let state = State::of(scope);
    if state.body_too_large(body_length(arguments.get(1))) {
        return throw_type_error(scope, "The chunk is larger than the worker's memory limit.");
    }
    let chunk = arguments.get(1);
    if !chunk.is_string() && !chunk.is_array_buffer_view() {
        return throw_type_error(scope, "A body chunk must be a string or a Uint8Array.");
    }
    let room = {
        let mut streams = state.streams.borrow_mut();
        match streams.get(key(&arguments)) {
            Some(stream) if !stream.out_ended && stream.room() > -PENDING_MAX => {
                // Bytes are as many as they say; a string has to be encoded before that is known.
                let length = if chunk.is_string() { 0 } else { body_length(chunk) };
                let fill = |out: &mut Vec<u8>| {
                    append_bytes(scope, chunk, out);
                };
                if !stream.send_body_with(length, fill) {
                    let mut bytes = Vec::new();
                    append_bytes(scope, chunk, &mut bytes);
                    if !bytes.is_empty() {
                        stream.send_body(&bytes, false);
                    }
                }
                let room = stream.room();
                stream.wants_write = room <= 0;
                Some(room)
            }
            _ => None,
        }
    };
    match room {
        Some(room) => result.set_double(room as f64),
        None => throw_type_error(scope, "The stream is closed."),
    }
}

/// `bodyEnd(id)`: no more chunks.
pub fn end(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    _: ReturnValue<'_, Value>,
) {
    let state = State::of(scope);
    let key = key(&arguments);
    if let Some(stream) = state.streams.borrow_mut().get(key).filter(|stream| !stream.out_ended) {
        stream.send_body(&[], true);
    }
    state.sweep(key);
}

/// `bodyAbort(id, message)`: the body cannot be completed.
pub fn abort(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    _: ReturnValue<'_, Value>,
) {
    let state = State::of(scope);
    let key = key(&arguments);
    let message = super::text(scope, arguments.get(1), 4096);
    if let Some(stream) = state.streams.borrow_mut().get(key) {
        stream.reset(ResetCode::Exception, &message);
    }
    state.sweep(key);
}

/// `bodyPull(id)`: the next chunk, `null` at the end, `undefined` when none is there yet.
pub fn pull(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let state = State::of(scope);
    let key = key(&arguments);
    let chunk = {
        let mut streams = state.streams.borrow_mut();
        let Some(stream) = streams.get(key) else { return result.set_null() };
        match stream.incoming.pop_front() {
            Some(chunk) => {
                stream.consumed(chunk.len());
                chunk
            }
            None => match &stream.broken {
                Some(text) => {
                    let text = text.clone();
                    drop(streams);
                    return throw_type_error(scope, &text);
                }
                None if stream.incoming_ended => {
                    drop(streams);
                    state.sweep(key);
                    return result.set_null();
                }
                None => {
                    stream.wants_read = true;
                    return result.set_undefined();
                }
            },
        }
    };
    if let Some(array) = uint8_array(scope, &chunk) {
        result.set(array);
    }
}

/// `bodyText(id)`: the rest of the body as text, in one piece.
pub fn text(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let state = State::of(scope);
    let key = key(&arguments);
    let whole = {
        let mut streams = state.streams.borrow_mut();
        let Some(stream) = streams.get(key) else { return result.set_empty_string() };
        if let Some(text) = stream.broken.clone() {
            drop(streams);
            return throw_type_error(scope, &text);
        }
        if stream.whole.is_none() {
            let Some(charge) = state.buffers.charge(0) else { return };
            stream.gather(charge);
        }
        match stream.whole.take_if(|whole| whole.refused || stream.incoming_ended) {
            Some(whole) => whole,
            None => {
                stream.wants_read = true;
                return result.set_undefined();
            }
        }
    };
    if whole.refused {
        if let Some(stream) = state.streams.borrow_mut().get(key) {
            stream.discard();
        }
        state.sweep(key);
        return throw_range_error(scope, "The body is larger than the memory that is left to the worker.");
    }
    state.sweep(key);
    match utf8_string(scope, &whole.bytes) {
        Some(string) => result.set(string.into()),
        None => throw_type_error(scope, "The text is too long for a string."),
    }
}

/// `bodyCancel(id)`: the rest of the incoming body is of no interest.
pub fn cancel(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    _: ReturnValue<'_, Value>,
) {
    let state = State::of(scope);
    let key = key(&arguments);
    if let Some(stream) = state.streams.borrow_mut().get(key) {
        if stream.role != Role::Incoming && stream.out_ended {
            // The server need not send the rest.
            stream.reset(ResetCode::Canceled, "");
        }
        stream.discard();
    }
    state.sweep(key);
}

/// `bodyPipe(from, to)`: the rest of one stream's incoming body is another's outgoing body. 1 while it goes on, 0 when
/// all of it is there already, 2 when nobody takes it.
pub fn pipe(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let state = State::of(scope);
    let from = key(&arguments);
    let to = v8::Local::<v8::Integer>::try_from(arguments.get(1)).map_or(0, |key| key.value() as u32);
    let relay = {
        let mut streams = state.streams.borrow_mut();
        streams.begin_relay(from, to).then(|| streams.relay(from))
    };
    match relay {
        Some(Relay::Waiting) => result.set_uint32(1),
        Some(Relay::Finished { .. }) => {
            result.set_uint32(0);
            state.sweep(from);
            state.sweep(to);
        }
        Some(Relay::Broken { reason, .. }) => throw_type_error(scope, &reason),
        None => result.set_uint32(2),
    }
}

/// `detach(view)`: detaches the buffer behind a view, as transferring it does.
pub fn detach(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    _: ReturnValue<'_, Value>,
) {
    let Ok(view) = v8::Local::<v8::ArrayBufferView>::try_from(arguments.get(0)) else { return };
    if let Some(buffer) = view.buffer(scope).filter(|buffer| buffer.is_detachable()) {
        buffer.detach(None);
    }
}
