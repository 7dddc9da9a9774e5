//! The parts of the runtime that an isolate runs when it first needs them.

use v8::script_compiler::{CachedData, CompileOptions, NoCacheReason, Source, compile_unbound_script};
use v8::{FunctionCallbackArguments, PinScope, ReturnValue, Value};

use super::{text, throw_error};
use crate::snapshot::{RUNTIME, Text};
use crate::state::State;

/// `part(name, core)`: runs the part's script with the core's modules; returns its exports.
pub fn part(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let name = text(scope, arguments.get(0), 64);
    let Some(part) = State::of(scope).snapshot.part(&name) else {
        return throw_error(scope, &format!("The runtime has no part {name:?}."));
    };
    if let Some(exports) = run(scope, part, arguments.get(1)) {
        result.set(exports);
    }
}

/// `None` with an exception pending when the part throws, or was stopped.
fn run<'s>(
    scope: &mut PinScope<'s, '_>,
    part: &'static Text,
    core: v8::Local<'_, Value>,
) -> Option<v8::Local<'s, Value>> {
    let core = v8::Local::new(scope, core);
    let source = part.string(scope)?;
    let name = v8::String::new(scope, &format!("{RUNTIME}/{}", part.name))?.into();
    let origin = v8::ScriptOrigin::new(scope, name, 0, 0, false, -1, None, false, false, false, None);
    let (mut source, options) = match part.code.get() {
        Some(code) => (
            Source::new_with_cached_data(source, Some(&origin), CachedData::new(code)),
            CompileOptions::ConsumeCodeCache,
        ),
        None => (Source::new(source, Some(&origin)), CompileOptions::NoCompileOptions),
    };
    let script = compile_unbound_script(scope, &mut source, options, NoCacheReason::NoReason)?;
    let function = script.bind_to_current_context(scope).run(scope)?;
    let undefined = v8::undefined(scope).into();
    let exports = v8::Local::<v8::Function>::try_from(function).ok()?.call(scope, undefined, &[core])?;
    // After it ran: what its top level calls is compiled by now.
    if part.code.get().is_none()
        && let Some(code) = script.create_code_cache()
    {
        let _ = part.code.set(code.to_vec());
    }
    Some(exports)
}
