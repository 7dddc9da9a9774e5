//! What this machine offers for confining sandboxes, asked without changing the process.

// Trying namespaces needs a forked child, which may only make system calls.
#![allow(unsafe_code)]

use crate::Namespace;
use crate::cgroup::CgroupRoot;
use std::fs;
use std::io;

/// What `selvedge doctor` reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The kernel's release, such as `6.1.0-18-amd64`.
    pub kernel: String,
    /// The kernel's Landlock ABI, or why there is none.
    pub landlock: Result<u32, String>,
    /// Whether system call filters can be installed.
    pub seccomp: bool,
    /// Whether this user can make namespaces, one answer for each kind and the reason for a no.
    pub namespaces: Vec<(Namespace, Result<(), String>)>,
    /// The control groups that can be used, such as `cgroup v2 memory,cpu,pids`, or why there are none.
    pub cgroup: Result<String, String>,
    /// Whether the process runs as root.
    pub root: bool,
    /// Physical memory in bytes.
    pub memory_bytes: u64,
    /// Memory available without swapping in bytes, as the kernel estimates it.
    pub available_bytes: u64,
    /// Processors this process may run on.
    pub processors: usize,
    /// How many descriptors the process may open, and up to where it may raise that itself.
    pub open_files: (u64, u64),
}

impl Machine {
    /// Asks the kernel. Takes a few milliseconds; forks short-lived children to try namespaces.
    pub fn probe() -> Self {
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        Self {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            landlock: landlock_abi(),
            seccomp: has_seccomp(),
            namespaces: Namespace::ALL
                .into_iter()
                .map(|namespace| (namespace, try_namespace(namespace)))
                .collect(),
            cgroup: CgroupRoot::look().map(|measure| measure.to_string()).map_err(|e| e.to_string()),
            root: rustix::process::geteuid().is_root(),
            memory_bytes: meminfo(&memory, "MemTotal:"),
            available_bytes: meminfo(&memory, "MemAvailable:"),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            open_files: (files.current.unwrap_or(u64::MAX), files.maximum.unwrap_or(u64::MAX)),
        }
    }

    /// True when hosts on this machine will reach what [`InForce::is_sufficient`](crate::InForce::is_sufficient)
    /// asks for.
    pub fn is_sufficient(&self) -> bool {
        let can =
            |wanted| self.namespaces.iter().any(|(namespace, result)| *namespace == wanted && result.is_ok());
        let empty_root = can(Namespace::Mount) || can(Namespace::User);
        self.seccomp && (self.landlock.is_ok() || empty_root)
    }
}

/// Major and minor version of the running kernel.
pub(crate) fn kernel_version() -> (u32, u32) {
    parse_version(&rustix::system::uname().release().to_string_lossy())
}

fn parse_version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn landlock_abi() -> Result<u32, String> {
    const VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the call takes no structure and creates nothing.
    let abi = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<libc::c_void>(), 0usize, VERSION)
    };
    match u32::try_from(abi) {
        Ok(abi) => Ok(abi),
        Err(_) => Err(match io::Error::last_os_error().raw_os_error() {
            Some(libc::ENOSYS) => "not built into this kernel".to_owned(),
            Some(libc::EOPNOTSUPP) => "not enabled at boot".to_owned(),
            _ => io::Error::last_os_error().to_string(),
        }),
    }
}

fn has_seccomp() -> bool {
    let action = libc::SECCOMP_RET_KILL_PROCESS;
    // SAFETY: the call reads one number.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, std::ptr::from_ref(&action))
    };
    result == 0
}

/// Tries in a child, which is where the namespace ends too. Namespaces but the user's are tried together with a
/// user namespace for a user who is not root.
fn try_namespace(namespace: Namespace) -> Result<(), String> {
    let alone = crate::namespaces::flag(namespace).bits() as libc::c_int;
    let result = in_child(|| {
        // SAFETY: the call takes a number.
        unsafe { libc::unshare(alone) == 0 || libc::unshare(alone | libc::CLONE_NEWUSER) == 0 }
    });
    result.map_err(|e| e.to_string())
}

/// Runs a check in a forked child and returns the child's error if it says no.
fn in_child(check: impl Fn() -> bool) -> io::Result<()> {
    // SAFETY: the child makes system calls only and leaves through `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let code = if check() { 0 } else { io::Error::last_os_error().raw_os_error().unwrap_or(libc::EPERM) };
        // SAFETY: ends the child without running anybody's exit handlers. Error numbers here are below 256.
        unsafe { libc::_exit(code) };
    }
    let pid = rustix::process::Pid::from_raw(pid).ok_or_else(io::Error::last_os_error)?;
    loop {
        match rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()) {
            Ok(Some((_, status))) => {
                return match status.exit_status() {
                    Some(0) => Ok(()),
                    Some(code) => Err(io::Error::from_raw_os_error(code)),
                    None => Err(io::Error::other("the check was killed")),
                };
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

fn meminfo(text: &str, key: &str) -> u64 {
    let kib =
        text.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions() {
        assert_eq!(parse_version("6.18.44-fc-v657"), (6, 18));
        assert_eq!(parse_version("5.15-rc1"), (5, 15));
        assert_eq!(parse_version("odd"), (0, 0));
        assert_eq!(parse_version("99999999999.1"), (0, 1));
    }

    #[test]
    fn reads_memory() {
        let text = "MemTotal:       49368188 kB\nMemFree: 1 kB\nMemAvailable: x kB\n";
        assert_eq!(meminfo(text, "MemTotal:"), 49_368_188 * 1024);
        assert_eq!(meminfo(text, "MemAvailable:"), 0);
        assert_eq!(meminfo("", "MemTotal:"), 0);
    }

    #[test]
    fn probing_leaves_the_process_as_it_was() {
        let namespaces =
            || ["user", "mnt", "net"].map(|name| fs::read_link(format!("/proc/self/ns/{name}")).unwrap());
        let status = || {
            let text = fs::read_to_string("/proc/thread-self/status").unwrap();
            let keep = ["CapEff:", "NoNewPrivs:", "Seccomp:"];
            text.lines()
                .filter(|line| keep.iter().any(|key| line.starts_with(key)))
                .collect::<Vec<_>>()
                .join("\n")
        };
        let before = (namespaces(), status());
        let machine = Machine::probe();
        assert_eq!((namespaces(), status()), before);
        assert!(machine.memory_bytes > 0 && machine.processors > 0 && machine.open_files.0 > 0);
        assert_eq!(machine.namespaces.len(), Namespace::ALL.len());
    }
}
