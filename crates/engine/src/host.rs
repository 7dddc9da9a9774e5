//! One sandbox host process, seen from outside.

use std::fmt;
use std::io::{self, BufRead};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    recv, sendmsg, socketpair,
};
use rustix::time::Timespec;
use selvedge_confine::cgroup::{Bounds, Cgroup, CgroupRoot};
use selvedge_confine::procstat::{self, Usage};
use selvedge_confine::spawn;
use selvedge_model::{AccountId, ScriptName};
use selvedge_wire::door::Door;
use selvedge_wire::page::MappedPage;
use selvedge_wire::{decode, message};
use tokio::sync::watch;

use crate::EngineConfig;

/// Exit status of a host whose running instance went on allocating when told to stop.
const EXIT_OUT_OF_MEMORY: i32 = 86;

/// Lines of a host's standard error that are logged; V8 speaks there only before it gives up.
const STDERR_LINES_MAX: usize = 200;
/// Longest such line, bytes.
const STDERR_LINE_MAX: u64 = 1024;
/// Longest wait for a host to serve, seconds; it takes some tens of milliseconds.
const READY_TIMEOUT_S: i64 = 10;

/// Who shares a host process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// All workers that chose so.
    Shared,
    /// One account's workers.
    Account(AccountId),
    /// One worker alone.
    Worker(AccountId, ScriptName),
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared => f.write_str("shared"),
            Self::Account(account) => write!(f, "account {account}"),
            Self::Worker(account, script) => write!(f, "worker {account}/{script}"),
        }
    }
}

/// What an instance did to its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    /// Used CPU time and would not stop.
    Cpu,
    /// Used memory and would not stop.
    Memory,
}

/// Why a host ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The instance at fault, where one is, and what it did.
    pub offender: Option<(u32, Offence)>,
    /// For the log.
    pub reason: String,
}

/// A host process.
#[derive(Debug)]
pub struct Host {
    /// The engine's number for it.
    pub id: u32,
    /// Process id.
    pub pid: u32,
    /// Threads that run isolates.
    pub threads: usize,
    /// What each thread is running.
    pub page: MappedPage,
    /// Isolates placed on each thread.
    pub placed: Vec<AtomicU32>,
    /// Set once the process ended.
    pub verdict: watch::Sender<Option<Verdict>>,
    /// No new isolates: it is being ended.
    pub closing: AtomicBool,
    /// It went away, or broke the protocol, before anybody ended it.
    pub failed: AtomicBool,
    /// What the host reports to be confined by.
    pub confinement: Mutex<Vec<String>>,
    control: OwnedFd,
    child: Mutex<Child>,
    cgroup: Option<Cgroup>,
}

impl Host {
    /// Starts a process; it serves once [`Host::ready`] returns.
    pub fn spawn(
        id: u32,
        config: &EngineConfig,
        threads: usize,
        cgroups: Option<&CgroupRoot>,
    ) -> io::Result<Self> {
        let (control, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let (page, page_fd) = MappedPage::create()?;
        let mut command = Command::new(config.libexec.join("carrier"));
        command
            .env_clear()
            .env("LD_PRELOAD", config.libexec.join("libisolate.so"))
            .arg("--selvedge-host")
            .arg(config.libexec.join("runtime.snapshot"))
            .arg(threads.to_string())
            .arg(if config.allow_unconfined { "0" } else { "1" })
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // A pipe: a confined host may not write to files, and what it says goes through our log.
            .stderr(Stdio::piped());
        let bounds = Bounds {
            // The polling of the supervisor comes first, so that the offender is known; the kernel stands behind it.
            memory_bytes: (config.host_memory_mb + config.host_memory_mb / 4) << 20,
            cpu_cores: threads as f64 + 1.0,
            pids: threads as u32 + 32,
        };
        let cgroup = cgroups.and_then(|root| match root.create(&format!("host-{id}"), bounds) {
            Ok(cgroup) => Some(cgroup),
            Err(error) => {
                tracing::warn!(%error, "no cgroup for a sandbox host; its memory is watched by polling");
                None
            }
        });
        let entry = cgroup.as_ref().map(Cgroup::entry).transpose()?;
        spawn::prepare(&mut command, spawn::Child { fds: vec![theirs, page_fd], cgroup: entry });
        let mut child = command.spawn()?;
        if let Some(stderr) = child.stderr.take() {
            let pid = child.id();
            std::thread::Builder::new().name(format!("host-{id}")).spawn(move || repeat(stderr, pid))?;
        }
        Ok(Self {
            id,
            pid: child.id(),
            threads,
            page,
            placed: (0..threads).map(|_| AtomicU32::new(0)).collect(),
            verdict: watch::Sender::new(None),
            closing: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            confinement: Mutex::default(),
            control,
            child: Mutex::new(child),
            cgroup,
        })
    }

    /// Waits for the host to say that it is confined and serves.
    pub async fn ready(&self) -> Result<(), String> {
        let control = self.control.try_clone().map_err(|error| error.to_string())?;
        let received = tokio::task::spawn_blocking(move || {
            let timeout = Timespec { tv_sec: READY_TIMEOUT_S, tv_nsec: 0 };
            poll(&mut [PollFd::new(&control, PollFlags::IN)], Some(&timeout))?;
            let mut bytes = vec![0; 4096];
            let (_, length) = recv(&control, &mut bytes[..], RecvFlags::DONTWAIT)?;
            bytes.truncate(length);
            rustix::io::Result::Ok(bytes)
        });
        let bytes = match received.await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(rustix::io::Errno::AGAIN)) => return Err("it was not ready in time".into()),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("the engine is stopping".into()),
        };
        if bytes.is_empty() {
            return Err("it ended before it was ready; the log says what it said itself".into());
        }
        let hello = decode(&bytes).map_err(|error| error.to_string())?;
        let (frame, _) = hello.ok_or("its greeting was cut off")?;
        let confinement = message::decode_hello(frame.payload).map_err(|error| error.to_string())?;
        let measures = confinement.split("; ").map(str::to_owned).collect();
        *self.confinement.lock().unwrap_or_else(PoisonError::into_inner) = measures;
        Ok(())
    }

    /// A new socket to one of the host's threads.
    pub fn connect(&self, door: Door) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fds = [theirs.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        sendmsg(&self.control, &[io::IoSlice::new(&door.encode())], &mut ancillary, SendFlags::NOSIGNAL)?;
        ours.set_nonblocking(true)?;
        Ok(ours)
    }

    /// Ends what is left of a process that cannot be talked to any more.
    pub fn abandon(&self) {
        if !self.closing.load(Ordering::SeqCst) {
            self.failed.store(true, Ordering::SeqCst);
        }
        self.kill();
    }

    /// Ends the process at once.
    pub fn kill(&self) {
        self.closing.store(true, Ordering::SeqCst);
        let _ = self.child.lock().unwrap_or_else(PoisonError::into_inner).kill();
    }

    /// The exit status, once there is one.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait().ok().flatten()
    }

    /// Whether the kernel ended it for its memory, where a cgroup says so.
    pub fn killed_for_memory(&self) -> bool {
        self.cgroup.as_ref().is_some_and(|cgroup| cgroup.oom_kills().is_ok_and(|kills| kills > 0))
    }

    /// Memory and CPU time.
    pub fn usage(&self) -> Usage {
        procstat::read(self.pid).unwrap_or(Usage { memory_bytes: 0, cpu_ms: 0 })
    }

    /// The instance that was running when the process ended, if exactly one was.
    pub fn running_instance(&self) -> Option<u32> {
        let slots = self.page.threads[..self.threads].iter();
        let mut running =
            slots.map(|slot| slot.instance.load(Ordering::Acquire)).filter(|instance| *instance != 0);
        let first = running.next()?;
        running.next().is_none().then_some(first)
    }

    /// The thread with the fewest isolates.
    pub fn least_loaded_thread(&self) -> usize {
        let loads = self.placed.iter().enumerate();
        loads.min_by_key(|(_, placed)| placed.load(Ordering::Relaxed)).map_or(0, |(thread, _)| thread)
    }

    /// What an exit status says about the running instance.
    pub fn verdict_of(&self, status: ExitStatus) -> Verdict {
        use std::os::unix::process::ExitStatusExt;
        let running = self.running_instance();
        let memory = status.code() == Some(EXIT_OUT_OF_MEMORY) || self.killed_for_memory();
        // A crash of V8 itself (SIGTRAP, SIGILL, SIGSEGV, SIGABRT) is laid at the running instance's door, too.
        let crashed = matches!(status.signal(), Some(4..=8 | 11));
        let offence = if memory { Some(Offence::Memory) } else { None };
        let offender = running.zip(offence.or(crashed.then_some(Offence::Memory)));
        Verdict { offender, reason: format!("sandbox host ended: {status}") }
    }
}

/// Passes what a host says on standard error on to the log, as far as it is reasonable.
fn repeat(stderr: impl io::Read, pid: u32) {
    let mut lines = io::BufReader::new(stderr);
    for _ in 0..STDERR_LINES_MAX {
        let mut line = Vec::new();
        match io::Read::take(&mut lines, STDERR_LINE_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => tracing::warn!(pid, "sandbox host: {}", String::from_utf8_lossy(&line).trim_end()),
        }
    }
    // The rest is read, so that the host does not stop at a full pipe, and dropped.
    let _ = io::copy(&mut lines, &mut io::sink());
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.lock().unwrap_or_else(PoisonError::into_inner).wait();
        if let Some(cgroup) = self.cgroup.take() {
            let _ = cgroup.remove();
        }
    }
}
