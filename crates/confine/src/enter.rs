//! The order in which a process gives up its rights, while it still has one thread.

use crate::{ConfineError, InForce, access, empty_root, identity, namespaces, rlimits};
use rustix::process::{
    DumpableBehavior, Signal, getppid, set_dumpable_behavior, set_parent_process_death_signal,
};
use std::io;

/// The user and group id that own nothing: `nobody` and `nogroup`.
pub const UNPRIVILEGED_ID: u32 = 65534;

/// What a host needs to keep; everything else goes.
#[derive(Debug, Clone)]
pub struct Plan {
    /// User and group id to change to when started as root.
    pub uid: u32,
    /// How many descriptors the process may hold at once.
    pub open_files: u64,
    /// How many threads the process may have, where the kernel counts them for this process alone.
    pub threads: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { uid: UNPRIVILEGED_ID, open_files: 1024, threads: 64 }
    }
}

/// Gives up everything but the descriptors that are open, as far as machine and user allow.
///
/// Must run before the process starts a second thread, because Landlock, ids and namespaces belong to a thread
/// and are inherited by the threads it starts. Also ties the process to its parent thread: it is killed when
/// that ends. Files opened before stay open; no file can be opened after.
///
/// # Errors
/// Any error leaves the process half confined: it must exit. A measure the machine lacks is no error, see
/// [`InForce::missing`].
pub fn enter(plan: &Plan) -> Result<InForce, ConfineError> {
    let parent = getppid();
    single_threaded()?;
    rustix::thread::set_no_new_privs(true).map_err(|e| ConfineError::NoNewPrivileges(e.into()))?;

    let mut in_force = InForce::default();
    // Root changes to an ordinary user first and keeps its capabilities across the change: a user namespace then
    // belongs to that user, so that even inside nothing maps to root.
    identity::leave_root(plan.uid, &mut in_force)?;
    let obtained = namespaces::unshare(&mut in_force);
    empty_root::enter(&obtained, &mut in_force);
    identity::drop_capabilities(&mut in_force)?;

    let process = |e: rustix::io::Errno| ConfineError::Process(e.into());
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(process)?;
    // The change of user has cleared what the spawning side had set.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(process)?;
    if getppid() != parent {
        return Err(ConfineError::ParentGone);
    }
    rlimits::lower(plan, &obtained)?;
    // Last, since Landlock forbids mounting.
    access::deny_all(&mut in_force);
    Ok(in_force)
}

/// Counts threads where `/proc` is mounted; without it the user namespace refuses a second thread anyway.
fn single_threaded() -> Result<(), ConfineError> {
    match std::fs::read_dir("/proc/self/task") {
        Ok(threads) => match threads.count() {
            1 => Ok(()),
            count => Err(ConfineError::NotSingleThreaded(count)),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(ConfineError::Process(e)),
    }
}
