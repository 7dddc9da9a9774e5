//! The isolate host: a confined process that runs workers in V8 isolates and speaks `wire` with the engine.
//!
//! The crate is a shared object that is preloaded into the executable that carries V8 ([`carrier`]). From there:
//!
//! - [`start`]: arguments, confinement, threads; then the control loop and the watchdog on the first thread.
//! - [`thread`]: one event loop per isolate thread. Reads whatever frames have arrived, dispatches all of them,
//!   writes once.
//! - [`connection`]: one edge thread's socket: read buffer, write buffer, stream numbers.
//! - [`shell`]: an isolate with its context out of the snapshot, made ahead. [`instance`]: one loaded worker in it.
//! - [`state`]: what JavaScript's calls into the host work on.
//! - [`modules`]: compiling, linking and evaluating a worker's modules.
//! - [`ops`]: what JavaScript may ask of the host. [`stream`]: the state behind a stream.
//! - [`html`]: rewriting HTML as it streams by.
//! - [`jobs`]: threads for work that takes long. [`handles`]: objects of the host that JavaScript holds.
//! - [`inspector`]: V8's debugger and profiler, over a socket of its own.
//! - [`limits`]: CPU account, heap limit, array buffer allocator. [`snapshot`]: the startup snapshot.
//!
//! Nothing in here touches the file system or the network after [`start`] has sealed the process: what a worker
//! asks of the outside travels to the engine.

// V8's API hands out raw pointers in callbacks, and the carrier is entered through libc's own door.
#![allow(unsafe_code)]

mod carrier;
mod connection;
mod handles;
mod html;
mod inspector;
mod instance;
mod jobs;
mod limits;
mod modules;
mod ops;
mod relay;
mod shell;
mod snapshot;
mod socket;
mod start;
mod state;
mod stream;
mod thread;
