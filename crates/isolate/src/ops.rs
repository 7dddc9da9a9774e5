//! What JavaScript may ask of the host. Each op is a native function on the object that the runtime's
//! JavaScript takes over while the snapshot is made; `runtime/src/ops.d.ts` is its other side.

mod binding;
mod body;
mod clock;
mod clone;
mod codec;
mod crypto;
mod encoding;
pub mod html;
mod innards;
mod part;
mod respond;
mod socket;
mod tcp;
mod text;
mod url;

use v8::MapFnTo;

use crate::state::State;

type Callback = v8::FunctionCallback;

/// Every op by name. The order is part of the snapshot: a snapshot is good for the build that made it.
fn table() -> Vec<(&'static str, Callback)> {
    vec![
        ("respond", respond::respond.map_fn_to()),
        ("respondStream", respond::respond_stream.map_fn_to()),
        ("requestDone", respond::request_done.map_fn_to()),
        ("fail", respond::fail.map_fn_to()),
        ("bodyWrite", body::write.map_fn_to()),
        ("bodyEnd", body::end.map_fn_to()),
        ("bodyAbort", body::abort.map_fn_to()),
        ("bodyPull", body::pull.map_fn_to()),
        ("bodyText", body::text.map_fn_to()),
        ("bodyCancel", body::cancel.map_fn_to()),
        ("bodyPipe", body::pipe.map_fn_to()),
        ("fetchStart", respond::fetch_start.map_fn_to()),
        ("bindingCall", binding::call.map_fn_to()),
        ("rpcEncode", binding::encode.map_fn_to()),
        ("rpcDecode", binding::decode.map_fn_to()),
        ("fetchCancel", respond::fetch_cancel.map_fn_to()),
        ("tcpConnect", tcp::connect.map_fn_to()),
        ("timerStart", clock::timer_start.map_fn_to()),
        ("timerCancel", clock::timer_cancel.map_fn_to()),
        ("now", clock::now.map_fn_to()),
        ("random", clock::random.map_fn_to()),
        ("innards", innards::innards.map_fn_to()),
        ("log", text::log.map_fn_to()),
        ("exception", text::exception.map_fn_to()),
        ("encodeUtf8", text::encode_utf8.map_fn_to()),
        ("encodeInto", text::encode_into.map_fn_to()),
        ("decodeUtf8", text::decode_utf8.map_fn_to()),
        ("structuredClone", clone::structured_clone.map_fn_to()),
        ("urlParse", url::parse.map_fn_to()),
        ("urlSet", url::set.map_fn_to()),
        ("utf8Length", text::utf8_length.map_fn_to()),
        ("decodeLatin1", text::decode_latin1.map_fn_to()),
        ("htmlNew", html::new.map_fn_to()),
        ("htmlResume", html::resume.map_fn_to()),
        ("htmlOutput", html::output.map_fn_to()),
        ("htmlEnd", html::end.map_fn_to()),
        ("htmlSerial", html::serial.map_fn_to()),
        ("htmlToken", html::token.map_fn_to()),
        ("socketAnswer", socket::answer.map_fn_to()),
        ("socketOpen", socket::open.map_fn_to()),
        ("socketSend", socket::send.map_fn_to()),
        ("socketClose", socket::close.map_fn_to()),
        ("socketFlow", socket::flow.map_fn_to()),
        ("socketBuffered", socket::buffered.map_fn_to()),
        ("part", part::part.map_fn_to()),
        ("temporal", clock::temporal.map_fn_to()),
        ("currentRequest", clock::current_request.map_fn_to()),
        ("setCurrentRequest", clock::set_current_request.map_fn_to()),
        ("asyncContext", clock::async_context.map_fn_to()),
        ("setAsyncContext", clock::set_async_context.map_fn_to()),
        ("detach", body::detach.map_fn_to()),
        ("encodingName", encoding::name.map_fn_to()),
        ("decodeAs", encoding::decode.map_fn_to()),
        ("decoderNew", encoding::new.map_fn_to()),
        ("decoderRun", encoding::step.map_fn_to()),
        ("codecNew", codec::new.map_fn_to()),
        ("codecRun", codec::run.map_fn_to()),
        ("codecReset", codec::reset.map_fn_to()),
        ("codecEnd", codec::end.map_fn_to()),
        ("crc32", codec::crc32.map_fn_to()),
        ("digest", crypto::digest.map_fn_to()),
        ("hashStart", crypto::hash_start.map_fn_to()),
        ("hashUpdate", crypto::hash_update.map_fn_to()),
        ("hashCopy", crypto::hash_copy.map_fn_to()),
        ("hashEnd", crypto::hash_end.map_fn_to()),
        ("bytesEqual", crypto::equal.map_fn_to()),
        ("keyGenerate", crypto::generate.map_fn_to()),
        ("keyImport", crypto::import.map_fn_to()),
        ("keyImportJwk", crypto::import_jwk.map_fn_to()),
        ("keyExport", crypto::export.map_fn_to()),
        ("keyExportJwk", crypto::export_jwk.map_fn_to()),
        ("keyInfo", crypto::info.map_fn_to()),
        ("keyPublic", crypto::public.map_fn_to()),
        ("keySign", crypto::sign.map_fn_to()),
        ("keyVerify", crypto::verify.map_fn_to()),
        ("keyCrypt", crypto::crypt.map_fn_to()),
        ("keyAgree", crypto::agree.map_fn_to()),
        ("hkdf", crypto::hkdf.map_fn_to()),
        ("pbkdf2", crypto::pbkdf2.map_fn_to()),
        ("scrypt", crypto::scrypt.map_fn_to()),
    ]
}

/// The ops' addresses, in the order in which a snapshot refers to them.
pub fn references() -> Vec<v8::ExternalReference> {
    table().iter().map(|(_, function)| v8::ExternalReference { function: *function }).collect()
}

/// Puts the ops into the context as the global `__ops`.
pub fn install(scope: &mut v8::PinScope<'_, '_>, context: v8::Local<'_, v8::Context>) {
    let ops = v8::Object::new(scope);
    for (name, function) in table() {
        let key = v8::String::new(scope, name).expect("short string");
        let function = v8::FunctionTemplate::builder_raw(function).build(scope).get_function(scope);
        let function = function.expect("a template without a prototype");
        function.set_name(key);
        ops.set(scope, key.into(), function.into());
    }
    let key = v8::String::new(scope, "__ops").expect("short string");
    context.global(scope).set(scope, key.into(), ops.into());
}

/// The stream key in the first argument.
fn key(arguments: &v8::FunctionCallbackArguments<'_>) -> u32 {
    v8::Local::<v8::Integer>::try_from(arguments.get(0)).map_or(0, |key| key.value() as u32)
}

fn throw_type_error(scope: &mut v8::PinScope<'_, '_>, text: &str) {
    let text = v8::String::new(scope, text).unwrap_or_else(|| v8::String::empty(scope));
    let error = v8::Exception::type_error(scope, text);
    scope.throw_exception(error);
}

fn throw_range_error(scope: &mut v8::PinScope<'_, '_>, text: &str) {
    let text = v8::String::new(scope, text).unwrap_or_else(|| v8::String::empty(scope));
    let error = v8::Exception::range_error(scope, text);
    scope.throw_exception(error);
}

fn throw_error(scope: &mut v8::PinScope<'_, '_>, text: &str) {
    let text = v8::String::new(scope, text).unwrap_or_else(|| v8::String::empty(scope));
    let error = v8::Exception::error(scope, text);
    scope.throw_exception(error);
}

/// Appends a string's characters as one byte each; false when some do not fit in a byte or there are too many.
fn append_latin1(
    scope: &v8::Isolate,
    string: v8::Local<'_, v8::String>,
    max: usize,
    out: &mut Vec<u8>,
) -> bool {
    let length = string.length();
    if length > max || !(string.is_onebyte() || string.contains_only_onebyte()) {
        return false;
    }
    out.reserve(length);
    string.write_one_byte_uninit_v2(
        scope,
        0,
        &mut out.spare_capacity_mut()[..length],
        v8::WriteFlags::empty(),
    );
    // SAFETY: all `length` bytes were written.
    unsafe { out.set_len(out.len() + length) };
    true
}

/// Appends a string as UTF-8; lone surrogates become U+FFFD.
fn append_utf8(scope: &v8::Isolate, string: v8::Local<'_, v8::String>, out: &mut Vec<u8>) {
    let length = string.length();
    // Three bytes a code unit is the most; count exactly where that would waste memory.
    let room = if length > 4096 { string.utf8_length(scope) } else { length * 3 };
    out.reserve(room);
    let flags = v8::WriteFlags::kReplaceInvalidUtf8;
    let written = string.write_utf8_uninit_v2(scope, out.spare_capacity_mut(), flags, None);
    // SAFETY: V8 wrote that many bytes.
    unsafe { out.set_len(out.len() + written) };
}

/// Longest text of a log line or stack that crosses over, bytes; `wire` cuts it to the same length.
const LOG_TEXT_MAX: usize = 16 << 10;

/// The beginning of a string, at most `max` bytes; empty for anything that is no string.
fn text(scope: &v8::Isolate, value: v8::Local<'_, v8::Value>, max: usize) -> String {
    let Ok(string) = v8::Local::<v8::String>::try_from(value) else { return String::new() };
    let mut bytes = vec![0; max.min(string.length() * 3)];
    let written = string.write_utf8_v2(scope, &mut bytes, v8::WriteFlags::kReplaceInvalidUtf8, None);
    bytes.truncate(written);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// About how many bytes a body has, without encoding it.
fn body_length(value: v8::Local<'_, v8::Value>) -> usize {
    match v8::Local::<v8::String>::try_from(value) {
        Ok(string) => string.length(),
        Err(_) => v8::Local::<v8::ArrayBufferView>::try_from(value).map_or(0, |view| view.byte_length()),
    }
}

/// Appends the bytes of a string (as UTF-8) or of a view; false for anything else.
fn append_bytes(scope: &v8::Isolate, value: v8::Local<'_, v8::Value>, out: &mut Vec<u8>) -> bool {
    if let Ok(string) = v8::Local::<v8::String>::try_from(value) {
        append_utf8(scope, string, out);
        return true;
    }
    let Ok(view) = v8::Local::<v8::ArrayBufferView>::try_from(value) else { return false };
    let length = view.byte_length();
    out.reserve(length);
    let written = view.copy_contents_uninit(&mut out.spare_capacity_mut()[..length]);
    // SAFETY: V8 wrote that many bytes.
    unsafe { out.set_len(out.len() + written) };
    true
}

/// A new `Uint8Array` with a copy of `bytes`; `None`, with an exception pending, when the limit forbids it.
pub(crate) fn uint8_array<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    bytes: &[u8],
) -> Option<v8::Local<'s, v8::Value>> {
    let state = State::of(scope);
    if state.buffers.would_refuse(bytes.len()) {
        let text = v8::String::new(scope, "Array buffer allocation failed")?;
        let error = v8::Exception::range_error(scope, text);
        scope.throw_exception(error);
        return None;
    }
    let buffer = v8::ArrayBuffer::new(scope, bytes.len());
    if let Some(data) = buffer.data() {
        // SAFETY: a fresh buffer of exactly this length that nobody else refers to.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), data.as_ptr().cast(), bytes.len()) };
    }
    Some(v8::Uint8Array::new(scope, buffer, 0, bytes.len())?.into())
}
