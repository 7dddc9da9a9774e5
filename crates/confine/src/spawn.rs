//! What the engine does to a child between `fork` and `exec`.

// Everything here runs in the forked child of a threaded process, where only async-signal-safe calls are sound:
// plain system calls, no allocation, no locks.
#![allow(unsafe_code)]

use crate::cgroup::Entry;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The descriptor number the first handed-over descriptor gets; the next ones follow.
pub const FIRST_FD: RawFd = 3;

/// What the child starts with.
#[derive(Debug, Default)]
pub struct Child {
    /// Descriptors the child gets as 3, 4 and so on. All others but standard input, output and error are closed.
    pub fds: Vec<OwnedFd>,
    /// The control group the child joins before it runs, so that all its memory counts.
    pub cgroup: Option<Entry>,
}

/// Makes `command` start its process as a session of its own, killed when the spawning thread ends, first in
/// line for the out-of-memory killer, with only the descriptors of `child`.
///
/// The parent-death signal follows the thread that spawns, not the process: spawn from a thread that lives as
/// long as the child may. The descriptors stay open in the parent until `command` is dropped.
///
/// Give the child pipes or `/dev/null` as standard streams: a confined host cannot write to files.
pub fn prepare(command: &mut Command, child: Child) {
    let parent = std::process::id();
    let mut moved = vec![-1; child.fds.len()];
    let setup = move || {
        // SAFETY: `in_child` makes system calls only; the vectors were allocated before the fork.
        unsafe { in_child(&child, &mut moved, parent) }
    };
    // SAFETY: see `setup`.
    unsafe { command.pre_exec(setup) };
}

/// # Safety
/// Only for the child of a fork, right before `exec`: it closes descriptors that others own.
unsafe fn in_child(child: &Child, moved: &mut [RawFd], parent: u32) -> io::Result<()> {
    if let Some(cgroup) = &child.cgroup {
        cgroup.join()?;
    }
    // SAFETY: these calls take numbers and pointers to data that outlives them.
    unsafe {
        check(libc::setsid())?;
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong))?;
        if libc::getppid() as u32 != parent {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        prefer_for_oom_kill();
        // Out of the way first: a source may have the number that is another's destination.
        let above = FIRST_FD + child.fds.len() as RawFd;
        for (moved, fd) in moved.iter_mut().zip(&child.fds) {
            *moved = check(libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, above))?;
        }
        for (index, &fd) in moved.iter().enumerate() {
            check(libc::dup2(fd, FIRST_FD + index as RawFd))?;
        }
        close_from(above)
    }
}

/// Marks all descriptors from `first` up for closing at `exec`.
///
/// They are not closed here because `Command` reports a failed `exec` through one of them.
unsafe fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: the call takes numbers only.
    let marked = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC as libc::c_uint,
        )
    };
    if marked == 0 {
        return Ok(());
    }
    // Before Linux 5.11. The limit bounds every number that can be open unless it was lowered after opening.
    // SAFETY: `limit` is a plain structure the call fills; F_SETFD on a number that is not open does nothing.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        check(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit))?;
        for fd in first..limit.rlim_cur.min(1 << 20) as RawFd {
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
    Ok(())
}

/// Best effort: when the whole machine runs out of memory a sandbox goes before anything else.
unsafe fn prefer_for_oom_kill() {
    // SAFETY: the paths and the bytes are static.
    unsafe {
        let fd = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if fd >= 0 {
            libc::write(fd, b"1000".as_ptr().cast(), 4);
            libc::close(fd);
        }
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::process::Stdio;

    fn file_with(text: &str) -> OwnedFd {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(text.as_bytes()).unwrap();
        reader.into()
    }

    #[test]
    fn child_has_exactly_the_given_descriptors() {
        // Inheritable on purpose: only the marking keeps it from the child.
        let leak = File::open("/dev/null").unwrap();
        rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "cat <&3; cat <&4; echo; ls /proc/$$/fd; cat /proc/$$/oom_score_adj"]);
        prepare(&mut command, Child { fds: vec![file_with("one "), file_with("two")], cgroup: None });
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "one two\n0\n1\n2\n3\n4\n1000\n");
    }

    #[test]
    fn sources_that_sit_on_each_others_numbers_arrive_in_order() {
        let mut command = Command::new("sh");
        command.args(["-c", "cat <&3; cat <&4; cat <&5; cat <&6"]);
        let fds = ["a", "b", "c", "d"].map(file_with);
        prepare(&mut command, Child { fds: fds.into_iter().rev().collect(), cgroup: None });
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "dcba");
    }

    #[test]
    fn child_leads_its_session_and_dies_with_the_spawning_thread() {
        let child = std::thread::spawn(|| {
            let mut command = Command::new("sh");
            command.args(["-c", "echo started; exec sleep 600"]).stdout(Stdio::piped());
            prepare(&mut command, Child::default());
            let mut child = command.spawn().unwrap();
            let mut started = [0; 8];
            child.stdout.as_mut().unwrap().read_exact(&mut started).unwrap();
            let pid = rustix::process::Pid::from_child(&child);
            assert_eq!(rustix::process::getsid(Some(pid)).unwrap(), pid);
            child
        });
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(child.join().unwrap().wait().unwrap().signal(), Some(libc::SIGKILL));
    }
}
