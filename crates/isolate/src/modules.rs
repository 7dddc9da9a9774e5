//! Compiling, linking and evaluating a worker's modules, and saying where they are wrong.

use std::collections::HashMap;

use selvedge_model::{Artifact, Diagnostic, ModuleKind};
use selvedge_model::{builtin, compatibility, wasm};

use crate::state::State;

/// A worker's modules while they are loaded, and what is compiled of them afterwards.
#[derive(Default)]
pub struct Modules {
    artifact: Option<Artifact>,
    cache: HashMap<String, Vec<u8>>,
    compiled: HashMap<String, v8::Global<v8::Module>>,
    /// Names of source text modules by script id.
    names: HashMap<i32, String>,
    /// What a module that is not JavaScript exports, until V8 asks for it.
    values: HashMap<String, v8::Global<v8::Value>>,
    evaluation: Option<v8::Global<v8::Promise>>,
}

impl Modules {
    /// Drops what is needed for loading only. The artifact stays while it may still be imported from.
    pub fn forget_sources(&mut self) {
        self.cache.clear();
        self.evaluation = None;
        if let Some(artifact) = &self.artifact
            && artifact.modules.iter().all(|module| {
                self.compiled.contains_key(&module.name)
                    || matches!(module.kind, ModuleKind::SourceMap | ModuleKind::Script)
            })
        {
            self.artifact = None;
        }
    }
}

/// Why loading failed.
pub struct Failure(Box<Diagnostic>);

impl Failure {
    fn new(code: &str, message: impl Into<String>) -> Self {
        Self(Box::new(Diagnostic { code: code.into(), message: message.into(), ..Diagnostic::default() }))
    }

    /// As the engine reads it.
    pub fn json(&self) -> String {
        serde_json::to_string(&self.0).expect("plain data")
    }

    /// The top level awaits something that does not come.
    pub fn stalled(scope: &mut v8::PinScope<'_, '_>, state: &State) -> Self {
        let mut failure = Self::new("top_level_timeout", "The module's top-level await never finished.");
        let main = main_module(scope, state);
        let stalled = main.and_then(|main| {
            let messages = main.get_stalled_top_level_await_message(scope);
            messages.first().map(|(_, message)| *message)
        });
        if let Some(message) = stalled {
            failure.place(scope, message);
        }
        failure
    }

    fn place<'s>(&mut self, scope: &mut v8::PinScope<'s, '_>, message: v8::Local<'s, v8::Message>) {
        let file = message.get_script_resource_name(scope).filter(|name| name.is_string());
        self.0.file = file.map(|name| name.to_rust_string_lossy(scope));
        self.0.line = message.get_line_number(scope).map(|line| line as u32).filter(|line| *line > 0);
        // What was thrown nowhere in particular has column -1.
        self.0.column = u32::try_from(message.get_start_column().wrapping_add(1)).ok().filter(|at| *at > 0);
        let line = message.get_source_line(scope).map(|line| line.to_rust_string_lossy(scope));
        // A minified line is of no use to anyone as a whole.
        self.0.excerpt = line.filter(|line| (1..=400).contains(&line.len()));
    }

    /// From a thrown value.
    fn thrown<'s>(scope: &mut v8::PinScope<'s, '_>, code: &str, exception: v8::Local<'s, v8::Value>) -> Self {
        let text = exception.to_rust_string_lossy(scope);
        let (code, text) = match text.strip_prefix("Error: ").unwrap_or(&text).split_once(": ") {
            Some((code @ ("unknown_import" | "no_default_export" | "no_handler" | "bad_module"), text)) => {
                (code, text)
            }
            _ if text.starts_with("SyntaxError") => ("syntax_error", text.as_str()),
            _ => (code, text.as_str()),
        };
        let mut failure = Self::new(code, text);
        let message = v8::Exception::create_message(scope, exception);
        failure.place(scope, message);
        if let Some(object) = exception.to_object(scope).filter(|_| exception.is_native_error()) {
            let key = v8::String::new(scope, "stack").expect("short string");
            let stack = object.get(scope, key.into()).filter(|stack| stack.is_string());
            failure.0.stack = stack.map(|stack| stack.to_rust_string_lossy(scope));
        }
        failure
    }
}

/// What a try-catch scope caught, as a failure.
macro_rules! caught {
    ($scope:ident, $code:expr) => {{
        match $scope.exception() {
            Some(exception) if !$scope.has_terminated() => {
                let message = $scope.message();
                $scope.reset();
                let mut failure = Failure::thrown($scope, $code, exception);
                if let Some(message) = message {
                    failure.place($scope, message);
                }
                failure
            }
            _ if State::of($scope).out_of_memory.get() => Failure::new(
                "memory_exceeded",
                "The module's top level used more memory than its limit allows.",
            ),
            _ => Failure::new(
                "top_level_timeout",
                "The module's top level used more CPU time than its limit allows.",
            ),
        }
    }};
}

/// Decodes what the engine sent, compiles, links, and starts the evaluation.
pub fn start(
    scope: &mut v8::PinScope<'_, '_>,
    state: &State,
    received: &[u8],
    artifact_len: usize,
) -> Result<(), Failure> {
    let (artifact, cache) = received
        .split_at_checked(artifact_len)
        .ok_or_else(|| Failure::new("bad_module", "The artifact was cut off."))?;
    let artifact =
        Artifact::decode(artifact).map_err(|error| Failure::new("bad_module", error.to_string()))?;
    let main = artifact.main.clone();
    {
        let mut modules = state.modules.borrow_mut();
        modules.artifact = Some(artifact);
        modules.cache = decode_cache(cache);
    }
    v8::tc_scope!(let scope, scope);
    if let Some(source) = script_source(state) {
        let Some(script) = compile_classic(scope, &main, &source) else {
            return Err(caught!(scope, "syntax_error"));
        };
        become_classic(scope, state);
        if script.run(scope).is_none() {
            return Err(caught!(scope, "top_level_exception"));
        }
        let Some(evaluation) = evaluated_at_once(scope) else {
            return Err(caught!(scope, "top_level_exception"));
        };
        let promise = v8::Local::<v8::Promise>::try_from(evaluation).expect("it was made as one");
        state.modules.borrow_mut().evaluation = Some(v8::Global::new(scope, promise));
        return Ok(());
    }
    let Some(module) = compile(scope, state, &main) else { return Err(caught!(scope, "syntax_error")) };
    if module.instantiate_module(scope, resolve) != Some(true) {
        return Err(caught!(scope, "syntax_error"));
    }
    if exports_nothing(scope, module) {
        become_classic(scope, state);
    }
    let Some(value) = module.evaluate(scope) else { return Err(caught!(scope, "top_level_exception")) };
    let promise = v8::Local::<v8::Promise>::try_from(value).expect("a module evaluates to a promise");
    let promise = v8::Global::new(scope, promise);
    state.modules.borrow_mut().evaluation = Some(promise);
    Ok(())
}

/// The main module's namespace once its evaluation is finished; `None` while it is not.
pub fn evaluated<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &State,
) -> Result<Option<v8::Local<'s, v8::Value>>, Failure> {
    let promise = state.modules.borrow().evaluation.as_ref().map(|promise| v8::Local::new(scope, promise));
    let Some(promise) = promise else { return Ok(None) };
    match promise.state() {
        v8::PromiseState::Pending => Ok(None),
        v8::PromiseState::Fulfilled => {
            let module = main_module(scope, state);
            Ok(Some(
                module.map_or_else(|| v8::undefined(scope).into(), |module| module.get_module_namespace()),
            ))
        }
        v8::PromiseState::Rejected => {
            promise.mark_as_handled();
            let reason = promise.result(scope);
            Err(Failure::thrown(scope, "top_level_exception", reason))
        }
    }
}

/// Calls the runtime's `init`; returns the names of the handlers.
pub fn init<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &State,
    function: v8::Local<'s, v8::Function>,
    arguments: &[v8::Local<'s, v8::Value>],
) -> Result<String, Failure> {
    v8::tc_scope!(let scope, scope);
    let undefined = v8::undefined(scope).into();
    match function.call(scope, undefined, arguments) {
        Some(handlers) => Ok(handlers.to_rust_string_lossy(scope)),
        None => {
            let mut failure = caught!(scope, "top_level_exception");
            let main = state.modules.borrow().artifact.as_ref().map(|artifact| artifact.main.clone());
            // The place is inside the runtime, which says nothing to anyone; the file is what matters.
            *failure.0 =
                Diagnostic { file: main, line: None, column: None, excerpt: None, stack: None, ..*failure.0 };
            Err(failure)
        }
    }
}

/// The compiled code of all modules, for the next load.
pub fn code_cache(scope: &mut v8::PinScope<'_, '_>, state: &State) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, module) in &state.modules.borrow().compiled {
        let module = v8::Local::new(scope, module);
        if !module.is_source_text_module() {
            continue;
        }
        if let Some(data) = module.get_unbound_module_script(scope).create_code_cache() {
            for bytes in [name.as_bytes(), &data] {
                out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
                out.extend_from_slice(bytes);
            }
        }
    }
    out
}

fn decode_cache(mut bytes: &[u8]) -> HashMap<String, Vec<u8>> {
    let mut cache = HashMap::new();
    let mut part = || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        bytes = rest;
        Some(part)
    };
    while let (Some(name), Some(data)) = (part(), part()) {
        cache.insert(String::from_utf8_lossy(name).into_owned(), data.to_vec());
    }
    cache
}

fn main_module<'s>(scope: &mut v8::PinScope<'s, '_>, state: &State) -> Option<v8::Local<'s, v8::Module>> {
    let modules = state.modules.borrow();
    let main = modules.compiled.get(&modules.artifact.as_ref()?.main)?;
    Some(v8::Local::new(scope, main))
}

/// Compiles a module by name, once. `None` with an exception pending when it cannot be.
fn compile<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &State,
    name: &str,
) -> Option<v8::Local<'s, v8::Module>> {
    if let Some(module) = state.modules.borrow().compiled.get(name) {
        return Some(v8::Local::new(scope, module));
    }
    let (kind, content, cached) = {
        let mut modules = state.modules.borrow_mut();
        let found = modules.artifact.as_ref().and_then(|artifact| artifact.module(name));
        let (kind, content) = found.map(|module| (module.kind, module.content.clone()))?;
        (kind, content, modules.cache.remove(name))
    };
    let module = match kind {
        ModuleKind::Esm => compile_script(scope, state, name, &content, cached)?,
        _ => {
            let value = data_value(scope, kind, &content, name)?;
            let value = v8::Global::new(scope, value);
            state.modules.borrow_mut().values.insert(name.into(), value);
            let module_name = v8::String::new(scope, name)?;
            let default = v8::String::new(scope, "default")?;
            v8::Module::create_synthetic_module(scope, module_name, &[default], export_data)
        }
    };
    let mut modules = state.modules.borrow_mut();
    if let Some(id) = module.script_id() {
        modules.names.insert(id, name.into());
    }
    modules.compiled.insert(name.into(), v8::Global::new(scope, module));
    Some(module)
}

fn compile_script<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    _state: &State,
    name: &str,
    content: &[u8],
    cached: Option<Vec<u8>>,
) -> Option<v8::Local<'s, v8::Module>> {
    use v8::script_compiler::{CachedData, CompileOptions, NoCacheReason, Source, compile_module2};
    let Ok(text) = std::str::from_utf8(content) else {
        return throw(scope, &format!("bad_module: module {name:?} is not UTF-8"));
    };
    let text = v8::String::new_from_utf8(scope, text.as_bytes(), v8::NewStringType::Normal)?;
    let resource = v8::String::new(scope, name)?.into();
    let origin = v8::ScriptOrigin::new(scope, resource, 0, 0, false, -1, None, false, false, true, None);
    let options =
        if cached.is_some() { CompileOptions::ConsumeCodeCache } else { CompileOptions::NoCompileOptions };
    let mut source = match &cached {
        Some(data) => Source::new_with_cached_data(text, Some(&origin), CachedData::new(data)),
        None => Source::new(text, Some(&origin)),
    };
    compile_module2(scope, &mut source, options, NoCacheReason::NoReason)
}

/// The main module where it is a script.
fn script_source(state: &State) -> Option<Vec<u8>> {
    let modules = state.modules.borrow();
    let artifact = modules.artifact.as_ref()?;
    let main = artifact.module(&artifact.main)?;
    (main.kind == ModuleKind::Script).then(|| main.content.clone())
}

fn compile_classic<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    name: &str,
    content: &[u8],
) -> Option<v8::Local<'s, v8::Script>> {
    let text = v8::String::new_from_utf8(scope, content, v8::NewStringType::Normal)?;
    let resource = v8::String::new(scope, name)?.into();
    let origin = v8::ScriptOrigin::new(scope, resource, 0, 0, false, -1, None, false, false, false, None);
    v8::Script::compile(scope, text, Some(&origin))
}

/// Whether a linked module exports nothing at all, so that it can only be in the old syntax.
fn exports_nothing(scope: &mut v8::PinScope<'_, '_>, module: v8::Local<'_, v8::Module>) -> bool {
    // Exports that are not initialised yet can be named, but not looked at.
    let names = v8::GetPropertyNamesArgs {
        property_filter: v8::PropertyFilter::SKIP_SYMBOLS,
        ..v8::GetPropertyNamesArgs::default()
    };
    let namespace = module.get_module_namespace().to_object(scope);
    let names = namespace.and_then(|namespace| namespace.get_own_property_names(scope, names));
    names.is_some_and(|names| names.length() == 0)
}

/// Makes globals of the bindings.
fn become_classic(scope: &mut v8::PinScope<'_, '_>, state: &State) {
    let callbacks = state.callbacks.borrow();
    let function = callbacks.as_ref().map(|callbacks| v8::Local::new(scope, &callbacks.classic));
    drop(callbacks);
    if let Some(function) = function {
        let undefined = v8::undefined(scope).into();
        function.call(scope, undefined, &[]);
    }
}

fn data_value<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    kind: ModuleKind,
    content: &[u8],
    name: &str,
) -> Option<v8::Local<'s, v8::Value>> {
    let text = |scope: &mut v8::PinScope<'s, '_>| {
        v8::String::new_from_utf8(scope, content, v8::NewStringType::Normal)
    };
    match kind {
        ModuleKind::Text => Some(text(scope)?.into()),
        ModuleKind::Json => {
            let text = text(scope)?;
            v8::json::parse(scope, text)
        }
        ModuleKind::Wasm => match v8::WasmModuleObject::compile(scope, content) {
            Some(module) if wasm::shares_memory(content) == Some(false) => Some(module.into()),
            Some(_) => throw(
                scope,
                &format!(
                    "bad_module: {name:?} defines or imports a shared memory, which no worker may have; build it without threads"
                ),
            ),
            None => throw(scope, &format!("bad_module: {name:?} is not a valid WebAssembly module")),
        },
        _ => {
            let buffer = v8::ArrayBuffer::new(scope, content.len());
            let store = buffer.get_backing_store();
            for (cell, byte) in store.iter().zip(content) {
                cell.set(*byte);
            }
            Some(buffer.into())
        }
    }
}

/// What was kept for a synthetic module to export.
fn kept_value<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    module: v8::Local<'s, v8::Module>,
) -> Option<v8::Local<'s, v8::Value>> {
    let hash = module.get_identity_hash();
    let modules = State::of(scope).modules.borrow();
    let name = modules.compiled.iter().find(|(_, candidate)| {
        let candidate = v8::Local::new(scope, *candidate);
        candidate.get_identity_hash() == hash && candidate == module
    });
    let value = name.and_then(|(name, _)| modules.values.get(name))?;
    Some(v8::Local::new(scope, value))
}

/// Gives a module that is not JavaScript its default export.
fn export_data<'s>(
    context: v8::Local<'s, v8::Context>,
    module: v8::Local<'s, v8::Module>,
) -> Option<v8::Local<'s, v8::Value>> {
    v8::callback_scope!(unsafe scope, context);
    let value = kept_value(scope, module)?;
    let default = v8::String::new(scope, "default")?;
    module.set_synthetic_module_export(scope, default, value)?;
    evaluated_at_once(scope)
}

/// Gives a module of the runtime's own its exports.
fn export_builtin<'s>(
    context: v8::Local<'s, v8::Context>,
    module: v8::Local<'s, v8::Module>,
) -> Option<v8::Local<'s, v8::Value>> {
    v8::callback_scope!(unsafe scope, context);
    let exports = kept_value(scope, module)?.to_object(scope)?;
    let keys = exports.get_own_property_names(scope, v8::GetPropertyNamesArgs::default())?;
    for index in 0..keys.length() {
        if let Ok(key) = v8::Local::<v8::String>::try_from(keys.get_index(scope, index)?) {
            let value = exports.get(scope, key.into())?;
            module.set_synthetic_module_export(scope, key, value)?;
        }
    }
    evaluated_at_once(scope)
}

/// The promise that V8 wants of a synthetic module's evaluation.
fn evaluated_at_once<'s>(scope: &mut v8::PinScope<'s, '_>) -> Option<v8::Local<'s, v8::Value>> {
    let resolver = v8::PromiseResolver::new(scope)?;
    let undefined = v8::undefined(scope).into();
    resolver.resolve(scope, undefined);
    Some(resolver.get_promise(scope).into())
}

/// V8 asks which module an import means.
fn resolve<'s>(
    context: v8::Local<'s, v8::Context>,
    specifier: v8::Local<'s, v8::String>,
    _attributes: v8::Local<'s, v8::FixedArray>,
    referrer: v8::Local<'s, v8::Module>,
) -> Option<v8::Local<'s, v8::Module>> {
    v8::callback_scope!(unsafe scope, context);
    let state = State::of(scope);
    let specifier = specifier.to_rust_string_lossy(scope);
    let from = referrer.script_id().and_then(|id| state.modules.borrow().names.get(&id).cloned());
    find(scope, state, &specifier, &from.unwrap_or_default())
}

fn find<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &State,
    specifier: &str,
    from: &str,
) -> Option<v8::Local<'s, v8::Module>> {
    let name = join(from, specifier);
    let importable = {
        let modules = state.modules.borrow();
        let known = |name: &str| {
            modules.compiled.contains_key(name)
                || modules
                    .artifact
                    .as_ref()
                    .and_then(|a| a.module(name))
                    .is_some_and(|m| !matches!(m.kind, ModuleKind::SourceMap | ModuleKind::Script))
        };
        [name.as_str(), specifier].into_iter().find(|name| known(name)).map(str::to_owned)
    };
    match importable {
        Some(name) => compile(scope, state, &name),
        None => match builtin(scope, state, specifier)? {
            Some(module) => Some(module),
            None => {
                let hint = compatibility::why_absent(state.compatibility, specifier);
                throw(scope, &format!("unknown_import: {specifier:?}, imported by {from:?}, {hint}"))
            }
        },
    }
}

/// A module of the runtime's own. `None` with an exception pending when it could not be made.
fn builtin<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &State,
    specifier: &str,
) -> Option<Option<v8::Local<'s, v8::Module>>> {
    let Some(function) = state.builtin(scope) else { return Some(None) };
    let known = builtin::canonical(specifier);
    let specifier = match known {
        Some(_) if !compatibility::provides(state.compatibility, specifier) => return Some(None),
        Some(name) => name,
        None => specifier,
    };
    let compiled = state.modules.borrow().compiled.get(specifier).map(|module| v8::Local::new(scope, module));
    if compiled.is_some() {
        return Some(compiled);
    }
    let name = v8::String::new(scope, specifier)?;
    let undefined = v8::undefined(scope).into();
    let exports = function.call(scope, undefined, &[name.into()])?;
    let Some(exports) = exports.to_object(scope).filter(|_| exports.is_object()) else { return Some(None) };
    let keys = exports.get_own_property_names(scope, v8::GetPropertyNamesArgs::default())?;
    let mut names = Vec::new();
    for index in 0..keys.length() {
        if let Ok(key) = v8::Local::<v8::String>::try_from(keys.get_index(scope, index)?) {
            names.push(key);
        }
    }
    let module = v8::Module::create_synthetic_module(scope, name, &names, export_builtin);
    let mut modules = state.modules.borrow_mut();
    let exports: v8::Local<'_, v8::Value> = exports.into();
    modules.values.insert(specifier.into(), v8::Global::new(scope, exports));
    modules.compiled.insert(specifier.into(), v8::Global::new(scope, module));
    Some(Some(module))
}

/// `specifier` relative to the module `from`, without `.` and `..`.
fn join(from: &str, specifier: &str) -> String {
    if !specifier.starts_with('.') {
        return specifier.trim_start_matches('/').into();
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in specifier.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// `import()`: the module must be among the deployed ones.
pub fn import_dynamically<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    _options: v8::Local<'s, v8::Data>,
    referrer: v8::Local<'s, v8::Value>,
    specifier: v8::Local<'s, v8::String>,
    _attributes: v8::Local<'s, v8::FixedArray>,
) -> Option<v8::Local<'s, v8::Promise>> {
    let state = State::of(scope);
    let (specifier, from) = (specifier.to_rust_string_lossy(scope), referrer.to_rust_string_lossy(scope));
    let resolver = v8::PromiseResolver::new(scope)?;
    v8::tc_scope!(let scope, scope);
    let loaded = find(scope, state, &specifier, &from).and_then(|module| {
        if module.get_status() == v8::ModuleStatus::Uninstantiated {
            module.instantiate_module(scope, resolve)?;
        }
        let evaluation = v8::Local::<v8::Promise>::try_from(module.evaluate(scope)?).ok()?;
        Some((module, evaluation))
    });
    match loaded {
        Some((module, evaluation)) => {
            let namespace = module.get_module_namespace();
            let give = v8::Function::builder(give_data).data(namespace).build(scope)?;
            return evaluation.then(scope, give);
        }
        None => {
            let exception = scope.exception()?;
            scope.reset();
            resolver.reject(scope, exception);
        }
    }
    Some(resolver.get_promise(scope))
}

fn give_data(
    _: &mut v8::PinScope<'_, '_>,
    arguments: v8::FunctionCallbackArguments<'_>,
    mut result: v8::ReturnValue<'_, v8::Value>,
) {
    result.set(arguments.data());
}

fn throw<'s, T>(scope: &mut v8::PinScope<'s, '_>, text: &str) -> Option<T> {
    let text = v8::String::new_from_utf8(scope, text.as_bytes(), v8::NewStringType::Normal)?;
    let error = v8::Exception::error(scope, text);
    scope.throw_exception(error);
    None
}
