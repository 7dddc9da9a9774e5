//! The system call filter.

use crate::syscalls::{self, Rules};
use crate::{ConfineError, Measure};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};

/// Restricts all threads of the process to the system calls a running host needs.
///
/// Calls that only an attack would make kill the process with `SIGSYS`; other calls outside the list fail with
/// `EPERM`. `thread_creation` says whether threads may still be started. Can be called after
/// [`enter`](crate::enter) or, where that is not possible, alone.
///
/// The process can use any descriptor it holds or receives later, so hand it connected stream sockets only: with a
/// datagram socket it could write to whoever is in the network namespace the socket was made in.
///
/// # Errors
/// The process must exit: the filter may be in force in part.
pub fn seal(thread_creation: bool) -> Result<Measure, ConfineError> {
    let failed = |e: seccompiler::Error| ConfineError::Seccomp(e.to_string());
    // rustix finds the clock that needs no system call through the auxiliary vector, which it reads at first use
    // and could not read later; without it every look at the clock would be a system call.
    let _ = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // The kernel takes the strictest verdict of all filters. The allow-list goes last, since under it no further
    // filter can be installed.
    let filters = [
        compile(syscalls::attacks()?, SeccompAction::Allow, SeccompAction::KillProcess)?,
        // glibc falls back from `clone3`, whose flags no filter can see, to `clone` only on ENOSYS.
        compile(syscalls::unimplemented(), SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))?,
        compile(
            syscalls::allowed(thread_creation)?,
            SeccompAction::Errno(libc::EPERM as u32),
            SeccompAction::Allow,
        )?,
    ];
    filters.iter().try_for_each(|filter| apply_filter_all_threads(filter)).map_err(failed)?;
    Ok(Measure::Seccomp)
}

fn compile(
    rules: Rules,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, ConfineError> {
    let failed = |e: seccompiler::BackendError| ConfineError::Seccomp(e.to_string());
    let arch = std::env::consts::ARCH.try_into().map_err(failed)?;
    SeccompFilter::new(rules, otherwise, matched, arch).and_then(BpfProgram::try_from).map_err(failed)
}
