//! One thread's connections to one server.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::connect::connect;
use crate::endpoint::Endpoint;
use crate::error::UpstreamError;
use crate::http2;
use crate::local::{Shared, Watched};
use crate::metrics::ServerCounts;
use crate::stream::Stream;
use crate::target::Scheme;
use crate::upstream::Upstream;

/// Idle connections, and what it takes to open more.
pub(crate) struct Pool {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) upstream: Weak<Upstream>,
    pub(crate) shared: Rc<Shared>,
    /// The last used is the last.
    idle: RefCell<Vec<Connection>>,
    /// Told when an idle connection is there for somebody who waits.
    freed: Notify,
    /// The connection of HTTP/2, which requests share.
    pub(crate) http2: http2::Slot,
    /// What came of this thread's requests.
    pub(crate) counts: Arc<ServerCounts>,
}

/// A connection of HTTP/1.1.
pub(crate) struct Connection {
    pub(crate) stream: Stream,
    /// Until when whoever has it waits.
    pub(crate) watch: Watched,
    place: Option<OwnedSemaphorePermit>,
    idle_since: Instant,
    /// It has brought a response.
    pub(crate) reused: bool,
}

/// Which connection a request takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// None that was there before.
    pub(crate) fresh: bool,
    /// The request must not be sent in vain: the kernel is asked whether the server has closed.
    pub(crate) careful: bool,
    /// Only HTTP/1.1, and not for other requests after this one.
    pub(crate) tunnel: bool,
}

/// What a request is sent over.
pub(crate) enum Line {
    Http1(Connection),
    Http2(http2::Sender),
}

impl Pool {
    pub(crate) fn new(endpoint: Arc<Endpoint>, upstream: &Arc<Upstream>, shared: Rc<Shared>) -> Rc<Self> {
        Rc::new(Self {
            counts: endpoint.counts.add(),
            endpoint,
            upstream: Arc::downgrade(upstream),
            shared,
            idle: RefCell::default(),
            freed: Notify::new(),
            http2: http2::Slot::default(),
        })
    }

    /// A connection: one that is idle, or a new one.
    pub(crate) async fn take(&self, upstream: &Upstream, wish: Wish) -> Result<Line, UpstreamError> {
        let h2c = self.endpoint.target.scheme == Scheme::H2c;
        if !wish.tunnel || h2c {
            if let Some(sender) = self.http2.ready() {
                return Ok(Line::Http2(sender));
            }
            if !wish.fresh
                && !h2c
                && let Some(connection) = self.take_idle(upstream.config.keep_alive(), wish.careful)
            {
                return Ok(Line::Http1(connection));
            }
        }
        // Boxed: most requests find a connection, and need not reserve room for this.
        Box::pin(self.open(upstream, wish, h2c)).await
    }

    async fn open(&self, upstream: &Upstream, wish: Wish, h2c: bool) -> Result<Line, UpstreamError> {
        if h2c || (self.http2.was_used() && !wish.tunnel) {
            // All that want one wait for the same.
            let _turn = self.http2.turn().await;
            if let Some(sender) = self.http2.ready() {
                return Ok(Line::Http2(sender));
            }
            let stream = connect(upstream, &self.endpoint, false).await?;
            return if h2c || stream.speaks_http2() {
                Ok(Line::Http2(self.http2.begin(stream, upstream).await?))
            } else {
                Ok(Line::Http1(self.connection(stream, None)))
            };
        }
        let place = match &self.endpoint.places {
            None => None,
            Some(places) => match places.clone().try_acquire_owned() {
                Ok(place) => Some(place),
                Err(_) => match self.wait(upstream, wish).await? {
                    Waited::Place(place) => Some(place),
                    Waited::Connection(connection) => return Ok(Line::Http1(*connection)),
                },
            },
        };
        let stream = connect(upstream, &self.endpoint, wish.tunnel).await?;
        if stream.speaks_http2() {
            return Ok(Line::Http2(self.http2.begin(stream, upstream).await?));
        }
        Ok(Line::Http1(self.connection(stream, place)))
    }

    /// Waits in the queue for a place, or for a connection of this thread.
    async fn wait(&self, upstream: &Upstream, wish: Wish) -> Result<Waited, UpstreamError> {
        let Some(places) = &self.endpoint.places else { return Err(UpstreamError::Overloaded) };
        let queued = Queued(&self.endpoint);
        if self.endpoint.waiting.fetch_add(1, Ordering::Relaxed) >= upstream.config.max_queue {
            return Err(UpstreamError::Overloaded);
        }
        let waiting = async {
            loop {
                tokio::select! {
                    place = places.clone().acquire_owned() => {
                        return place.map(Waited::Place).map_err(|_| UpstreamError::Overloaded);
                    }
                    () = self.freed.notified() => {
                        if !wish.fresh && !wish.tunnel
                            && let Some(connection) = self.take_idle(upstream.config.keep_alive(), wish.careful)
                        {
                            return Ok(Waited::Connection(Box::new(connection)));
                        }
                    }
                }
            }
        };
        let waited = tokio::time::timeout(upstream.config.queue_timeout(), waiting).await;
        drop(queued);
        waited.unwrap_or(Err(UpstreamError::Overloaded))
    }

    fn connection(&self, stream: Stream, place: Option<OwnedSemaphorePermit>) -> Connection {
        let now = self.shared.tick();
        Connection { stream, watch: self.shared.watch(), place, idle_since: now, reused: false }
    }

    fn take_idle(&self, keep: Duration, careful: bool) -> Option<Connection> {
        loop {
            let mut connection = self.idle.borrow_mut().pop()?;
            let old = self.shared.now().saturating_duration_since(connection.idle_since) >= keep;
            if !old && connection.is_clean() && (!careful || connection.stream.is_quiet()) {
                return Some(connection);
            }
        }
    }

    /// Takes a connection back whose last response was read to its unmistakable end.
    pub(crate) fn give_back(&self, mut connection: Connection, upstream: &Upstream) {
        connection.watch.disarm();
        if self.idle.borrow().len() >= upstream.config.max_idle {
            return;
        }
        connection.reused = true;
        connection.idle_since = self.shared.now();
        self.idle.borrow_mut().push(connection);
        if self.endpoint.waiting.load(Ordering::Relaxed) > 0 {
            self.freed.notify_one();
        }
    }

    /// Closes what is too old, or was closed by the server.
    pub(crate) fn tidy(&self, now: Instant, keep: Duration) {
        self.idle.borrow_mut().retain_mut(|connection| {
            now.saturating_duration_since(connection.idle_since) < keep && connection.is_clean()
        });
    }

    /// Closes an idle connection when somebody, on whichever thread, waits for its place.
    pub(crate) fn make_way(&self) {
        if self.endpoint.places.is_some() && self.endpoint.waiting.load(Ordering::Relaxed) > 0 {
            let mut idle = self.idle.borrow_mut();
            if !idle.is_empty() {
                idle.remove(0);
            }
        }
    }
}

impl Connection {
    /// Nothing has arrived that nobody asked for, nor the server's end, as far as this process knows.
    fn is_clean(&mut self) -> bool {
        let mut byte = [0];
        let mut cx = Context::from_waker(Waker::noop());
        matches!(Pin::new(&mut self.stream).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)), Poll::Pending)
    }

    /// The stream, for a tunnel. Its place stays taken as long as what is given besides lives.
    pub(crate) fn into_tunnel(self) -> (Stream, Option<OwnedSemaphorePermit>) {
        (self.stream, self.place)
    }
}

enum Waited {
    Place(OwnedSemaphorePermit),
    Connection(Box<Connection>),
}

/// A place in the queue.
struct Queued<'a>(&'a Endpoint);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
