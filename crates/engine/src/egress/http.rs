//! One exchange with a server: a connection out of the pool or a new one, the request, the answer's head, its body.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use selvedge_model::Worker;
use selvedge_wire::message::{self, Head, ResetCode};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::body::Outgoing;
use super::dial::{dial, secure};
use super::failed::{Failed, causes, timed_out, unreachable};
use super::policy::{Policy, check_name};
use super::pool::{self, Pool, Sender, Tenant};
use super::request::{HOP_BY_HOP, Target};
use crate::connection::Connection;
use crate::stream::Stream;

/// Longest wait for one of the account's places.
pub const PLACE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for the answer's head; the request's own wall time limit usually ends it earlier.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(100);
/// Longest silence within an answer's body.
const IDLE_TIMEOUT: Duration = Duration::from_secs(100);
/// How long a connection may take to become ready again after its answer.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);
/// Largest head of an answer, bytes, and its most fields.
const HEAD_MAX: usize = 64 << 10;
pub(super) const FIELDS_MAX: usize = 256;
/// What one stream and all streams of an HTTP/2 connection may send ahead, bytes.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 2 << 20;

/// Puts hyper's tasks on the thread that it runs on.
#[derive(Clone, Copy, Debug)]
struct Here;

impl<F: Future + 'static> hyper::rt::Executor<F> for Here {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(async {
            task.await;
        });
    }
}

/// What an exchange holds on to until its answer has been passed on.
#[derive(Debug)]
pub struct Lease {
    pool: Rc<Pool>,
    key: String,
    tenant: Rc<Tenant>,
    sender: Option<http1::SendRequest<Outgoing>>,
    place: OwnedSemaphorePermit,
}

impl Lease {
    /// The answer was read to its end: the connection may serve another request.
    pub async fn give_back(self) {
        // Others need the place more than this one needs to be exact.
        drop(self.place);
        if let Some(mut sender) = self.sender
            && let Ok(Ok(())) = timeout(SETTLE_TIMEOUT, sender.ready()).await
        {
            self.pool.keep(&self.key, &self.tenant, sender);
        }
    }
}

/// Sends a request and waits for the head of its answer.
pub async fn exchange(
    pool: &Rc<Pool>,
    policy: &Policy,
    worker: &Worker,
    target: &Target,
    mut request: Request<Outgoing>,
) -> Result<(Response<Incoming>, Lease), Failed> {
    check_name(&worker.egress, &target.host, target.port)?;
    let tenant = pool.tenant(&worker.account);
    let place = timeout(PLACE_TIMEOUT, tenant.exchanges.clone().acquire_owned()).await;
    let Ok(Ok(place)) = place else {
        return Err(too_many());
    };
    let key = pool::key(&worker.account, target.secure, &target.host, target.port);
    let mut pooled = pool.take(&key);
    loop {
        let reused = pooled.is_some();
        let sender = match pooled.take() {
            Some(sender) => sender,
            None => connect(pool, policy, worker, target, (&key, &tenant)).await?,
        };
        let spare = if reused { replay(&request) } else { None };
        target.write(&mut request, matches!(sender, Sender::Http2(_)));
        let (answer, sender) = match sender {
            Sender::Http1(mut sender) => {
                (timeout(HEAD_TIMEOUT, sender.try_send_request(request)).await, Some(sender))
            }
            Sender::Http2(mut sender) => {
                (timeout(HEAD_TIMEOUT, sender.try_send_request(request)).await, None)
            }
        };
        match answer {
            Ok(Ok(response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return Err(bad_response(&target.host, "it switches protocols without being asked to"));
            }
            Ok(Ok(response)) => {
                return Ok((response, Lease { pool: pool.clone(), key, tenant, sender, place }));
            }
            Ok(Err(mut error)) => match error.take_message().or(spare) {
                // The server closed the connection while it was idle.
                Some(again) if reused => request = again,
                _ => return Err(broke(&target.host, error.error())),
            },
            Err(_) => return Err(timed_out(format!("{} did not answer in time.", target.host))),
        }
    }
}

/// The account has no place for another exchange or connection.
pub fn too_many() -> Failed {
    timed_out(
        "Too many subrequests of this account are under way. Read or cancel the bodies of responses that are not needed.",
    )
}

/// A copy of a request that may be sent twice (RFC 9110, section 9.2.2), for when nobody knows whether it arrived.
fn replay(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    if request.body().0.is_some() || !request.method().is_idempotent() {
        return None;
    }
    let mut copy = Request::new(Outgoing(None));
    *copy.method_mut() = request.method().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

async fn connect(
    pool: &Rc<Pool>,
    policy: &Policy,
    worker: &Worker,
    target: &Target,
    (key, tenant): (&str, &Rc<Tenant>),
) -> Result<Sender, Failed> {
    let socket = dial(policy, &worker.egress, &target.host, target.port).await?;
    if !target.secure {
        return http1(&target.host, socket).await;
    }
    let socket = secure(&policy.http_tls, &target.host, socket).await?;
    if socket.get_ref().1.alpn_protocol() != Some(b"h2") {
        return http1(&target.host, socket).await;
    }
    // Somebody else may have connected meanwhile.
    if let Some(sender @ Sender::Http2(_)) = pool.take(key) {
        return Ok(sender);
    }
    let (sender, driver) = http2::Builder::new(Here)
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEAD_MAX as u32)
        .handshake(TokioIo::new(socket))
        .await
        .map_err(|error| broke(&target.host, &error))?;
    tokio::task::spawn_local(driver);
    pool.share(key, tenant, sender.clone());
    Ok(Sender::Http2(sender))
}

async fn http1<S>(host: &str, socket: S) -> Result<Sender, Failed>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let (sender, driver) = http1::Builder::new()
        .max_headers(FIELDS_MAX)
        .max_buf_size(HEAD_MAX.max(128 << 10))
        .handshake(TokioIo::new(socket))
        .await
        .map_err(|error| broke(host, &error))?;
    tokio::task::spawn_local(driver);
    Ok(Sender::Http1(sender))
}

fn bad_response(host: &str, why: &str) -> Failed {
    Failed(ResetCode::BadResponse, format!("{host} sent an answer that cannot be used: {why}."))
}

pub(super) fn broke(host: &str, error: &hyper::Error) -> Failed {
    if error.is_parse_too_large() {
        return bad_response(host, "its headers are too large");
    }
    if error.is_parse() {
        return bad_response(host, &causes(error));
    }
    if error.is_incomplete_message() {
        return unreachable(format!("{host} closed the connection before its answer was complete."));
    }
    unreachable(format!("{host} broke the exchange off: {}.", causes(error)))
}

/// Passes the answer on, as fast as the isolate takes it. True when all of it went.
pub async fn relay(
    connection: &Rc<Connection>,
    stream: &Rc<Stream>,
    host: &str,
    response: Response<Incoming>,
) -> Result<bool, Failed> {
    let (parts, mut body) = response.into_parts();
    let mut headers = Vec::with_capacity(512);
    put_headers(&mut headers, &parts.headers);
    if headers.len() > HEAD_MAX * 2 {
        return Err(bad_response(host, "its headers are too large"));
    }
    let head = Head { status: parts.status.as_u16(), headers: &headers };
    let empty = body.is_end_stream();
    connection.answer(stream, head, empty);
    if empty {
        return Ok(true);
    }
    loop {
        let next = patient(poll_fn(|cx| Pin::new(&mut body).poll_frame(cx))).await;
        let frame = match next {
            None => return Err(timed_out(format!("{host} fell silent in the midst of its answer."))),
            Some(None) => break,
            Some(Some(Err(error))) => return Err(broke(host, &error)),
            Some(Some(Ok(frame))) => frame,
        };
        // Trailers are nothing that workers see.
        let Ok(bytes) = frame.into_data() else { continue };
        let end = body.is_end_stream();
        if !stream.send_all(&bytes, end).await {
            return Ok(false);
        }
        if end {
            return Ok(true);
        }
    }
    stream.send_data(&[], true);
    Ok(true)
}

fn put_headers(out: &mut Vec<u8>, headers: &HeaderMap) {
    // Names that `Connection` lists concern it only, too.
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| {
            !matches!(*name, header::CONTENT_LENGTH | header::CONTENT_TYPE | header::CONTENT_ENCODING)
        })
        .collect();
    for (name, value) in headers {
        if !HOP_BY_HOP.contains(name) && !named.contains(name) {
            message::put_header(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
}

/// Waits no longer than [`IDLE_TIMEOUT`]; what is ready costs no timer.
async fn patient<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    if let Poll::Ready(value) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
        return Some(value);
    }
    timeout(IDLE_TIMEOUT, future).await.ok()
}

/// Serves one subrequest from its beginning to its end.
pub async fn serve(
    connection: &Rc<Connection>,
    pool: &Rc<Pool>,
    policy: &Policy,
    worker: &Arc<Worker>,
    stream: &Rc<Stream>,
    (target, request): (Target, Request<Outgoing>),
) -> Result<Option<Lease>, Failed> {
    let (response, lease) = exchange(pool, policy, worker, &target, request).await?;
    let complete = relay(connection, stream, &target.host, response).await?;
    Ok(complete.then_some(lease))
}
