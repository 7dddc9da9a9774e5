//! Control groups for real: the kernel must kill, count and clean up. Says so and passes where none is writable.

// The tests say on standard error why they did nothing.
#![allow(clippy::print_stderr)]

use selvedge_confine::cgroup::{Bounds, CgroupRoot};
use selvedge_confine::spawn::{Child, prepare};
use std::io::{ErrorKind, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

const MIB: u64 = 1 << 20;
const BOUNDS: Bounds = Bounds { memory_bytes: 32 * MIB, cpu_cores: 0.5, pids: 8 };

/// A process has one parent group, so the tests take turns. Bound in this order, the root is dropped first.
fn root() -> Option<(MutexGuard<'static, ()>, CgroupRoot)> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let root = CgroupRoot::detect().inspect_err(|e| eprintln!("skipped: {e}")).ok()?;
    Some((turn, root))
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

#[test]
fn more_memory_than_allowed_is_killed_and_counted() {
    let Some((_turn, root)) = root() else { return };
    let group = root.create("memory", BOUNDS).unwrap();
    let mut command = shell("exec tail /dev/zero");
    prepare(&mut command, Child { fds: Vec::new(), cgroup: Some(group.entry().unwrap()) });
    assert_eq!(group.oom_kills().unwrap(), 0);
    let mut child = command.spawn().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert_eq!(group.oom_kills().unwrap(), 1);
    group.remove().unwrap();
}

#[test]
fn memory_in_use_is_told() {
    let Some((_turn, root)) = root() else { return };
    let group = root.create("usage", BOUNDS).unwrap();
    assert!(group.memory().unwrap() < MIB);
    let mut command = shell("echo; read line");
    prepare(&mut command, Child { fds: Vec::new(), cgroup: Some(group.entry().unwrap()) });
    let mut child = command.spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let used = group.memory().unwrap();
    assert!(used > 0 && used <= BOUNDS.memory_bytes, "{used}");
    assert_eq!(root.create("usage", BOUNDS).unwrap_err().kind(), ErrorKind::AlreadyExists);
    child.kill().unwrap();
    child.wait().unwrap();
    group.remove().unwrap();
}

#[test]
fn a_running_process_can_be_added_and_keeps_its_group() {
    let Some((_turn, root)) = root() else { return };
    let group = root.create("added", BOUNDS).unwrap();
    let mut child = shell("read line; cat /proc/self/cgroup").spawn().unwrap();
    group.add(child.id()).unwrap();
    drop(child.stdin.take());
    let mut groups = String::new();
    child.stdout.as_mut().unwrap().read_to_string(&mut groups).unwrap();
    let name = format!("/selvedge-{}/added", std::process::id());
    assert!(groups.lines().any(|line| line.ends_with(&name)), "{groups}");
    child.wait().unwrap();
    // Waited for, so the group is empty.
    group.remove().unwrap();
}

#[test]
fn more_processes_than_allowed_fail() {
    let Some((_turn, root)) = root() else { return };
    if !root.measure().to_string().contains("pids") {
        return eprintln!("skipped: no pids controller");
    }
    let group = root.create("pids", Bounds { pids: 1, ..BOUNDS }).unwrap();
    let mut command = shell("(true) && echo forked");
    prepare(&mut command, Child { fds: Vec::new(), cgroup: Some(group.entry().unwrap()) });
    let output = command.output().unwrap();
    assert_eq!(output.stdout, b"");
    assert!(!output.status.success());
}

#[test]
fn names_are_taken_once_and_cannot_lead_elsewhere() {
    let Some((_turn, root)) = root() else { return };
    let first = root.create("name", BOUNDS).unwrap();
    assert_eq!(root.create("name", BOUNDS).unwrap_err().kind(), ErrorKind::AlreadyExists);
    first.remove().unwrap();
    root.create("name", BOUNDS).unwrap().remove().unwrap();
    for name in ["", "..", "a/b", "/etc", "cgroup.procs", "a b", &"x".repeat(65)] {
        assert_eq!(root.create(name, BOUNDS).unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
    }
}

#[test]
fn a_gone_process_cannot_be_added() {
    let Some((_turn, root)) = root() else { return };
    let group = root.create("gone", BOUNDS).unwrap();
    let mut child = shell("true").spawn().unwrap();
    child.wait().unwrap();
    assert!(group.add(child.id()).is_err());
}

#[test]
fn a_parent_group_somebody_removed_comes_back_and_goes_in_the_end() {
    let Some((_turn, root)) = root() else { return };
    let parents = || {
        let tops = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        let name = format!("selvedge-{}", std::process::id());
        tops.map(move |top| top.path().join(&name)).filter(|path| path.exists()).collect::<Vec<_>>()
    };
    if root.version() == 1 {
        assert!(!parents().is_empty());
        parents().iter().for_each(|parent| std::fs::remove_dir(parent).unwrap());
    }
    root.create("again", BOUNDS).unwrap().remove().unwrap();
    drop(root);
    assert_eq!(parents(), Vec::<std::path::PathBuf>::new());
}
