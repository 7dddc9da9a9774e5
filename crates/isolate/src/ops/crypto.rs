//! Cryptography: the ops behind `crypto.subtle` and `node:crypto`. What they answer stands in `ops.d.ts` under `Answer`.

mod keys;
mod perform;
mod streaming;

pub use keys::{export, export_jwk, generate, import, import_jwk, info, public};
pub use perform::{agree, crypt, digest, hkdf, pbkdf2, scrypt, sign, verify};
pub use streaming::{equal, hash_copy, hash_end, hash_start, hash_update};

use selvedge_webcrypto::{Error, GoOn, Hash, Key, Result};
use v8::{FunctionCallbackArguments, PinScope, ReturnValue, Value};

use super::text::bytes_of;
use super::{text, uint8_array};
use crate::handles::{self, Resource};
use crate::jobs::{self, Answer};
use crate::limits::Buffers;
use crate::state::State;

/// What an operation came to.
enum Output {
    Bytes(Vec<u8>),
    Flag(bool),
    Key(Key),
}

/// The same on its way back from another thread.
struct Outcome(Result<Output>);

impl Answer for Outcome {
    fn into_value<'s>(self: Box<Self>, scope: &mut PinScope<'s, '_>) -> Option<v8::Local<'s, Value>> {
        value(scope, self.0)
    }
}

/// The answer as JavaScript gets it; `None` when there is no memory for it.
fn value<'s>(scope: &mut PinScope<'s, '_>, outcome: Result<Output>) -> Option<v8::Local<'s, Value>> {
    match outcome {
        Ok(Output::Bytes(bytes)) => array_buffer(scope, &bytes),
        Ok(Output::Flag(flag)) => Some(v8::Boolean::new(scope, flag).into()),
        Ok(Output::Key(key)) => match handles::add(scope, Resource::Key(key)) {
            Some(handle) => Some(handle.into()),
            None => failure(scope, Error::Operation("The worker has no memory left for another key.")),
        },
        Err(error) => failure(scope, error),
    }
}

/// An error as JavaScript gets it: name and sentence.
fn failure<'s>(scope: &mut PinScope<'s, '_>, error: Error) -> Option<v8::Local<'s, Value>> {
    let text = format!("{}: {}", error.name(), error.message());
    Some(v8::String::new(scope, &text)?.into())
}

/// A new `ArrayBuffer` with a copy of `bytes`; `None`, with an exception pending, when the limit forbids it.
fn array_buffer<'s>(scope: &mut PinScope<'s, '_>, bytes: &[u8]) -> Option<v8::Local<'s, Value>> {
    let view = v8::Local::<v8::Uint8Array>::try_from(uint8_array(scope, bytes)?).ok()?;
    Some(view.buffer(scope)?.into())
}

/// Answers an op at once.
fn answer(scope: &mut PinScope<'_, '_>, mut result: ReturnValue<'_, Value>, outcome: Result<Output>) {
    if let Some(value) = value(scope, outcome) {
        result.set(value);
    }
}

/// Does an operation: here while its input is borrowed, or by another thread with a copy if it is `heavy` and the caller
/// can wait.
fn perform<P: Send + 'static, const N: usize>(
    scope: &mut PinScope<'_, '_>,
    mut result: ReturnValue<'_, Value>,
    heavy: bool,
    parameters: P,
    inputs: [v8::Local<'_, Value>; N],
    work: fn(&P, [&[u8]; N], GoOn<'_>) -> Result<Output>,
) {
    let state = State::of(scope);
    let budget_ns = state.cpu.budget_ns();
    let inputs = inputs.map(|input| bytes_of(input).unwrap_or_default());
    if !heavy {
        let began = jobs::cpu_ns();
        let outcome = work(&parameters, inputs, &|| jobs::cpu_ns() - began < budget_ns);
        return answer(scope, result, outcome);
    }
    // The answer is about as large as what goes in.
    let bytes = inputs.iter().map(|input| input.len()).sum::<usize>();
    let Some(charge) = Buffers::charge(&state.buffers, bytes * 2 + 1024) else {
        let full = Error::Operation("The worker has no memory left for the operation.");
        return answer(scope, result, Err(full));
    };
    let copies = inputs.map(<[u8]>::to_vec);
    let work = Box::new(move |go_on: GoOn<'_>| -> Box<dyn Answer> {
        Box::new(Outcome(work(&parameters, copies.each_ref().map(Vec::as_slice), go_on)))
    });
    match state.jobs.start(state.current.get(), budget_ns, charge, work) {
        Some(token) => result.set_uint32(token),
        None => answer(
            scope,
            result,
            Err(Error::Operation("Too many operations are waiting; await some before starting more.")),
        ),
    }
}

const NO_KEY: Error = Error::Access("The operation takes a key.");
const NO_HASH: Error = Error::NotSupported("The hash is not supported.");

/// The bytes of the argument; empty for anything that has none.
fn bytes<'a>(arguments: &FunctionCallbackArguments<'a>, index: i32) -> &'a [u8] {
    bytes_of(arguments.get(index)).unwrap_or_default()
}

/// A short string.
fn name(scope: &v8::Isolate, arguments: &FunctionCallbackArguments<'_>, index: i32) -> String {
    text(scope, arguments.get(index), 64)
}

fn hash(scope: &v8::Isolate, arguments: &FunctionCallbackArguments<'_>, index: i32) -> Result<Hash> {
    Hash::by_name(&name(scope, arguments, index)).ok_or(NO_HASH)
}

/// A whole number; 0 for what is none.
fn number(arguments: &FunctionCallbackArguments<'_>, index: i32) -> u64 {
    v8::Local::<v8::Number>::try_from(arguments.get(index)).map_or(0, |number| number.value() as u64)
}

/// A whole number of 32 bits; the largest for what is larger.
fn number32(arguments: &FunctionCallbackArguments<'_>, index: i32) -> u32 {
    number(arguments, index).try_into().unwrap_or(u32::MAX)
}

fn key(scope: &PinScope<'_, '_>, arguments: &FunctionCallbackArguments<'_>, index: i32) -> Result<Key> {
    handles::key(scope, arguments.get(index)).ok_or(NO_KEY)
}
