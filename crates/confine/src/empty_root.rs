//! A root directory with nothing in it.

use crate::{InForce, Measure, Namespace};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, mount_move, unmount,
};
use rustix::process::{chdir, chroot, pivot_root};
use std::io;

/// Directories of which every system has at least one; what lies under the mount does not matter.
const MOUNT_POINTS: [&str; 6] = ["/proc", "/tmp", "/sys", "/dev", "/usr", "/etc"];

/// Replaces the root by an empty read-only file system, if the process has a mount namespace of its own.
pub(crate) fn enter(obtained: &[Namespace], in_force: &mut InForce) {
    if !obtained.contains(&Namespace::Mount) {
        return in_force.lacks("empty root", "no mount namespace");
    }
    match replace_root() {
        Ok(()) => in_force.add(Measure::EmptyRoot),
        Err(e) => in_force.lacks("empty root", e),
    }
}

fn replace_root() -> io::Result<()> {
    // Nothing of what follows may reach the mount namespace we came from.
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let mut mounted = Err(rustix::io::Errno::NOENT);
    for point in MOUNT_POINTS {
        mounted = mount("none", point, "tmpfs", flags, Some(c"size=4k,nr_inodes=1,mode=555"));
        if mounted.is_ok() {
            chdir(point)?;
            break;
        }
    }
    mounted?;
    match pivot_root(".", ".") {
        // The old root now lies on top of the new one; detaching it leaves the empty one.
        Ok(()) => unmount(".", UnmountFlags::DETACH)?,
        // The initial ramdisk cannot be pivoted away from, only covered.
        Err(rustix::io::Errno::INVAL) => {
            mount_move(".", "/")?;
            chroot(".")?;
        }
        Err(e) => return Err(e.into()),
    }
    chdir("/")?;
    Ok(())
}
