//! The startup snapshot: a heap in which the core of the runtime's JavaScript has already run, and the texts it came
//! from. Isolates refer to the mapped texts instead of holding copies.
//!
//! The file: the heap as V8 wrote it, the pack (see `runtime/build.mjs`), and the heap's length as `u64`.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};

use rustix::event::{EventfdFlags, eventfd};
use selvedge_wire::message::Load;

use crate::jobs::{Back, Jobs};
use crate::limits::Buffers;
use crate::ops;
use crate::state::State;

/// Name under which the core's functions appear in stack traces; parts append theirs to it.
pub const RUNTIME: &str = "selvedge:runtime";

/// A snapshot that lives as long as the process.
#[derive(Clone, Copy)]
pub struct Snapshot {
    heap: &'static [u8],
    pack: &'static Pack,
}

impl Snapshot {
    pub fn new(file: &'static [u8]) -> Result<Self, String> {
        let split = || {
            let (rest, length) = file.split_last_chunk()?;
            rest.split_at_checked(u64::from_le_bytes(*length) as usize)
        };
        let (heap, pack) = split().ok_or("the snapshot is cut off")?;
        Ok(Self { heap, pack: Pack::decode(pack)? })
    }

    /// Parameters for an isolate that begins with the snapshot.
    pub fn params(&self) -> v8::CreateParams {
        v8::CreateParams::default()
            .snapshot_blob(v8::StartupData::from(Cow::Borrowed(self.heap)))
            .external_references(Cow::Owned(references(self.pack)))
            .allow_atomics_wait(false)
    }

    /// The part of this name.
    pub fn part(&self, name: &str) -> Option<&'static Text> {
        self.pack.parts.iter().find(|part| part.name == name)
    }
}

/// The runtime's JavaScript.
struct Pack {
    core: Text,
    parts: Vec<Text>,
}

/// One script, mapped for the life of the process.
pub struct Text {
    pub name: &'static str,
    text: v8::OneByteConst,
    /// Its compiled code, from the first isolate that ran it.
    pub code: OnceLock<Vec<u8>>,
}

impl Text {
    /// The text as a string that takes no room in the isolate's heap.
    pub fn string<'s>(&'static self, scope: &mut v8::PinScope<'s, '_>) -> Option<v8::Local<'s, v8::String>> {
        v8::String::new_from_onebyte_const(scope, &self.text)
    }
}

impl Pack {
    fn decode(mut bytes: &'static [u8]) -> Result<&'static Self, String> {
        let mut field = || {
            let (length, rest) = bytes.split_first_chunk::<4>()?;
            let (field, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            bytes = rest;
            Some(field)
        };
        let mut texts = Vec::new();
        while let (Some(name), Some(text)) = (field(), field()) {
            let name = std::str::from_utf8(name).map_err(|_| "a part's name is no text")?;
            if !text.is_ascii() {
                return Err(format!("the script {name} is not ASCII"));
            }
            let text = v8::String::create_external_onebyte_const(text);
            texts.push(Text { name, text, code: OnceLock::new() });
        }
        if texts.is_empty() {
            return Err("the runtime is missing".into());
        }
        let core = texts.remove(0);
        Ok(Box::leak(Box::new(Self { core, parts: texts })))
    }
}

/// What the snapshot refers to outside of its heap, in this order.
fn references(pack: &'static Pack) -> Vec<v8::ExternalReference> {
    let mut references = ops::references();
    references.push(v8::ExternalReference { pointer: (&raw const pack.core.text).cast_mut().cast() });
    references
}

/// Runs the core in a fresh context and returns the file described above.
pub fn make(pack: Vec<u8>) -> Result<Vec<u8>, String> {
    let bytes: &'static [u8] = pack.leak();
    let pack = Pack::decode(bytes)?;
    let mut isolate = v8::Isolate::snapshot_creator(Some(Cow::Owned(references(pack))), None);
    let state = nobody(Snapshot { heap: &[], pack }, isolate.thread_safe_handle())?;
    state.attach(&mut isolate);
    let result = {
        v8::scope!(let scope, &mut isolate);
        let context = v8::Context::new(scope, Default::default());
        let scope = &mut v8::ContextScope::new(scope, context);
        ops::install(scope, context);
        let result = run(scope, &pack.core).and_then(|()| warm_up(scope, context));
        scope.set_default_context(context);
        result
    };
    drop(state);
    // The creator must be asked for its blob even when it is of no use. What was compiled is what ran: a request's way.
    let blob = isolate.create_blob(v8::FunctionCodeHandling::Keep);
    result?;
    let mut file = blob.ok_or("V8 made no snapshot")?.to_vec();
    let length = file.len() as u64;
    file.extend_from_slice(bytes);
    file.extend_from_slice(&length.to_le_bytes());
    Ok(file)
}

fn run(scope: &mut v8::PinScope<'_, '_>, core: &'static Text) -> Result<(), String> {
    v8::tc_scope!(let scope, scope);
    let source = core.string(scope).ok_or("the runtime is too large")?;
    let name = v8::String::new(scope, RUNTIME).expect("short string").into();
    let origin = v8::ScriptOrigin::new(scope, name, 0, 0, false, -1, None, false, false, false, None);
    let script = v8::Script::compile(scope, source, Some(&origin));
    if script.and_then(|script| script.run(scope)).is_some() {
        return Ok(());
    }
    let text = scope.stack_trace().or_else(|| scope.exception());
    Err(text.map_or_else(|| "the runtime threw".into(), |text| text.to_rust_string_lossy(scope)))
}

/// What the runtime's JavaScript works on while it serves nobody.
fn nobody(snapshot: Snapshot, handle: v8::IsolateHandle) -> Result<Box<State>, String> {
    let load = Load {
        instance: 0,
        memory_mb: 0,
        cpu_ms: 0,
        cpu_burst_ms: 0,
        subrequests: 0,
        env_len: 0,
        artifact_len: 0,
        compatibility: 0,
        want_code_cache: false,
        inspectable: false,
        name: "",
    };
    let signal = eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| format!("eventfd: {error}"))?;
    let back = Back { thread: 0, sender: channel().0, signal: Arc::new(signal) };
    let jobs = Jobs::new(Arc::default(), back, 0);
    Ok(State::new(&load, snapshot, Rc::default(), jobs, Buffers::new(1 << 20), handle))
}

/// Has the runtime serve a request of nobody, so that isolates find compiled what each of them would compile again.
fn warm_up(scope: &mut v8::PinScope<'_, '_>, context: v8::Local<'_, v8::Context>) -> Result<(), String> {
    v8::tc_scope!(let scope, scope);
    let global = context.global(scope);
    let call = |scope: &mut v8::PinScope<'_, '_>| {
        let name = v8::String::new(scope, "__selvedge")?;
        let entry = global.get(scope, name.into())?.to_object(scope)?;
        let name = v8::String::new(scope, "warmUp")?;
        let function = v8::Local::<v8::Function>::try_from(entry.get(scope, name.into())?).ok()?;
        function.call(scope, entry.into(), &[])?;
        scope.perform_microtask_checkpoint();
        Some(())
    };
    if call(scope).is_some() {
        return Ok(());
    }
    let text = scope.stack_trace().or_else(|| scope.exception());
    Err(text.map_or_else(|| "no request can be served".into(), |text| text.to_rust_string_lossy(scope)))
}
