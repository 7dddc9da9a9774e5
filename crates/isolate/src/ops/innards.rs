//! What JavaScript cannot see of objects, for showing them in the log.

use v8::{FunctionCallbackArguments, Local, PinScope, PromiseState, ReturnValue, Value};

/// `innards(value)`, see `Innards` in `runtime/src/ops.d.ts`. Runs no JavaScript.
pub fn innards(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let value = arguments.get(0);
    let undefined: Local<'_, Value> = v8::undefined(scope).into();
    let (kind, first, second) = if let Ok(proxy) = Local::<v8::Proxy>::try_from(value) {
        ("proxy", proxy.get_target(scope), proxy.get_handler(scope))
    } else if let Ok(promise) = Local::<v8::Promise>::try_from(value) {
        match promise.state() {
            PromiseState::Pending => ("promise", v8::Integer::new(scope, 0).into(), undefined),
            PromiseState::Fulfilled => ("promise", v8::Integer::new(scope, 1).into(), promise.result(scope)),
            PromiseState::Rejected => ("promise", v8::Integer::new(scope, 2).into(), promise.result(scope)),
        }
    } else if value.is_map_iterator() || value.is_set_iterator() {
        let Ok(iterator) = Local::<v8::Object>::try_from(value) else { return };
        let (entries, pairs) = iterator.preview_entries(scope);
        let Some(entries) = entries else { return };
        ("iterator", entries.into(), v8::Boolean::new(scope, pairs).into())
    } else if value.is_native_error() {
        ("error", undefined, undefined)
    } else if value.is_arguments_object() {
        ("arguments", undefined, undefined)
    } else if value.is_module_namespace_object() {
        ("module", undefined, undefined)
    } else {
        return;
    };
    let Some(kind) = v8::String::new(scope, kind) else { return };
    result.set(v8::Array::new_with_elements(scope, &[kind.into(), first, second]).into());
}
