//! Starts servers, waits until they answer, and ends them.

pub(crate) mod api;
pub(crate) mod fronts;
pub(crate) mod origin;
pub(crate) mod peers;
pub(crate) mod selvedge;
pub(crate) mod tools;

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::cpu;

/// For a server to take its first connection.
const START: Duration = Duration::from_secs(30);
/// For a server to end by itself before it is killed.
const END: Duration = Duration::from_secs(15);

/// A server process that we started. Ends with this value.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: std::path::PathBuf,
}

impl Process {
    /// Starts a command; what it says on standard error goes to a file in `dir`.
    pub(crate) fn start(command: &mut Command, dir: &Path, core: Option<usize>) -> Result<Self> {
        let log = dir.join("stderr.log");
        let file = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        command.stdin(Stdio::null()).stderr(file);
        Ok(Self { child: cpu::spawn(command, core)?, log })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Fails with what it said when the process has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("ended with {status}: {}", self.said());
        }
        Ok(())
    }

    /// Waits until `ready` says yes.
    pub(crate) fn wait_until(&mut self, pause: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let start = Instant::now();
        while !ready() {
            self.check()?;
            if start.elapsed() > START {
                bail!("not ready after {} s: {}", START.as_secs(), self.said());
            }
            std::thread::sleep(pause);
        }
        Ok(())
    }

    /// Waits until the address takes connections.
    pub(crate) fn wait_for(&mut self, address: SocketAddr) -> Result<()> {
        self.wait_until(Duration::from_millis(5), || TcpStream::connect(address).is_ok())
    }

    /// The end of what it said on standard error.
    pub(crate) fn said(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let mut lines: Vec<&str> = text.lines().rev().take(8).collect();
        lines.reverse();
        lines.join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let start = Instant::now();
        while start.elapsed() < END {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago, for servers that cannot choose one and tell.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("find a free port")?;
    Ok(listener.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_fails_tells_why() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no luck >&2; exit 3"]);
        let mut process = Process::start(&mut command, dir.path(), None).unwrap();
        let error = process.wait_for(free_address().unwrap()).unwrap_err().to_string();
        assert!(error.contains("no luck") && error.contains('3'), "{error}");
    }

    #[test]
    fn servers_end_with_their_value() {
        let dir = tempfile::tempdir().unwrap();
        let process = Process::start(Command::new("sleep").arg("600"), dir.path(), None).unwrap();
        let pid = process.pid();
        drop(process);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
