//! The way into the process: the executable that carries V8 is Node's, but its `main` never runs.
//!
//! Preloaded into it, this library answers the call to `__libc_start_main` and hands libc our own `main`. The
//! executable's initialisers still run, since V8's static data is among them. Linked against the upstream
//! static library instead, this file would be an ordinary `main`.

use std::ffi::{c_char, c_int, c_void};

type Main = extern "C" fn(c_int, *const *const c_char, *const *const c_char) -> c_int;
type LibcStartMain = unsafe extern "C" fn(
    Main,
    c_int,
    *const *const c_char,
    *const c_void,
    *const c_void,
    *const c_void,
    *const c_void,
) -> c_int;

/// Stands in front of libc's function of this name; called by the executable's `_start`.
///
/// # Safety
/// Called by `_start` only, with the arguments that libc expects.
#[unsafe(no_mangle)]
unsafe extern "C" fn __libc_start_main(
    _main: Main,
    argc: c_int,
    argv: *const *const c_char,
    init: *const c_void,
    fini: *const c_void,
    rtld_fini: *const c_void,
    stack_end: *const c_void,
) -> c_int {
    // SAFETY: the next definition in load order is libc's, whose type is declared above.
    unsafe {
        let next = libc::dlsym(libc::RTLD_NEXT, c"__libc_start_main".as_ptr());
        assert!(!next.is_null(), "libc has no __libc_start_main");
        let next: LibcStartMain = std::mem::transmute(next);
        next(host_main, argc, argv, init, fini, rtld_fini, stack_end)
    }
}

extern "C" fn host_main(argc: c_int, argv: *const *const c_char, _env: *const *const c_char) -> c_int {
    let arguments = (0..argc as usize)
        .map(|i| {
            // SAFETY: libc passes `argc` valid C strings.
            let argument = unsafe { std::ffi::CStr::from_ptr(*argv.add(i)) };
            argument.to_string_lossy().into_owned()
        })
        .collect();
    crate::start::main(arguments)
}
