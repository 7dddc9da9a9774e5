//! Why a process could not be confined at all.

use std::io;

/// A step without which confinement would be a pretence has failed; the process must exit.
///
/// Steps a machine may lack are not errors: they end up in [`InForce::missing`](crate::InForce).
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// [`enter`](crate::enter) was called after threads had started; they would keep their privileges.
    #[error("confinement must start with one thread, the process has {0}")]
    NotSingleThreaded(usize),
    /// `PR_SET_NO_NEW_PRIVS` failed.
    #[error("cannot give up gaining privileges: {0}")]
    NoNewPrivileges(io::Error),
    /// A capability survived dropping all of them.
    #[error("cannot drop capabilities: {0}")]
    Capabilities(io::Error),
    /// A resource limit could not be lowered.
    #[error("cannot lower the limit on {what}: {source}")]
    Limit {
        /// The limit's name, such as `open files`.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// Making the process undumpable, ignoring a signal or tying it to its parent failed.
    #[error("cannot set up the process: {0}")]
    Process(io::Error),
    /// The parent died while the process was starting, so nobody would ever end it.
    #[error("the parent process is gone")]
    ParentGone,
    /// The seccomp filters did not compile or the kernel refused them.
    #[error("cannot install the system call filter: {0}")]
    Seccomp(String),
}

impl ConfineError {
    /// A short name that stays the same across versions.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotSingleThreaded(_) => "confine.not-single-threaded",
            Self::NoNewPrivileges(_) => "confine.no-new-privileges",
            Self::Capabilities(_) => "confine.capabilities",
            Self::Limit { .. } => "confine.limit",
            Self::Process(_) => "confine.process",
            Self::ParentGone => "confine.parent-gone",
            Self::Seccomp(_) => "confine.seccomp",
        }
    }
}
