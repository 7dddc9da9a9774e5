//! What the sweeper needs to know of a client's connection to end it.
//!
//! Timeouts cost nothing per request: reads and requests note what the connection waits for and since when,
//! and a sweep over all connections of the thread, once a second, cuts those whose time is up.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use selvedge_http1::Violation;
use selvedge_telemetry::HttpCounters;
use selvedge_telemetry::http_metrics::{ConnectionState, CutReason};
use selvedge_tls::Session;

use crate::config::EdgeConfig;
use crate::hints::Waiting;
use crate::thread::Clock;
use crate::websocket::Switch;

/// How long a response has to make some way to a client that has closed its own half: whether it still listens shows
/// only when it takes bytes.
const HALF_CLOSED: Duration = Duration::from_secs(2);
/// How long a client may take to read an answer and stop sending, before the connection is closed under it.
const LINGER: Duration = Duration::from_secs(2);

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The handshake of TLS.
    Handshake,
    /// The first byte ever.
    New,
    /// The next request's first byte.
    Idle,
    /// The rest of a request's head.
    Head,
    /// Responses.
    Busy,
    /// The client's end, after the last response.
    Lingering,
}

/// How a request's body has arrived so far.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    bytes: u64,
    /// Time in which bytes were wanted and none came.
    waited: Duration,
    /// Bytes are wanted and there are none, since then.
    starved: Option<Instant>,
}

/// What the sweeper needs to know of HTTP/2 beyond that.
struct Http2State {
    /// When the client last said something.
    heard: Cell<Instant>,
    /// When it was asked for a sign of life.
    asked: Cell<Option<Instant>>,
    ask: Cell<bool>,
    /// Streams whose bodies are waited for.
    starving: Cell<i32>,
    /// Streams that were answered are given a moment to end.
    ending: Cell<bool>,
    /// Since when there is something to send and no window for it.
    windowless: Cell<Option<Instant>>,
    /// The body of the request being polled stopped arriving.
    stalled: Cell<bool>,
}

impl Http2State {
    fn new(now: Instant) -> Self {
        Self {
            heard: Cell::new(now),
            asked: Cell::new(None),
            ask: Cell::new(false),
            starving: Cell::new(0),
            ending: Cell::new(false),
            windowless: Cell::new(None),
            stalled: Cell::new(false),
        }
    }

    /// What is to be done about a quiet client: ask it, or give it up.
    fn check(&self, now: Instant, config: &EdgeConfig) -> Option<CutReason> {
        let interval = Duration::from_millis(config.http2.ping_interval_ms);
        let timeout = Duration::from_millis(config.http2.ping_timeout_ms);
        if interval.is_zero() {
            return None;
        }
        match self.asked.get() {
            Some(asked) if now.saturating_duration_since(asked) >= timeout => return Some(CutReason::Io),
            None if now.saturating_duration_since(self.heard.get()) >= interval => self.ask.set(true),
            _ => {}
        }
        None
    }
}

/// State shared by a connection's socket, its requests and the sweeper.
pub(crate) struct Connection {
    /// Who is at the other end, or for whom a proxy is there.
    peer: Cell<IpAddr>,
    /// What was agreed upon in the handshake of TLS.
    session: OnceCell<Box<Session>>,
    direct: Cell<bool>,
    pub(crate) counters: Arc<HttpCounters>,
    clock: Rc<Clock>,
    /// Of a connection of HTTP/2 only.
    http2: OnceCell<Box<Http2State>>,
    phase: Cell<Phase>,
    /// When the wait began.
    since: Cell<Instant>,
    in_flight: Cell<u32>,
    pace: Cell<Pace>,
    /// What was wrong with the body of the request under way.
    fault: Cell<Option<Violation>>,
    /// Since when the client takes no bytes.
    blocked: Cell<Option<Instant>>,
    /// The client has closed its half, and since then took no bytes.
    half_closed: Cell<Option<Instant>>,
    verdict: Cell<Option<CutReason>>,
    /// Nothing is to be waited for any more.
    given_up: Cell<bool>,
    draining: Cell<bool>,
    retiring: Cell<bool>,
    task: RefCell<Option<Waker>>,
    /// Hints for the request whose turn it is.
    pub(crate) hints: Waiting,
    /// The WebSocket that follows the last response.
    switch: RefCell<Option<Box<Switch>>>,
}

impl Connection {
    pub(crate) fn new(peer: IpAddr, clock: Rc<Clock>, counters: Arc<HttpCounters>) -> Self {
        Self {
            peer: Cell::new(peer),
            session: OnceCell::new(),
            direct: Cell::new(true),
            counters,
            http2: OnceCell::new(),
            phase: Cell::new(Phase::New),
            since: Cell::new(clock.tick()),
            clock,
            in_flight: Cell::new(0),
            pace: Cell::default(),
            fault: Cell::new(None),
            blocked: Cell::new(None),
            half_closed: Cell::new(None),
            verdict: Cell::new(None),
            given_up: Cell::new(false),
            draining: Cell::new(false),
            retiring: Cell::new(false),
            task: RefCell::new(None),
            hints: Waiting::default(),
            switch: RefCell::new(None),
        }
    }

    /// Who is at the other end, or for whom a proxy is there. Loopback for Unix sockets.
    pub(crate) fn peer(&self) -> IpAddr {
        self.peer.get()
    }

    /// Whether the client itself connected here, as far as can be known.
    pub(crate) fn is_direct(&self) -> bool {
        self.direct.get()
    }

    /// A proxy is, or may be, at the other end.
    pub(crate) fn is_relayed(&self) {
        self.direct.set(false);
    }

    /// A proxy that is believed says whose the connection is.
    pub(crate) fn introduce(&self, client: IpAddr) {
        self.peer.set(client);
    }

    /// When the wait under way began; before the first request, when the connection did.
    pub(crate) fn since(&self) -> Instant {
        self.since.get()
    }

    /// The handshake of TLS begins. Its time runs from the connection's first moment.
    pub(crate) fn shake_hands(&self) {
        self.phase.set(Phase::Handshake);
    }

    /// The handshake is over.
    pub(crate) fn is_secured(&self, session: Session) {
        // There is one handshake only.
        let _ = self.session.set(Box::new(session));
        self.phase.set(Phase::New);
        self.since.set(self.clock.tick());
    }

    /// What was agreed upon in the handshake of TLS; nothing without TLS.
    pub(crate) fn session(&self) -> Option<&Session> {
        self.session.get().map(|session| &**session)
    }

    /// The client speaks HTTP/2.
    pub(crate) fn is_http2(&self) {
        self.http2.get_or_init(|| Box::new(Http2State::new(self.clock.recent())));
        self.phase.set(Phase::Idle);
        self.since.set(self.clock.recent());
    }

    /// A request's head was parsed.
    pub(crate) fn begin_request(&self, now: Instant) {
        self.in_flight.set(self.in_flight.get() + 1);
        self.phase.set(Phase::Busy);
        self.since.set(now);
        self.pace.set(Pace::default());
        self.fault.set(None);
    }

    /// A response ended.
    pub(crate) fn end_request(&self, now: Instant) {
        let left = self.in_flight.get().saturating_sub(1);
        self.in_flight.set(left);
        if left == 0 {
            self.phase.set(Phase::Idle);
            self.since.set(now);
            self.pace.set(Pace::default());
        }
    }

    /// HTTP/1 ends with this response; the connection goes on as a WebSocket.
    pub(crate) fn switch(&self, switch: Switch) {
        *self.switch.borrow_mut() = Some(Box::new(switch));
    }

    /// The WebSocket that HTTP/1 made way for.
    pub(crate) fn take_switch(&self) -> Option<Switch> {
        self.switch.borrow_mut().take().map(|switch| *switch)
    }

    /// True when the request's body stopped arriving and is given up.
    pub(crate) fn body_stalled(&self) -> bool {
        self.http2.get().is_some_and(|http2| http2.stalled.get())
            || self.verdict.get() == Some(CutReason::Stalled)
    }

    /// What was wrong with the body of the request under way.
    pub(crate) fn fault(&self) -> Option<Violation> {
        self.fault.get()
    }

    /// The body of the request under way is no body.
    pub(crate) fn found_fault(&self, violation: Violation) {
        self.fault.set(Some(violation));
    }

    /// No further requests are wanted.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        self.wake();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// The client is to ask on another connection, as soon as it can be told so. Nothing is closed under it: a connection that
    /// is idle may have a request on its way.
    pub(crate) fn retire(&self) {
        self.retiring.set(true);
        self.wake();
    }

    pub(crate) fn is_retiring(&self) -> bool {
        self.retiring.get()
    }

    /// Why the connection is to end now, if it is.
    pub(crate) fn verdict(&self) -> Option<CutReason> {
        self.verdict.get()
    }

    /// Nothing more is to be waited for: the client is taken to be gone.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.get()
    }

    /// The client does not take what it is sent.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.get().is_some() || self.windowless().is_some()
    }

    /// What it waits for.
    pub(crate) fn state(&self) -> ConnectionState {
        match self.phase.get() {
            Phase::Handshake => ConnectionState::Handshake,
            Phase::New => ConnectionState::New,
            Phase::Idle => ConnectionState::Idle,
            Phase::Head => ConnectionState::Head,
            Phase::Busy => ConnectionState::Busy,
            Phase::Lingering => ConnectionState::Lingering,
        }
    }

    /// Decides whether the connection's time is up, and wakes its task if so.
    pub(crate) fn check(&self, now: Instant, config: &EdgeConfig) {
        let passed = |since: Instant| now.saturating_duration_since(since);
        let waited = passed(self.since.get());
        let too_long =
            |since: Option<Instant>| since.is_some_and(|since| passed(since) >= config.stall_timeout());
        let blocked = too_long(self.blocked.get()) || too_long(self.windowless());
        let silent = self.http2.get().and_then(|http2| http2.check(now, config));
        if self
            .http2
            .get()
            .is_some_and(|http2| http2.ask.get() || http2.ending.get() || http2.starving.get() > 0)
        {
            self.wake();
        }
        let verdict = match self.phase.get() {
            Phase::Lingering if waited < LINGER => return,
            Phase::Lingering => return self.give_up(),
            _ if blocked => CutReason::Stalled,
            Phase::Handshake if waited >= config.tls.handshake_timeout() => CutReason::HandshakeTimeout,
            _ if silent.is_some() => CutReason::Io,
            Phase::New | Phase::Head if waited >= config.header_timeout() => CutReason::HeaderTimeout,
            Phase::Idle if waited >= config.idle_timeout() => CutReason::IdleTimeout,
            Phase::Busy if self.body_is_late(now, config) => CutReason::Stalled,
            _ if self.half_closed.get().is_some_and(|since| passed(since) >= HALF_CLOSED) => {
                return self.give_up();
            }
            _ => return,
        };
        if self.verdict.replace(Some(verdict)).is_none() {
            self.counters.cut(verdict);
        }
        self.wake();
    }

    /// No byte of the body for too long, or too few of them. Only time in which bytes were wanted counts.
    fn body_is_late(&self, now: Instant, config: &EdgeConfig) -> bool {
        let Pace { bytes, waited, starved } = self.pace.get();
        let Some(since) = starved else { return false };
        let quiet = now.saturating_duration_since(since);
        let waited = waited + quiet;
        let least = waited.as_secs() * config.min_body_rate;
        quiet >= config.stall_timeout() || (waited >= config.stall_timeout() && bytes < least)
    }

    fn give_up(&self) {
        self.given_up.set(true);
        self.wake();
    }

    /// Has the connection's task look at it.
    pub(crate) fn wake(&self) {
        if let Some(task) = &*self.task.borrow() {
            task.wake_by_ref();
        }
    }

    /// The task that polls is the connection's.
    pub(crate) fn remember(&self, context: &Context<'_>) {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|task| task.will_wake(context.waker())) {
            *task = Some(context.waker().clone());
        }
    }
}

/// Of HTTP/2.
impl Connection {
    /// The client said something.
    pub(crate) fn heard(&self) {
        let Some(http2) = self.http2.get() else { return };
        http2.heard.set(self.clock.recent());
        http2.asked.set(None);
        http2.ask.set(false);
    }

    /// True when the client is to be asked for a sign of life, which is then waited for.
    pub(crate) fn asks(&self) -> bool {
        let Some(http2) = self.http2.get() else { return false };
        let ask = http2.ask.replace(false) && http2.asked.get().is_none();
        if ask {
            http2.asked.set(Some(self.clock.recent()));
        }
        ask
    }

    /// No head is only partly there.
    pub(crate) fn head_over(&self) {
        if self.phase.get() == Phase::Head {
            self.phase.set(Phase::Idle);
            self.since.set(self.clock.recent());
        }
    }

    /// More streams, or fewer, wait for their bodies.
    pub(crate) fn stream_starves(&self, change: i32) {
        if let Some(http2) = self.http2.get() {
            http2.starving.set(http2.starving.get() + change);
        }
    }

    /// Whether streams that were answered have still to end.
    pub(crate) fn lets_end(&self, some: bool) {
        if let Some(http2) = self.http2.get() {
            http2.ending.set(some);
        }
    }

    /// Whether the client leaves no room for what there is to send.
    pub(crate) fn no_window(&self, none: bool) {
        let Some(http2) = self.http2.get() else { return };
        let since = http2.windowless.get().unwrap_or_else(|| self.clock.recent());
        http2.windowless.set(none.then_some(since));
    }

    fn windowless(&self) -> Option<Instant> {
        self.http2.get().and_then(|http2| http2.windowless.get())
    }

    /// Whose turn it is: one whose body stopped arriving, or not.
    pub(crate) fn polls_stalled(&self, stalled: bool) {
        if let Some(http2) = self.http2.get() {
            http2.stalled.set(stalled);
        }
    }
}

impl Connection {
    /// A part of a head is there.
    pub(crate) fn head_began(&self) {
        // The time for a head runs from its first byte.
        if matches!(self.phase.get(), Phase::New | Phase::Idle) {
            self.phase.set(Phase::Head);
            self.since.set(self.clock.recent());
        }
    }

    /// Bytes of a body arrived.
    pub(crate) fn body_arrived(&self, count: usize) {
        let mut pace = self.pace.get();
        pace.bytes += count as u64;
        if let Some(since) = pace.starved.take() {
            pace.waited += self.clock.tick().saturating_duration_since(since);
        }
        self.pace.set(pace);
    }

    /// Bytes of a body are wanted and there are none.
    pub(crate) fn body_awaited(&self) {
        let mut pace = self.pace.get();
        if pace.starved.is_none() {
            pace.starved = Some(self.clock.tick());
            self.pace.set(pace);
        }
    }

    /// Nobody waits for the body now.
    pub(crate) fn body_left(&self) {
        let mut pace = self.pace.get();
        if pace.starved.take().is_some() {
            self.pace.set(pace);
        }
    }

    /// The client sends nothing more.
    pub(crate) fn client_closed_half(&self) {
        self.half_closed.set(Some(self.clock.tick()));
    }

    /// The last response is written; the client is to read it and end the connection.
    pub(crate) fn linger(&self) {
        if self.phase.replace(Phase::Lingering) != Phase::Lingering {
            self.since.set(self.clock.tick());
        }
    }

    /// The client took bytes, or did not.
    pub(crate) fn sent(&self, result: &Poll<io::Result<usize>>) {
        match result {
            Poll::Ready(Ok(count)) => {
                self.counters.sent.add(*count as u64);
                self.blocked.set(None);
                if self.half_closed.get().is_some() {
                    self.client_closed_half();
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending if self.blocked.get().is_none() => self.blocked.set(Some(self.clock.recent())),
            Poll::Pending => {}
        }
    }
}
