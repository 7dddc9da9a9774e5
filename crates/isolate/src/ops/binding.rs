//! Calls of what names in `env` stand for, and the values that remote calls carry.

use selvedge_wire::FIN;
use selvedge_wire::message::{Bound, Call, Subrequest};
use v8::{
    FunctionCallbackArguments, Local, PinScope, ReturnValue, Value, ValueDeserializerHelper,
    ValueSerializerHelper,
};

use super::{append_latin1, append_utf8, text, throw_error, throw_type_error, uint8_array};
use crate::state::{HEAD_MAX, State};
use crate::stream::{Role, Stream};

/// Longest URL or method, characters.
const URL_MAX: usize = 64 << 10;
/// Longest name of a binding or export, and longest props, bytes.
const NAME_MAX: usize = 1 << 10;
const PROPS_MAX: usize = 64 << 10;
/// Largest message of a remote call, bytes.
pub const MESSAGE_MAX: usize = 32 << 20;

/// `bindingCall(binding, props, method, url, head, hasBody, socket)`: asks the engine for what a binding stands for;
/// returns the stream's key.
pub fn call(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let state = State::of(scope);
    let request = state.current.get();
    let opened = {
        let mut streams = state.streams.borrow_mut();
        match streams.get(request) {
            None => Err("A binding can be called only while a request or schedule is handled."),
            Some(stream) if stream.subrequests == 0 => {
                Err("This request has reached its limit of subrequests.")
            }
            Some(stream) => {
                stream.subrequests -= 1;
                Ok((stream.outbox.clone(), stream.wire_id))
            }
        }
    };
    let (outbox, parent) = match opened {
        Ok(opened) => opened,
        Err(text) => return throw_error(scope, text),
    };
    let binding = text(scope, arguments.get(0), NAME_MAX);
    let props = text(scope, arguments.get(1), PROPS_MAX + 1);
    let mut parts = [Vec::new(), Vec::new(), Vec::new()];
    for (index, part) in parts.iter_mut().enumerate() {
        let Ok(string) = Local::<v8::String>::try_from(arguments.get(index as i32 + 2)) else {
            return throw_type_error(scope, "bindingCall takes strings");
        };
        if index == 2 {
            if !append_latin1(scope, string, HEAD_MAX, part) {
                return throw_type_error(scope, "The request's headers are too large, or no byte strings.");
            }
        } else if string.length() > URL_MAX {
            return throw_type_error(scope, "The request's URL is too long.");
        } else {
            append_utf8(scope, string, part);
        }
    }
    let has_body = arguments.get(5).is_true();
    let wire_id = outbox.open_stream();
    let mut stream = Stream::new(Role::Outgoing(request), outbox.clone(), wire_id, state.backlog.clone());
    stream.out_ended = !has_body;
    stream.may_switch = has_body && arguments.get(6).is_true();
    let key = state.streams.borrow_mut().insert(stream);
    let Some(key) = key else { return throw_error(scope, "Too many streams are open.") };
    let call = Call::Bound(Bound {
        binding: &binding,
        props: &props,
        request: Subrequest {
            instance: state.instance,
            parent,
            method: &parts[0],
            url: &parts[1],
            headers: &parts[2],
        },
    });
    call.put(&mut outbox.frames(), if has_body { 0 } else { FIN }, wire_id);
    state.subrequests_open.set(state.subrequests_open.get() + 1);
    state.opened.borrow_mut().push((outbox, wire_id, key));
    result.set_uint32(key);
}

/// What may be in a message: objects of classes are the codec's business, and refused where it left them.
struct Plain;

impl v8::ValueSerializerImpl for Plain {
    fn throw_data_clone_error<'s>(&self, scope: &mut PinScope<'s, '_>, message: Local<'s, v8::String>) {
        super::clone::throw_clone_error(scope, message);
    }

    fn has_custom_host_object(&self, _: &v8::Isolate) -> bool {
        true
    }

    /// Called for ordinary objects only: one of a class would lose what makes it one.
    fn is_host_object<'s>(
        &self,
        scope: &mut PinScope<'s, '_>,
        object: Local<'s, v8::Object>,
    ) -> Option<bool> {
        if object.is_native_error() {
            return Some(false);
        }
        let Some(prototype) = object.get_prototype(scope) else { return Some(false) };
        let plain = v8::Object::new(scope).get_prototype(scope);
        Some(!prototype.is_null() && Some(prototype) != plain)
    }

    fn write_host_object<'s>(
        &self,
        scope: &mut PinScope<'s, '_>,
        object: Local<'s, v8::Object>,
        _: &dyn ValueSerializerHelper,
    ) -> Option<bool> {
        let class = object.get_constructor_name().to_rust_string_lossy(scope);
        let text = format!(
            "An object of the class {class} cannot be sent to another worker; let the class extend RpcTarget."
        );
        let text = v8::String::new(scope, &text)?;
        super::clone::throw_clone_error(scope, text);
        None
    }
}

impl v8::ValueDeserializerImpl for Plain {}

/// `rpcEncode(value)`: the value's bytes, with its length in four bytes before them.
pub fn encode(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let context = scope.get_current_context();
    let serializer = v8::ValueSerializer::new(scope, Box::new(Plain));
    serializer.write_header();
    if serializer.write_value(context, arguments.get(0)) != Some(true) {
        return;
    }
    let bytes = serializer.release();
    if bytes.len() > MESSAGE_MAX {
        return throw_type_error(
            scope,
            "A message between workers may have 32 MiB; pass more as a ReadableStream.",
        );
    }
    let mut framed = Vec::with_capacity(bytes.len() + 4);
    framed.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    framed.extend_from_slice(&bytes);
    drop(bytes);
    if let Some(array) = uint8_array(scope, &framed) {
        result.set(array);
    }
}

/// `rpcDecode(bytes)`: the value; throws for what is none.
pub fn decode(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let mut bytes = Vec::new();
    if !Local::<v8::ArrayBufferView>::try_from(arguments.get(0))
        .is_ok_and(|view| view.byte_length() <= MESSAGE_MAX)
        || !super::append_bytes(scope, arguments.get(0), &mut bytes)
    {
        return throw_type_error(scope, "rpcDecode takes bytes");
    }
    let context = scope.get_current_context();
    let deserializer = v8::ValueDeserializer::new(scope, Box::new(Plain), &bytes);
    if deserializer.read_header(context) == Some(true)
        && let Some(value) = deserializer.read_value(context)
    {
        result.set(value);
    }
}
