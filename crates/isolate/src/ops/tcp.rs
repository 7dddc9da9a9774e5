//! TCP connections to the outside, as streams.

use selvedge_wire::message::{Call, Connect, ResetCode};
use v8::{FunctionCallbackArguments, PinScope, ReturnValue, Value};

use super::respond::{allowance, open};
use super::{text, throw_error, throw_type_error};
use crate::state::State;
use crate::stream::Role;

/// Longest host name (RFC 1035, section 2.3.4), and room for what is none and to be refused with its name.
const HOST_MAX: usize = 1024;

/// `tcpConnect(host, port, secure, upgrade)`: opens a connection; returns the stream's key.
pub fn connect(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let state = State::of(scope);
    let number = |index| {
        v8::Local::<v8::Integer>::try_from(arguments.get(index))
            .map_or(0, |number: v8::Local<'_, v8::Integer>| number.value())
    };
    let host = text(scope, arguments.get(0), HOST_MAX);
    let (Ok(port), Ok(earlier)) = (u16::try_from(number(1)), u32::try_from(number(3))) else {
        return throw_type_error(scope, "The port is not valid.");
    };
    let upgrade = match earlier {
        0 => 0,
        key => {
            let outgoing = |stream: &mut crate::stream::Stream| {
                matches!(stream.role, Role::Outgoing(_)).then_some(stream.wire_id)
            };
            match state.streams.borrow_mut().get(key).and_then(outgoing) {
                Some(wire_id) => wire_id,
                None => return throw_error(scope, "The connection that was to go on with TLS is closed."),
            }
        }
    };
    let (request, outbox, parent) = match allowance(state) {
        Ok(allowance) => allowance,
        Err(text) => return throw_error(scope, text),
    };
    let Some((key, wire_id)) = open(state, request, &outbox, true) else {
        return throw_error(scope, "Too many streams are open.");
    };
    let secure = arguments.get(2).is_true();
    let instance = state.instance;
    let call = Call::Connect(Connect { instance, parent, secure, port, upgrade, host: &host });
    call.put(&mut outbox.frames(), 0, wire_id);
    if earlier != 0 {
        let mut streams = state.streams.borrow_mut();
        if let Some(stream) = streams.get(earlier) {
            stream.reset(ResetCode::Canceled, "");
            stream.discard();
            drop(streams);
            state.ended.borrow_mut().push(earlier);
        }
    }
    result.set_uint32(key);
}
