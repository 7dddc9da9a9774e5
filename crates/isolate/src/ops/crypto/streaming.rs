//! Digests and HMACs over data that comes in pieces, and comparison in constant time.

use selvedge_webcrypto::hash::Hasher;
use selvedge_webcrypto::mac::Mac;
use selvedge_webcrypto::{Error, Result, equal as bytes_equal};
use v8::{FunctionCallbackArguments, PinScope, ReturnValue, Value};

use super::{array_buffer, bytes, failure, hash};
use crate::handles::{self, Resource};
use crate::ops::{append_utf8, throw_error};

/// Text is encoded so many UTF-16 code units at a time at most; what is longer is refused.
const TEXT_MAX: usize = 64 << 20;

/// `hashStart(hash, key)`: a handle; HMAC when a key is given.
pub fn hash_start(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    result: ReturnValue<'_, Value>,
) {
    let resource = hash(scope, &arguments, 0).and_then(|hash| {
        if arguments.get(1).is_undefined() {
            Hasher::new(hash).map(|state| Resource::Hash(Some(state)))
        } else {
            Mac::new(hash, bytes(&arguments, 1)).map(|state| Resource::Mac(Some(state)))
        }
    });
    give(scope, result, resource);
}

fn give(scope: &mut PinScope<'_, '_>, mut result: ReturnValue<'_, Value>, resource: Result<Resource>) {
    let value = match resource {
        Ok(resource) => handles::add(scope, resource).map(Into::into).or_else(|| {
            failure(scope, Error::Operation("The worker has no memory left for another object."))
        }),
        Err(error) => failure(scope, error),
    };
    if let Some(value) = value {
        result.set(value);
    }
}

/// `hashUpdate(handle, data)`: true; false when the handle is spent. Text is taken as UTF-8.
pub fn hash_update(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let mut encoded = Vec::new();
    let data = match v8::Local::<v8::String>::try_from(arguments.get(1)) {
        Ok(string) if string.length() > TEXT_MAX => return throw_error(scope, "The text is too long."),
        Ok(string) => {
            append_utf8(scope, string, &mut encoded);
            &encoded[..]
        }
        Err(_) => bytes(&arguments, 1),
    };
    let done = handles::with(scope, arguments.get(0), |resource| match resource {
        Resource::Hash(Some(state)) => state.update(data).ok(),
        Resource::Mac(Some(state)) => state.update(data).ok(),
        _ => None,
    });
    result.set_bool(done.is_some());
}

/// `hashCopy(handle)`: another handle that has taken the same; undefined when the handle is spent.
pub fn hash_copy(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    result: ReturnValue<'_, Value>,
) {
    let copy = handles::with(scope, arguments.get(0), |resource| match resource {
        Resource::Hash(Some(state)) => Some(state.duplicate().map(|state| Resource::Hash(Some(state)))),
        Resource::Mac(Some(state)) => Some(state.duplicate().map(|state| Resource::Mac(Some(state)))),
        _ => None,
    });
    if let Some(copy) = copy {
        give(scope, result, copy);
    }
}

/// `hashEnd(handle)`: the digest; undefined when the handle is spent. Spends the handle.
pub fn hash_end(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let digest = handles::with(scope, arguments.get(0), |resource| match resource {
        Resource::Hash(state) => state.take()?.finish().ok(),
        Resource::Mac(state) => state.take()?.finish().ok(),
        _ => None,
    });
    if let Some(value) = digest.and_then(|digest| array_buffer(scope, &digest)) {
        result.set(value);
    }
}

/// `bytesEqual(a, b)`: in a time that depends on their lengths only.
pub fn equal(
    _: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    result.set_bool(bytes_equal(bytes(&arguments, 0), bytes(&arguments, 1)));
}
