//! Objects of the host that JavaScript holds: keys, digests in progress, codecs.
//!
//! JavaScript gets a plain object with an index inside that it can neither read nor change. What the index stands for
//! stays here until the object is garbage; which objects are is found out by looking through the table, each time
//! it has doubled.

use crate::limits::{Buffers, Charge};
use crate::state::State;

/// Handles that one worker may hold at a time.
const HANDLES_MAX: usize = 100_000;
/// The table is not looked through while it is smaller.
const SWEEP_MIN: usize = 64;

/// What a handle stands for.
pub enum Resource {
    Key(selvedge_webcrypto::Key),
    Hash(Option<selvedge_webcrypto::hash::Hasher>),
    Mac(Option<selvedge_webcrypto::mac::Mac>),
    Codec(Box<Coding>),
    Decoder(Box<encoding_rs::Decoder>),
    /// JavaScript said that it is done with it.
    Spent,
}

/// A stream being coded or decoded.
pub struct Coding {
    pub codec: selvedge_codec::Codec,
    /// What the codec takes from the beginning, bytes.
    pub size: usize,
    /// What it took since.
    pub more: Option<Charge>,
}

impl Resource {
    /// About how many bytes it takes.
    fn size(&self) -> usize {
        match self {
            Self::Key(key) => key.size(),
            Self::Hash(_) | Self::Mac(_) => 1024,
            Self::Decoder(_) => 256,
            Self::Codec(coding) => coding.size,
            Self::Spent => 0,
        }
    }
}

struct Entry {
    object: v8::Weak<v8::Object>,
    resource: Resource,
    charge: Charge,
}

/// A worker's handles.
#[derive(Default)]
pub struct Handles {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    sweep_at: usize,
    template: Option<v8::Global<v8::ObjectTemplate>>,
}

impl Handles {
    fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Forgets what JavaScript does not hold any more; returns how many bytes that were.
    fn sweep(&mut self) -> usize {
        let mut freed = 0;
        for (index, place) in self.entries.iter_mut().enumerate() {
            if let Some(entry) = place.take_if(|entry| entry.object.is_empty()) {
                freed += entry.charge.bytes();
                self.free.push(index as u32);
            }
        }
        self.sweep_at = (self.len() * 2).max(SWEEP_MIN);
        freed
    }
}

/// A new handle; `None` when the worker has no memory left for it.
pub fn add<'s>(scope: &mut v8::PinScope<'s, '_>, resource: Resource) -> Option<v8::Local<'s, v8::Object>> {
    let state = State::of(scope);
    if state.handles.borrow().len() >= state.handles.borrow().sweep_at {
        sweep(scope);
    }
    let charge = match charge(state, resource.size()) {
        Some(charge) => charge,
        None => {
            // Perhaps all of it is garbage that V8 sees no reason to collect.
            scope.low_memory_notification();
            sweep(scope);
            charge(state, resource.size())?
        }
    };
    let template = state.handles.borrow().template.as_ref().map(|template| v8::Local::new(scope, template));
    let template = match template {
        Some(template) => template,
        None => {
            let template = v8::ObjectTemplate::new(scope);
            template.set_internal_field_count(1);
            state.handles.borrow_mut().template = Some(v8::Global::new(scope, template));
            template
        }
    };
    let object = template.new_instance(scope)?;
    let weak = v8::Weak::new(scope, object);
    scope.adjust_amount_of_external_allocated_memory(charge.bytes() as i64);
    let index = {
        let mut handles = state.handles.borrow_mut();
        let entry = Some(Entry { object: weak, resource, charge });
        match handles.free.pop() {
            Some(index) => {
                handles.entries[index as usize] = entry;
                index
            }
            None => {
                handles.entries.push(entry);
                handles.entries.len() as u32 - 1
            }
        }
    };
    let index = v8::Integer::new_from_unsigned(scope, index);
    object.set_internal_field(0, index.into());
    Some(object)
}

fn charge(state: &State, bytes: usize) -> Option<Charge> {
    if state.handles.borrow().len() >= HANDLES_MAX {
        return None;
    }
    Buffers::charge(&state.buffers, bytes)
}

/// Forgets what is garbage.
pub fn sweep(scope: &mut v8::Isolate) {
    let freed = State::of(scope).handles.borrow_mut().sweep();
    if freed > 0 {
        scope.adjust_amount_of_external_allocated_memory(-(freed as i64));
    }
}

/// Lets go of what a handle stands for, which stays behind as an empty shell.
pub fn spend(scope: &mut v8::PinScope<'_, '_>, value: v8::Local<'_, v8::Value>) {
    let Some(index) = index(scope, value) else { return };
    let freed = {
        let mut handles = State::of(scope).handles.borrow_mut();
        let Some(entry) = handles.entries.get_mut(index).and_then(Option::as_mut) else { return };
        entry.resource = Resource::Spent;
        entry.charge.release()
    };
    scope.adjust_amount_of_external_allocated_memory(-(freed as i64));
}

/// The place in the table that an object stands for.
fn index(scope: &v8::PinScope<'_, '_>, value: v8::Local<'_, v8::Value>) -> Option<usize> {
    let object = v8::Local::<v8::Object>::try_from(value).ok()?;
    if object.internal_field_count() != 1 {
        return None;
    }
    let index = v8::Local::<v8::Value>::try_from(object.get_internal_field(scope, 0)?).ok()?;
    let index = usize::try_from(v8::Local::<v8::Integer>::try_from(index).ok()?.value()).ok()?;
    // V8 gives promises an internal field, too, with a zero in it: the object must be the one that was handed out.
    let handles = State::of(scope).handles.borrow();
    let entry = handles.entries.get(index)?.as_ref()?;
    (entry.object == object).then_some(index)
}

/// Looks at what a handle stands for; `None` when the value is none.
pub fn with<R>(
    scope: &v8::PinScope<'_, '_>,
    value: v8::Local<'_, v8::Value>,
    look: impl FnOnce(&mut Resource) -> Option<R>,
) -> Option<R> {
    let index = index(scope, value)?;
    let mut handles = State::of(scope).handles.borrow_mut();
    let entry = handles.entries.get_mut(index)?.as_mut()?;
    look(&mut entry.resource)
}

/// The key that a handle stands for.
pub fn key(scope: &v8::PinScope<'_, '_>, value: v8::Local<'_, v8::Value>) -> Option<selvedge_webcrypto::Key> {
    with(scope, value, |resource| match resource {
        Resource::Key(key) => Some(key.clone()),
        _ => None,
    })
}
