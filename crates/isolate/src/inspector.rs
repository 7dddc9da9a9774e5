//! V8's inspector for one worker: it speaks the Chrome DevTools protocol over a socket of its own.
//!
//! The engine hands over such a socket for a CPU profile of a live worker, or for `selvedge dev --inspect`. Only the
//! latter may pause: then the thread stands still in [`Pause::run_message_loop_on_pause`] and hears that socket alone.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use rustix::event::{PollFd, PollFlags, epoll, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use selvedge_wire::door::{INSPECTOR_MESSAGE_MAX, put_inspector_message, take_inspector_message};
use selvedge_wire::page::ThreadSlot;
use v8::inspector::{
    Channel, ChannelImpl, StringBuffer, StringView, V8Inspector, V8InspectorClient, V8InspectorClientImpl,
    V8InspectorClientTrustLevel, V8InspectorSession,
};

use crate::snapshot::RUNTIME;
use crate::thread::monotonic_ns;

/// V8's number for the one group that a worker's one context is in.
const GROUP: i32 = 1;
/// Most that may wait for whoever reads the other end, bytes; beyond it the session ends.
const WAITING_MAX: usize = 64 << 20;

/// One end of an inspector's socket.
pub struct Line {
    fd: OwnedFd,
    epoll: Rc<OwnedFd>,
    token: u64,
    arrived: RefCell<Vec<u8>>,
    waiting: RefCell<Vec<u8>>,
    blocked: Cell<bool>,
    closed: Cell<bool>,
}

impl Line {
    /// Has `epoll` report the socket as `token`.
    pub fn new(fd: OwnedFd, epoll: Rc<OwnedFd>, token: u64) -> rustix::io::Result<Rc<Self>> {
        epoll::add(&*epoll, &fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?;
        Ok(Rc::new(Self {
            fd,
            epoll,
            token,
            arrived: RefCell::default(),
            waiting: RefCell::default(),
            blocked: Cell::new(false),
            closed: Cell::new(false),
        }))
    }

    /// Whether the other end is gone, or has broken the protocol.
    pub fn closed(&self) -> bool {
        self.closed.get()
    }

    /// Reads what has arrived.
    fn read(&self) {
        let mut arrived = self.arrived.borrow_mut();
        let mut chunk = vec![0; 64 << 10];
        while !self.closed.get() && arrived.len() <= INSPECTOR_MESSAGE_MAX + chunk.len() {
            match rustix::net::recv(&self.fd, &mut chunk[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => self.closed.set(true),
                Ok((_, count)) => arrived.extend_from_slice(&chunk[..count]),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => self.closed.set(true),
            }
        }
    }

    fn next(&self) -> Option<Vec<u8>> {
        take_inspector_message(&mut self.arrived.borrow_mut()).unwrap_or_else(|_| {
            self.closed.set(true);
            None
        })
    }

    fn send(&self, message: &[u8]) {
        if message.len() > INSPECTOR_MESSAGE_MAX || self.waiting.borrow().len() > WAITING_MAX {
            self.closed.set(true);
        }
        if !self.closed.get() {
            put_inspector_message(&mut self.waiting.borrow_mut(), message);
            self.flush();
        }
    }

    /// Writes as much as the socket takes, and asks to be told when it takes more.
    pub fn flush(&self) {
        let mut waiting = self.waiting.borrow_mut();
        let mut written = 0;
        while written < waiting.len() {
            match rustix::net::send(&self.fd, &waiting[written..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
            {
                Ok(count) => written += count,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.closed.set(true);
                    written = waiting.len();
                }
            }
        }
        waiting.drain(..written);
        let blocked = !waiting.is_empty();
        if blocked != self.blocked.replace(blocked) {
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, blocked);
            let _ = epoll::modify(&*self.epoll, &self.fd, epoll::EventData::new_u64(self.token), flags);
        }
    }

    /// Waits until the socket can be read, or written where something waits.
    fn wait(&self) {
        let flags = if self.blocked.get() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let fd: BorrowedFd<'_> = self.fd.as_fd();
        let _ = poll(&mut [PollFd::new(&fd, flags)], None);
    }
}

/// What V8's callbacks work on.
struct Link {
    /// Where the session's messages come from and go to; nothing while there is no session.
    line: RefCell<Option<Rc<Line>>>,
    session: RefCell<Option<Rc<V8InspectorSession>>>,
    context: v8::Global<v8::Context>,
    isolate: v8::UnsafeRawIsolatePtr,
    slot: &'static ThreadSlot,
    pauses: Cell<bool>,
    paused: Cell<bool>,
}

impl Link {
    /// V8 does what a message asks for.
    fn dispatch(&self, message: &[u8]) {
        let Some(session) = self.session.borrow().clone() else { return };
        if message.is_ascii() {
            session.dispatch_protocol_message(StringView::from(message));
        } else {
            let wide: Vec<u16> = String::from_utf8_lossy(message).encode_utf16().collect();
            session.dispatch_protocol_message(StringView::from(&wide[..]));
        }
    }

    fn line(&self) -> Option<Rc<Line>> {
        self.line.borrow().clone()
    }

    /// Does what the messages that have arrived ask for; false once the other end is gone.
    fn dispatch_arrived(&self) -> bool {
        let Some(line) = self.line() else { return false };
        line.read();
        while let Some(message) = line.next() {
            self.dispatch(&message);
        }
        line.flush();
        !line.closed()
    }
}

struct Replies(Rc<Link>);

impl ChannelImpl for Replies {
    fn send_response(&self, _call: i32, message: v8::UniquePtr<StringBuffer>) {
        self.send_notification(message);
    }

    fn send_notification(&self, message: v8::UniquePtr<StringBuffer>) {
        if let (Some(message), Some(line)) = (message.as_ref(), self.0.line()) {
            line.send(message.string().to_string().as_bytes());
        }
    }

    fn flush_protocol_notifications(&self) {}
}

struct Pause(Rc<Link>);

impl V8InspectorClientImpl for Pause {
    fn run_message_loop_on_pause(&self, _group: i32) {
        let link = &self.0;
        let Some(line) = link.line().filter(|_| link.pauses.get()) else { return };
        if link.paused.replace(true) {
            return;
        }
        // Whoever watches over the thread is not to take this for a turn that does not end.
        let running = link.slot.instance.swap(0, Ordering::AcqRel);
        while link.paused.get() {
            line.wait();
            if !link.dispatch_arrived() {
                link.dispatch(br#"{"id":0,"method":"Debugger.disable"}"#);
                break;
            }
        }
        link.paused.set(false);
        link.slot.turn_began_ns.store(monotonic_ns(), Ordering::Relaxed);
        link.slot.stop_asked_ns.store(0, Ordering::Relaxed);
        link.slot.instance.store(running, Ordering::Release);
    }

    fn quit_message_loop_on_pause(&self) {
        self.0.paused.set(false);
    }

    fn ensure_default_context_in_group(&self, _group: i32) -> Option<v8::Local<'_, v8::Context>> {
        // SAFETY: the inspector goes before its isolate, and V8 calls this on the isolate's thread.
        let mut isolate = unsafe { v8::Isolate::from_raw_isolate_ptr(self.0.isolate) };
        v8::callback_scope!(unsafe scope, &mut isolate);
        let context = v8::Local::new(scope, &self.0.context);
        // SAFETY: the handle is in the scope that is open around every call of the inspector.
        Some(unsafe { context.extend_lifetime_unchecked() })
    }

    fn resource_name_to_url(&self, name: &StringView<'_>) -> Option<v8::UniquePtr<StringBuffer>> {
        let name = name.to_string();
        // Tools take what has no scheme for nameless.
        let named = !name.is_empty() && !name.starts_with(RUNTIME) && !name.contains("://");
        named.then(|| {
            let wide: Vec<u16> = format!("file:///{name}").encode_utf16().collect();
            StringBuffer::create(StringView::from(&wide[..]))
        })
    }
}

/// One worker's V8, made ready for a session. V8 shows only those modules that were compiled since.
pub struct Inspector {
    link: Rc<Link>,
    v8: V8Inspector,
}

impl Inspector {
    /// Makes V8 ready. The isolate must be entered.
    pub fn new(
        isolate: &mut v8::OwnedIsolate,
        context: &v8::Global<v8::Context>,
        name: &str,
        slot: &'static ThreadSlot,
    ) -> Self {
        // SAFETY: only used while the isolate lives, see `ensure_default_context_in_group`.
        let pointer = unsafe { isolate.as_raw_isolate_ptr() };
        let link = Rc::new(Link {
            line: RefCell::default(),
            session: RefCell::default(),
            context: context.clone(),
            isolate: pointer,
            slot,
            pauses: Cell::new(false),
            paused: Cell::new(false),
        });
        let v8 = V8Inspector::create(isolate, V8InspectorClient::new(Box::new(Pause(link.clone()))));
        v8::scope!(let scope, isolate);
        let context = v8::Local::new(scope, context);
        let _scope = &mut v8::ContextScope::new(scope, context);
        let wide: Vec<u16> = name.encode_utf16().collect();
        let about = StringView::from(&br#"{"isDefault":true,"type":"default"}"#[..]);
        v8.context_created(context, GROUP, StringView::from(&wide[..]), about);
        Self { link, v8 }
    }

    /// Begins a session, unless there is one. The isolate must be entered.
    pub fn connect(&self, isolate: &mut v8::OwnedIsolate, line: Rc<Line>, pauses: bool) {
        if self.connected() {
            return;
        }
        v8::scope!(let scope, isolate);
        let context = v8::Local::new(scope, &self.link.context);
        let _scope = &mut v8::ContextScope::new(scope, context);
        self.link.pauses.set(pauses);
        *self.link.line.borrow_mut() = Some(line);
        let channel = Channel::new(Box::new(Replies(self.link.clone())));
        let trust = V8InspectorClientTrustLevel::FullyTrusted;
        let session = self.v8.connect(GROUP, channel, StringView::empty(), trust);
        *self.link.session.borrow_mut() = Some(Rc::new(session));
    }

    /// Whether there is a session.
    pub fn connected(&self) -> bool {
        self.link.session.borrow().is_some()
    }

    /// Does what the messages that have arrived ask for; false once the other end is gone, and the session with it. The
    /// isolate must be entered.
    pub fn serve(&self, isolate: &mut v8::OwnedIsolate) -> bool {
        v8::scope!(let scope, isolate);
        let context = v8::Local::new(scope, &self.link.context);
        let scope = &mut v8::ContextScope::new(scope, context);
        let alive = self.link.dispatch_arrived();
        scope.perform_microtask_checkpoint();
        if !alive {
            self.link.line.take();
            self.link.session.take();
        }
        alive
    }

    /// Takes V8 out of inspection. The isolate must be entered.
    pub fn detach(self, isolate: &mut v8::OwnedIsolate) {
        v8::scope!(let scope, isolate);
        let context = v8::Local::new(scope, &self.link.context);
        let _scope = &mut v8::ContextScope::new(scope, context);
        // It holds the link, which holds it.
        self.link.session.take();
        self.v8.context_destroyed(context);
    }
}
