//! Which cores servers and load generator run on.

use std::process::{Child, Command};

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores that this process may use, shared out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    /// For the server under load, and all its processes.
    pub(crate) server: usize,
    /// For the load generator.
    pub(crate) load: usize,
}

impl Cores {
    /// The first core for servers, the second for load; the same one where there is only one.
    pub(crate) fn of_this_process() -> Result<Self> {
        let allowed = sched_getaffinity(None).context("read the CPU affinity")?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let server = cores.next().context("no core is allowed")?;
        Ok(Self { server, load: cores.next().unwrap_or(server) })
    }
}

/// Runs `work` on a thread that stays on one core.
pub(crate) fn on<T: Send>(core: usize, work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut set = CpuSet::new();
            set.set(core);
            sched_setaffinity(None, &set).with_context(|| format!("pin to core {core}"))?;
            Ok(work())
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Starts a process, which passes its core on to its own children.
pub(crate) fn spawn(command: &mut Command, core: Option<usize>) -> Result<Child> {
    let started = match core {
        Some(core) => on(core, || command.spawn())?,
        None => command.spawn(),
    };
    started.with_context(|| format!("start {}", command.get_program().to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_children_stay_on_their_core() {
        let cores = Cores::of_this_process().unwrap();
        let seen = on(cores.load, || sched_getaffinity(None).unwrap()).unwrap();
        assert!(seen.count() == 1 && seen.is_set(cores.load));
        let mut show = Command::new("grep");
        show.args(["Cpus_allowed_list", "/proc/self/status"]).stdout(std::process::Stdio::piped());
        let output = spawn(&mut show, Some(cores.load)).unwrap().wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.split_whitespace().last(), Some(cores.load.to_string().as_str()));
    }
}
