//! The Encoding Standard's legacy encodings, by encoding_rs. UTF-8 is V8's own business, see `text.rs`.

use encoding_rs::{Decoder, DecoderResult, Encoding};
use v8::{FunctionCallbackArguments, PinScope, ReturnValue, Value};

use super::text::bytes_of;
use super::{text, throw_error, throw_type_error};
use crate::handles::{self, Resource};
use crate::limits::{Buffers, Charge};
use crate::state::State;

/// Longest label, white space included, UTF-16 code units.
const LABEL_MAX: usize = 256;
/// What is decoded without a look at the worker's memory, bytes.
const FREE: usize = 1 << 20;
const TOO_MUCH: &str = "The worker has no memory left to decode so much at once; decode it as a stream.";
const MALFORMED: &str = "The encoded data was not valid.";

/// The encoding of a label in any spelling; those that cannot be decoded are none.
fn encoding(scope: &PinScope<'_, '_>, label: v8::Local<'_, Value>) -> Option<&'static Encoding> {
    let length = v8::Local::<v8::String>::try_from(label).map_or(0, |label| label.length());
    // What was cut off might have made it another; white space around a label is not that long.
    (length <= LABEL_MAX)
        .then(|| Encoding::for_label_no_replacement(text(scope, label, LABEL_MAX * 3).as_bytes()))?
}

fn decoder(encoding: &'static Encoding, ignore_bom: bool) -> Decoder {
    if ignore_bom {
        encoding.new_decoder_without_bom_handling()
    } else {
        encoding.new_decoder_with_bom_removal()
    }
}

/// `encodingName(label)`: the encoding's name in lower case, `undefined` when there is none of this label.
pub fn name(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    if let Some(encoding) = encoding(scope, arguments.get(0))
        && let Some(name) = v8::String::new(scope, &encoding.name().to_ascii_lowercase())
    {
        result.set(name.into());
    }
}

/// `decodeAs(label, bytes, fatal, ignoreBOM)`: all at once.
pub fn decode(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let Some(encoding) = encoding(scope, arguments.get(0)) else {
        return throw_error(scope, "There is no such encoding.");
    };
    let bytes = bytes_of(arguments.get(1)).unwrap_or(&[]);
    let mut decoder = decoder(encoding, arguments.get(3).is_true());
    let Some(_room) = room(scope, bytes) else { return throw_error(scope, TOO_MUCH) };
    let units = run(&mut decoder, bytes, arguments.get(2).is_true(), true);
    give(scope, units, &mut result);
}

/// `decoderNew(label, ignoreBOM)`: a handle, for data that comes in pieces.
pub fn new(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let Some(encoding) = encoding(scope, arguments.get(0)) else {
        return throw_error(scope, "There is no such encoding.");
    };
    let decoder = Box::new(decoder(encoding, arguments.get(1).is_true()));
    match handles::add(scope, Resource::Decoder(decoder)) {
        Some(handle) => result.set(handle.into()),
        None => throw_error(scope, "The worker has no memory left for another decoder."),
    }
}

/// `decoderRun(handle, bytes, fatal, last)`: the next piece. After the last one the handle is spent.
pub fn step(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let bytes = bytes_of(arguments.get(1)).unwrap_or(&[]);
    let (fatal, last) = (arguments.get(2).is_true(), arguments.get(3).is_true());
    let Some(_room) = room(scope, bytes) else { return throw_error(scope, TOO_MUCH) };
    let units = handles::with(scope, arguments.get(0), |resource| match resource {
        Resource::Decoder(decoder) => Some(run(decoder, bytes, fatal, last)),
        _ => None,
    });
    let Some(units) = units else { return throw_error(scope, "The decoder is spent.") };
    if last {
        handles::spend(scope, arguments.get(0));
    }
    give(scope, units, &mut result);
}

/// A charge for what decoding takes until there is a string: two bytes and then one for each byte, where it has many.
fn room(scope: &PinScope<'_, '_>, bytes: &[u8]) -> Option<Charge> {
    let bytes = if bytes.len() < FREE { 0 } else { bytes.len() * 3 };
    Buffers::charge(&State::of(scope).buffers, bytes)
}

/// The text, `None` when it is malformed and that is fatal.
fn run(decoder: &mut Decoder, bytes: &[u8], fatal: bool, last: bool) -> Option<Vec<u16>> {
    let mut units = vec![0; decoder.max_utf16_buffer_length(bytes.len())?];
    let written = if fatal {
        let (result, _, written) = decoder.decode_to_utf16_without_replacement(bytes, &mut units, last);
        if let DecoderResult::Malformed(..) = result {
            return None;
        }
        written
    } else {
        decoder.decode_to_utf16(bytes, &mut units, last).2
    };
    units.truncate(written);
    Some(units)
}

fn give(scope: &mut PinScope<'_, '_>, units: Option<Vec<u16>>, result: &mut ReturnValue<'_, Value>) {
    let Some(units) = units else { return throw_type_error(scope, MALFORMED) };
    let narrow = units.iter().all(|&unit| unit < 256);
    let string = if narrow {
        let bytes: Vec<u8> = units.iter().map(|&unit| unit as u8).collect();
        v8::String::new_from_one_byte(scope, &bytes, v8::NewStringType::Normal)
    } else {
        v8::String::new_from_two_byte(scope, &units, v8::NewStringType::Normal)
    };
    match string {
        Some(string) => result.set(string.into()),
        None => throw_type_error(scope, "The text is too long for a string."),
    }
}
