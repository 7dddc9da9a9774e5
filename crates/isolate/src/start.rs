//! From `main` to the sealed process, then the control loop and the watchdog.
//!
//! ```text
//! carrier --selvedge-make-snapshot RUNTIME.PACK OUT      makes the startup snapshot (a build step)
//! carrier --selvedge-host SNAPSHOT THREADS STRICT        the host: control socket on fd 3, status page on fd 4
//! ```
//!
//! STRICT is 1 where a host that cannot be confined must not run.

use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::time::Timespec;
use selvedge_wire::door::Door;
use selvedge_wire::message;
use selvedge_wire::page::{MappedPage, THREADS_MAX};

use crate::jobs::{Back, Pool};
use crate::snapshot::{self, Snapshot};
use crate::thread::{self, Setup, Watched};

/// V8's own threads for compiling and collecting garbage in the background.
const V8_THREADS: u32 = 2;
/// Room for threads beside those that run isolates: V8's own, those for jobs, samplers of CPU profiles.
const OTHER_THREADS: u64 = 31;
/// How often the watchdog looks while anything runs.
const WATCH: Duration = Duration::from_millis(5);
/// How often it looks while nothing does.
const WATCH_IDLE: Duration = Duration::from_millis(50);
/// Rounds without work until the watchdog calms down.
const CALM_ROUNDS: u32 = 40;

/// Flags for V8, each with its reason.
const V8_FLAGS: &str = concat!(
    // An optimised loop entered through on-stack replacement can miss every request to stop.
    "--no-maglev-osr ",
    // One worker's WebAssembly memory is bounded even before the supervisor looks: 256 MiB.
    "--wasm-max-mem-pages=4096 ",
    // Workers make short-lived objects; a small nursery keeps idle isolates small.
    "--min-semi-space-size=0 --semi-space-growth-factor=2 ",
    // Stack traces reach the caller's caller.
    "--stack-trace-limit=20 ",
    // Memory shared between workers' threads would be a clock for side channels.
    "--no-harmony-struct ",
);

/// The process's `main`.
pub fn main(arguments: Vec<String>) -> i32 {
    let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    let result = match words[..] {
        ["--selvedge-make-snapshot", pack, out] => make_snapshot(pack, out),
        ["--selvedge-host", snapshot, threads, strict] => host(snapshot, threads, strict == "1"),
        _ => Err("this is Selvedge's isolate host; `selvedge up` starts it".into()),
    };
    match result {
        Ok(()) => 0,
        Err(error) => {
            let _ = rustix::io::write(rustix::stdio::stderr(), format!("isolate host: {error}\n").as_bytes());
            1
        }
    }
}

fn make_snapshot(pack: &str, out: &str) -> Result<(), String> {
    start_v8();
    let bytes = std::fs::read(pack).map_err(|error| format!("read {pack}: {error}"))?;
    std::fs::write(out, snapshot::make(bytes)?).map_err(|error| format!("write {out}: {error}"))
}

fn start_v8() -> v8::SharedRef<v8::Platform> {
    v8::V8::set_flags_from_string(V8_FLAGS);
    v8::V8::set_entropy_source(kernel_entropy);
    let platform = v8::new_default_platform(V8_THREADS, false).make_shared();
    v8::V8::initialize_platform(platform.clone());
    v8::V8::initialize();
    platform
}

/// Seeds V8's hashes, addresses and `Math.random`. Without it V8 would look for `/dev/urandom`, which a confined
/// host does not have, and fall back to the clock.
fn kernel_entropy(buffer: &mut [u8]) -> bool {
    let wanted = buffer.len();
    rustix::rand::getrandom(buffer, rustix::rand::GetRandomFlags::empty()) == Ok(wanted)
}

fn host(snapshot: &str, threads: &str, strict: bool) -> Result<(), String> {
    let threads: usize = threads.parse().map_err(|_| "THREADS must be a number".to_owned())?;
    let threads = threads.clamp(1, THREADS_MAX);
    // SAFETY: the engine hands over these two descriptors, and nothing else in the process uses them.
    let (control, page) = unsafe { (OwnedFd::from_raw_fd(3), OwnedFd::from_raw_fd(4)) };
    let page: &'static MappedPage =
        Box::leak(Box::new(MappedPage::map(page).map_err(|error| format!("map status page: {error}"))?));
    let snapshot = Snapshot::new(map_file(snapshot)?)?;

    let plan = selvedge_confine::Plan { threads: threads as u64 + OTHER_THREADS, ..Default::default() };
    let mut in_force = match selvedge_confine::enter(&plan) {
        Ok(in_force) => in_force,
        Err(error) if strict => return Err(format!("confine: {error}")),
        Err(_) => selvedge_confine::InForce::default(),
    };
    let platform = start_v8();
    selvedge_webcrypto::prepare();
    let pool = Pool::start().map_err(|error| format!("start threads for jobs: {error}"))?;
    let mut watched = Vec::new();
    let mut ways = Vec::new();
    let mut gates = Vec::new();
    for index in 0..threads {
        let (sender, connections) = channel();
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| format!("eventfd: {e}"))?;
        let signal = wake.try_clone().map_err(|error| format!("eventfd: {error}"))?;
        let shared = Arc::new(Watched::default());
        let (open_gate, gate) = channel::<Arc<str>>();
        let (jobs_done, done) = channel();
        let jobs_signal = signal.try_clone().map_err(|error| format!("eventfd: {error}"))?;
        let back = Back { thread: index, sender: jobs_done, signal: Arc::new(jobs_signal) };
        let (platform, shared_too, pool) = (platform.clone(), shared.clone(), pool.clone());
        let slot = &page.threads[index];
        let run = move || {
            // Nothing is served before the process is sealed.
            let Ok(confinement) = gate.recv() else { return };
            let watched = shared_too;
            let setup =
                Setup { snapshot, platform, slot, watched, connections, wake, confinement, pool, back, done };
            if thread::run(setup).is_err() {
                std::process::exit(1);
            }
        };
        let builder = std::thread::Builder::new().name(format!("isolate-{index}")).stack_size(4 << 20);
        builder.spawn(run).map_err(|error| format!("start thread: {error}"))?;
        watched.push(shared);
        ways.push(Way { sender, signal });
        gates.push(open_gate);
    }
    // V8's CPU profiler samples from a thread that it starts; how many there may be is bounded by then.
    let sealed = selvedge_confine::seal(true).map_err(|error| format!("seal: {error}"));
    match sealed {
        Ok(measure) => in_force.add(measure),
        Err(error) if strict => return Err(error),
        Err(_) => {}
    }
    if strict && !in_force.is_sufficient() {
        return Err(format!("this machine cannot confine a sandbox; in force: {in_force}"));
    }
    let confinement: Arc<str> = in_force.to_string().into();
    for gate in gates {
        let _ = gate.send(confinement.clone());
    }
    let mut hello = Vec::new();
    message::put_hello(&mut hello, &confinement);
    rustix::io::write(&control, &hello).map_err(|error| format!("say hello: {error}"))?;
    control_loop(&control, &ways, &watched, page)
}

/// Maps a file for reading; hosts share its pages.
fn map_file(path: &str) -> Result<&'static [u8], String> {
    use rustix::mm::{MapFlags, ProtFlags, mmap};
    let failed = |error: rustix::io::Errno| format!("map {path}: {error}");
    let file =
        rustix::fs::open(path, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).map_err(failed)?;
    let length = rustix::fs::fstat(&file).map_err(failed)?.st_size as usize;
    // SAFETY: a fresh private mapping of the file's length; `xtask` replaces the file, never writes into it.
    let address = unsafe { mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::PRIVATE, &file, 0) };
    let address = address.map_err(failed)?;
    // SAFETY: mapped just now, for the life of the process.
    Ok(unsafe { std::slice::from_raw_parts(address.cast(), length) })
}

/// The way to hand a socket to a thread.
struct Way {
    sender: Sender<(Door, OwnedFd)>,
    signal: OwnedFd,
}

/// Takes connections from the engine, and between times stops turns that use more than they may.
fn control_loop(
    control: &OwnedFd,
    ways: &[Way],
    watched: &[Arc<Watched>],
    page: &MappedPage,
) -> Result<(), String> {
    let mut watchers: Vec<Watcher> = watched.iter().map(|_| Watcher::default()).collect();
    let mut calm = 0;
    loop {
        let pause = if calm < CALM_ROUNDS { WATCH } else { WATCH_IDLE };
        let mut fds = [PollFd::new(control, PollFlags::IN)];
        let timeout = Timespec { tv_sec: 0, tv_nsec: pause.as_nanos() as i64 };
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => {
                if !take_connection(control, ways) {
                    return Ok(());
                }
            }
            Err(error) => return Err(format!("poll: {error}")),
        }
        let mut busy = false;
        for ((watcher, watched), slot) in watchers.iter_mut().zip(watched).zip(&page.threads) {
            busy |= watcher.look(watched, slot);
        }
        calm = if busy { 0 } else { calm.saturating_add(1) };
    }
}

/// One message of the engine: a socket, and what it is for. False when the engine is gone.
fn take_connection(control: &OwnedFd, ways: &[Way]) -> bool {
    let mut bytes = [0; 10];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        control.as_fd(),
        &mut [std::io::IoSliceMut::new(&mut bytes)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    );
    match received {
        Ok(message) if message.bytes == bytes.len() => {}
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return true,
        _ => return false,
    }
    let Some(door) = Door::decode(&bytes) else { return false };
    let way = ways.get(door.thread());
    for part in ancillary.drain() {
        if let (RecvAncillaryMessage::ScmRights(fds), Some(way)) = (part, way) {
            for fd in fds {
                let _ = way.sender.send((door, fd));
            }
            let _ = rustix::io::write(&way.signal, &1u64.to_ne_bytes());
        }
    }
    true
}

/// Watches one thread's turns.
#[derive(Default)]
struct Watcher {
    /// The turn seen last, by its beginning, and the thread's CPU clock when it was first seen.
    turn: u64,
    cpu_ns: u64,
    wall_ns: u64,
    asked: bool,
}

impl Watcher {
    /// Asks V8 to stop the running turn when it is over its budget. True when anything runs.
    fn look(&mut self, watched: &Watched, slot: &selvedge_wire::page::ThreadSlot) -> bool {
        let now = thread::monotonic_ns();
        let Some((instance, running_ns)) = slot.running(now) else { return false };
        let began = slot.turn_began_ns.load(Ordering::Relaxed);
        let cpu = cpu_clock_ns(watched.cpu_clock.load(Ordering::Acquire));
        if began != self.turn {
            *self = Self { turn: began, cpu_ns: cpu, wall_ns: running_ns, asked: false };
        }
        // What ran before the first look counts by the wall clock, what ran since by the CPU clock.
        let used = self.wall_ns.min(WATCH.as_nanos() as u64) + cpu.saturating_sub(self.cpu_ns);
        if used > watched.budget_ns.load(Ordering::Relaxed) && !self.asked {
            self.asked = true;
            let handles = watched.handles.lock().unwrap_or_else(PoisonError::into_inner);
            // It may have ended on its own meanwhile.
            let same = slot.turn_began_ns.load(Ordering::Relaxed) == began
                && slot.instance.load(Ordering::Acquire) == instance;
            if let Some(handle) = handles.get(&instance).filter(|_| same) {
                slot.stop_asked_ns.store(now.max(1), Ordering::Release);
                handle.terminate_execution();
            }
        }
        true
    }
}

fn cpu_clock_ns(clock: u64) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a plain system call into a local; an unknown clock gives an error and leaves zero.
    unsafe { libc::clock_gettime(clock as u32 as libc::clockid_t, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
