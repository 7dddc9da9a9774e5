//! Which system calls a sealed host may make, which only an attack would make, and the arguments that matter.

use crate::ConfineError;
use seccompiler::{SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompRule};
use std::collections::BTreeMap;

/// System call number to the rules of which one must match; no rules match every call.
pub(crate) type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// What `clone` must ask for so that it makes a thread of this process and nothing else.
const THREAD: u64 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM) as u64;

/// What `clone` must not ask for.
const NO_THREAD: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_PTRACE
    | libc::CLONE_VFORK
    | libc::CLONE_IO
    | libc::CLONE_PIDFD
    | libc::CLONE_PARENT) as u64;

/// Calls that are allowed whatever their arguments: they act on the process's own memory, time, threads and on
/// descriptors it already has.
const ALLOWED: &[libc::c_long] = &[
    // Descriptors. Sockets arrive over the control socket as connected streams, on which a destination given to
    // `sendto` or `sendmsg` leads nowhere else. These calls are on the path of every request: a call allowed
    // whatever its arguments costs one bit test in the kernel instead of a run of the filter.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_eventfd2,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_ppoll,
    // Memory, executable memory for compiled JavaScript included.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_pkey_alloc,
    libc::SYS_pkey_free,
    libc::SYS_pkey_mprotect,
    libc::SYS_membarrier,
    // Threads.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    // V8 asks for its threads' priorities when a lock is contended.
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_getcpu,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Decided by the filter that answers ENOSYS.
    libc::SYS_clone3,
    // Signals to itself.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Time, randomness, what the process has used and what the machine has.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_times,
    libc::SYS_getrusage,
    libc::SYS_getrandom,
    libc::SYS_sysinfo,
];

/// The same for calls that only the older architecture has.
#[cfg(target_arch = "x86_64")]
const ALLOWED_OLD: &[libc::c_long] =
    &[libc::SYS_poll, libc::SYS_epoll_wait, libc::SYS_time, libc::SYS_getrlimit];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_OLD: &[libc::c_long] = &[];

/// Calls a host has no honest use for at all.
const ATTACKS: &[libc::c_long] = &[
    // Other programs and processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    // The network.
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    // File systems and ways around paths.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_fanotify_init,
    libc::SYS_quotactl,
    libc::SYS_acct,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // Namespaces and identity.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_personality,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // Kernel interfaces with a long record of holes.
    libc::SYS_bpf,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
];

/// The same for calls that only one architecture has.
#[cfg(target_arch = "x86_64")]
const ATTACKS_OLD: &[libc::c_long] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_kexec_file_load,
    libc::SYS_uselib,
    libc::SYS_ustat,
];
#[cfg(not(target_arch = "x86_64"))]
const ATTACKS_OLD: &[libc::c_long] = &[];

/// Every call that is allowed; what is not in here fails with `EPERM`.
pub(crate) fn allowed(thread_creation: bool) -> Result<Rules, ConfineError> {
    let mut rules = always(ALLOWED.iter().chain(ALLOWED_OLD));
    rules.insert(libc::SYS_tgkill, any([all([is(0, own_pid())])])?);
    // Reading one's own limits, not setting them and not those of others.
    rules.insert(libc::SYS_prlimit64, any([all([is(0, 0), pointer_is_null(2)])])?);
    rules.insert(libc::SYS_getsockopt, any([all([is(1, libc::SOL_SOCKET as u64)])])?);
    let ioctls = [libc::FIONBIO, libc::FIONREAD, libc::FIOCLEX].map(|request| all([is(1, request)]));
    rules.insert(libc::SYS_ioctl, any(ioctls)?);
    let fcntls = [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL, libc::F_DUPFD_CLOEXEC];
    rules.insert(libc::SYS_fcntl, any(fcntls.map(|command| all([is(1, command as u64)])))?);
    // Names of threads and of memory regions.
    let prctls = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA];
    rules.insert(libc::SYS_prctl, any(prctls.map(|option| all([is(0, option as u64)])))?);
    if thread_creation {
        let thread = condition(0, Len::Qword, Op::MaskedEq(THREAD | NO_THREAD), THREAD);
        rules.insert(libc::SYS_clone, any([all([thread])])?);
    }
    Ok(rules)
}

/// Every call that kills the process.
pub(crate) fn attacks() -> Result<Rules, ConfineError> {
    let mut rules = always(ATTACKS.iter().chain(ATTACKS_OLD));
    // A signal to another process; to one's own it is how `abort` works.
    rules.insert(libc::SYS_tgkill, any([all([condition(0, Len::Dword, Op::Ne, own_pid())])])?);
    // A new process.
    let process = condition(0, Len::Qword, Op::MaskedEq(libc::CLONE_THREAD as u64), 0);
    rules.insert(libc::SYS_clone, any([all([process])])?);
    Ok(rules)
}

/// Calls that must look as if the kernel did not have them.
pub(crate) fn unimplemented() -> Rules {
    always([libc::SYS_clone3].iter())
}

fn own_pid() -> u64 {
    u64::from(std::process::id())
}

fn always<'a>(calls: impl Iterator<Item = &'a libc::c_long>) -> Rules {
    // `c_long` is 64 bits wide on every architecture seccompiler knows.
    calls.map(|&call| (call, Vec::new())).collect()
}

type Fallible<T> = Result<T, seccompiler::BackendError>;

fn is(argument: u8, value: u64) -> Fallible<SeccompCondition> {
    // Integer arguments: the kernel looks at the lower half only.
    condition(argument, Len::Dword, Op::Eq, value)
}

fn pointer_is_null(argument: u8) -> Fallible<SeccompCondition> {
    condition(argument, Len::Qword, Op::Eq, 0)
}

fn condition(argument: u8, length: Len, operator: Op, value: u64) -> Fallible<SeccompCondition> {
    SeccompCondition::new(argument, length, operator, value)
}

fn all<const N: usize>(conditions: [Fallible<SeccompCondition>; N]) -> Fallible<SeccompRule> {
    SeccompRule::new(conditions.into_iter().collect::<Result<_, _>>()?)
}

fn any<const N: usize>(rules: [Fallible<SeccompRule>; N]) -> Result<Vec<SeccompRule>, ConfineError> {
    rules.into_iter().collect::<Result<_, _>>().map_err(|e| ConfineError::Seccomp(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_both_allowed_and_an_attack_without_looking_at_its_arguments() {
        let (allowed, attacks) = (allowed(true).unwrap(), attacks().unwrap());
        for (call, rules) in &attacks {
            assert!(!allowed.contains_key(call) || !rules.is_empty(), "system call {call}");
        }
    }

    #[test]
    fn clone_needs_permission() {
        assert!(allowed(true).unwrap().contains_key(&libc::SYS_clone));
        assert!(!allowed(false).unwrap().contains_key(&libc::SYS_clone));
    }
}
