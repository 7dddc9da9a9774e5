//! The life of a request, one function a step:
//!
//! 1. [`accept`]: a connection arrives on one of the thread's listeners, or is turned away
//! 2. [`http`]: HTTP/1.1 or HTTP/2, as the client's first bytes say
//! 3. [`guard`]: requests that HTTP forbids are refused
//! 4. [`find`]: host and path lead to a site's route, or to a deployed worker
//! 5. [`handle`]: the steps of the route (`steps`), then what answers (`handlers`); or the worker
//! 6. [`respond`]: the answer, or the reason why there is none, becomes a response
//! 7. [`log_and_measure`]: when the response's last byte is handed over, or the client left
//!
//! [`serve`] runs the steps from 3 to 6 for each request; everything happens on the thread that accepted.

use std::cell::OnceCell;
use std::future::poll_fn;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body;
use selvedge_engine::{EngineError, RequestContext};
use selvedge_model::Worker;
use selvedge_router::{Miss, has_dot_segments, other_reading, plain};
use selvedge_telemetry::http_metrics::Protocol;
use selvedge_telemetry::{AccessRecord, Exemplar};
use selvedge_upstream::Hints;

use crate::acme;
use crate::body::{Content, EdgeBody, RequestBody};
use crate::cached;
use crate::compress::{self, Accepted};
use crate::connection::Connection;
use crate::entrance::{Arrived, arrive};
use crate::exchange::Exchange;
use crate::flags;
use crate::guard;
use crate::headers::{self, REQUEST_ID, Scan};
use crate::hints::Teller;
use crate::http1::{self, First, Socket};
use crate::http2;
use crate::https;
use crate::listen::Manner;
use crate::refusal::{Refusal, prefers_html};
use crate::serving::Door;
use crate::sites::Route;
use crate::steps::Flow;
use crate::stream::{Plain, Stream};
use crate::thread::Thread;
use crate::timeline::{self, Timeline};
use crate::websocket::{self, Handshake};

/// For clients that come when all connections are taken.
const SHED_RESPONSE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n\
    content-type: application/json\r\ncontent-length: 85\r\n\r\n\
    {\"error\":{\"code\":\"too_many_connections\",\"message\":\"The server is full. Try again.\"}}\n";
/// Pause after accept fails for want of files or memory, which others have to free first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Step 1. Takes connections, for ever, each on a task of its own.
pub(crate) async fn accept(door: Rc<Door>) {
    loop {
        match door.accept().await {
            Ok((stream, peer)) => welcome(&door.thread(), &door.manner(), stream, peer),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Has a new connection served, or turns it away.
pub(crate) fn welcome(thread: &Rc<Thread>, manner: &Rc<Manner>, stream: Plain, peer: IpAddr) {
    let Some(admitted) = thread.admit(peer) else { return shed(thread, &stream, manner) };
    if !manner.is_direct() {
        admitted.connection.is_relayed();
    }
    if manner.is_plain() {
        let Some(place) = thread.entrance.connect(&admitted.connection) else {
            return shed(thread, &stream, manner);
        };
        let stream = Stream::Plain(stream);
        let socket = Socket::new(stream, BytesMut::new(), admitted.connection.clone(), thread.clone());
        // All that a connection has while it waits: nothing is moved in here that is needed only once.
        tokio::task::spawn_local(async move {
            let _held = (admitted, place);
            http(socket).await;
        });
        return;
    }
    let (thread, manner) = (thread.clone(), manner.clone());
    tokio::task::spawn_local(async move {
        let connection = &admitted.connection;
        // Boxed, so that connections that wait do not reserve room for it.
        let arrived = Box::pin(arrive(stream, &manner, &thread, connection)).await;
        let Some(Arrived { stream, received, place: _place }) = arrived else { return };
        http(Socket::new(stream, received, connection.clone(), thread.clone())).await;
    });
}

fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// Turns a connection away with an answer, as far as that goes without waiting for the client.
fn shed(thread: &Thread, stream: &Plain, manner: &Manner) {
    thread.counters.shed.add(1);
    if manner.tls {
        return;
    }
    // Bytes left unread at close would have the kernel reset the connection and void the answer.
    let _ = stream.try_read(&mut [0; 4096]);
    let _ = stream.try_write(SHED_RESPONSE);
}

/// Step 2. Speaks HTTP with one client until it leaves, is cut, or the server drains.
async fn http(socket: Rc<Socket>) {
    let first = match socket.connection.session() {
        // Inside of TLS, the two have agreed already.
        Some(session) if session.http2 => First::Http2,
        Some(_) => First::Http1,
        None => poll_fn(|cx| socket.poll_first(cx)).await,
    };
    match first {
        First::Nothing => {}
        First::Http1 => http1::serve(socket).await,
        First::Http2 => {
            if let Some(serving) = http2(socket) {
                serving.await;
            }
        }
    }
}

/// Boxed, so that connections of HTTP/1 do not reserve room for it.
fn http2(socket: Rc<Socket>) -> Option<Pin<Box<impl Future<Output = ()>>>> {
    let (stream, received) = socket.take();
    Some(Box::pin(http2::serve(stream?, received, socket.thread.clone(), socket.connection.clone())))
}

/// Steps 3 to 6, for one request, which is boxed since it moves from step to step.
pub(crate) async fn serve(
    thread: Rc<Thread>,
    connection: Rc<Connection>,
    mut request: Box<Request<RequestBody>>,
) -> Response<EdgeBody> {
    let websocket = websocket::handshake(&mut request);
    let scan = Scan::of(request.headers());
    let mut exchange = Exchange::begin(thread, connection, &request, &scan);
    let asker = Asker {
        head: *request.method() == Method::HEAD,
        html: scan.accept.is_some_and(|accept| prefers_html(accept.as_bytes())),
        codings: scan.accept_encoding.map(|accept| Accepted::parse(accept.as_bytes())),
    };
    let facts = Facts {
        content_length: scan.content_length,
        hop: scan.hop,
        websocket: matches!(websocket, Ok(Some(_))),
        trailers: scan.trailers,
    };
    let place = guard(&exchange, &request, &scan)
        .and_then(|host| match &websocket {
            Err(refusal) => Err(*refusal),
            Ok(_) => Ok(host),
        })
        .and_then(|host| find(&mut exchange, host, &request));
    let answer = match place {
        Ok(place) => handle(&mut exchange, place, request, &facts).await,
        Err(refusal) => Err(refusal),
    };
    match (websocket.ok().flatten(), answer) {
        (Some(handshake), Ok(answer)) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
            websocket::switch(exchange, handshake, answer)
                .unwrap_or_else(|(exchange, refusal)| respond(exchange, Err(refusal), asker, None))
        }
        // Success would mean to the client that the tunnel stands.
        (Some(Handshake::Http2(_)), Ok(answer)) if answer.status().is_success() => {
            respond(exchange, Err(Refusal::WEBSOCKET_DECLINED), asker, None)
        }
        (_, answer) => {
            let detail = match &answer {
                // Boxed, so that requests reserve no room for what only developers have.
                Err(_) if exchange.thread.explain.is_some() => Box::pin(explanation(&exchange)).await,
                _ => None,
            };
            respond(exchange, answer, asker, detail)
        }
    }
}

/// What is known about a request that failed in its worker.
async fn explanation(exchange: &Exchange) -> Option<String> {
    let (explain, worker) = (exchange.thread.explain.as_ref()?, exchange.worker.clone()?);
    explain(worker, exchange.request_id.to_str().unwrap_or_default().to_owned()).await
}

/// Step 6 for what arrived in place of a request, which ends the connection.
pub(crate) fn refuse(
    thread: Rc<Thread>,
    connection: Rc<Connection>,
    protocol: Protocol,
    refusal: Refusal,
) -> Response<EdgeBody> {
    let exchange = Exchange::begin_malformed(thread, connection, protocol);
    respond(exchange, Err(refusal), Asker { head: false, html: false, codings: None }, None)
}

/// What was seen of a request's head before it moved on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// Of the body, bytes, where it was announced.
    pub(crate) content_length: Option<u64>,
    /// It has fields that concern the client's connection only.
    pub(crate) hop: bool,
    /// It is the handshake of a WebSocket.
    pub(crate) websocket: bool,
    /// The client takes trailer fields.
    pub(crate) trailers: bool,
}

/// What of the request decides the shape of an answer.
#[derive(Clone, Copy)]
struct Asker {
    /// Wants no body.
    head: bool,
    /// Would rather read a page than JSON.
    html: bool,
    /// Compressed forms that it takes.
    codings: Option<Accepted>,
}

/// Step 3. Refuses what HTTP forbids; returns the host asked for.
fn guard<'r>(
    exchange: &Exchange,
    request: &'r Request<RequestBody>,
    scan: &Scan<'r>,
) -> Result<&'r str, Refusal> {
    guard::check(request.method(), request.uri(), request.version(), scan, &exchange.thread.config)
}

/// Where a request is answered.
enum Place {
    Elsewhere(Box<Response<Content>>),
    Route(Arc<Route>),
    Worker(Arc<Worker>),
}

/// Step 4. Finds the route of the host's site. Hosts without one belong to workers: of the host's and path's, the version
/// whose turn it is. Paths are compared in their plain form; a request goes on as it came, unless another route would have taken it then.
fn find(exchange: &mut Exchange, host: &str, request: &Request<RequestBody>) -> Result<Place, Refusal> {
    if let Some(answer) = acme::answer(exchange, request) {
        return Ok(Place::Elsewhere(Box::new(answer)));
    }
    let thread = exchange.thread.clone();
    let sites = thread.sites();
    let path = plain(request.uri().path());
    if let Some(site) = sites.site(host) {
        if let Some(elsewhere) = https::redirect(exchange, site, host, request) {
            return Ok(Place::Elsewhere(Box::new(elsewhere)));
        }
        https::fits(exchange, &sites, host)?;
        // One throw, so that all readings of a path meet the same fate.
        let throw = OnceCell::new();
        let dice = || *throw.get_or_init(|| thread.dice.borrow_mut().f64());
        let route = |path: &str, method: &Method| site.route(request, path, method, exchange.client, dice);
        // A preflight asks on behalf of another method, and belongs to the route of that.
        let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_METHOD);
        let asked = asked.filter(|_| *request.method() == Method::OPTIONS);
        let asked = asked.and_then(|asked| Method::from_bytes(asked.as_bytes()).ok());
        let look = |path: &str| {
            let preflight = asked.as_ref().and_then(|method| route(path, method).ok());
            let preflight = preflight.filter(|found| found.target.has_cors());
            preflight.map_or_else(|| route(path, request.method()), Ok)
        };
        let found = match look(&path) {
            Ok(found) => found,
            Err(Miss::NotFound) => return Err(Refusal::NO_ROUTE),
            Err(Miss::Method(methods)) => {
                exchange.later.push(Box::new(move |response| allow(&methods, response)));
                return Err(Refusal::ROUTE_METHOD);
            }
        };
        let is_same = |path: &str| look(path).is_ok_and(|other| Arc::ptr_eq(other.target, found.target));
        // Whoever answers may read it so, and the rules of that path were not asked.
        if other_reading(&path).is_some_and(|other| !is_same(&other)) {
            return Err(Refusal::AMBIGUOUS_PATH);
        }
        let as_it_came = request.uri().path();
        if path != as_it_came && (has_dot_segments(as_it_came) || !is_same(as_it_came)) {
            exchange.plainer = Some(path.into_owned());
        }
        let target = found.target.clone();
        exchange.parameters = found.parameters;
        return Ok(Place::Route(target));
    }
    let mut routes = thread.routes.borrow_mut();
    let deployment = routes.lookup(host, &path).ok_or(Refusal::NO_SUCH_WORKER)?;
    thread.pick(deployment).map(Place::Worker)
}

/// The same address with another path.
fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// Says which methods an address takes.
fn allow(methods: &[Method], response: &mut Response<Content>) {
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    if let Ok(value) = HeaderValue::from_str(&names.join(", ")) {
        response.headers_mut().insert(header::ALLOW, value);
    }
}

/// Step 5. Has the request answered. A panic on the way is this request's failure only.
async fn handle(
    exchange: &mut Exchange,
    place: Place,
    request: Box<Request<RequestBody>>,
    facts: &Facts,
) -> Result<Response<Content>, Refusal> {
    let answer = {
        let mut answer = pin!(pass(exchange, place, request, facts));
        poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(_) => Poll::Ready(Err(Refusal::INTERNAL)),
        })
        .await
    };
    // Whatever was made of a body that a step broke off.
    if let Some(refusal) = exchange.body_fault.as_ref().and_then(|fault| fault.get()) {
        return Err(refusal);
    }
    match answer {
        Err(_) if exchange.connection.body_stalled() => Err(Refusal::BODY_STALLED),
        Err(refusal) => Err(exchange.connection.fault().map_or(refusal, Refusal::from)),
        answer => answer,
    }
}

/// The steps, one after the other, then what answers.
async fn pass(
    exchange: &mut Exchange,
    place: Place,
    mut request: Box<Request<RequestBody>>,
    facts: &Facts,
) -> Result<Response<Content>, Refusal> {
    let sites;
    let steps = match &place {
        // Nothing about a request that came the wrong way is to be looked at.
        Place::Elsewhere(_) => &Vec::new(),
        Place::Route(route) => {
            exchange.route = Some(route.clone());
            if route.server_timing {
                Timeline::tell(exchange);
            }
            &route.steps
        }
        Place::Worker(_) => {
            sites = exchange.thread.sites();
            &sites.common
        }
    };
    if facts.hop && !steps.is_empty() {
        // Before the steps: the client's `Connection` must not name, and so remove, what they add.
        headers::strip_request(request.headers_mut());
    }
    if let Some(timeline) = &exchange.timeline {
        timeline.propagate(request.headers_mut(), false);
    }
    if let Some(path) = exchange.plainer.take() {
        *request.uri_mut() = with_path(request.uri(), &path).ok_or(Refusal::AMBIGUOUS_PATH)?;
    }
    for step in steps {
        let started = timeline::start(exchange);
        let flow = step.before(exchange, &mut request).await;
        timeline::end(exchange, started, step.kind(), false);
        match flow {
            Flow::On => {}
            Flow::Answer(answer) => return Ok(*answer),
            Flow::Refuse(refusal) => return Err(refusal),
        }
    }
    if let Some(timeline) = &exchange.timeline {
        timeline.propagate(request.headers_mut(), true);
    }
    if let Place::Route(route) = &place
        && let Some(hints) = route.hints.as_ref().filter(|_| !facts.websocket)
        && let Some(teller) = Teller::of(exchange, request.method(), request.headers())
    {
        teller.early(hints);
    }
    let started = timeline::start(exchange);
    let (kind, answer) = match place {
        Place::Elsewhere(answer) => return Ok(*answer),
        Place::Route(route) if cached::concerns(exchange, &route, &request) => {
            // Boxed, so that requests that are not cached reserve no room for it.
            ("cache", Box::pin(cached::pass(exchange, &route, request, facts)).await)
        }
        Place::Route(route) => (route.handler.kind(), route.handler.answer(exchange, request, facts).await),
        Place::Worker(worker) => ("worker", run_worker(exchange, worker, request, facts).await),
    };
    timeline::end(exchange, started, kind, true);
    answer
}

/// Has a worker answer a client's request.
pub(crate) async fn run_worker(
    exchange: &mut Exchange,
    worker: Arc<Worker>,
    request: Box<Request<RequestBody>>,
    facts: &Facts,
) -> Result<Response<Content>, Refusal> {
    // A body that is announced as too large is not even begun.
    if facts.content_length.is_some_and(|length| length > worker.limits.body_bytes) {
        return Err(Refusal::from(&EngineError::BodyTooLarge));
    }
    exchange.worker = Some(worker.clone());
    call_worker(exchange, &worker, request, facts).await
}

/// Hands a request to a worker.
pub(crate) async fn call_worker(
    exchange: &Exchange,
    worker: &Arc<Worker>,
    mut request: Box<Request<RequestBody>>,
    facts: &Facts,
) -> Result<Response<Content>, Refusal> {
    if facts.hop {
        headers::strip_request(request.headers_mut());
    }
    request.headers_mut().insert(REQUEST_ID, exchange.request_id.clone());
    let context = RequestContext {
        scheme: exchange.scheme(),
        request_id: exchange.request_id.to_str().unwrap_or_default().to_owned(),
        socket: facts.websocket,
    };
    let answer = exchange.thread.workers.fetch(worker, *request, context).await;
    match answer.map_err(|error| Refusal::from(&error))? {
        // Interim statuses are no answers, and HTTP knows none above 599.
        answer if facts.websocket && answer.status() == StatusCode::SWITCHING_PROTOCOLS => Ok(answer),
        answer if !(200..600).contains(&answer.status().as_u16()) => {
            Err(Refusal::from(&EngineError::NoResponse(String::new())))
        }
        answer => Ok(answer),
    }
}

/// Step 6. Makes the response of an answer, or of the reason why there is none, with `detail` for developers.
fn respond(
    mut exchange: Box<Exchange>,
    answer: Result<Response<Content>, Refusal>,
    asker: Asker,
    detail: Option<String>,
) -> Response<EdgeBody> {
    let mut response = match answer {
        Ok(mut response) => {
            headers::strip_response(response.headers_mut());
            response.extensions_mut().clear();
            response
        }
        Err(refusal) => {
            exchange.code = Some(refusal.code);
            let response = refusal.response(asker.html, &exchange.request_id, detail.as_deref());
            let mut response = response.map(Content::from);
            if refusal.close && exchange.protocol != Protocol::Http2 {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
    };
    let thread = exchange.thread.clone();
    let kept = matches!(response.body(), Content::Prepared(prepared) if prepared.kept);
    let told = exchange.noted.is_some() && !thread.log_fields.response.is_empty();
    // Else a head that is written already stays so.
    if exchange.protocol == Protocol::Http2
        || asker.head
        || told
        || !exchange.later.is_empty()
        || compress::concerns(&response, asker.codings, &thread.config.compression)
    {
        Content::unfold(&mut response);
    }
    while let Some(later) = exchange.later.pop() {
        later(&mut response);
    }
    exchange.security.finish(exchange.scheme() == "https", &mut response);
    compress::apply(
        &mut response,
        asker.codings,
        asker.head,
        kept,
        &thread.config.compression,
        &thread.compressors,
    );
    let (mut head, body) = response.into_parts();
    let length = body.size_hint().exact();
    if asker.head {
        // The length that GET would have.
        if let Some(length) = length.filter(|length| *length > 0) {
            head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
    } else if length.is_some() {
        // The true length is sent; a worker's own may be wrong.
        head.headers.remove(header::CONTENT_LENGTH);
    }
    head.version = Version::HTTP_11;
    if exchange.protocol == Protocol::Http2 {
        exchange.decorate(&mut head.headers);
    }
    if let Some(timeline) = &exchange.timeline {
        timeline.tell_client(exchange.started, Instant::now(), &mut head.headers);
    }
    exchange.note_response(&head.headers);
    exchange.status = head.status;
    let body = if asker.head { Content::Empty } else { body };
    Response::from_parts(head, EdgeBody::new(body, exchange))
}

/// Step 7. Counts the request and writes its line.
pub(crate) fn log_and_measure(exchange: &Exchange) {
    let now = exchange.thread.clock.tick();
    let duration_us = (now - exchange.started).as_micros() as u64;
    exchange.connection.end_request(now);
    let thread = &exchange.thread;
    thread.counters.request(exchange.protocol, exchange.status.as_u16(), duration_us);
    if let Some(code) = exchange.code {
        thread.counters.failed(code, flags::of(code, exchange.status.as_u16()));
    }
    let exemplar = exchange.timeline.as_ref().and_then(|timeline| timeline.trace_id()).map(|trace_id| {
        let at_ms = thread.clock.since_epoch(now).as_millis() as u64;
        Exemplar { trace_id, duration_us, at_ms }
    });
    if let Some(exemplar) = exemplar {
        thread.counters.exemplar(exemplar);
    }
    thread.places.count(exchange, duration_us, exemplar);
    if let Some(tracer) = &exchange.thread.tracer {
        timeline::finish(exchange, tracer, now);
    }
    if exchange.noted.is_some() {
        log(exchange, duration_us);
    }
}

/// Writes the line of a request.
fn log(exchange: &Exchange, duration_us: u64) {
    let Some(noted) = &exchange.noted else { return };
    let status = exchange.status.as_u16();
    let thread = &exchange.thread;
    let mut log = thread.log.borrow_mut();
    if !log.wants(status, exchange.code) {
        return;
    }
    let worker = exchange.worker.as_ref().map(|w| (w.account.as_str(), w.script.as_str()));
    let request_fields = fields(&thread.log_fields.request, &noted.request_fields);
    let response_fields = fields(&thread.log_fields.response, &noted.response_fields);
    let trace_id =
        exchange.timeline.as_ref().and_then(|timeline| timeline.trace_id()).map(|id| format!("{id:032x}"));
    let first = log.push(&AccessRecord {
        time: thread.clock.since_epoch(exchange.started),
        client: &exchange.client.to_string(),
        method: noted.method(),
        host: noted.host(),
        target: noted.target(),
        protocol: noted.version(),
        scheme: exchange.scheme(),
        tls: exchange.connection.session().map(|session| session.version),
        client_cert: exchange
            .connection
            .session()
            .and_then(|session| session.client.as_deref())
            .map(|shown| (shown.subject.as_str(), shown.fingerprint.as_str())),
        status,
        bytes: exchange.bytes,
        duration_us,
        worker,
        route: exchange.route.as_ref().map(|route| route.name.as_str()),
        request_id: exchange.request_id.as_bytes(),
        trace_id: trace_id.as_deref(),
        code: exchange.code,
        flags: exchange.code.map(|code| flags::of(code, status)),
        cache: exchange.cache,
        subject: exchange.identity.as_ref().map(|identity| identity.subject.as_str()),
        server: exchange.report.as_ref().and_then(|report| report.server.as_deref()),
        server_us: exchange.report.as_ref().map_or(0, |report| report.waited.as_micros() as u64),
        attempts: exchange.report.as_ref().map_or(0, |report| report.attempts),
        referer: noted.referer.as_ref().map(HeaderValue::as_bytes),
        user_agent: noted.user_agent.as_ref().map(HeaderValue::as_bytes),
        request_fields: &request_fields,
        response_fields: &response_fields,
    });
    if first {
        thread.log_waits.notify_one();
    }
}

/// Names of fields and what they were, for a line.
fn fields<'a>(
    names: &'a [HeaderName],
    values: &'a [Option<HeaderValue>],
) -> Vec<(&'a str, Option<&'a [u8]>)> {
    let values = values.iter().map(|value| value.as_ref().map(HeaderValue::as_bytes));
    names.iter().map(HeaderName::as_str).zip(values).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::size_of;

    fn of<F>(_: &impl FnOnce() -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    #[allow(unreachable_code, reason = "only the types matter")]
    fn idle_connections_reserve_little() {
        let waiting = of(&|| http(unreachable!())) + size_of::<Connection>() + size_of::<Socket>();
        assert!(waiting <= 640, "{waiting} bytes, besides what the runtime has of a task and a socket");
    }
}
