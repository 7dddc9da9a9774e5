//! One edge thread's way into the engine: from a request to its place in an isolate and back.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use selvedge_model::{VersionId, Worker};
use selvedge_wire::FIN;
use selvedge_wire::message::{self, Call, Fetch, ResetCode, Scheduled};

use crate::assets::{self, Asked, FileBody};
use crate::chain::Chain;
use crate::connection::Connection;
use crate::host::{Group, Host, Offence};
use crate::pool::{Claim, Found, Instance, Place};
use crate::shared::{Order, Shared};
use crate::stream::{Broken, Stream};
use crate::{EngineError, WorkerSocket, load};

/// Times that a request is tried when others' faults take its sandbox down.
const ATTEMPTS: u32 = 3;
/// Requests in one isolate beyond which another is loaded for the same worker, on another thread.
const SPREAD_AT: u32 = 128;
/// The engine's own patience beyond the worker's wall time limit.
pub const GRACE: Duration = Duration::from_secs(2);
/// Longest wait for a place in a busy worker's queue.
const QUEUE_WAIT: Duration = Duration::from_secs(10);

/// Longest wait for the supervisor to notice that a host ended.
const VERDICT_WAIT: Duration = Duration::from_secs(2);

/// What of a request does not stand in its head.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    /// `http` or `https`, as the client asked.
    pub scheme: &'static str,
    /// Id for logs.
    pub request_id: String,
    /// It is the handshake of a WebSocket: status 101 is a possible answer, and [`WorkerBody::into_socket`] follows.
    pub socket: bool,
}

/// The engine as one edge thread uses it; its connections to the hosts live on this thread.
#[derive(Clone, Debug)]
pub struct LocalEngine(Rc<Inner>);

/// The same without keeping it: connections belong to the engine.
#[derive(Debug)]
pub struct WeakEngine(Weak<Inner>);

impl WeakEngine {
    /// The engine, while it is there.
    pub fn upgrade(&self) -> Option<LocalEngine> {
        self.0.upgrade().map(LocalEngine)
    }
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    /// By host and thread.
    connections: RefCell<HashMap<(u32, usize), Rc<Connection>>>,
    /// Instances that this thread used last, by version.
    used: RefCell<HashMap<VersionId, Rc<Route>>>,
    scratch: RefCell<Scratch>,
    /// What workers' subrequests use.
    egress: Rc<crate::egress::Pool>,
}

/// An instance and the connection to it.
#[derive(Debug)]
pub struct Route {
    /// The instance.
    pub instance: Arc<Instance>,
    /// The connection.
    pub connection: Rc<Connection>,
}

#[derive(Debug, Default)]
struct Scratch {
    url: Vec<u8>,
    headers: Vec<u8>,
}

impl LocalEngine {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(Rc::new(Inner {
            shared,
            connections: RefCell::default(),
            used: RefCell::default(),
            scratch: RefCell::default(),
            egress: Rc::default(),
        }))
    }

    fn downgrade(&self) -> WeakEngine {
        WeakEngine(Rc::downgrade(&self.0))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// Has `worker` answer `request`, starting an isolate when none is loaded. Dropping the future or the
    /// response body cancels the request in the isolate.
    pub async fn fetch<C: Body<Data = Bytes> + Unpin + 'static>(
        &self,
        worker: &Arc<Worker>,
        request: Request<C>,
        context: RequestContext,
    ) -> Result<Response<WorkerBody>, EngineError> {
        let (parts, body) = request.into_parts();
        if worker.assets.is_some()
            && let Some(answer) = assets::answer(&self.0.shared, worker, &parts, Asked::Client).await
        {
            return answer;
        }
        let mut body = (!body.is_end_stream()).then_some(body);
        let mut attempt = 1;
        loop {
            let (route, claim) = self.route(worker).await?;
            let end = body.is_none() && !context.socket;
            let stream = self.send_head(worker, &route, &parts, end, &context);
            let had_body = body.is_some();
            if let Some(body) = body.take() {
                tokio::task::spawn_local(pump(stream.clone(), body, worker.limits.body_bytes));
            }
            let mut call = Exchange {
                stream,
                claim: Some(claim),
                shared: self.0.shared.clone(),
                worker: worker.clone(),
            };
            let patience = Duration::from_millis(u64::from(worker.limits.wall_ms)) + GRACE;
            let answer = deadline(patience, poll_fn(|cx| call.stream.poll_head(cx))).await;
            let broken = match answer {
                Some(Ok(head)) => {
                    if head.status == StatusCode::SWITCHING_PROTOCOLS {
                        let place = call.claim.as_mut().is_some_and(Claim::becomes_socket);
                        if !context.socket || !place {
                            return Err(EngineError::Overloaded);
                        }
                    }
                    let mut response = Response::new(WorkerBody::of(call));
                    *response.status_mut() = head.status;
                    *response.headers_mut() = head.headers;
                    return Ok(response);
                }
                Some(Err(broken)) => broken,
                None => Broken::Reset(ResetCode::Timeout, String::new()),
            };
            self.broke(&route, &broken);
            let blameless = matches!(
                &broken,
                Broken::HostLost(None) | Broken::Reset(ResetCode::Bystander | ResetCode::UnknownInstance, _)
            );
            let untouched = matches!(&broken, Broken::Reset(ResetCode::UnknownInstance, _));
            let repeatable = !had_body && (untouched || parts.method.is_safe());
            if blameless && repeatable && attempt < ATTEMPTS {
                attempt += 1;
                self.0.shared.counters.retries.fetch_add(1, Ordering::Relaxed);
                drop(call);
                continue;
            }
            return Err(call.conclude(&broken));
        }
    }

    /// Runs the worker's `scheduled` handler.
    pub async fn scheduled(&self, worker: &Arc<Worker>, cron: &str, time_ms: u64) -> Result<(), EngineError> {
        let wall_ms = worker.limits.wall_ms;
        let patience = Duration::from_millis(u64::from(wall_ms)) + GRACE;
        let mut attempt = 1;
        loop {
            let (route, claim) = self.route(worker).await?;
            let instance = route.instance.id;
            let chain = Some(Chain::new(worker));
            let stream = route.connection.call(instance, "", chain, true, |out, id| {
                Call::Scheduled(Scheduled { instance, wall_ms, time_ms, cron }).put(out, FIN, id);
            });
            let call = Exchange {
                stream,
                claim: Some(claim),
                shared: self.0.shared.clone(),
                worker: worker.clone(),
            };
            let broken = match deadline(patience, poll_fn(|cx| call.stream.poll_head(cx))).await {
                Some(Ok(_)) => return Ok(()),
                Some(Err(broken)) => broken,
                None => Broken::Reset(ResetCode::Timeout, String::new()),
            };
            self.broke(&route, &broken);
            // It was unloaded meanwhile, and so has not begun.
            if matches!(broken, Broken::Reset(ResetCode::UnknownInstance, _)) && attempt < ATTEMPTS {
                attempt += 1;
                continue;
            }
            return Err(call.conclude(&broken));
        }
    }

    /// A host that says so has taken the instance down; nobody is to wait for its own word on it.
    pub(crate) fn broke(&self, route: &Route, broken: &Broken) {
        if let Broken::Reset(code, _) = broken
            && matches!(
                code,
                ResetCode::CpuExceeded
                    | ResetCode::MemoryExceeded
                    | ResetCode::Bystander
                    | ResetCode::UnknownInstance
            )
            && !route.instance.gone.load(Ordering::SeqCst)
        {
            load::unload(self, &route.instance);
        }
    }

    /// An instance with a place for one more request, and the connection to it.
    pub(crate) async fn route(&self, worker: &Arc<Worker>) -> Result<(Rc<Route>, Claim), EngineError> {
        let known = self.0.used.borrow().get(&worker.version).cloned();
        if let Some(route) = known.filter(|route| !route.connection.closed())
            && let Place::Taken(claim) = route.instance.claim(worker.limits.concurrency.min(SPREAD_AT))
        {
            return Ok((route, claim));
        }
        self.find_route(worker).await
    }

    async fn find_route(&self, worker: &Arc<Worker>) -> Result<(Rc<Route>, Claim), EngineError> {
        for _ in 0..ATTEMPTS {
            let instance = match self.0.shared.pool.find(&worker.version, false) {
                Found::Ready(instance) => Ok(instance),
                Found::Loading(loaded) => wait_loaded(loaded).await,
                Found::Load(sender) => {
                    self.0.shared.counters.cold_starts.fetch_add(1, Ordering::Relaxed);
                    // A task of its own: others wait for it, too, and must not lose it with this request.
                    let loaded = sender.subscribe();
                    let (this, worker) = (self.clone(), worker.clone());
                    tokio::task::spawn_local(async move { load::load(&this, &worker, None, sender).await });
                    wait_loaded(loaded).await
                }
            };
            // The request has reached nobody yet, so another sandbox may have it.
            let instance = match instance {
                Err(EngineError::SandboxLost) => continue,
                instance => instance?,
            };
            self.spread(worker, &instance);
            let Some(claim) = self.wait_for_place(worker, &instance).await? else { continue };
            let Ok(connection) = self.reach(&instance.host, instance.thread).await else { continue };
            let route = Rc::new(Route { instance, connection });
            let mut used = self.0.used.borrow_mut();
            if used.len() > 4096 {
                used.retain(|_, route| !route.instance.gone.load(Ordering::Relaxed));
            }
            used.insert(worker.version.clone(), route.clone());
            return Ok((route, claim));
        }
        Err(EngineError::SandboxLost)
    }

    /// A worker that is busy on one thread gets an isolate on another, in the background.
    fn spread(&self, worker: &Arc<Worker>, instance: &Arc<Instance>) {
        let threshold = SPREAD_AT.min(worker.limits.concurrency / 2).max(1);
        if instance.requests() < threshold {
            return;
        }
        if self.0.shared.pool.instances_of(&worker.version).len() >= instance.host.threads {
            return;
        }
        if let Found::Load(sender) = self.0.shared.pool.find(&worker.version, true) {
            let (this, worker) = (self.clone(), worker.clone());
            tokio::task::spawn_local(async move {
                // Where it fails, the instance that is there goes on alone.
                let _ = load::load(&this, &worker, None, sender).await;
            });
        }
    }

    /// A place in this instance, waiting in its queue if it is full. `None` when it is gone meanwhile.
    async fn wait_for_place(
        &self,
        worker: &Arc<Worker>,
        instance: &Arc<Instance>,
    ) -> Result<Option<Claim>, EngineError> {
        let wait = async {
            let mut waiting = None;
            loop {
                let mut freed = pin!(instance.freed.notified());
                freed.as_mut().enable();
                match instance.claim(worker.limits.concurrency) {
                    Place::Taken(claim) => return Ok(Some(claim)),
                    Place::Gone => return Ok(None),
                    Place::Full if waiting.is_some() => freed.await,
                    // Whoever leaves looks for those who wait: look once more after joining them.
                    Place::Full => waiting = Some(Waiting::new(instance, worker.limits.queue)?),
                }
            }
        };
        deadline(QUEUE_WAIT, wait).await.unwrap_or(Err(EngineError::Overloaded))
    }

    /// The connection to a host's thread, made when there is none.
    pub(crate) fn connection(&self, host: &Arc<Host>, thread: usize) -> std::io::Result<Rc<Connection>> {
        let mut connections = self.0.connections.borrow_mut();
        if let Some(connection) =
            connections.get(&(host.id, thread)).filter(|connection| !connection.closed())
        {
            return Ok(connection.clone());
        }
        connections.retain(|_, connection| !connection.closed());
        let shared = self.0.shared.clone();
        let egress = self.0.egress.clone();
        let connection = Connection::open(host.clone(), thread, shared, egress, self.downgrade())?;
        connections.insert((host.id, thread), connection.clone());
        Ok(connection)
    }

    /// As [`connection`](Self::connection); a host that cannot be reached is waited for to be counted out.
    pub(crate) async fn reach(&self, host: &Arc<Host>, thread: usize) -> Result<Rc<Connection>, EngineError> {
        let Ok(connection) = self.connection(host, thread) else {
            let mut verdict = host.verdict.subscribe();
            let _ = tokio::time::timeout(VERDICT_WAIT, verdict.wait_for(Option::is_some)).await;
            return Err(EngineError::SandboxLost);
        };
        Ok(connection)
    }

    /// Forgets connections whose hosts ended.
    pub(crate) fn sweep(&self) {
        self.0.connections.borrow_mut().retain(|_, connection| !connection.closed());
        self.0.used.borrow_mut().retain(|_, route| !route.instance.gone.load(Ordering::Relaxed));
    }

    /// The host for a group, started when there is none.
    pub(crate) async fn host(&self, group: Group) -> Result<Arc<Host>, EngineError> {
        if let Some(host) = self.0.shared.pool.host(&group) {
            return Ok(host);
        }
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let stopped = || EngineError::Unavailable("the engine is stopping".into());
        self.0.shared.orders.send(Order::Host(group, sender)).map_err(|_| stopped())?;
        receiver.await.map_err(|_| stopped())?
    }

    fn send_head(
        &self,
        worker: &Arc<Worker>,
        route: &Route,
        parts: &http::request::Parts,
        end: bool,
        context: &RequestContext,
    ) -> Rc<Stream> {
        let mut scratch = self.0.scratch.borrow_mut();
        let Scratch { url, headers } = &mut *scratch;
        url.clear();
        url.extend_from_slice(context.scheme.as_bytes());
        url.extend_from_slice(b"://");
        let host = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
        let host = host.or_else(|| parts.headers.get(header::HOST).map(|host| host.as_bytes()));
        url.extend_from_slice(host.unwrap_or(b"localhost"));
        url.extend_from_slice(parts.uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes());
        headers.clear();
        if parts.uri.authority().is_some() && !parts.headers.contains_key(header::HOST) {
            message::put_header(headers, b"host", host.unwrap_or_default());
        }
        for (name, value) in &parts.headers {
            message::put_header(headers, name.as_str().as_bytes(), value.as_bytes());
        }
        let instance = route.instance.id;
        let fetch = Fetch {
            instance,
            wall_ms: worker.limits.wall_ms,
            socket: context.socket,
            http2: parts.version == http::Version::HTTP_2,
            method: parts.method.as_str().as_bytes(),
            url,
            headers,
        };
        let flags = if end { FIN } else { 0 };
        let chain = Some(Chain::new(worker));
        let put = |out: &mut Vec<u8>, id| Call::Fetch(fetch).put(out, flags, id);
        route.connection.call(instance, &context.request_id, chain, end, put)
    }
}

/// A wait of `limit` at most; `None` when it was too long.
async fn deadline<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    // Most answers are there before a timer would be worth its registration.
    if let Poll::Ready(value) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
        return Some(value);
    }
    tokio::time::timeout(limit, future).await.ok()
}

async fn wait_loaded(mut loaded: crate::pool::Loaded) -> Result<Arc<Instance>, EngineError> {
    match loaded.wait_for(Option::is_some).await {
        Ok(result) => result.clone().expect("waited for it"),
        // Whoever loaded it went away; the caller tries again.
        Err(_) => Err(EngineError::SandboxLost),
    }
}

/// One of those who wait for a place.
struct Waiting<'a>(&'a Instance);

impl<'a> Waiting<'a> {
    fn new(instance: &'a Instance, most: u32) -> Result<Self, EngineError> {
        let waiting = Self(instance);
        if instance.waiting.fetch_add(1, Ordering::SeqCst) >= most {
            return Err(EngineError::Overloaded);
        }
        Ok(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Sends a request body as fast as the isolate takes it.
async fn pump(stream: Rc<Stream>, mut body: impl Body<Data = Bytes> + Unpin, limit: u64) {
    let mut total = 0u64;
    loop {
        let frame = poll_fn(|cx| {
            if stream.is_over() {
                return Poll::Ready(None);
            }
            Pin::new(&mut body).poll_frame(cx)
        });
        match frame.await {
            Some(Ok(frame)) => {
                let Ok(bytes) = frame.into_data() else { continue };
                total += bytes.len() as u64;
                if total > limit {
                    return stream
                        .cancel(ResetCode::BodyTooLarge, "The request body is larger than allowed.");
                }
                if !stream.send_all(&bytes, false).await {
                    return;
                }
            }
            Some(Err(_)) => return stream.cancel(ResetCode::Canceled, "The request body was cut off."),
            None => return stream.send_data(&[], true),
        }
    }
}

/// A call under way: the stream, its place, and what to do when it ends.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) stream: Rc<Stream>,
    pub(crate) claim: Option<Claim>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) worker: Arc<Worker>,
}

impl Exchange {
    /// What a break means for the client and the worker's owner.
    pub(crate) fn conclude(&self, broken: &Broken) -> EngineError {
        let error = match broken {
            Broken::HostLost(Some(Offence::Cpu)) => EngineError::CpuExceeded,
            Broken::HostLost(Some(Offence::Memory)) => EngineError::MemoryExceeded,
            Broken::HostLost(None) => EngineError::SandboxLost,
            Broken::Reset(code, text) => match code {
                ResetCode::CpuExceeded => EngineError::CpuExceeded,
                ResetCode::MemoryExceeded => EngineError::MemoryExceeded,
                ResetCode::Timeout => EngineError::Timeout,
                ResetCode::Exception => EngineError::Exception(text.clone()),
                ResetCode::NoResponse => EngineError::NoResponse(text.clone()),
                ResetCode::BodyTooLarge => EngineError::BodyTooLarge,
                ResetCode::Canceled => EngineError::Canceled,
                _ => EngineError::SandboxLost,
            },
        };
        let limit =
            matches!(error, EngineError::CpuExceeded | EngineError::MemoryExceeded | EngineError::Timeout);
        if limit || matches!(error, EngineError::SandboxLost | EngineError::NoResponse(_)) {
            self.shared.report(&self.worker, &error, &self.stream.request_id);
        }
        // A host that was lost to it has been counted by the supervisor.
        if limit && error != EngineError::Timeout && matches!(broken, Broken::Reset(..)) {
            self.shared.pool.offended(&self.worker);
        }
        error
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.stream.is_over() && !self.stream.at_end() {
            self.stream.cancel(ResetCode::Canceled, "");
        }
        if let Some(claim) = &self.claim {
            claim.instance().last_used_ms.store(self.shared.pool.now_ms(), Ordering::Relaxed);
        }
    }
}

/// A response body, streamed from the isolate with backpressure.
#[derive(Debug, Default)]
pub struct WorkerBody(Content);

#[derive(Debug, Default)]
enum Content {
    /// What the isolate sends.
    Exchange(Exchange),
    /// A static file, or something as short as a redirect.
    File(FileBody),
    #[default]
    Over,
}

impl WorkerBody {
    fn of(exchange: Exchange) -> Self {
        Self(Content::Exchange(exchange))
    }

    pub(crate) fn file(body: FileBody) -> Self {
        Self(Content::File(body))
    }
}

impl WorkerBody {
    /// The WebSocket that an answer with status 101 began.
    pub fn into_socket(self) -> Option<WorkerSocket> {
        match self.0 {
            Content::Exchange(exchange) => Some(WorkerSocket(exchange)),
            Content::File(_) | Content::Over => None,
        }
    }
}

impl Body for WorkerBody {
    type Data = Bytes;
    type Error = EngineError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EngineError>>> {
        let this = self.get_mut();
        let call = match &mut this.0 {
            Content::Exchange(call) => call,
            Content::File(file) => {
                return file.poll_chunk(cx).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)));
            }
            Content::Over => return Poll::Ready(None),
        };
        match call.stream.poll_chunk(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(chunk))) => Poll::Ready(Some(Ok(Frame::data(chunk)))),
            Poll::Ready(Some(Err(broken))) => {
                let error = call.conclude(&broken);
                this.0 = Content::Over;
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => {
                this.0 = Content::Over;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Content::Exchange(call) => call.stream.at_end(),
            Content::File(file) => file.remaining() == 0,
            Content::Over => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Exchange(call) => {
                call.stream.whole_body().map_or_else(SizeHint::default, SizeHint::with_exact)
            }
            Content::File(file) => SizeHint::with_exact(file.remaining()),
            Content::Over => SizeHint::with_exact(0),
        }
    }
}
