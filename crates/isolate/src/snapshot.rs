//! The startup snapshot: a heap in which the runtime's JavaScript has already run.

use std::borrow::Cow;

use crate::ops;

/// A snapshot that lives as long as the process.
#[derive(Clone, Copy)]
pub struct Snapshot(&'static [u8]);

impl Snapshot {
    pub fn new(bytes: &'static [u8]) -> Self {
        Self(bytes)
    }

    /// Parameters for an isolate that begins with the snapshot.
    pub fn params(&self) -> v8::CreateParams {
        v8::CreateParams::default()
            .snapshot_blob(v8::StartupData::from(Cow::Borrowed(self.0)))
            .external_references(Cow::Owned(ops::references()))
            .allow_atomics_wait(false)
    }
}

/// Runs the runtime's JavaScript in a fresh context and returns the heap that results.
pub fn make(runtime: &str) -> Result<Vec<u8>, String> {
    let mut isolate = v8::Isolate::snapshot_creator(Some(Cow::Owned(ops::references())), None);
    let result = {
        v8::scope!(let scope, &mut isolate);
        let context = v8::Context::new(scope, Default::default());
        let scope = &mut v8::ContextScope::new(scope, context);
        ops::install(scope, context);
        let result = run(scope, runtime);
        scope.set_default_context(context);
        result
    };
    // The creator must be asked for its blob even when it is of no use.
    let blob = isolate.create_blob(v8::FunctionCodeHandling::Clear);
    result?;
    blob.map(|blob| blob.to_vec()).ok_or_else(|| "V8 made no snapshot".into())
}

fn run(scope: &mut v8::PinScope<'_, '_>, source: &str) -> Result<(), String> {
    v8::tc_scope!(let scope, scope);
    let source = v8::String::new(scope, source).ok_or("the runtime is too large")?;
    let name = v8::String::new(scope, "selvedge:runtime").expect("short string").into();
    let origin = v8::ScriptOrigin::new(scope, name, 0, 0, false, -1, None, false, false, false, None);
    let script = v8::Script::compile(scope, source, Some(&origin));
    if script.and_then(|script| script.run(scope)).is_some() {
        return Ok(());
    }
    let text = scope.stack_trace().or_else(|| scope.exception());
    Err(text.map_or_else(|| "the runtime threw".into(), |text| text.to_rust_string_lossy(scope)))
}
