//! Groups that a killed engine left behind.

use std::fs;
use std::path::Path;

const PREFIX: &str = "selvedge-";

/// The parent group of the engine with this process id.
pub(super) fn parent_name(pid: u32) -> String {
    format!("{PREFIX}{pid}")
}

/// Removes the groups of engines that are no more, as far as they are empty; errors are another engine's affair.
pub(super) fn sweep(above: &Path) {
    for entry in fs::read_dir(above).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !is_alive(pid)) {
            remove(&entry.path());
        }
    }
}

/// Removing a directory of groups needs no emptying of files: those are the kernel's. A group with a process in
/// it cannot be removed, so nobody's running host is lost even where process ids mean something else to others.
fn remove(parent: &Path) {
    for group in fs::read_dir(parent).into_iter().flatten().flatten() {
        if group.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = fs::remove_dir(group.path());
        }
    }
    let _ = fs::remove_dir(parent);
}

fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    // Any answer but "no such process" means that there is one.
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_the_dead_and_spares_the_living() {
        let above = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let (dead, own) = (parent_name(child.id()), parent_name(std::process::id()));
        for name in [&dead, &own, "selvedge-mine", "other", "selvedge-0"] {
            fs::create_dir_all(above.path().join(name).join("host-1")).unwrap();
        }
        sweep(above.path());
        let left = |name: &str| above.path().join(name).exists();
        assert!(!left(&dead) && !left("selvedge-0"));
        assert!(left(&own) && left("selvedge-mine") && left("other"));
    }
}
