//! Encodings, logs, and copies of values.

use v8::{FunctionCallbackArguments, PinScope, ReturnValue, Value};

use super::{LOG_TEXT_MAX, append_utf8, text, throw_type_error, uint8_array};
use crate::state::State;

/// `log(level, message)`.
pub fn log(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    _: ReturnValue<'_, Value>,
) {
    let state = State::of(scope);
    let level = arguments.get(0).uint32_value(scope).unwrap_or(1).min(4) as u8;
    let message = text(scope, arguments.get(1), LOG_TEXT_MAX);
    state.log(level, false, &message, "");
}

/// `exception(message, stack)`: something was thrown where nobody caught it.
pub fn exception(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    _: ReturnValue<'_, Value>,
) {
    let state = State::of(scope);
    let message = text(scope, arguments.get(0), LOG_TEXT_MAX);
    let stack = text(scope, arguments.get(1), LOG_TEXT_MAX);
    state.log(4, true, &message, &stack);
}

/// `encodeUtf8(string)`: a new `Uint8Array`.
pub fn encode_utf8(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let Ok(string) = v8::Local::<v8::String>::try_from(arguments.get(0)) else { return };
    let mut bytes = Vec::new();
    append_utf8(scope, string, &mut bytes);
    if let Some(array) = uint8_array(scope, &bytes) {
        result.set(array);
    }
}

/// `utf8Length(string)`: bytes that `encodeUtf8` would give.
pub fn utf8_length(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    if let Ok(string) = v8::Local::<v8::String>::try_from(arguments.get(0)) {
        result.set_double(string.utf8_length(scope) as f64);
    }
}

/// `encodeInto(string, view)`: `[code units read, bytes written]`.
pub fn encode_into(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let (Ok(string), Ok(view)) = (
        v8::Local::<v8::String>::try_from(arguments.get(0)),
        v8::Local::<v8::ArrayBufferView>::try_from(arguments.get(1)),
    ) else {
        return;
    };
    let (data, length) = (view.data(), view.byte_length());
    let (mut read, mut written) = (0, 0);
    if !data.is_null() && length > 0 {
        // SAFETY: the view is alive and JavaScript does not run meanwhile.
        let target = unsafe { std::slice::from_raw_parts_mut(data.cast(), length) };
        let flags = v8::WriteFlags::kReplaceInvalidUtf8;
        written = string.write_utf8_uninit_v2(scope, target, flags, Some(&mut read));
    }
    let pair = [v8::Number::new(scope, read as f64).into(), v8::Number::new(scope, written as f64).into()];
    result.set(v8::Array::new_with_elements(scope, &pair).into());
}

/// The bytes of a view or buffer, while nothing else runs.
pub(super) fn bytes_of<'a>(value: v8::Local<'a, Value>) -> Option<&'a [u8]> {
    let (data, length) = if let Ok(view) = v8::Local::<v8::ArrayBufferView>::try_from(value) {
        (view.data() as *const u8, view.byte_length())
    } else {
        let buffer = v8::Local::<v8::ArrayBuffer>::try_from(value).ok()?;
        (buffer.data().map_or(std::ptr::null(), |data| data.as_ptr() as *const u8), buffer.byte_length())
    };
    if data.is_null() {
        return Some(&[]);
    }
    // SAFETY: the buffer is alive and JavaScript does not run meanwhile.
    Some(unsafe { std::slice::from_raw_parts(data, length) })
}

/// `decodeUtf8(view, fatal, ignoreBOM)`.
pub fn decode_utf8(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let Some(mut bytes) = bytes_of(arguments.get(0)) else {
        return throw_type_error(scope, "decode takes an ArrayBuffer or a view of one.");
    };
    if !arguments.get(2).is_true() {
        bytes = without_mark(bytes);
    }
    if arguments.get(1).is_true() && std::str::from_utf8(bytes).is_err() {
        return throw_type_error(scope, "The encoded data was not valid UTF-8.");
    }
    match utf8_string_with_mark(scope, bytes) {
        Some(string) => result.set(string.into()),
        None => throw_type_error(scope, "The text is too long for a string."),
    }
}

fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// A string of UTF-8 without its byte order mark; what is malformed becomes U+FFFD. `None` when it is too long.
pub(super) fn utf8_string<'s>(
    scope: &v8::PinScope<'s, '_>,
    bytes: &[u8],
) -> Option<v8::Local<'s, v8::String>> {
    utf8_string_with_mark(scope, without_mark(bytes))
}

fn utf8_string_with_mark<'s>(
    scope: &v8::PinScope<'s, '_>,
    bytes: &[u8],
) -> Option<v8::Local<'s, v8::String>> {
    // Nearly all long texts are ASCII, which V8 copies faster than it decodes.
    if bytes.is_ascii() {
        v8::String::new_from_one_byte(scope, bytes, v8::NewStringType::Normal)
    } else {
        v8::String::new_from_utf8(scope, bytes, v8::NewStringType::Normal)
    }
}

/// `decodeLatin1(view)`: one character a byte.
pub fn decode_latin1(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let string = bytes_of(arguments.get(0))
        .and_then(|bytes| v8::String::new_from_one_byte(scope, bytes, v8::NewStringType::Normal));
    match string {
        Some(string) => result.set(string.into()),
        None => throw_type_error(scope, "decodeLatin1 takes an ArrayBuffer or a view of one."),
    }
}
