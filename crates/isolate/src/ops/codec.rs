//! Compression and decompression; `selvedge-codec` does the work.

use selvedge_codec::{Codec, Error, Flush, Format, Options, Status, crc32 as checksum};
use v8::{FunctionCallbackArguments, PinScope, ReturnValue, Value};

use super::text::bytes_of;
use super::{append_utf8, text, throw_error, throw_type_error, uint8_array};
use crate::handles::{self, Coding, Resource};
use crate::limits::Buffers;
use crate::state::State;

/// Most output of one step, bytes.
const OUTPUT_MAX: usize = 1 << 20;
/// Longest dictionary: more than a window's length is of no use.
const DICTIONARY_MAX: usize = 32 << 10;

fn number(arguments: &FunctionCallbackArguments<'_>, index: i32) -> Option<i32> {
    v8::Local::<v8::Number>::try_from(arguments.get(index)).ok().map(|number| number.value() as i32)
}

/// Throws a `TypeError` whose `code` is zlib's name for the error.
fn throw_failure(scope: &mut PinScope<'_, '_>, error: Error) {
    let message = v8::String::new(scope, error.text()).unwrap_or_else(|| v8::String::empty(scope));
    let exception = v8::Exception::type_error(scope, message);
    let key = v8::String::new(scope, "code").expect("short string");
    let code = v8::String::new(scope, error.code()).expect("short string");
    if let Ok(object) = v8::Local::<v8::Object>::try_from(exception) {
        object.create_data_property(scope, key.into(), code.into());
    }
    scope.throw_exception(exception);
}

fn throw_out_of_memory(scope: &mut PinScope<'_, '_>) {
    let message = v8::String::new(scope, "The worker has no memory left for compression.");
    let message = message.unwrap_or_else(|| v8::String::empty(scope));
    let exception = v8::Exception::range_error(scope, message);
    scope.throw_exception(exception);
}

/// `codecNew(format, level, windowBits, memLevel, strategy, dictionary)`: a handle.
pub fn new(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let Some(format) = Format::by_name(&text(scope, arguments.get(0), 32)) else {
        return throw_error(scope, "There is no such compressed format.");
    };
    let dictionary = bytes_of(arguments.get(5)).unwrap_or(&[]);
    let options = Options {
        level: number(&arguments, 1),
        window_bits: number(&arguments, 2),
        mem_level: number(&arguments, 3),
        strategy: number(&arguments, 4),
        dictionary: dictionary[dictionary.len().saturating_sub(DICTIONARY_MAX)..].to_vec(),
    };
    let size = Codec::size(format, &options);
    // Before the codec exists, or it would already have taken what the worker may not have.
    if State::of(scope).buffers.used().saturating_add(size) > State::of(scope).buffers.limit() {
        scope.low_memory_notification();
        handles::sweep(scope);
        if State::of(scope).buffers.would_refuse(size) {
            return throw_out_of_memory(scope);
        }
    }
    match Codec::new(format, options) {
        Ok(codec) => {
            let coding = Coding { codec, size, more: None };
            match handles::add(scope, Resource::Codec(Box::new(coding))) {
                Some(handle) => result.set(handle.into()),
                None => throw_out_of_memory(scope),
            }
        }
        Err(error) => throw_failure(scope, error),
    }
}

/// What came of a step.
enum Outcome {
    Stepped(selvedge_codec::Step),
    Failed(Error),
    NoMemory,
}

/// `codecRun(handle, input, from, flush, max)`: one step, see `ops.d.ts`.
pub fn run(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let input = bytes_of(arguments.get(1)).unwrap_or(&[]);
    let from = number(&arguments, 2).map_or(0, |from| from.max(0) as usize).min(input.len());
    let flush = Flush::by_number(number(&arguments, 3).map_or(0, |flush| flush as u32));
    let max = number(&arguments, 4).map_or(OUTPUT_MAX, |max| (max.max(1) as usize).min(OUTPUT_MAX));
    let input = &input[from..];
    let buffers = State::of(scope).buffers.clone();
    let mut output = vec![0; max];
    let outcome = handles::with(scope, arguments.get(0), |resource| {
        let Resource::Codec(coding) = resource else { return None };
        let more = coding.codec.will_take(input);
        if more > 0 {
            match Buffers::charge(&buffers, more) {
                Some(charge) => coding.more = Some(charge),
                None => return Some(Outcome::NoMemory),
            }
        }
        Some(match coding.codec.step(input, &mut output, flush) {
            Ok(step) => Outcome::Stepped(step),
            Err(error) => Outcome::Failed(error),
        })
    });
    let step = match outcome {
        Some(Outcome::Stepped(step)) => step,
        Some(Outcome::Failed(error)) => return throw_failure(scope, error),
        Some(Outcome::NoMemory) => return throw_out_of_memory(scope),
        None => return throw_type_error(scope, "The codec has ended."),
    };
    let bytes: v8::Local<'_, Value> = if step.written > 0 {
        match uint8_array(scope, &output[..step.written]) {
            Some(bytes) => bytes,
            None => return,
        }
    } else {
        v8::undefined(scope).into()
    };
    let status = match step.status {
        Status::Hungry => 0,
        Status::More => 1,
        Status::End => 2,
    };
    let parts = [
        bytes,
        v8::Integer::new_from_unsigned(scope, step.read as u32).into(),
        v8::Integer::new(scope, status).into(),
    ];
    result.set(v8::Array::new_with_elements(scope, &parts).into());
}

/// `codecReset(handle)`: starts over.
pub fn reset(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    _: ReturnValue<'_, Value>,
) {
    let done = handles::with(scope, arguments.get(0), |resource| match resource {
        Resource::Codec(coding) => {
            coding.more = None;
            Some(coding.codec.reset())
        }
        _ => None,
    });
    match done {
        Some(Ok(())) => {}
        Some(Err(error)) => throw_failure(scope, error),
        None => throw_type_error(scope, "The codec has ended."),
    }
}

/// `codecEnd(handle)`: frees it.
pub fn end(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    _: ReturnValue<'_, Value>,
) {
    let is_codec = handles::with(scope, arguments.get(0), |resource| match resource {
        Resource::Codec(_) => Some(()),
        _ => None,
    });
    if is_codec.is_some() {
        handles::spend(scope, arguments.get(0));
    }
}

/// `crc32(data, start)`.
pub fn crc32(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let start = v8::Local::<v8::Number>::try_from(arguments.get(1)).map_or(0, |start| start.value() as u32);
    let mut encoded = Vec::new();
    let data = match v8::Local::<v8::String>::try_from(arguments.get(0)) {
        Ok(string) => {
            append_utf8(scope, string, &mut encoded);
            &encoded[..]
        }
        Err(_) => bytes_of(arguments.get(0)).unwrap_or(&[]),
    };
    result.set_uint32(checksum(start, data));
}
