//! What is remembered of a request until its response ended.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version, header};
use http_body::Frame;
use selvedge_auth::Identity;
use selvedge_engine::SocketEnd;
use selvedge_model::Worker;
use selvedge_router::Parameters;
use selvedge_telemetry::http_metrics::Protocol;
use selvedge_upstream::{Report, forward};

use crate::body::{Fault, RequestBody};
use crate::connection::Connection;
use crate::headers::{REQUEST_ID, Scan};
use crate::refusal::Refusal;
use crate::request::log_and_measure;
use crate::request_id;
use crate::sites::Route;
use crate::steps::{Later, SecurityHeaders};
use crate::thread::Thread;
use crate::timeline::Timeline;

/// A request and its response. Dropping it, wherever that happens, logs and measures the request.
pub(crate) struct Exchange {
    pub(crate) thread: Rc<Thread>,
    pub(crate) connection: Rc<Connection>,
    pub(crate) started: Instant,
    pub(crate) protocol: Protocol,
    pub(crate) request_id: HeaderValue,
    /// Who asks: the connection's peer, or whom a trusted proxy names. Loopback for Unix sockets.
    pub(crate) client: IpAddr,
    /// The site's route that answers; none where a deployed worker does.
    pub(crate) route: Option<Arc<Route>>,
    /// What the parameters of the route's path are.
    pub(crate) parameters: Parameters,
    /// The path that the request goes on with, where that is not the one it came with.
    pub(crate) plainer: Option<String>,
    /// Who asks, once a step has found out.
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) worker: Option<Arc<Worker>>,
    /// How the answer of a server behind this one came about.
    pub(crate) report: Option<Box<Report>>,
    /// What took how long, where somebody wants to know.
    pub(crate) timeline: Option<Box<Timeline>>,
    /// What steps want done to the response, whoever answers; the last goes first.
    pub(crate) later: Vec<Later>,
    /// What the site says in answers to protect its users, after all else was done to them.
    pub(crate) security: SecurityHeaders,
    /// Where a step that bounds the request's body says that it broke it off.
    pub(crate) body_fault: Option<Rc<Cell<Option<Refusal>>>>,
    /// [`CLIENT_CLOSED`] until there is an answer.
    pub(crate) status: StatusCode,
    pub(crate) code: Option<&'static str>,
    /// What the cache had, in a word.
    pub(crate) cache: Option<&'static str>,
    /// Of the response's body.
    pub(crate) bytes: u64,
    body: BodyState,
    /// Nobody waits for it: it is not counted, and has no line in the log.
    silent: bool,
    /// `None` when there is no access log.
    pub(crate) noted: Option<Noted>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BodyState {
    Unread,
    Streaming,
    Ended,
}

/// What the access log tells of a request's head. Clones share memory with it.
#[derive(Default)]
pub(crate) struct Noted {
    method: Option<Method>,
    uri: Option<Uri>,
    pub(crate) referer: Option<HeaderValue>,
    pub(crate) user_agent: Option<HeaderValue>,
    host: Option<HeaderValue>,
    version: Version,
    /// The fields that lines tell, in the order of [`LogFields`](crate::thread::LogFields).
    pub(crate) request_fields: Vec<Option<HeaderValue>>,
    pub(crate) response_fields: Vec<Option<HeaderValue>>,
}

/// nginx's status for clients that left before there was an answer.
const CLIENT_CLOSED: u16 = 499;

impl Exchange {
    pub(crate) fn begin(
        thread: Rc<Thread>,
        connection: Rc<Connection>,
        request: &Request<RequestBody>,
        scan: &Scan<'_>,
    ) -> Box<Self> {
        let started = thread.clock.tick();
        thread.counters.started.add(1);
        connection.begin_request(started);
        let trusted = scan.request_id.filter(|id| thread.config.trust_request_id && request_id::is_sane(id));
        let request_id = trusted.cloned().unwrap_or_else(|| thread.ids.next());
        let noted = thread.log.borrow().is_on().then(|| Noted {
            method: Some(request.method().clone()),
            uri: Some(request.uri().clone()),
            referer: scan.referer.cloned(),
            user_agent: scan.user_agent.cloned(),
            host: scan.host.cloned(),
            version: request.version(),
            request_fields: picked(&thread.log_fields.request, request.headers()),
            response_fields: Vec::new(),
        });
        let protocol = match request.version() {
            Version::HTTP_2 => Protocol::Http2,
            Version::HTTP_11 => Protocol::Http11,
            _ => Protocol::Http10,
        };
        let mut exchange = Self::new(thread, connection, started, protocol, request_id, noted);
        if !exchange.thread.trusted.is_empty() {
            let (thread, peer) = (&exchange.thread, exchange.connection.peer());
            exchange.client = forward::client(peer, request.headers(), |address| thread.is_trusted(address));
        }
        if exchange.thread.tracer.is_some() || !exchange.thread.timed.is_empty() {
            exchange.watch(request);
        }
        exchange
    }

    /// Begins a timeline where one is wanted.
    #[cold]
    fn watch(&mut self, request: &Request<RequestBody>) {
        let thread = self.thread.clone();
        if let Some(tracer) = &thread.tracer {
            Timeline::begin_trace(self, tracer, request.method(), request.uri().path(), request.headers());
        }
        if thread.timed.iter().any(|network| network.contains(self.client)) {
            Timeline::tell(self);
        }
    }

    /// For what arrived in place of a request.
    pub(crate) fn begin_malformed(
        thread: Rc<Thread>,
        connection: Rc<Connection>,
        protocol: Protocol,
    ) -> Box<Self> {
        let started = thread.clock.tick();
        thread.counters.started.add(1);
        connection.begin_request(started);
        let request_id = thread.ids.next();
        let noted = thread.log.borrow().is_on().then(Noted::default);
        Self::new(thread, connection, started, protocol, request_id, noted)
    }

    fn new(
        thread: Rc<Thread>,
        connection: Rc<Connection>,
        started: Instant,
        protocol: Protocol,
        request_id: HeaderValue,
        noted: Option<Noted>,
    ) -> Box<Self> {
        let client = connection.peer();
        // Boxed because it moves from step to step, and into the response's body.
        Box::new(Self {
            thread,
            connection,
            started,
            protocol,
            request_id,
            client,
            route: None,
            parameters: Parameters::new(),
            plainer: None,
            identity: None,
            worker: None,
            report: None,
            timeline: None,
            later: Vec::new(),
            security: SecurityHeaders::Off,
            body_fault: None,
            status: StatusCode::from_u16(CLIENT_CLOSED).unwrap_or(StatusCode::BAD_REQUEST),
            code: None,
            cache: None,
            bytes: 0,
            body: BodyState::Unread,
            silent: false,
            noted,
        })
    }

    /// For a fetch on behalf of this one, and of others who ask for the same. It is none of the client's requests.
    pub(crate) fn behind(&self) -> Box<Self> {
        Box::new(Self {
            thread: self.thread.clone(),
            connection: self.connection.clone(),
            timeline: None,
            route: self.route.clone(),
            parameters: self.parameters.clone(),
            plainer: None,
            identity: self.identity.clone(),
            request_id: self.request_id.clone(),
            later: Vec::new(),
            worker: None,
            noted: None,
            silent: true,
            security: SecurityHeaders::Off,
            report: None,
            body_fault: None,
            body: BodyState::Unread,
            ..*self
        })
    }

    /// Whether no client waits for it.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent
    }

    /// `http` or `https`, as the client has it.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.connection.session().is_some() { "https" } else { "http" }
    }

    /// Adds the fields that every response has. Over HTTP/1 they are written with the head (`http1/response.rs`).
    pub(crate) fn decorate(&self, headers: &mut HeaderMap) {
        headers.insert(REQUEST_ID, self.request_id.clone());
        if let Some(server) = &self.thread.server_header {
            headers.insert(header::SERVER, server.clone());
        }
    }

    /// Remembers what of the response's head is told.
    pub(crate) fn note_response(&mut self, headers: &HeaderMap) {
        if let Some(noted) = &mut self.noted {
            noted.response_fields = picked(&self.thread.log_fields.response, headers);
        }
    }

    /// The WebSocket that the request became is over.
    pub(crate) fn socket_ended(&mut self, end: SocketEnd) {
        self.bytes = end.sent;
        self.code = end.failure;
    }

    /// Bytes of the response's body went to the client; `last` when nothing follows them.
    pub(crate) fn body_sent(&mut self, count: u64, last: bool) {
        self.bytes += count;
        self.body = if last { BodyState::Ended } else { BodyState::Streaming };
    }

    /// A part of the response's body goes to the client; `last` when nothing follows it.
    pub(crate) fn body_frame(&mut self, frame: Option<&Result<Frame<Bytes>, Fault>>, last: bool) {
        match frame {
            Some(Ok(frame)) => {
                self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                self.body = if last { BodyState::Ended } else { BodyState::Streaming };
            }
            Some(Err(error)) => {
                self.code = Some(error.code);
                self.body = BodyState::Ended;
            }
            None => self.body = BodyState::Ended,
        }
    }
}

/// The first of each of these fields. Without names it costs nothing.
fn picked(names: &[HeaderName], headers: &HeaderMap) -> Vec<Option<HeaderValue>> {
    names.iter().map(|name| headers.get(name).cloned()).collect()
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.silent {
            return;
        }
        let left = self.body == BodyState::Streaming || self.status.as_u16() == CLIENT_CLOSED;
        if left && self.code.is_none() {
            self.code = Some("client_closed");
        }
        log_and_measure(self);
    }
}

impl Noted {
    pub(crate) fn method(&self) -> &[u8] {
        self.method.as_ref().map_or(b"-", |method| method.as_str().as_bytes())
    }

    /// Path and query.
    pub(crate) fn target(&self) -> &[u8] {
        let Some(uri) = &self.uri else { return b"-" };
        uri.path_and_query().map_or("", |target| target.as_str()).as_bytes()
    }

    /// The host asked for, in the target or in `Host`.
    pub(crate) fn host(&self) -> &[u8] {
        match (self.uri.as_ref().and_then(Uri::authority), &self.host) {
            (Some(authority), _) => authority.as_str().as_bytes(),
            (None, Some(host)) => host.as_bytes(),
            (None, None) => b"",
        }
    }

    pub(crate) fn version(&self) -> &'static str {
        match self.version {
            Version::HTTP_2 => "HTTP/2.0",
            Version::HTTP_11 => "HTTP/1.1",
            _ => "HTTP/1.0",
        }
    }
}
