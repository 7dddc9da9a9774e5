//! User ids and capabilities.

// `prctl(PR_CAPBSET_DROP)` by number reaches capabilities newer than rustix knows.
#![allow(unsafe_code)]

use crate::{ConfineError, InForce, Measure};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, getegid, geteuid, set_dumpable_behavior};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    set_capabilities, set_capabilities_secure_bits, set_keep_capabilities, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};
use rustix::thread::{Gid, Uid};

/// Changes from root to `uid`, keeping capabilities for the namespaces that come next. Others keep their ids.
pub(crate) fn leave_root(uid: u32, in_force: &mut InForce) -> Result<(), ConfineError> {
    if !geteuid().is_root() {
        return Ok(());
    }
    match change_ids(uid) {
        Ok(()) => in_force.add(Measure::User(uid)),
        Err(e) => in_force.lacks("unprivileged user", std::io::Error::from(e)),
    }
    // The change made the process undumpable, which hides its own /proc/self/uid_map from it.
    set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(|e| ConfineError::Process(e.into()))
}

fn change_ids(id: u32) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    set_keep_capabilities(true)?;
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    let kept = capabilities(None)?.permitted;
    set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() },
    )?;
    debug_assert_eq!((geteuid(), getegid()), (uid, gid));
    Ok(())
}

/// Empties every capability set and checks that they are empty.
pub(crate) fn drop_capabilities(in_force: &mut InForce) -> Result<(), ConfineError> {
    let failed = |e: Errno| ConfineError::Capabilities(e.into());
    // The bounding and ambient sets and the secure bits only matter for what an `execve` could regain, and
    // no-new-privileges already forbids that; a process without the right to change them may keep them.
    let bounding = drop_bounding_set();
    let ambient = clear_ambient_capability_set();
    let locked = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    let secured = set_capabilities_secure_bits(locked);
    if let Err(e) = bounding.and(ambient).and(secured) {
        in_force.lacks("empty bounding set", std::io::Error::from(e));
    }
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .map_err(failed)?;
    let left = capabilities(None).map_err(failed)?;
    if !(left.effective | left.permitted | left.inheritable).is_empty() {
        return Err(failed(Errno::PERM));
    }
    in_force.add(Measure::NoCapabilities);
    Ok(())
}

fn drop_bounding_set() -> Result<(), Errno> {
    // Capabilities are numbered without gaps; the first unknown number ends the list.
    for capability in 0..64 {
        // SAFETY: PR_CAPBSET_DROP takes a number and touches no memory of ours.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability as libc::c_ulong, 0, 0, 0) } != 0 {
            let error = Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::PERM);
            return if error == Errno::INVAL && capability > 0 { Ok(()) } else { Err(error) };
        }
    }
    Ok(())
}
