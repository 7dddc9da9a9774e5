//! The ways out.

use std::fs;
use std::io;
use std::ptr::{null, null_mut};

/// How a sealed process is stopped.
#[derive(Clone, Copy)]
pub(crate) enum Outcome {
    /// By `SIGSYS`.
    Killed,
    /// With this error number.
    Refused(i32),
}

/// One way out.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    /// Does it; `Ok` means out.
    pub(crate) run: fn() -> io::Result<()>,
    /// What happens to it after `seal`.
    pub(crate) sealed: Outcome,
    /// Must fail after `enter` alone.
    pub(crate) refused_by_enter: bool,
    /// Does no harm and works for an unconfined root, which shows that the attack itself is right.
    pub(crate) works_unconfined: bool,
}

const fn killed(name: &'static str, run: fn() -> io::Result<()>) -> Attack {
    Attack { name, run, sealed: Outcome::Killed, refused_by_enter: false, works_unconfined: false }
}

const fn refused(name: &'static str, run: fn() -> io::Result<()>) -> Attack {
    Attack { sealed: Outcome::Refused(libc::EPERM), ..killed(name, run) }
}

impl Attack {
    const fn with(self, errno: i32) -> Self {
        Self { sealed: Outcome::Refused(errno), ..self }
    }

    const fn entered(self) -> Self {
        Self { refused_by_enter: true, ..self }
    }

    const fn control(self) -> Self {
        Self { works_unconfined: true, ..self }
    }
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A system call with plain arguments.
macro_rules! call {
    ($number:ident $(, $argument:expr)*) => {
        // SAFETY: an attack; every pointer among the arguments is null or outlives the call.
        check(unsafe { libc::syscall(libc::$number $(, $argument)*) })
    };
}

fn parent() -> libc::pid_t {
    // SAFETY: no arguments. glibc asks the kernel, which a sealed process may not: fall back to init.
    match unsafe { libc::getppid() } {
        pid if pid > 0 => pid,
        _ => 1,
    }
}

const NONE: usize = 0;

pub(crate) const ATTACKS: &[Attack] = &[
    // Files.
    refused("open_passwd", || fs::File::open("/etc/passwd").map(drop)).entered().control(),
    refused("open_own_memory", || fs::OpenOptions::new().write(true).open("/proc/self/mem").map(drop)).entered().control(),
    refused("open_parent_directory", || fs::File::open("..").map(drop)).entered().control(),
    refused("list_root", || fs::read_dir("/").map(drop)).entered().control(),
    refused("stat_root", || fs::metadata("/").map(drop)).control(),
    refused("create_file", || {
        let path = format!("/tmp/selvedge-escape-{}", std::process::id());
        fs::File::create(&path)?;
        fs::remove_file(path)
    })
    .entered()
    .control(),
    refused("create_file_in_root", || fs::File::create("/escaped").map(drop)).entered(),
    refused("make_directory", || fs::create_dir("/escape")).entered(),
    refused("make_device", || call!(SYS_mknodat, libc::AT_FDCWD, c"/null".as_ptr(), libc::S_IFCHR, 0x103)).entered(),
    refused("openat2", || call!(SYS_openat2, libc::AT_FDCWD, c"/".as_ptr(), [0u64; 3].as_ptr(), 24usize)),
    refused("memfd_create", || call!(SYS_memfd_create, c"x".as_ptr(), 0)).control(),
    killed("open_by_handle_at", || call!(SYS_open_by_handle_at, 0, [8u32, 1, 2, 0].as_ptr(), 0)).entered(),
    // The network.
    killed("socket_inet", || call!(SYS_socket, libc::AF_INET, libc::SOCK_STREAM, 0)).control(),
    killed("socket_unix", || call!(SYS_socket, libc::AF_UNIX, libc::SOCK_STREAM, 0)).control(),
    killed("socket_netlink", || call!(SYS_socket, libc::AF_NETLINK, libc::SOCK_RAW, 0)).control(),
    killed("socket_packet", || call!(SYS_socket, libc::AF_PACKET, libc::SOCK_RAW, 0)).entered().control(),
    killed("connect_tcp", || std::net::TcpStream::connect("127.0.0.1:9").map(drop)).entered(),
    killed("bind_tcp", || std::net::TcpListener::bind("127.0.0.1:0").map(drop)).entered().control(),
    killed("connect", || call!(SYS_connect, 0, null::<u8>(), 0)),
    killed("accept4", || call!(SYS_accept4, 0, null::<u8>(), null::<u8>(), 0)),
    refused("socketpair", || call!(SYS_socketpair, libc::AF_UNIX, libc::SOCK_STREAM, 0, [0i32; 2].as_mut_ptr())).control(),
    // Programs and processes.
    killed("execve", || call!(SYS_execve, c"/bin/true".as_ptr(), [c"true".as_ptr(), null()].as_ptr(), [null::<u8>()].as_ptr()))
        .entered(),
    killed("execveat", || call!(SYS_execveat, 0, c"".as_ptr(), [null::<u8>()].as_ptr(), [null::<u8>()].as_ptr(), libc::AT_EMPTY_PATH))
        .entered(),
    #[cfg(target_arch = "x86_64")]
    killed("fork", || call!(SYS_fork)),
    #[cfg(target_arch = "x86_64")]
    killed("vfork", || call!(SYS_vfork)),
    killed("clone_process", || call!(SYS_clone, libc::SIGCHLD, NONE, NONE, NONE, NONE)),
    killed("clone_new_user", || call!(SYS_clone, libc::CLONE_NEWUSER | libc::SIGCHLD, NONE, NONE, NONE, NONE)),
    refused("clone3", || call!(SYS_clone3, [0u64; 8].as_ptr(), 64usize)).with(libc::ENOSYS),
    refused("new_thread", || std::thread::Builder::new().spawn(|| ()).map(drop)).control(),
    killed("ptrace_parent", || call!(SYS_ptrace, libc::PTRACE_SEIZE, parent(), NONE, NONE)).entered(),
    killed("kill_parent", || call!(SYS_kill, parent(), 0)).entered().control(),
    killed("tgkill_parent", || call!(SYS_tgkill, parent(), parent(), 0)).entered().control(),
    killed("pidfd_open", || call!(SYS_pidfd_open, parent(), 0)).control(),
    killed("process_vm_readv", || {
        let mut byte = 0u8;
        let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let remote = libc::iovec { iov_base: parent as fn() -> libc::pid_t as usize as *mut _, iov_len: 1 };
        call!(SYS_process_vm_readv, parent(), &raw const local, 1usize, &raw const remote, 1usize, NONE)
    })
    .entered(),
    refused("set_parent_limit", || {
        let new = libc::rlimit { rlim_cur: 10, rlim_max: 10 };
        call!(SYS_prlimit64, parent(), libc::RLIMIT_CORE, &raw const new, null_mut::<u8>())
    })
    .entered(),
    // Mounts and namespaces.
    killed("mount", || call!(SYS_mount, c"none".as_ptr(), c"/".as_ptr(), c"tmpfs".as_ptr(), NONE, NONE)).entered(),
    killed("umount", || call!(SYS_umount2, c"/".as_ptr(), libc::MNT_DETACH)).entered(),
    killed("open_tree", || call!(SYS_open_tree, libc::AT_FDCWD, c"/".as_ptr(), 1)).entered(),
    killed("fsopen", || call!(SYS_fsopen, c"tmpfs".as_ptr(), 0)).entered(),
    killed("chroot", || call!(SYS_chroot, c"/".as_ptr())).entered().control(),
    killed("pivot_root", || call!(SYS_pivot_root, c"/".as_ptr(), c"/".as_ptr())).entered(),
    killed("unshare_user", || call!(SYS_unshare, libc::CLONE_NEWUSER)),
    killed("unshare_mount", || call!(SYS_unshare, libc::CLONE_NEWNS)).entered().control(),
    killed("setns", || call!(SYS_setns, 0, libc::CLONE_NEWNET)).entered(),
    // Identity and limits.
    killed("setuid_root", || call!(SYS_setuid, 0)).entered().control(),
    killed("setgroups", || call!(SYS_setgroups, 1, [0u32].as_ptr())).entered().control(),
    killed("capset", || {
        let header: [u32; 2] = [0x2008_0522, 0];
        let all = [u32::MAX, u32::MAX, 0, 0x1ff, 0x1ff, 0];
        call!(SYS_capset, header.as_ptr(), all.as_ptr())
    })
    .entered(),
    killed("personality", || call!(SYS_personality, libc::ADDR_NO_RANDOMIZE)).control(),
    killed("sethostname", || call!(SYS_sethostname, c"x".as_ptr(), 1usize)).entered(),
    refused("become_dumpable", || call!(SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0)).control(),
    refused("outlive_parent", || call!(SYS_prctl, libc::PR_SET_PDEATHSIG, 0, 0, 0, 0)).control(),
    refused("raise_open_files", || {
        let new = libc::rlimit { rlim_cur: 4096, rlim_max: 4096 };
        call!(SYS_prlimit64, 0, libc::RLIMIT_NOFILE, &raw const new, null_mut::<u8>())
    })
    .entered()
    .control(),
    refused("raise_core_size", || {
        let new = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
        call!(SYS_setrlimit, libc::RLIMIT_CORE, &raw const new)
    })
    .entered()
    .control(),
    // The kernel's own doors.
    killed("io_uring_setup", || call!(SYS_io_uring_setup, 1, [0u8; 120].as_mut_ptr())).control(),
    killed("bpf", || call!(SYS_bpf, 0, [0u8; 128].as_ptr(), 128)),
    killed("keyctl", || call!(SYS_keyctl, 0, -3, 0)).control(),
    killed("add_key", || call!(SYS_add_key, c"user".as_ptr(), c"x".as_ptr(), c"y".as_ptr(), 1usize, -2)),
    killed("userfaultfd", || call!(SYS_userfaultfd, 1)),
    killed("perf_event_open", || call!(SYS_perf_event_open, [0u8; 128].as_ptr(), 0, -1, -1, 0)),
    killed("init_module", || call!(SYS_init_module, null::<u8>(), 0usize, c"".as_ptr())).entered(),
    killed("kexec_load", || call!(SYS_kexec_load, NONE, NONE, NONE, NONE)).entered(),
    killed("syslog", || call!(SYS_syslog, 10, NONE, NONE)),
    refused("seccomp", || call!(SYS_seccomp, 0, 0, NONE)).with(libc::EPERM),
    refused("push_terminal_input", || call!(SYS_ioctl, 0, libc::TIOCSTI, c"x".as_ptr())),
    refused("set_socket_filter", || call!(SYS_setsockopt, 0, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, NONE, 0)),
    // The two other system call tables of x86-64.
    #[cfg(target_arch = "x86_64")]
    refused("x32_table", || {
        // SAFETY: `getpid` by its x32 number.
        check(unsafe { libc::syscall(libc::SYS_getpid | 0x4000_0000) })
    }),
    #[cfg(target_arch = "x86_64")]
    killed("i386_table", || {
        let mut result = 20i64;
        // SAFETY: `getpid` by its i386 number; the old gate clobbers r8 to r11.
        unsafe {
            std::arch::asm!("int 0x80", inout("rax") result, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
        }
        check(result)
    })
    .control(),
];
