//! The life of a request, one function a step:
//!
//! 1. [`accept`]: a connection arrives on one of the thread's listeners, or is turned away
//! 2. [`http`]: HTTP/1.1 or HTTP/2, as the client's first bytes say
//! 3. [`guard`]: requests that HTTP forbids are refused
//! 4. [`route`]: host and path lead to a worker
//! 5. [`handle`]: the engine has the worker answer
//! 6. [`respond`]: the answer, or the reason why there is none, becomes a response
//! 7. [`log_and_measure`]: when the response's last byte is handed over, or the client left
//!
//! [`serve`] runs the steps from 3 to 6 for each request; everything happens on the thread that accepted.

use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use hyper::server::conn::http2::Connection as Http2Connection;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use selvedge_engine::{EngineError, RequestContext, WorkerBody, WorkerSocket};
use selvedge_model::Worker;
use selvedge_telemetry::AccessRecord;
use selvedge_telemetry::http_metrics::Protocol;
use tokio::net::{TcpListener, TcpStream};

use crate::body::{EdgeBody, RequestBody};
use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::guard;
use crate::headers::{self, REQUEST_ID, Scan};
use crate::http1::{self, First, Socket};
use crate::http2::{self, ClientSocket};
use crate::refusal::{Refusal, prefers_html};
use crate::thread::Thread;
use crate::websocket::{self, Handshake};

/// How the engine, or a test in its place, answers a request. One instance lives on each serving thread.
pub trait Handler<B>:
    AsyncFn(&Arc<Worker>, Request<RequestBody>, RequestContext) -> Result<Response<B>, EngineError> + 'static
{
}

impl<B, F> Handler<B> for F where
    F: AsyncFn(&Arc<Worker>, Request<RequestBody>, RequestContext) -> Result<Response<B>, EngineError>
        + 'static
{
}

/// A body that a handler answers with.
pub trait AnswerBody: Body<Data = Bytes, Error = EngineError> + 'static {
    /// The WebSocket that an answer with status 101 begins.
    fn into_socket(self) -> Option<WorkerSocket>;
}

impl AnswerBody for WorkerBody {
    fn into_socket(self) -> Option<WorkerSocket> {
        WorkerBody::into_socket(self)
    }
}

/// For clients that come when all connections are taken.
const SHED_RESPONSE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n\
    content-type: application/json\r\ncontent-length: 85\r\n\r\n\
    {\"error\":{\"code\":\"too_many_connections\",\"message\":\"The server is full. Try again.\"}}\n";
/// Pause after accept fails for want of files or memory, which others have to free first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Step 1. Takes connections, for ever, each on a task of its own.
pub(crate) async fn accept<B: AnswerBody>(
    listener: TcpListener,
    thread: Rc<Thread>,
    handler: Rc<impl Handler<B>>,
) {
    loop {
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Fails only when the client is gone already.
        let _ = stream.set_nodelay(true);
        let Some(admitted) = thread.admit(client.ip().to_canonical().to_string()) else {
            shed(&thread, &stream);
            continue;
        };
        let (thread, handler) = (thread.clone(), handler.clone());
        tokio::task::spawn_local(async move {
            http(stream, thread, handler, &admitted.connection).await;
        });
    }
}

fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// Turns a connection away with an answer, as far as that goes without waiting for the client.
fn shed(thread: &Thread, stream: &TcpStream) {
    thread.counters.shed.add(1);
    // Bytes left unread at close would have the kernel reset the connection and void the answer.
    let _ = stream.try_read(&mut [0; 4096]);
    let _ = stream.try_write(SHED_RESPONSE);
}

/// Step 2. Speaks HTTP with one client until it leaves, is cut, or the server drains.
async fn http<B: AnswerBody>(
    stream: TcpStream,
    thread: Rc<Thread>,
    handler: Rc<impl Handler<B>>,
    connection: &Rc<Connection>,
) {
    let socket = Socket::new(stream, connection.clone(), thread.clone());
    match poll_fn(|cx| socket.poll_first(cx)).await {
        First::Nothing => {}
        First::Http1 => http1::serve(socket, thread, handler).await,
        First::Http2(stream, received) => {
            // Boxed, so that connections of HTTP/1 do not reserve room for it.
            let socket = ClientSocket::new(stream, received, connection.clone());
            Box::pin(http2(socket, thread, handler, connection)).await;
        }
    }
}

/// The same with HTTP/2, which hyper speaks.
async fn http2<B: AnswerBody>(
    socket: ClientSocket,
    thread: Rc<Thread>,
    handler: Rc<impl Handler<B>>,
    connection: &Rc<Connection>,
) {
    connection.is_http2();
    let service = service_fn(|request: Request<_>| {
        let request = Box::new(request.map(RequestBody::Http2));
        let answer = serve(thread.clone(), handler.clone(), connection.clone(), request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let mut http = pin!(http2::settings(&thread.config).serve_connection(TokioIo::new(socket), service));
    http2::drive(connection, http.as_mut(), Http2Connection::graceful_shutdown).await;
}

/// Steps 3 to 6, for one request, which is boxed since it moves from step to step.
pub(crate) async fn serve<B: AnswerBody>(
    thread: Rc<Thread>,
    handler: Rc<impl Handler<B>>,
    connection: Rc<Connection>,
    mut request: Box<Request<RequestBody>>,
) -> Response<EdgeBody<B>> {
    let websocket = websocket::handshake(&mut request);
    let scan = Scan::of(request.headers());
    let mut exchange = Exchange::begin(thread, connection, &request, &scan);
    let asker = Asker {
        head: *request.method() == Method::HEAD,
        html: scan.accept.is_some_and(|accept| prefers_html(accept.as_bytes())),
    };
    let found = guard(&exchange, &request, &scan)
        .and_then(|host| match &websocket {
            Err(refusal) => Err(*refusal),
            Ok(_) => Ok(host),
        })
        .and_then(|host| route(&exchange.thread, host, request.uri().path()))
        .and_then(|worker| fits(&worker, &scan).map(|()| worker));
    let websocket = websocket.ok().flatten();
    let answer = match found {
        Ok(worker) => {
            let hop = scan.hop;
            exchange.worker = Some(worker.clone());
            handle(&*handler, &exchange, &worker, request, hop, websocket.is_some()).await
        }
        Err(refusal) => Err(refusal),
    };
    match (websocket, answer) {
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
pub(crate) fn refuse<B: AnswerBody>(
    thread: Rc<Thread>,
    connection: Rc<Connection>,
    refusal: Refusal,
) -> Response<EdgeBody<B>> {
    let exchange = Exchange::begin_malformed(thread, connection);
    respond(exchange, Err(refusal), Asker { head: false, html: false }, None)
}

/// What of the request decides the shape of an answer.
#[derive(Clone, Copy)]
struct Asker {
    /// Wants no body.
    head: bool,
    /// Would rather read a page than JSON.
    html: bool,
}

/// Step 3. Refuses what HTTP forbids; returns the host asked for.
fn guard<'r>(
    exchange: &Exchange,
    request: &'r Request<RequestBody>,
    scan: &Scan<'r>,
) -> Result<&'r str, Refusal> {
    guard::check(request.method(), request.uri(), request.version(), scan, &exchange.thread.config)
}

/// Step 4. Finds the worker for a host and path, and of its versions the one whose turn it is.
fn route(thread: &Thread, host: &str, path: &str) -> Result<Arc<Worker>, Refusal> {
    let mut routes = thread.routes.borrow_mut();
    let deployment = routes.lookup(host, path).ok_or(Refusal::NO_SUCH_WORKER)?;
    match &*deployment.shares {
        [] => Err(Refusal::NO_SUCH_WORKER),
        [only] => Ok(only.worker.clone()),
        _ => Ok(deployment.pick(thread.dice.borrow_mut().f64()).clone()),
    }
}

/// Part of step 5: a body that is announced as too large is not even begun.
fn fits(worker: &Worker, scan: &Scan<'_>) -> Result<(), Refusal> {
    match scan.content_length {
        Some(length) if length > worker.limits.body_bytes => Err(Refusal::from(&EngineError::BodyTooLarge)),
        _ => Ok(()),
    }
}

/// Step 5. Has the worker answer. A panic on the way is this request's failure only.
async fn handle<B: AnswerBody>(
    handler: &impl Handler<B>,
    exchange: &Exchange,
    worker: &Arc<Worker>,
    mut request: Box<Request<RequestBody>>,
    hop: bool,
    websocket: bool,
) -> Result<Response<B>, Refusal> {
    if hop {
        headers::strip_request(request.headers_mut());
    }
    request.headers_mut().insert(REQUEST_ID, exchange.request_id.clone());
    let context = RequestContext {
        scheme: "http",
        request_id: exchange.request_id.to_str().unwrap_or_default().to_owned(),
        socket: websocket,
    };
    let mut answer = pin!(handler(worker, *request, context));
    let answer = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx))) {
        Ok(Poll::Ready(answer)) => Poll::Ready(answer.map_err(|error| Refusal::from(&error))),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(Err(Refusal::INTERNAL)),
    })
    .await;
    match answer {
        Err(_) if exchange.connection.body_stalled() => Err(Refusal::BODY_STALLED),
        Err(refusal) => Err(exchange.connection.fault().map_or(refusal, Refusal::from)),
        // Interim statuses are no answers, and HTTP knows none above 599.
        Ok(answer) if websocket && answer.status() == StatusCode::SWITCHING_PROTOCOLS => Ok(answer),
        Ok(answer) if !(200..600).contains(&answer.status().as_u16()) => {
            Err(Refusal::from(&EngineError::NoResponse(String::new())))
        }
        answer => answer,
    }
}

/// Step 6. Makes the response of a worker's answer, or of the reason why there is none, with `detail` for developers.
fn respond<B: AnswerBody>(
    mut exchange: Box<Exchange>,
    answer: Result<Response<B>, Refusal>,
    asker: Asker,
    detail: Option<String>,
) -> Response<EdgeBody<B>> {
    let (mut head, body) = match answer {
        Ok(answer) => {
            let (mut head, body) = answer.into_parts();
            headers::strip_response(&mut head.headers);
            head.extensions.clear();
            (head, Ok(body))
        }
        Err(refusal) => {
            exchange.code = Some(refusal.code);
            let (mut head, text) =
                refusal.response(asker.html, &exchange.request_id, detail.as_deref()).into_parts();
            if refusal.close && exchange.protocol != Protocol::Http2 {
                head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            (head, Err(text))
        }
    };
    let length = match &body {
        Ok(body) => body.size_hint().exact(),
        Err(text) => Some(text.len() as u64),
    };
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
    exchange.decorate(&mut head.headers);
    exchange.status = head.status;
    let body = match body {
        _ if asker.head => EdgeBody::text(Bytes::new(), exchange),
        Ok(body) => EdgeBody::worker(body, exchange),
        Err(text) => EdgeBody::text(text, exchange),
    };
    Response::from_parts(head, body)
}

/// Step 7. Counts the request and writes its line.
pub(crate) fn log_and_measure(exchange: &Exchange) {
    let now = exchange.thread.clock.tick();
    let duration_us = (now - exchange.started).as_micros() as u64;
    exchange.connection.end_request(now);
    exchange.thread.counters.request(exchange.protocol, exchange.status.as_u16(), duration_us);
    let Some(noted) = &exchange.noted else { return };
    let worker = exchange.worker.as_ref().map(|w| (w.account.as_str(), w.script.as_str()));
    let first = exchange.thread.log.borrow_mut().push(&AccessRecord {
        time: exchange.thread.clock.since_epoch(exchange.started),
        client: &exchange.connection.client,
        method: noted.method(),
        host: noted.host(),
        target: noted.target(),
        protocol: noted.version(),
        status: exchange.status.as_u16(),
        bytes: exchange.bytes,
        duration_us,
        worker,
        request_id: exchange.request_id.as_bytes(),
        code: exchange.code,
        referer: noted.referer.as_ref().map(HeaderValue::as_bytes),
        user_agent: noted.user_agent.as_ref().map(HeaderValue::as_bytes),
    });
    if first {
        exchange.thread.log_waits.notify_one();
    }
}
