//! Confines sandbox host processes on Linux: what a host does to itself, and what the engine does to the child
//! it spawns.
//!
//! A host calls, in this order:
//!
//! 1. [`enter`] while it has one thread: no new privileges, an unprivileged user, its own namespaces, an empty
//!    read-only root, no capabilities, resource limits, Landlock.
//! 2. It starts its threads.
//! 3. [`seal`]: a seccomp allow-list over all threads.
//!
//! The engine uses [`spawn`] to start the child with nothing but the descriptors it needs, [`cgroup`] to bound
//! its memory, processor time and threads, [`procstat`] to watch it where no cgroup is writable, and [`probe`] to
//! say what the machine offers.
//!
//! What the machine cannot do is recorded, not hidden: [`InForce`] lists what holds and what is missing, and
//! [`InForce::is_sufficient`] is the line below which nothing may run without the operator's word.

mod access;
pub mod cgroup;
mod empty_root;
mod enter;
mod error;
mod identity;
mod measure;
mod namespaces;
pub mod probe;
pub mod procstat;
mod rlimits;
mod seal;
pub mod spawn;
mod syscalls;

pub use enter::{Plan, UNPRIVILEGED_ID, enter};
pub use error::ConfineError;
pub use measure::{InForce, Measure, Missing, Namespace, UnknownMeasure};
pub use seal::seal;
