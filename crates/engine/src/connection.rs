//! One socket between this edge thread and one host thread.
//!
//! Requests append frames to one buffer; the connection's task writes it once per turn of the scheduler, and
//! hands out whatever frames have arrived. Everything here belongs to one thread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use selvedge_model::{LogEvent, LogKind, LogLevel};
use selvedge_wire::door::Door;
use selvedge_wire::message::{self, Call, Head, Log, ResetCode};
use selvedge_wire::{FIN, Frame, IdMap, Kind, Overrun, Shrink, WireError, decode, frame};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::UnixStream;

use crate::chain::Chain;
use crate::host::Host;
use crate::local::WeakEngine;
use crate::pulse::Pulse;
use crate::shared::Shared;
use crate::stream::{Broken, Stream};
use crate::{EngineError, LocalEngine};

/// First read buffer, bytes; it grows for a frame that is larger.
const READ_BUFFER: usize = 64 << 10;

/// Most streams of a host on one connection; further ones are refused.
const HOST_CALLS_MAX: usize = 16_384;
/// Requests that were broken off whose work may still call.
const CANCELLED_MAX: usize = 1024;
/// What may wait to be written before nothing more is read, bytes: a host that asks and does not listen is not answered
/// without end. A host that is in order always reads, so that this comes to an end.
const OUT_MAX: usize = 16 << 20;

/// The connection.
#[derive(Debug)]
pub struct Connection {
    pub host: Arc<Host>,
    /// Connections to the outside of this edge thread.
    pub egress: Rc<crate::egress::Pool>,
    /// Plain connections of workers that may go on with TLS, by stream, with their instance.
    pub sockets: RefCell<IdMap<(u32, crate::egress::Takeover)>>,
    /// Whether the host's thread answers, where the supervisor asks it.
    pub pulse: Pulse,
    shared: Arc<Shared>,
    /// What this connection belongs to.
    engine: WeakEngine,
    out: RefCell<Vec<u8>>,
    streams: RefCell<IdMap<Rc<Stream>>>,
    /// Requests that were broken off from our side, oldest first: what `waitUntil` holds may go on.
    cancelled: RefCell<VecDeque<Cancelled>>,
    next_stream: Cell<u32>,
    /// Streams that the host opened and that are not over.
    host_calls: Cell<usize>,
    /// Wakes the task, when it is not about to run anyway.
    task: RefCell<Option<Waker>>,
    scheduled: Cell<bool>,
    closed: Cell<bool>,
}

/// What is still to be known of a request that nobody waits for any more.
#[derive(Debug)]
struct Cancelled {
    id: u32,
    instance: u32,
    chain: Chain,
    request_id: Box<str>,
}

impl Connection {
    /// Connects to a host's thread and starts the connection's task.
    pub fn open(
        host: Arc<Host>,
        thread: usize,
        shared: Arc<Shared>,
        egress: Rc<crate::egress::Pool>,
        engine: WeakEngine,
    ) -> io::Result<Rc<Self>> {
        let socket = UnixStream::from_std(host.connect(Door::Calls { thread: thread as u32 })?)?;
        let connection = Rc::new(Self {
            host,
            egress,
            sockets: RefCell::default(),
            pulse: Pulse::default(),
            shared,
            engine,
            out: RefCell::default(),
            streams: RefCell::default(),
            cancelled: RefCell::default(),
            next_stream: Cell::new(1),
            host_calls: Cell::new(0),
            task: RefCell::default(),
            scheduled: Cell::new(false),
            closed: Cell::new(false),
        });
        message::put_hello(&mut connection.out.borrow_mut(), "");
        tokio::task::spawn_local(run(connection.clone(), socket));
        Ok(connection)
    }

    /// Whether the host is gone.
    pub fn closed(&self) -> bool {
        self.closed.get()
    }

    /// Opens a stream; `encode` appends the `OPEN` frame for the id it is given.
    pub fn call(
        self: &Rc<Self>,
        instance: u32,
        request_id: &str,
        chain: Option<Chain>,
        sent_all: bool,
        encode: impl FnOnce(&mut Vec<u8>, u32),
    ) -> Rc<Stream> {
        let id = self.next_stream.get();
        self.next_stream.set(id.wrapping_add(2));
        let stream = Rc::new(Stream::new(self, id, instance, request_id, chain));
        if sent_all {
            stream.close_half();
        }
        encode(&mut self.out.borrow_mut(), id);
        self.streams.borrow_mut().insert(id, stream.clone());
        self.schedule();
        stream
    }

    /// Sends frames that belong to no stream of ours.
    pub fn send(&self, encode: impl FnOnce(&mut Vec<u8>)) {
        if !self.closed.get() {
            encode(&mut self.out.borrow_mut());
            self.schedule();
        }
    }

    /// Has the task run after everything that is ready now.
    fn schedule(&self) {
        if !self.scheduled.replace(true)
            && let Some(task) = &*self.task.borrow()
        {
            task.wake_by_ref();
        }
    }

    fn dispatch(self: &Rc<Self>, frame: &Frame<'_>) -> Result<(), WireError> {
        match frame.kind {
            Kind::Head => {
                let head = Head::decode(frame.payload)?;
                self.with_stream(frame, |stream| stream.head_arrived(head));
            }
            Kind::Data => {
                let mut arrived = Ok(());
                self.with_stream(frame, |stream| arrived = stream.data_arrived(frame.payload));
                arrived.map_err(|Overrun| WireError::Payload("DATA beyond its credit"))?;
            }
            Kind::Done => self.with_stream(frame, |_| {}),
            Kind::Credit => {
                let bytes = message::decode_number(frame.payload)?;
                if let Some(stream) = self.streams.borrow().get(&frame.stream) {
                    stream.credit_arrived(bytes);
                }
            }
            Kind::Reset => {
                let (code, text) = message::decode_reset(frame.payload)?;
                let stream = self.streams.borrow_mut().remove(&frame.stream);
                match stream {
                    Some(stream) if !frame.stream.is_multiple_of(2) && stream.has_ended() => {
                        // The answer is whole; what was broken off is the work that went on behind it.
                        stream.flags_arrived(true, true);
                        self.cut(stream.chain.as_ref(), code, &stream.request_id);
                    }
                    Some(stream) => stream.fail(Broken::Reset(code, text.into())),
                    None => {
                        let mut cancelled = self.cancelled.borrow_mut();
                        let at = cancelled.iter().position(|request| request.id == frame.stream);
                        if let Some(request) = at.and_then(|at| cancelled.remove(at)) {
                            self.cut(Some(&request.chain), code, &request.request_id);
                        }
                    }
                }
            }
            Kind::Open if self.streams.borrow().contains_key(&frame.stream) => {
                return Err(WireError::Payload("OPEN of a stream that is open"));
            }
            Kind::Open if self.host_calls.get() >= HOST_CALLS_MAX => {
                let text = "Too many subrequests are under way in this process.";
                self.send(|out| message::put_reset(out, frame.stream, ResetCode::Refused, text));
            }
            Kind::Open if !frame.stream.is_multiple_of(2) => {
                return Err(WireError::Payload("OPEN of a host"));
            }
            Kind::Open => self.called(frame, &Call::decode(frame.payload)?)?,
            Kind::Log => self.log(frame)?,
            Kind::Gone => self.shared.instance_gone(message::decode_number(frame.payload)?, &self.host),
            Kind::Ping => frame::put(&mut self.out.borrow_mut(), Kind::Pong, 0, 0, frame.payload),
            Kind::Hello => drop(message::decode_hello(frame.payload)?),
            Kind::Pong => self.pulse.answered(),
            Kind::Unload => return Err(WireError::Payload("UNLOAD of a host")),
        }
        Ok(())
    }

    /// Work that `waitUntil` held was stopped, of which no client hears.
    fn cut(&self, chain: Option<&Chain>, code: ResetCode, request_id: &str) {
        let Some(chain) = chain else { return };
        let error = match code {
            ResetCode::Timeout => EngineError::Timeout,
            ResetCode::CpuExceeded => EngineError::CpuExceeded,
            ResetCode::MemoryExceeded => EngineError::MemoryExceeded,
            _ => return,
        };
        self.shared.report(&chain.worker, &error, request_id);
        if error != EngineError::Timeout {
            self.shared.pool.offended(&chain.worker);
        }
    }

    /// A host's worker asks for something.
    fn called(self: &Rc<Self>, frame: &Frame<'_>, call: &Call<'_>) -> Result<(), WireError> {
        let (parent, instance) = match call {
            Call::Subrequest(request) | Call::WebSocket(request) => (request.parent, request.instance),
            Call::Bound(bound) => (bound.request.parent, bound.request.instance),
            Call::Connect(request) => (request.parent, request.instance),
            _ => return Err(WireError::Payload("call of a host")),
        };
        let allowed = self.chain_of(parent, instance).ok_or("The request that this call belongs to is over.");
        let stream = match allowed.and_then(|chain| chain.spend().map(|()| chain)) {
            Ok(chain) => self.accept(frame.stream, instance, frame.fin(), chain),
            Err(text) => {
                self.send(|out| message::put_reset(out, frame.stream, ResetCode::Refused, text));
                return Ok(());
            }
        };
        match call {
            Call::Subrequest(request) => {
                crate::egress::begin(self, &self.shared, stream, request, frame.fin());
            }
            Call::WebSocket(request) => {
                crate::websocket::outgoing::begin(self, &self.shared, stream, request);
            }
            Call::Bound(bound) => crate::binding::begin(self, &self.shared, stream, bound, frame.fin()),
            Call::Connect(request) => crate::egress::begin_socket(self, &self.shared, stream, request),
            _ => {}
        }
        Ok(())
    }

    /// What a request of this instance belongs to, as long as something of it may go on.
    fn chain_of(&self, id: u32, instance: u32) -> Option<Chain> {
        let streams = self.streams.borrow();
        let open = streams.get(&id).filter(|stream| !id.is_multiple_of(2) && stream.instance == instance);
        if let Some(stream) = open {
            return stream.chain.clone();
        }
        let cancelled = self.cancelled.borrow();
        let request = cancelled.iter().rev().find(|request| (request.id, request.instance) == (id, instance));
        request.map(|request| request.chain.clone())
    }

    /// Applies a frame to its stream, and what its flags say.
    fn with_stream(&self, frame: &Frame<'_>, apply: impl FnOnce(&Stream)) {
        let over = {
            let streams = self.streams.borrow();
            let Some(stream) = streams.get(&frame.stream) else { return };
            apply(stream);
            stream.flags_arrived(frame.fin(), frame.done())
        };
        if over {
            self.streams.borrow_mut().remove(&frame.stream);
        }
    }

    fn log(&self, frame: &Frame<'_>) -> Result<(), WireError> {
        let log = Log::decode(frame.payload)?;
        let Some(worker) = self.shared.worker_of(log.instance, &self.host) else { return Ok(()) };
        let request_id = self.streams.borrow().get(&frame.stream).map(|stream| stream.request_id.to_string());
        let level = match log.level {
            0 => LogLevel::Debug,
            1 => LogLevel::Log,
            2 => LogLevel::Info,
            3 => LogLevel::Warn,
            _ => LogLevel::Error,
        };
        self.shared.logs.publish(LogEvent {
            timestamp_ms: crate::shared::unix_ms(),
            account: worker.account.clone(),
            script: worker.script.clone(),
            version: worker.version.clone(),
            kind: if log.exception { LogKind::Exception } else { LogKind::Console },
            level,
            message: log.message.into(),
            code: log.exception.then(|| "worker_exception".into()),
            stack: (!log.stack.is_empty()).then(|| log.stack.into()),
            request_id,
        });
        Ok(())
    }

    /// The host ended or broke the protocol: every stream learns why.
    async fn lost(&self) {
        self.closed.set(true);
        let mut verdict = self.host.verdict.subscribe();
        // The supervisor reads the exit status; a host that broke the protocol is ended first.
        self.host.abandon();
        let wait = std::time::Duration::from_secs(2);
        let _ = tokio::time::timeout(wait, verdict.wait_for(Option::is_some)).await;
        let offender = verdict.borrow().as_ref().and_then(|verdict| verdict.offender);
        let streams: Vec<_> = self.streams.borrow_mut().drain().map(|(_, stream)| stream).collect();
        for stream in streams {
            let offence =
                offender.filter(|(instance, _)| *instance == stream.instance).map(|(_, offence)| offence);
            stream.fail(Broken::HostLost(offence));
        }
    }
}

/// The connection's task: reads all that has arrived, then writes all that waits.
async fn run(connection: Rc<Connection>, mut socket: UnixStream) {
    let mut inbox = vec![0; READ_BUFFER];
    let mut filled = 0;
    let mut written = 0;
    let mut shrink = Shrink::default();
    let served = poll_fn(|cx| {
        // Nothing was read since too much waits to be written.
        let mut stopped = false;
        connection.scheduled.set(false);
        remember(&mut connection.task.borrow_mut(), cx);
        loop {
            if connection.out.borrow().len() - written > OUT_MAX {
                stopped = true;
                break;
            }
            if filled == inbox.len() {
                inbox.resize(inbox.len() * 2, 0);
            }
            // A read that does not fill the buffer needs no second system call to learn that nothing is left.
            let mut buffer = ReadBuf::new(&mut inbox[filled..]);
            match Pin::new(&mut socket).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => filled += buffer.filled().len(),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
            let mut at = 0;
            loop {
                match decode(&inbox[at..filled]) {
                    Ok(Some((frame, taken))) => {
                        if let Err(error) = connection.dispatch(&frame) {
                            return Poll::Ready(Err(io::Error::other(error)));
                        }
                        at += taken;
                    }
                    Ok(None) => break,
                    Err(error) => return Poll::Ready(Err(io::Error::other(error))),
                }
            }
            inbox.copy_within(at..filled, 0);
            filled -= at;
            if filled == 0 && inbox.len() > READ_BUFFER {
                inbox.truncate(READ_BUFFER);
                inbox.shrink_to_fit();
            }
        }
        let mut out = connection.out.borrow_mut();
        while written < out.len() {
            match socket.try_write(&out[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match socket.poll_write_ready(cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Pending => {
                            // What was taken goes, so that a slow reader does not hold twice the memory.
                            if written > out.len() / 2 {
                                out.drain(..written);
                                written = 0;
                            }
                            return Poll::Pending;
                        }
                    }
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        shrink.emptied(&mut out, written);
        written = 0;
        if stopped {
            cx.waker().wake_by_ref();
        }
        Poll::<io::Result<()>>::Pending
    })
    .await;
    if let Err(error) = served
        && error.kind() == io::ErrorKind::Other
    {
        tracing::error!(%error, pid = connection.host.pid, "a sandbox host broke the protocol and is ended");
    }
    connection.lost().await;
}

/// Keeps the waker of whoever polls.
pub fn remember(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

impl Connection {
    /// This thread's engine, while it is there.
    pub fn engine(&self) -> Option<LocalEngine> {
        self.engine.upgrade()
    }

    /// The engine's end of a stream that the host opened.
    fn accept(self: &Rc<Self>, id: u32, instance: u32, fin: bool, chain: Chain) -> Rc<Stream> {
        let stream = Rc::new(Stream::new(self, id, instance, "", Some(chain)));
        stream.flags_arrived(fin, false);
        self.streams.borrow_mut().insert(id, stream.clone());
        self.host_calls.set(self.host_calls.get() + 1);
        stream
    }

    /// Takes a stream out that is broken off from our side; false when it is over already.
    pub fn remove(&self, id: u32) -> bool {
        let Some(stream) = self.streams.borrow_mut().remove(&id) else { return false };
        if let Some(chain) = stream.chain.clone().filter(|_| !id.is_multiple_of(2)) {
            let mut cancelled = self.cancelled.borrow_mut();
            if cancelled.len() == CANCELLED_MAX {
                cancelled.pop_front();
            }
            let (instance, request_id) = (stream.instance, stream.request_id.clone());
            cancelled.push_back(Cancelled { id, instance, chain, request_id });
        }
        true
    }

    /// Sends the head of an answer to the host.
    pub fn answer(&self, stream: &Stream, head: Head<'_>, end: bool) {
        if end {
            stream.close_half();
        }
        self.send(|out| head.put(out, if end { FIN } else { 0 }, stream.id));
    }

    /// Forgets a stream that the host opened, once both halves are over.
    pub fn forget(&self, stream: &Stream) {
        self.host_calls.set(self.host_calls.get() - 1);
        self.streams.borrow_mut().remove(&stream.id);
    }
}
