//! Structured clones (HTML, section 2.7): V8 copies what ECMAScript has, the runtime's JavaScript the rest.

use std::cell::RefCell;
use std::rc::Rc;

use v8::{
    FunctionCallbackArguments, PinScope, ReturnValue, Value, ValueDeserializerHelper, ValueSerializerHelper,
};

/// What both directions share: the copies that JavaScript made of its own objects, and compiled modules.
#[derive(Default)]
struct Copies {
    objects: RefCell<Vec<v8::Global<v8::Object>>>,
    modules: RefCell<Vec<v8::CompiledWasmModule>>,
}

struct Delegate {
    copies: Rc<Copies>,
    /// JavaScript's function that copies an object of the runtime's; `None` on the way back.
    host: Option<v8::Global<v8::Function>>,
    /// Prototype of plain objects, about which it need not be asked.
    plain: v8::Global<Value>,
}

/// Throws an `Error` whose own property `name` is "DataCloneError".
pub fn throw_clone_error(scope: &mut PinScope<'_, '_>, message: v8::Local<'_, v8::String>) {
    let error = v8::Exception::error(scope, message);
    if let Ok(object) = v8::Local::<v8::Object>::try_from(error) {
        let key = v8::String::new(scope, "name").expect("short string");
        let name = v8::String::new(scope, "DataCloneError").expect("short string");
        object.create_data_property(scope, key.into(), name.into());
    }
    scope.throw_exception(error);
}

fn refuse(scope: &mut PinScope<'_, '_>, text: &str) {
    let message = v8::String::new(scope, text).unwrap_or_else(|| v8::String::empty(scope));
    throw_clone_error(scope, message);
}

impl v8::ValueSerializerImpl for Delegate {
    fn throw_data_clone_error<'s>(&self, scope: &mut PinScope<'s, '_>, message: v8::Local<'s, v8::String>) {
        throw_clone_error(scope, message);
    }

    fn has_custom_host_object(&self, _: &v8::Isolate) -> bool {
        self.host.is_some()
    }

    fn is_host_object<'s>(
        &self,
        scope: &mut PinScope<'s, '_>,
        object: v8::Local<'s, v8::Object>,
    ) -> Option<bool> {
        let prototype = object.get_prototype(scope)?;
        if prototype.is_null() || prototype == v8::Local::new(scope, &self.plain) {
            return Some(false);
        }
        let host = v8::Local::new(scope, self.host.as_ref()?);
        let undefined = v8::undefined(scope).into();
        let copy = host.call(scope, undefined, &[object.into()])?;
        let Ok(copy) = v8::Local::<v8::Object>::try_from(copy) else { return Some(false) };
        // V8 has it written next.
        self.copies.objects.borrow_mut().push(v8::Global::new(scope, copy));
        Some(true)
    }

    fn write_host_object<'s>(
        &self,
        scope: &mut PinScope<'s, '_>,
        _: v8::Local<'s, v8::Object>,
        serializer: &dyn ValueSerializerHelper,
    ) -> Option<bool> {
        let Some(index) = self.copies.objects.borrow().len().checked_sub(1) else {
            let message = v8::String::new(scope, "The object cannot be cloned.")?;
            self.throw_data_clone_error(scope, message);
            return None;
        };
        serializer.write_uint32(index as u32);
        Some(true)
    }

    fn get_wasm_module_transfer_id(
        &self,
        _: &mut PinScope<'_, '_>,
        module: v8::Local<'_, v8::WasmModuleObject>,
    ) -> Option<u32> {
        let mut modules = self.copies.modules.borrow_mut();
        modules.push(module.get_compiled_module());
        Some(modules.len() as u32 - 1)
    }
}

impl v8::ValueDeserializerImpl for Delegate {
    fn read_host_object<'s>(
        &self,
        scope: &mut PinScope<'s, '_>,
        deserializer: &dyn ValueDeserializerHelper,
    ) -> Option<v8::Local<'s, v8::Object>> {
        let mut index = 0;
        if !deserializer.read_uint32(&mut index) {
            return None;
        }
        self.copies.objects.borrow().get(index as usize).map(|copy| v8::Local::new(scope, copy))
    }

    fn get_wasm_module_from_id<'s>(
        &self,
        scope: &mut PinScope<'s, '_>,
        id: u32,
    ) -> Option<v8::Local<'s, v8::WasmModuleObject>> {
        let modules = self.copies.modules.borrow();
        v8::WasmModuleObject::from_compiled_module(scope, modules.get(id as usize)?)
    }
}

/// `structuredClone(value, transfer, host)`: buffers in `transfer` move instead of being copied; `host` copies objects
/// that are the runtime's own.
pub fn structured_clone(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let context = scope.get_current_context();
    let copies = Rc::<Copies>::default();
    let host = v8::Local::<v8::Function>::try_from(arguments.get(2)).ok();
    let host = host.map(|host| v8::Global::new(scope, host));
    let plain = v8::Object::new(scope).get_prototype(scope).unwrap_or_else(|| v8::null(scope).into());
    let plain = v8::Global::new(scope, plain);
    let delegate = |host| Box::new(Delegate { copies: copies.clone(), host, plain: plain.clone() });
    let serializer = v8::ValueSerializer::new(scope, delegate(host));
    serializer.write_header();
    let mut moved = Vec::new();
    if let Ok(list) = v8::Local::<v8::Array>::try_from(arguments.get(1)) {
        for index in 0..list.length() {
            let buffer = list
                .get_index(scope, index)
                .and_then(|value| v8::Local::<v8::ArrayBuffer>::try_from(value).ok());
            let Some(buffer) = buffer.filter(|buffer| buffer.is_detachable() && !buffer.was_detached())
            else {
                return refuse(scope, "Only ArrayBuffers that are not detached can be transferred.");
            };
            serializer.transfer_array_buffer(index, buffer);
            moved.push(buffer);
        }
    }
    if serializer.write_value(context, arguments.get(0)) != Some(true) {
        return;
    }
    // JavaScript ran meanwhile: `host`, getters.
    if moved.iter().any(|buffer| buffer.was_detached()) {
        return refuse(scope, "An ArrayBuffer was detached while it was transferred.");
    }
    let bytes = serializer.release();
    let deserializer = v8::ValueDeserializer::new(scope, delegate(None), &bytes);
    for (index, buffer) in moved.into_iter().enumerate() {
        let store = buffer.get_backing_store();
        buffer.detach(None);
        let buffer = v8::ArrayBuffer::with_backing_store(scope, &store);
        deserializer.transfer_array_buffer(index as u32, buffer);
    }
    if deserializer.read_header(context) == Some(true)
        && let Some(value) = deserializer.read_value(context)
    {
        result.set(value);
    }
}
