//! A host process that has been taken over: it serves as it should until a request asks for an attack.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use rustix::time::Timespec;
use selvedge_wire::message::{self, Bound, Call, Connect, Head, Log, Subrequest};
use selvedge_wire::page::MappedPage;
use selvedge_wire::{DONE, FIN, Kind, decode, frame};

/// What a flood tries to have the engine keep, bytes.
pub const FLOOD: usize = 256 << 20;

/// The number of the instance that was loaded second: the neighbour's.
const SECOND: u32 = 2;

/// What all connections of the process know.
struct Shared {
    page: MappedPage,
    /// Names of the workers by instance.
    instances: Mutex<HashMap<u32, String>>,
}

/// The process's `main`.
pub fn main() -> ! {
    // The descriptors that the engine hands over, by the one way to them that needs no promise.
    let me = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let handed = |fd| pidfd_getfd(&me, fd, PidfdGetfdFlags::empty()).unwrap();
    let (control, page) = (handed(3), handed(4));
    let shared = Arc::new(Shared { page: MappedPage::map(page).unwrap(), instances: Mutex::default() });
    let mut hello = Vec::new();
    message::put_hello(&mut hello, "nothing at all");
    send(&control, &hello, SendFlags::empty()).unwrap();
    while let Some(socket) = receive(&control) {
        let shared = shared.clone();
        std::thread::spawn(move || {
            let mut connection = Connection { socket, shared, inbox: Vec::new(), out: Vec::new(), next: 2 };
            let _ = connection.run();
        });
    }
    std::process::exit(0)
}

fn receive(control: &OwnedFd) -> Option<UnixStream> {
    let mut index = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(control, &mut [io::IoSliceMut::new(&mut index)], &mut ancillary, RecvFlags::empty()).ok()?;
    if received.bytes == 0 {
        return None;
    }
    let mut fds = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    fds.next()?.next().map(UnixStream::from)
}

struct Connection {
    socket: UnixStream,
    shared: Arc<Shared>,
    inbox: Vec<u8>,
    out: Vec<u8>,
    /// Of the streams that the host opens.
    next: u32,
}

/// A frame with its payload.
struct Owned {
    kind: Kind,
    fin: bool,
    stream: u32,
    payload: Vec<u8>,
}

impl Connection {
    fn run(&mut self) -> io::Result<()> {
        message::put_hello(&mut self.out, "");
        loop {
            self.flush()?;
            let frame = self.read()?;
            match frame.kind {
                Kind::Open => self.open(&frame)?,
                Kind::Data => {
                    if !frame.payload.is_empty() {
                        message::put_credit(&mut self.out, frame.stream, frame.payload.len() as u32);
                    }
                    if frame.fin {
                        // The end of a worker's code; requests of these tests have no bodies.
                        self.answer(frame.stream, b"{\"handlers\":\"fetch\",\"startup_us\":1}\n");
                    }
                }
                Kind::Ping => frame::put(&mut self.out, Kind::Pong, 0, 0, &frame.payload),
                _ => {}
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.write_all(&std::mem::take(&mut self.out))
    }

    fn read(&mut self) -> io::Result<Owned> {
        loop {
            if let Some((frame, taken)) = decode(&self.inbox).map_err(io::Error::other)? {
                let owned = Owned {
                    kind: frame.kind,
                    fin: frame.fin(),
                    stream: frame.stream,
                    payload: frame.payload.to_vec(),
                };
                self.inbox.drain(..taken);
                return Ok(owned);
            }
            let mut bytes = [0; 65536];
            match self.socket.read(&mut bytes)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.inbox.extend_from_slice(&bytes[..count]),
            }
        }
    }

    fn answer(&mut self, stream: u32, body: &[u8]) {
        Head { status: 200, headers: b"" }.put(&mut self.out, 0, stream);
        frame::put(&mut self.out, Kind::Data, FIN | DONE, stream, body);
    }

    fn open(&mut self, frame: &Owned) -> io::Result<()> {
        let (instance, url) = match Call::decode(&frame.payload).map_err(io::Error::other)? {
            Call::Load(load) => {
                self.shared.instances.lock().unwrap().insert(load.instance, load.name.to_owned());
                return Ok(());
            }
            Call::Fetch(fetch) => (fetch.instance, String::from_utf8_lossy(fetch.url).into_owned()),
            Call::Invoke(_) => {
                self.answer(frame.stream, b"called");
                return Ok(());
            }
            _ => return Ok(()),
        };
        let known = self.shared.instances.lock().unwrap().get(&instance).cloned().unwrap_or_default();
        if known != "attacker" {
            self.answer(frame.stream, known.as_bytes());
            return Ok(());
        }
        let path = url.rsplit('/').next().unwrap_or_default().to_owned();
        self.attack(&path, instance, frame.stream)
    }

    /// Instances of other hosts; the engine numbers all of them in one row.
    fn strangers(&self) -> Vec<u32> {
        let own = self.shared.instances.lock().unwrap();
        (0..100).chain([u32::MAX]).filter(|instance| !own.contains_key(instance)).collect()
    }

    fn attack(&mut self, name: &str, instance: u32, stream: u32) -> io::Result<()> {
        match name {
            "noise" => {
                let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
                self.out.extend(
                    std::iter::repeat_with(|| {
                        seed ^= seed << 13;
                        seed ^= seed >> 7;
                        seed ^= seed << 17;
                        seed as u8
                    })
                    .take(1 << 20),
                );
                return Ok(());
            }
            "length" => self.out.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 4, 0, 0, 0]),
            "kind" => frame_of(&mut self.out, 99, 0),
            "flags" => frame_of(&mut self.out, 4, 0xff),
            "load" => {
                // What only the engine may ask.
                let payload = [&[1][..], &[0; 64]].concat();
                frame::put(&mut self.out, Kind::Open, 0, 2, &payload);
            }
            "unload" => frame::put(&mut self.out, Kind::Unload, 0, 0, &instance.to_le_bytes()),
            "overrun" => {
                Head { status: 200, headers: b"" }.put(&mut self.out, 0, stream);
                for _ in 0..100 {
                    frame::put(&mut self.out, Kind::Data, 0, stream, &[0; 64 << 10]);
                }
                return Ok(());
            }
            "twice" => {
                for _ in 0..2 {
                    self.bound(2, instance, stream, "!default");
                }
            }
            "odd" => self.bound(1, instance, stream, "!default"),
            // Nothing that has ended, or never was, or is the engine's business.
            "ids" => {
                for id in [0, 2, stream ^ 2, stream + 2, u32::MAX, u32::MAX - 1] {
                    Head { status: 200, headers: b"" }.put(&mut self.out, FIN, id);
                    frame::put(&mut self.out, Kind::Data, FIN | DONE, id, &[0; 1000]);
                    frame::put(&mut self.out, Kind::Done, FIN | DONE, id, &[]);
                    message::put_credit(&mut self.out, id, u32::MAX);
                    message::put_reset(&mut self.out, id, message::ResetCode::MemoryExceeded, "x");
                }
                for _ in 0..1000 {
                    message::put_credit(&mut self.out, stream, u32::MAX);
                }
            }
            "gone" => {
                for stranger in self.strangers() {
                    frame::put(&mut self.out, Kind::Gone, 0, 0, &stranger.to_le_bytes());
                }
            }
            "logs" => {
                for instance in self.strangers() {
                    let log = Log { instance, level: 1, exception: true, message: "forged", stack: "" };
                    log.put(&mut self.out, stream);
                }
                let mut long = Vec::new();
                long.extend_from_slice(&instance.to_le_bytes());
                long.extend_from_slice(&[4, 1]);
                long.extend_from_slice(&(900_000_u32).to_le_bytes());
                long.resize(1_000_000, b'x');
                for _ in 0..1000 {
                    frame::put(&mut self.out, Kind::Log, 0, stream, &long);
                }
            }
            // Each must be refused by itself: none of it is the caller's to ask for.
            "strangers" => return self.ask_as_strangers(stream),
            "pings" => return self.flood(stream, |out, _| frame::put(out, Kind::Ping, 0, 0, &[0; 1000])),
            "calls" => {
                return self.flood(stream, |out, id| {
                    let request = Subrequest {
                        instance: 0,
                        parent: 0,
                        method: b"GET",
                        url: b"http://x/",
                        headers: b"",
                    };
                    Call::Bound(Bound { binding: "X", props: "", request }).put(out, FIN, id);
                });
            }
            // More than the request may, in the name of a request that is there, was not, or is another one's.
            "spend" => return self.spend(instance, stream, "!default", 200),
            "invoke" => return self.spend(instance, stream, "#", 40),
            "orphans" => {
                for parent in [0, 2, stream + 2, stream ^ 1, u32::MAX] {
                    self.next += 2;
                    self.bound(self.next, instance, parent, "!default");
                }
                let (answered, refused) = self.count(5)?;
                self.answer(stream, format!("{answered} {refused}").as_bytes());
                return Ok(());
            }
            // Blames somebody else for a turn without end.
            "blame" => {
                let slot = &self.shared.page.threads[0];
                slot.turn_began_ns.store(1, Ordering::Relaxed);
                slot.stop_asked_ns.store(1, Ordering::Relaxed);
                slot.instance.store(SECOND, Ordering::Release);
                return Ok(());
            }
            "end" => std::process::exit(3),
            status => {
                let status = status.parse().unwrap_or(200);
                Head { status, headers: b"x\0y\0" }.put(&mut self.out, 0, stream);
                // A second head comes too late, whatever it says.
                Head { status: 101, headers: b"" }.put(&mut self.out, 0, stream);
                frame::put(&mut self.out, Kind::Data, FIN | DONE, stream, b"body");
                return Ok(());
            }
        }
        self.answer(stream, b"done");
        Ok(())
    }

    fn bound(&mut self, id: u32, instance: u32, parent: u32, binding: &str) {
        let request = Subrequest { instance, parent, method: b"GET", url: b"http://x/", headers: b"" };
        Call::Bound(Bound { binding, props: "", request }).put(&mut self.out, FIN, id);
    }

    /// Calls a binding so many times and answers how many calls were answered and refused.
    fn spend(&mut self, instance: u32, stream: u32, binding: &str, times: u32) -> io::Result<()> {
        for _ in 0..times {
            self.next += 2;
            self.bound(self.next, instance, stream, binding);
        }
        let (answered, refused) = self.count(times)?;
        self.answer(stream, format!("{answered} {refused}").as_bytes());
        Ok(())
    }

    /// Waits for what comes of so many calls, and answers calls of its own workers meanwhile.
    fn count(&mut self, calls: u32) -> io::Result<(u32, u32)> {
        let (mut answered, mut refused) = (0, 0);
        while answered + refused < calls {
            self.flush()?;
            let frame = self.read()?;
            match frame.kind {
                Kind::Head => answered += 1,
                Kind::Reset => refused += 1,
                Kind::Open => self.open(&frame)?,
                _ => {}
            }
        }
        Ok((answered, refused))
    }

    fn ask_as_strangers(&mut self, stream: u32) -> io::Result<()> {
        let mut asked = 0;
        for instance in self.strangers() {
            let mut id = || {
                self.next += 2;
                asked += 1;
                self.next
            };
            let (a, b, c, d, e) = (id(), id(), id(), id(), id());
            let (parent, url) = (stream, b"http://example.com/");
            let request = Subrequest { instance, parent, method: b"GET", url, headers: b"" };
            Call::Subrequest(request).put(&mut self.out, FIN, a);
            Call::WebSocket(request).put(&mut self.out, 0, b);
            let connect =
                Connect { instance, parent, secure: false, port: 80, upgrade: 0, host: "example.com" };
            Call::Connect(connect).put(&mut self.out, 0, c);
            for (id, binding) in [(d, "!default"), (e, "#")] {
                self.bound(id, instance, stream, binding);
            }
        }
        self.flush()?;
        while asked > 0 {
            let frame = self.read()?;
            match frame.kind {
                Kind::Reset => asked -= 1,
                Kind::Head => {
                    self.answer(stream, b"a stranger's call was answered");
                    return Ok(());
                }
                _ => {}
            }
        }
        self.answer(stream, b"all refused");
        Ok(())
    }

    /// Asks without reading the answers until the engine takes nothing more.
    fn flood(&mut self, stream: u32, ask: impl Fn(&mut Vec<u8>, u32)) -> io::Result<()> {
        self.flush()?;
        let mut block = Vec::new();
        while block.len() < 1 << 20 {
            self.next += 2;
            ask(&mut block, self.next);
        }
        let mut sent = 0;
        self.socket.set_nonblocking(true)?;
        let mut rest = &block[..];
        let blocked = loop {
            match self.socket.write(rest) {
                Ok(count) => {
                    sent += count;
                    rest = if count == rest.len() { &block } else { &rest[count..] };
                    if sent >= FLOOD && rest.len() == block.len() {
                        break false;
                    }
                }
                Err(_) => {
                    let patience = Timespec { tv_sec: 2, tv_nsec: 0 };
                    let socket = self.socket.as_fd();
                    if poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&patience))? == 0 {
                        break true;
                    }
                }
            }
        };
        // Reads on, so that the rest of what was begun, and then the answer, can be sent.
        let mut tail = rest.to_vec();
        if rest.len() == block.len() {
            tail.clear();
        }
        let mut drained = [0; 65536];
        while !tail.is_empty() {
            match self.socket.write(&tail) {
                Ok(count) => drop(tail.drain(..count)),
                Err(_) => {
                    let _ = self.socket.read(&mut drained);
                }
            }
        }
        let mut answer = Vec::new();
        std::mem::swap(&mut self.out, &mut answer);
        self.answer(stream, if blocked { b"held back" } else { b"all taken" });
        let mut last = std::mem::take(&mut self.out);
        while !last.is_empty() {
            match self.socket.write(&last) {
                Ok(count) => drop(last.drain(..count)),
                Err(_) => {
                    let _ = self.socket.read(&mut drained);
                }
            }
        }
        self.socket.set_nonblocking(false)?;
        // Where in a frame the reading stopped is not known; what comes is thrown away.
        loop {
            if self.socket.read(&mut drained)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// A frame that no encoder makes.
fn frame_of(out: &mut Vec<u8>, kind: u8, flags: u8) {
    out.extend_from_slice(&[0, 0, 0, 0, 2, 0, 0, 0, kind, flags, 0, 0]);
}
