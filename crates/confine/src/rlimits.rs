//! Resource limits that stay with the process whatever it does.

// Ignoring SIGXFSZ has no safe wrapper.
#![allow(unsafe_code)]

use crate::{ConfineError, Namespace, Plan};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;

/// Lowers the limits, soft and hard alike.
pub(crate) fn lower(plan: &Plan, obtained: &[Namespace]) -> Result<(), ConfineError> {
    // No file may grow, so a write to one must be an error and not a signal that kills.
    // SAFETY: SIG_IGN installs no code of ours.
    if unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) } == libc::SIG_ERR {
        return Err(ConfineError::Process(io::Error::last_os_error()));
    }
    limit("core size", Resource::Core, 0)?;
    limit("file size", Resource::Fsize, 0)?;
    limit("locked memory", Resource::Memlock, 0)?;
    limit("message queues", Resource::Msgqueue, 0)?;
    limit("open files", Resource::Nofile, plan.open_files)?;
    // Older kernels, and a user without a namespace of its own, count all processes of the user together.
    if obtained.contains(&Namespace::User) && crate::probe::kernel_version() >= (5, 14) {
        limit("threads", Resource::Nproc, plan.threads)?;
    }
    Ok(())
}

fn limit(what: &'static str, resource: Resource, value: u64) -> Result<(), ConfineError> {
    let allowed = getrlimit(resource).maximum.map_or(value, |maximum| maximum.min(value));
    let new = Rlimit { current: Some(allowed), maximum: Some(allowed) };
    setrlimit(resource, new).map_err(|e| ConfineError::Limit { what, source: e.into() })
}
