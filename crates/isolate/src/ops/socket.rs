//! WebSockets: accepting a client's, asking for one outside, and the messages on both.

use selvedge_wire::message::{Head, ResetCode};
use selvedge_wire::socket::{MESSAGE_MAX, MessageKind, NO_CODE};
use v8::{FunctionCallbackArguments, PinScope, ReturnValue, Value};

use super::respond::open_call;
use super::{append_bytes, append_latin1, body_length, key, text, throw_type_error};
use crate::state::{HEAD_MAX, State};
use crate::stream::Role;

/// `socketAnswer(key, head)`: status 101 to a client that asked for it; false when it did not.
pub fn answer(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let state = State::of(scope);
    let mut fields = Vec::new();
    let fits = match v8::Local::<v8::String>::try_from(arguments.get(1)) {
        Ok(block) => append_latin1(scope, block, HEAD_MAX, &mut fields),
        Err(_) => false,
    };
    if !fits {
        return throw_type_error(scope, "The response's headers are too large, or no byte strings.");
    }
    let mut streams = state.streams.borrow_mut();
    let stream = streams.get(key(&arguments)).filter(|stream| {
        stream.role == Role::Incoming && stream.may_switch && !stream.head_sent && !stream.over()
    });
    if let Some(stream) = stream {
        stream.head_sent = true;
        Head { status: 101, headers: &fields }.put(&mut stream.outbox.frames(), 0, stream.wire_id);
        stream.become_socket();
        result.set_bool(true);
    } else {
        result.set_bool(false);
    }
}

/// `socketOpen(url, head)`: asks the engine for a WebSocket outside; returns the stream's key.
pub fn open(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let Some(method) = v8::String::new(scope, "GET") else { return };
    let parts = [method.into(), arguments.get(0), arguments.get(1)];
    if let Some(key) = open_call(scope, parts, true, true) {
        result.set_uint32(key);
    }
}

/// `socketSend(key, data)`: a string, or the bytes of a view. Returns the bytes that wait for credit; -1 when the socket
/// was broken off since too many do.
pub fn send(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let state = State::of(scope);
    let data = arguments.get(1);
    if body_length(data) > MESSAGE_MAX {
        return throw_type_error(scope, "A WebSocket message must not be larger than 32 MiB.");
    }
    let kind = if data.is_string() { MessageKind::Text } else { MessageKind::Binary };
    let mut payload = Vec::new();
    if !append_bytes(scope, data, &mut payload) {
        return throw_type_error(scope, "A WebSocket message must be a string or a view.");
    }
    if payload.len() > MESSAGE_MAX {
        return throw_type_error(scope, "A WebSocket message must not be larger than 32 MiB.");
    }
    let key = key(&arguments);
    let mut streams = state.streams.borrow_mut();
    let Some(stream) = streams.get(key).filter(|stream| stream.socket.is_some() && !stream.out_ended) else {
        return result.set_double(0.0);
    };
    if state.body_too_large(payload.len()) || !stream.send_message(kind, &payload) {
        stream.give_up(ResetCode::BodyTooLarge);
        stream.limit_rest(state.now_ns.get());
        return result.set_double(-1.0);
    }
    stream.wants_write = stream.waiting() > 0;
    result.set_double(stream.waiting() as f64);
}

/// `socketClose(key, code, reason)`: nothing more is sent; a code of 0 is none.
pub fn close(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    _: ReturnValue<'_, Value>,
) {
    let state = State::of(scope);
    let code = v8::Local::<v8::Integer>::try_from(arguments.get(1)).map_or(0, |code| code.value());
    let code = u16::try_from(code).ok().filter(|code| *code != 0).unwrap_or(NO_CODE);
    let reason = text(scope, arguments.get(2), 123);
    let key = key(&arguments);
    if let Some(stream) = state.streams.borrow_mut().get(key)
        && stream.socket.is_some()
        && !stream.out_ended
    {
        stream.send_close(code, &reason);
        stream.limit_rest(state.now_ns.get());
    }
    state.sweep(key);
}

/// `socketFlow(key, on)`: whether messages are delivered; those that are here follow soon.
pub fn flow(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    _: ReturnValue<'_, Value>,
) {
    let state = State::of(scope);
    let key = key(&arguments);
    if let Some(socket) = state.streams.borrow_mut().get(key).and_then(|stream| stream.socket.as_mut()) {
        socket.flowing = arguments.get(1).is_true();
        if socket.flowing {
            state.flowing.borrow_mut().push(key);
        }
    }
}

/// `socketBuffered(key)`: bytes that wait for the peer to take them.
pub fn buffered(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let state = State::of(scope);
    let waiting = state.streams.borrow_mut().get(key(&arguments)).map_or(0, |stream| stream.waiting());
    result.set_double(waiting as f64);
}
