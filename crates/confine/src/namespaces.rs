//! Namespaces of the process's own, and the one user id that exists inside.

// `unshare` can break assumptions of other threads; `enter` has made sure that there are none.
#![allow(unsafe_code)]

use crate::{InForce, Measure, Namespace};
use rustix::process::{getegid, geteuid};
use rustix::thread::UnshareFlags;
use std::fs;
use std::io;

/// Moves the process into as many namespaces of its own as it can get; returns which.
///
/// There is no PID namespace: it would apply to children only, and forbid threads.
pub(crate) fn unshare(in_force: &mut InForce) -> Vec<Namespace> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let mut obtained = Vec::new();
    match unshare_flags(Namespace::ALL.into_iter().map(flag).collect()) {
        Ok(()) => obtained.extend(Namespace::ALL),
        Err(_) => {
            // One by one: a process with CAP_SYS_ADMIN gets the others even where user namespaces are off.
            for namespace in Namespace::ALL {
                match unshare_flags(flag(namespace)) {
                    Ok(()) => obtained.push(namespace),
                    Err(e) => in_force.lacks(&Measure::Namespaces(vec![namespace]).to_string(), e),
                }
            }
        }
    }
    if obtained.contains(&Namespace::User)
        && let Err(e) = map_ids(uid, gid)
    {
        // Unmapped ids show up as 65534 inside; nothing is gained or lost by it but this record.
        in_force.lacks("user id map", e);
    }
    if !obtained.is_empty() {
        in_force.add(Measure::Namespaces(obtained.clone()));
    }
    obtained
}

fn unshare_flags(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: none of the flags is CLONE_FILES or CLONE_FS, which is what could surprise code elsewhere.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(io::Error::from)
}

pub(crate) fn flag(namespace: Namespace) -> UnshareFlags {
    match namespace {
        Namespace::User => UnshareFlags::NEWUSER,
        Namespace::Mount => UnshareFlags::NEWNS,
        Namespace::Net => UnshareFlags::NEWNET,
        Namespace::Ipc => UnshareFlags::NEWIPC,
        Namespace::Uts => UnshareFlags::NEWUTS,
    }
}

/// Maps the process's own user and group to the unprivileged id inside, the only map that needs no privilege.
fn map_ids(uid: u32, gid: u32) -> io::Result<()> {
    let inside = crate::UNPRIVILEGED_ID;
    // Without this the kernel refuses a group map from an unprivileged process.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{inside} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{inside} {gid} 1"))
}
