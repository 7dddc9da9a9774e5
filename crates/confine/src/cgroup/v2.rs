//! The files of version 2, and making room for groups below one's own.

use super::{Bounds, Controller, v1::quota, write};
use std::fs;
use std::io;
use std::path::Path;

/// Current use in bytes.
pub(super) const MEMORY: &str = "memory.current";
/// Holds a line `oom_kill N`.
pub(super) const OOM: &str = "memory.events";
/// The group the engine moves itself into, below its parent group.
const LEAF: &str = "engine";
const PERIOD: u64 = 100_000;

/// Puts one bound into force.
pub(super) fn bound(directory: &Path, controller: Controller, bounds: Bounds) -> io::Result<()> {
    match controller {
        Controller::Memory => {
            write(directory, "memory.max", &bounds.memory_bytes.to_string())?;
            match write(directory, "memory.swap.max", "0") {
                // Absent on kernels without swap accounting.
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            }
        }
        Controller::Cpu => {
            write(directory, "cpu.max", &format!("{} {PERIOD}", quota(bounds.cpu_cores, PERIOD)))
        }
        Controller::Pids => write(directory, "pids.max", &bounds.pids.to_string()),
    }
}

/// The controllers that groups below `directory` have, or get now. The memory controller must be among them.
pub(super) fn enable(directory: &Path) -> io::Result<Vec<Controller>> {
    let offered = fs::read_to_string(directory.join("cgroup.controllers"))?;
    let offers =
        |list: &str, controller: Controller| list.split_whitespace().any(|name| name == controller.name());
    if !offers(&offered, Controller::Memory) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "no memory controller"));
    }
    for controller in Controller::ALL {
        let enabled = fs::read_to_string(directory.join("cgroup.subtree_control"))?;
        if offers(&offered, controller) && !offers(&enabled, controller) {
            let result = write(directory, "cgroup.subtree_control", &format!("+{}", controller.name()));
            if controller == Controller::Memory {
                result?;
            }
        }
    }
    let enabled = fs::read_to_string(directory.join("cgroup.subtree_control"))?;
    Ok(Controller::ALL.into_iter().filter(|&controller| offers(&enabled, controller)).collect())
}

/// Moves the calling process from `own` into a leaf below `parent` if it is the only one there; a group whose
/// children are to be bounded may not hold processes. Returns whether it moved.
pub(super) fn enter_leaf(own: &Path, parent: &Path) -> io::Result<bool> {
    let pid = std::process::id().to_string();
    if fs::read_to_string(own.join("cgroup.procs"))?.trim() != pid {
        return Ok(false);
    }
    let leaf = parent.join(LEAF);
    fs::create_dir_all(&leaf)?;
    write(&leaf, "cgroup.procs", &pid)?;
    Ok(true)
}

/// Undoes [`enter_leaf`] as far as the kernel lets it: the leaf goes once no process is in it.
pub(super) fn leave_leaf(parent: &Path) {
    let _ = fs::remove_dir(parent.join(LEAF));
}
