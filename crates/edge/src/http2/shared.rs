//! What a connection's task shares with those who read its requests' bodies and with its WebSockets.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use selvedge_http2::{Connection as Http2, StreamRef};

use super::wake::Queue;
use crate::config::EdgeConfig;
use crate::connection::Connection;
use crate::thread::Thread;

/// One connection.
pub(super) struct Shared {
    pub(super) http: RefCell<Http2>,
    pub(super) state: Rc<Connection>,
    pub(super) thread: Rc<Thread>,
    pub(super) queue: Arc<Queue>,
    /// Those who wait for a stream, by its slot.
    waiting: RefCell<Vec<Waiting>>,
}

/// Who waits for what of a stream.
#[derive(Default)]
struct Waiting {
    stream: Option<StreamRef>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Bytes of the body that arrived.
    arrived: u64,
    /// Time in which bytes were wanted and none came.
    waited: Duration,
    /// Bytes are wanted and there are none, since then.
    starved: Option<Instant>,
    /// The body stopped arriving and is given up.
    stalled: bool,
    /// The stream is a tunnel from now on.
    tunnel: bool,
}

impl Shared {
    pub(super) fn new(http: Http2, state: Rc<Connection>, thread: Rc<Thread>) -> Rc<Self> {
        Rc::new(Self {
            http: RefCell::new(http),
            state,
            thread,
            queue: Arc::default(),
            waiting: RefCell::default(),
        })
    }

    /// What is known of a stream.
    fn of<T>(&self, stream: StreamRef, change: impl FnOnce(&mut Waiting) -> T) -> Option<T> {
        let mut waiting = self.waiting.borrow_mut();
        let found = waiting.get_mut(stream.slot())?;
        (found.stream == Some(stream)).then(|| change(found))
    }

    /// A request whose body can be waited for.
    pub(super) fn open(&self, stream: StreamRef) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() <= stream.slot() {
            waiting.resize_with(stream.slot() + 1, Waiting::default);
        }
        waiting[stream.slot()] = Waiting { stream: Some(stream), ..Waiting::default() };
    }

    /// No stream is open: memory goes back.
    pub(super) fn rest(&self) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.capacity() > 0 && waiting.iter().all(|one| one.reader.is_none() && one.writer.is_none()) {
            *waiting = Vec::new();
        }
    }

    /// There is something for the reader of a stream.
    pub(super) fn wake_reader(&self, stream: StreamRef) {
        if let Some(reader) = self.of(stream, |waiting| waiting.reader.take()).flatten() {
            reader.wake();
        }
    }

    /// The stream takes more.
    pub(super) fn wake_writer(&self, stream: StreamRef) {
        if let Some(writer) = self.of(stream, |waiting| waiting.writer.take()).flatten() {
            writer.wake();
        }
    }

    /// Everything that is waited for is over.
    pub(super) fn wake_all(&self) {
        let wakers: Vec<Waker> = {
            let mut waiting = self.waiting.borrow_mut();
            waiting.iter_mut().flat_map(|one| [one.reader.take(), one.writer.take()]).flatten().collect()
        };
        for waker in wakers {
            waker.wake();
        }
    }

    /// The reader waits for bytes that are not there. False when they were waited for long enough.
    pub(super) fn await_bytes(&self, stream: StreamRef, cx: &Context<'_>) -> bool {
        let now = self.thread.clock.recent();
        let begun = self.of(stream, |waiting| {
            waiting.reader = Some(cx.waker().clone());
            if waiting.stalled {
                return None;
            }
            // A WebSocket may be quiet.
            if waiting.tunnel {
                return Some(false);
            }
            Some(waiting.starved.replace(waiting.starved.unwrap_or(now)).is_none())
        });
        match begun.flatten() {
            Some(true) => self.state.stream_starves(1),
            Some(false) => {}
            None => return false,
        }
        true
    }

    /// Bytes of a body arrived, or nobody waits for them any more.
    pub(super) fn bytes_came(&self, stream: StreamRef, count: u64) {
        let now = self.thread.clock.recent();
        let ended = self.of(stream, |waiting| {
            waiting.arrived += count;
            let since = waiting.starved.take()?;
            waiting.waited += now.saturating_duration_since(since);
            Some(())
        });
        if ended.flatten().is_some() {
            self.state.stream_starves(-1);
        }
    }

    pub(super) fn await_room(&self, stream: StreamRef, cx: &Context<'_>) {
        self.of(stream, |waiting| waiting.writer = Some(cx.waker().clone()));
    }

    pub(super) fn becomes_tunnel(&self, stream: StreamRef) {
        self.of(stream, |waiting| waiting.tunnel = true);
    }

    pub(super) fn is_tunnel(&self, stream: StreamRef) -> bool {
        self.of(stream, |waiting| waiting.tunnel).unwrap_or(false)
    }

    pub(super) fn is_stalled(&self, stream: StreamRef) -> bool {
        self.of(stream, |waiting| waiting.stalled).unwrap_or(false)
    }

    /// Gives up bodies that stopped arriving, or come too slowly, by the same rule as with HTTP/1.
    pub(super) fn give_up_stalled(&self, config: &EdgeConfig) {
        let now = self.thread.clock.recent();
        let mut late = Vec::new();
        for one in self.waiting.borrow_mut().iter_mut().filter(|one| !one.tunnel && !one.stalled) {
            let Some(since) = one.starved else { continue };
            let quiet = now.saturating_duration_since(since);
            let waited = one.waited + quiet;
            let slow =
                waited >= config.stall_timeout() && one.arrived < waited.as_secs() * config.min_body_rate;
            if quiet >= config.stall_timeout() || slow {
                one.stalled = true;
                late.extend(one.reader.take());
            }
        }
        for reader in late {
            self.state.counters.cut(selvedge_telemetry::http_metrics::CutReason::Stalled);
            reader.wake();
        }
    }
}
