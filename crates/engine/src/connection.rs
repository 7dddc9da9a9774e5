//! One socket between this edge thread and one host thread.
//!
//! Requests append frames to one buffer; the connection's task writes it once per turn of the scheduler, and
//! hands out whatever frames have arrived. Everything here belongs to one thread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use selvedge_model::{LogEvent, LogKind, LogLevel};
use selvedge_wire::message::{self, Call, Head, Log, ResetCode};
use selvedge_wire::{FIN, Frame, IdMap, Kind, RecvWindow, SendWindow, WireError, decode, frame};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::UnixStream;

use crate::host::{Host, Offence};
use crate::shared::Shared;

/// First read buffer, bytes; it grows for a frame that is larger.
const READ_BUFFER: usize = 64 << 10;

/// Most streams of a host on one connection; its workers' subrequest limits keep an honest one far below.
const HOST_CALLS_MAX: usize = 16_384;

/// Why a stream ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The host said so.
    Reset(ResetCode, String),
    /// The host process ended; what its worker did to cause it, if it was this one's.
    HostLost(Option<Offence>),
}

/// The answer's head.
#[derive(Debug)]
pub struct ResponseHead {
    pub status: StatusCode,
    pub headers: HeaderMap,
}

/// One call, as its caller and the connection share it.
#[derive(Debug)]
pub struct Stream {
    pub id: u32,
    /// Whose call it is.
    pub instance: u32,
    connection: Weak<Connection>,
    state: RefCell<StreamState>,
    /// For logs.
    pub request_id: Box<str>,
}

#[derive(Debug, Default)]
struct StreamState {
    head: Option<ResponseHead>,
    chunks: VecDeque<Bytes>,
    /// The host sends nothing more.
    ended: bool,
    broken: Option<Broken>,
    reader: Option<Waker>,
    recv: RecvWindow,
    send: SendWindow,
    writer: Option<Waker>,
    /// Our half is closed.
    sent_all: bool,
    done: bool,
    /// Sends are not limited by credit, as for an answer to a load.
    bulk: bool,
}

/// The connection.
#[derive(Debug)]
pub struct Connection {
    pub host: Arc<Host>,
    shared: Arc<Shared>,
    out: RefCell<Vec<u8>>,
    streams: RefCell<IdMap<Rc<Stream>>>,
    next_stream: Cell<u32>,
    /// Streams that the host opened and that are not over.
    host_calls: Cell<usize>,
    /// Wakes the task, when it is not about to run anyway.
    task: RefCell<Option<Waker>>,
    scheduled: Cell<bool>,
    closed: Cell<bool>,
}

impl Connection {
    /// Connects to a host's thread and starts the connection's task.
    pub fn open(host: Arc<Host>, thread: usize, shared: Arc<Shared>) -> io::Result<Rc<Self>> {
        let socket = UnixStream::from_std(host.connect(thread)?)?;
        let connection = Rc::new(Self {
            host,
            shared,
            out: RefCell::default(),
            streams: RefCell::default(),
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
        sent_all: bool,
        encode: impl FnOnce(&mut Vec<u8>, u32),
    ) -> Rc<Stream> {
        let id = self.next_stream.get();
        self.next_stream.set(id.wrapping_add(2));
        let stream = Rc::new(Stream {
            id,
            instance,
            connection: Rc::downgrade(self),
            state: RefCell::new(StreamState { sent_all, ..StreamState::default() }),
            request_id: request_id.into(),
        });
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
                self.with_stream(frame, |state| state.head = Some(parse_head(head)));
            }
            Kind::Data => {
                let mut overrun = false;
                self.with_stream(frame, |state| {
                    if frame.payload.is_empty() {
                        return;
                    }
                    overrun = !state.bulk && state.recv.received(frame.payload.len()).is_err();
                    state.chunks.push_back(Bytes::copy_from_slice(frame.payload));
                });
                if overrun {
                    return Err(WireError::Payload("DATA beyond its credit"));
                }
            }
            Kind::Done => self.with_stream(frame, |_| {}),
            Kind::Credit => {
                let bytes = message::decode_number(frame.payload)?;
                if let Some(stream) = self.streams.borrow().get(&frame.stream) {
                    let mut state = stream.state.borrow_mut();
                    state.send.granted(bytes);
                    wake(&mut state.writer);
                }
            }
            Kind::Reset => {
                let (code, text) = message::decode_reset(frame.payload)?;
                let stream = self.streams.borrow_mut().remove(&frame.stream);
                if let Some(stream) = stream {
                    stream.fail(Broken::Reset(code, text.into()));
                }
            }
            Kind::Open => match Call::decode(frame.payload)? {
                Call::Subrequest(request)
                    if frame.stream.is_multiple_of(2) && self.host_calls.get() < HOST_CALLS_MAX =>
                {
                    crate::egress::begin(self, &self.shared, frame.stream, &request, frame.fin());
                }
                _ => return Err(WireError::Payload("call of a host")),
            },
            Kind::Log => self.log(frame)?,
            Kind::Gone => self.shared.instance_gone(message::decode_number(frame.payload)?),
            Kind::Ping => frame::put(&mut self.out.borrow_mut(), Kind::Pong, 0, 0, frame.payload),
            Kind::Hello => drop(message::decode_hello(frame.payload)?),
            Kind::Pong => {}
            Kind::Unload => return Err(WireError::Payload("UNLOAD of a host")),
        }
        Ok(())
    }

    /// Applies a frame to its stream, and what its flags say.
    fn with_stream(&self, frame: &Frame<'_>, apply: impl FnOnce(&mut StreamState)) {
        let over = {
            let streams = self.streams.borrow();
            let Some(stream) = streams.get(&frame.stream) else { return };
            let mut state = stream.state.borrow_mut();
            apply(&mut state);
            state.ended |= frame.fin();
            state.done |= frame.done();
            wake(&mut state.reader);
            state.done && state.ended
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
        self.host.kill();
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

fn parse_head(head: Head<'_>) -> ResponseHead {
    let mut headers = HeaderMap::with_capacity(8);
    for (name, value) in message::header_pairs(head.headers) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            // The map has room for fewer fields than a head.
            if headers.try_append(name, value).is_err() {
                return ResponseHead { status: StatusCode::INTERNAL_SERVER_ERROR, headers: HeaderMap::new() };
            }
        }
    }
    let status = StatusCode::from_u16(head.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    ResponseHead { status, headers }
}

/// The connection's task: reads all that has arrived, then writes all that waits.
async fn run(connection: Rc<Connection>, mut socket: UnixStream) {
    let mut inbox = vec![0; READ_BUFFER];
    let mut filled = 0;
    let mut written = 0;
    let served = poll_fn(|cx| {
        connection.scheduled.set(false);
        remember(&mut connection.task.borrow_mut(), cx);
        loop {
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
                        Poll::Pending => return Poll::Pending,
                    }
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        out.clear();
        if out.capacity() > 1 << 20 {
            out.shrink_to(64 << 10);
        }
        written = 0;
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

fn wake(slot: &mut Option<Waker>) {
    if let Some(waker) = slot.take() {
        waker.wake();
    }
}

fn remember(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

impl Stream {
    /// Waits for the answer's head.
    pub fn poll_head(&self, cx: &Context<'_>) -> Poll<Result<ResponseHead, Broken>> {
        let mut state = self.state.borrow_mut();
        if let Some(head) = state.head.take() {
            return Poll::Ready(Ok(head));
        }
        if let Some(broken) = &state.broken {
            return Poll::Ready(Err(broken.clone()));
        }
        remember(&mut state.reader, cx);
        Poll::Pending
    }

    /// Waits for the next chunk of the answer's body; `None` at its end.
    pub fn poll_chunk(&self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        let mut state = self.state.borrow_mut();
        if let Some(chunk) = state.chunks.pop_front() {
            if let Some(credit) = state.recv.consumed(chunk.len()).filter(|_| !state.ended) {
                self.send(|out| message::put_credit(out, self.id, credit));
            }
            return Poll::Ready(Some(Ok(chunk)));
        }
        if let Some(broken) = state.broken.take() {
            state.ended = true;
            return Poll::Ready(Some(Err(broken)));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        remember(&mut state.reader, cx);
        Poll::Pending
    }

    /// Bytes of the whole rest of the body, when all of it is here.
    pub fn whole_body(&self) -> Option<u64> {
        let state = self.state.borrow();
        let whole = state.ended && state.broken.is_none();
        whole.then(|| state.chunks.iter().map(|chunk| chunk.len() as u64).sum())
    }

    /// Whether the body is at its end.
    pub fn at_end(&self) -> bool {
        let state = self.state.borrow();
        state.ended && state.chunks.is_empty() && state.broken.is_none()
    }

    /// Whether the host has finished all work on it.
    pub fn is_over(&self) -> bool {
        let state = self.state.borrow();
        state.broken.is_some() || (state.done && state.ended)
    }

    /// The answer may be larger than the usual credit.
    pub fn allow_bulk(&self) {
        self.state.borrow_mut().bulk = true;
    }

    /// Waits for credit; `None` when the stream takes nothing more.
    pub fn poll_credit(&self, cx: &Context<'_>) -> Poll<Option<usize>> {
        let mut state = self.state.borrow_mut();
        if state.broken.is_some() || state.sent_all || (state.done && state.ended) {
            return Poll::Ready(None);
        }
        match state.send.available() {
            0 => {
                remember(&mut state.writer, cx);
                Poll::Pending
            }
            available => Poll::Ready(Some(available)),
        }
    }

    /// Sends body bytes, no more than [`Stream::poll_credit`] allows; `end` closes our half.
    pub fn send_data(&self, bytes: &[u8], end: bool) {
        let mut state = self.state.borrow_mut();
        state.send.sent(bytes.len());
        state.sent_all |= end;
        self.send(|out| {
            let mut chunks = bytes.chunks(selvedge_wire::DATA_MAX).peekable();
            if chunks.peek().is_none() && end {
                frame::put(out, Kind::Data, FIN, self.id, &[]);
            }
            while let Some(chunk) = chunks.next() {
                let flags = if end && chunks.peek().is_none() { FIN } else { 0 };
                frame::put(out, Kind::Data, flags, self.id, chunk);
            }
        });
    }

    /// Sends a whole body, waiting for credit as needed. False when the other side stopped taking it.
    pub async fn send_all(&self, mut bytes: &[u8], end: bool) -> bool {
        loop {
            if bytes.is_empty() {
                if end {
                    self.send_data(&[], true);
                }
                return true;
            }
            let Some(room) = poll_fn(|cx| self.poll_credit(cx)).await else { return false };
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.send_data(now, end && rest.is_empty());
            bytes = rest;
            if rest.is_empty() {
                return true;
            }
        }
    }

    /// Ends the stream from our side; the reason goes to the host and to whoever still reads.
    pub fn cancel(&self, code: ResetCode, text: &str) {
        let Some(connection) = self.connection.upgrade() else { return };
        if connection.streams.borrow_mut().remove(&self.id).is_some() {
            connection.send(|out| message::put_reset(out, self.id, code, text));
            self.fail(Broken::Reset(code, text.into()));
        }
    }

    fn fail(&self, broken: Broken) {
        let mut state = self.state.borrow_mut();
        state.broken = Some(broken);
        wake(&mut state.reader);
        wake(&mut state.writer);
    }

    fn send(&self, encode: impl FnOnce(&mut Vec<u8>)) {
        if let Some(connection) = self.connection.upgrade() {
            connection.send(encode);
        }
    }
}

impl Connection {
    /// The engine's end of a stream that the host opened.
    pub fn accept(self: &Rc<Self>, id: u32, instance: u32, fin: bool) -> Rc<Stream> {
        let stream = Rc::new(Stream {
            id,
            instance,
            connection: Rc::downgrade(self),
            state: RefCell::new(StreamState { ended: fin, ..StreamState::default() }),
            request_id: Box::default(),
        });
        self.streams.borrow_mut().insert(id, stream.clone());
        self.host_calls.set(self.host_calls.get() + 1);
        stream
    }

    /// Sends the head of an answer to the host.
    pub fn answer(&self, stream: &Stream, head: Head<'_>, end: bool) {
        if end {
            stream.state.borrow_mut().sent_all = true;
        }
        self.send(|out| head.put(out, if end { FIN } else { 0 }, stream.id));
    }

    /// Forgets a stream that the host opened, once both halves are over.
    pub fn forget(&self, stream: &Stream) {
        self.host_calls.set(self.host_calls.get() - 1);
        self.streams.borrow_mut().remove(&stream.id);
    }
}
