//! What a sealed host must still be able to do.

use crate::victim::say;
use rustix::event::{EventfdFlags, PollFd, PollFlags, epoll, eventfd, poll};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Something to do, and the signal it is to end with.
pub(crate) struct Job {
    pub(crate) name: &'static str,
    pub(crate) ends_with: Option<i32>,
    run: fn(),
}

pub(crate) const JOBS: &[Job] = &[
    Job { name: "threads", ends_with: None, run: threads },
    Job { name: "executable_memory", ends_with: None, run: executable_memory },
    Job { name: "memory", ends_with: None, run: memory },
    Job { name: "sockets", ends_with: None, run: sockets },
    Job { name: "events", ends_with: None, run: events },
    Job { name: "time_and_randomness", ends_with: None, run: time_and_randomness },
    Job { name: "files_cannot_grow", ends_with: None, run: files_cannot_grow },
    Job {
        name: "panic",
        ends_with: None,
        run: || assert!(std::panic::catch_unwind(|| panic!("expected")).is_err()),
    },
    Job { name: "abort", ends_with: Some(libc::SIGABRT), run: || std::process::abort() },
];

/// What only an unsealed process can make and a sealed one uses: the engine hands over such descriptors.
static BEFORE: OnceLock<(UnixStream, UnixStream, File)> = OnceLock::new();

/// Makes what the jobs use; before `enter`.
pub(crate) fn prepare() {
    let flags = SocketFlags::CLOEXEC;
    let (one, two) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("socket pair");
    let file = tempfile::tempfile().expect("file");
    BEFORE.set((one.into(), two.into(), file)).expect("once");
}

pub(crate) fn run(name: &str) -> ExitCode {
    let job = JOBS.iter().find(|job| job.name == name).expect("known job");
    (job.run)();
    say("done");
    ExitCode::SUCCESS
}

fn before() -> &'static (UnixStream, UnixStream, File) {
    BEFORE.get().expect("prepared")
}

fn threads() {
    let start =
        |n: u64| std::thread::Builder::new().name(format!("t{n}")).spawn(move || n * n).expect("thread");
    let sum: u64 = (0..8).map(start).collect::<Vec<_>>().into_iter().map(|t| t.join().expect("join")).sum();
    assert_eq!(sum, 140);
}

/// As a compiler of JavaScript does it: write, then make executable, then run.
fn executable_memory() {
    #[cfg(target_arch = "x86_64")]
    let code: &[u8] = &[0xb8, 42, 0, 0, 0, 0xc3];
    #[cfg(target_arch = "aarch64")]
    let code: &[u8] = &[0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6];
    // SAFETY: the mapping is ours, holds a function that returns 42, and is unmapped after its last use.
    unsafe {
        let page =
            mmap_anonymous(std::ptr::null_mut(), 4096, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        let page = page.expect("map");
        page.cast::<u8>().copy_from_nonoverlapping(code.as_ptr(), code.len());
        mprotect(page, 4096, MprotectFlags::READ | MprotectFlags::EXEC).expect("make executable");
        let function: extern "C" fn() -> i32 = std::mem::transmute(page);
        assert_eq!(function(), 42);
        munmap(page, 4096).expect("unmap");
    }
}

fn memory() {
    let mut grown = Vec::new();
    for n in 0..64u8 {
        grown.extend(std::iter::repeat_n(n, 1 << 20));
        grown.shrink_to_fit();
    }
    assert_eq!(grown[63 << 20], 63);
}

/// Receives a socket over the control socket and talks over it.
fn sockets() {
    let (engine, host, _) = before();
    let given = engine.try_clone().expect("duplicate");
    let fds = [given.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    sendmsg(engine, &[IoSlice::new(b"x")], &mut control, SendFlags::NOSIGNAL).expect("send descriptor");

    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(host, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC).expect("receive");
    let received: Vec<OwnedFd> = control
        .drain()
        .flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
            _ => Vec::new(),
        })
        .collect();
    let mut socket = UnixStream::from(received.into_iter().next().expect("a descriptor"));
    socket.set_nonblocking(true).expect("nonblocking");
    socket.write_all(b"hello").expect("write");
    let mut text = [0; 5];
    (&*host).read_exact(&mut text).expect("read");
    assert_eq!(&text, b"hello");
    assert_eq!(socket.read(&mut text).expect_err("nothing there").kind(), std::io::ErrorKind::WouldBlock);
    assert!(socket.take_error().expect("socket error").is_none());
    socket.shutdown(std::net::Shutdown::Both).expect("shut down");
}

fn events() {
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).expect("eventfd");
    let watched = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    epoll::add(&watched, &event, epoll::EventData::new_u64(7), epoll::EventFlags::IN).expect("watch");
    rustix::io::write(&event, &1u64.to_ne_bytes()).expect("signal");
    let mut events = Vec::with_capacity(4);
    epoll::wait(&watched, rustix::buffer::spare_capacity(&mut events), None).expect("wait");
    assert_eq!(events[0].data.u64(), 7);
    assert_eq!(poll(&mut [PollFd::new(&event, PollFlags::IN)], None), Ok(1));
}

fn time_and_randomness() {
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(1));
    assert!(start.elapsed() >= Duration::from_millis(1));
    let mut bytes = [0u8; 32];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).expect("random bytes");
    assert_ne!(bytes, [0; 32]);
    assert!(rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime).tv_nsec > 0);
    assert!(std::thread::available_parallelism().is_ok());
    std::thread::yield_now();
}

/// A file that was open before can be read, but a write is an error and no signal.
fn files_cannot_grow() {
    let mut file = &before().2;
    assert_eq!(file.write(b"x").expect_err("file grew").raw_os_error(), Some(libc::EFBIG));
}
