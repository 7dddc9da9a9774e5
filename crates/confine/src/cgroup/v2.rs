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

fn offers(list: &str, controller: Controller) -> bool {
    list.split_whitespace().any(|name| name == controller.name())
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

/// The controllers that [`enable`] could enable, the own process being moved out of the way if need be.
pub(super) fn look(directory: &Path) -> io::Result<Vec<Controller>> {
    let read = |file: &str| fs::read_to_string(directory.join(file));
    let offered = read("cgroup.controllers")?;
    if !offers(&offered, Controller::Memory) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "no memory controller"));
    }
    // The top of all has no such file and may hold processes.
    let holds_others = fs::exists(directory.join("cgroup.type"))?
        && read("cgroup.procs")?.lines().any(|pid| pid != std::process::id().to_string());
    if holds_others && !offers(&read("cgroup.subtree_control")?, Controller::Memory) {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    Ok(Controller::ALL.into_iter().filter(|&controller| offers(&offered, controller)).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Files as the kernel has them, as far as plain files can stand in for them.
    fn group(controllers: &str, enabled: &str, procs: &str) -> tempfile::TempDir {
        let group = tempfile::tempdir().unwrap();
        let files = [
            ("cgroup.controllers", controllers),
            ("cgroup.subtree_control", enabled),
            ("cgroup.procs", procs),
            ("cgroup.type", "domain"),
            ("memory.max", ""),
            ("cpu.max", ""),
            ("pids.max", ""),
        ];
        for (file, text) in files {
            fs::write(group.path().join(file), text).unwrap();
        }
        group
    }

    #[test]
    fn looks_before_it_leaps() {
        let own = std::process::id().to_string();
        let look = |controllers, enabled, procs: &str| look(group(controllers, enabled, procs).path());
        assert_eq!(look("cpuset cpu io memory pids\n", "", "").unwrap(), Controller::ALL);
        assert_eq!(look("memory", "", &own).unwrap(), [Controller::Memory]);
        assert_eq!(look("memory pids", "memory", "1\n2\n").unwrap(), [Controller::Memory, Controller::Pids]);
        assert_eq!(look("memory", "", "1\n").unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        assert_eq!(look("cpu pids", "", "").unwrap_err().kind(), io::ErrorKind::Unsupported);
    }

    #[test]
    fn writes_bounds_in_the_kernels_words() {
        let group = group("", "", "");
        let bounds = Bounds { memory_bytes: 1 << 20, cpu_cores: 0.25, pids: 9 };
        // No `memory.swap.max` in there: a kernel without swap.
        Controller::ALL.iter().for_each(|&controller| bound(group.path(), controller, bounds).unwrap());
        let read = |file: &str| fs::read_to_string(group.path().join(file)).unwrap();
        assert_eq!([read("memory.max"), read("cpu.max"), read("pids.max")], ["1048576", "25000 100000", "9"]);
        assert!(!group.path().join("memory.swap.max").exists());
    }

    #[test]
    fn only_a_lone_process_moves_out_of_the_way() {
        let parent = tempfile::tempdir().unwrap();
        assert!(!enter_leaf(group("", "", "1\n2\n").path(), parent.path()).unwrap());
        assert!(!parent.path().join(LEAF).exists());
    }
}
