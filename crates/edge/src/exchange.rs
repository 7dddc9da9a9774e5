//! What is remembered of a request until its response ended.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version, header};
use http_body::Frame;
use hyper::body::Incoming;
use selvedge_engine::{EngineError, SocketEnd};
use selvedge_model::Worker;
use selvedge_telemetry::http_metrics::Protocol;

use crate::connection::Connection;
use crate::headers::{REQUEST_ID, Scan};
use crate::request::log_and_measure;
use crate::request_id;
use crate::thread::Thread;

/// A request and its response. Dropping it, wherever that happens, logs and measures the request.
pub(crate) struct Exchange {
    pub(crate) thread: Rc<Thread>,
    pub(crate) connection: Rc<Connection>,
    pub(crate) started: Instant,
    pub(crate) protocol: Protocol,
    pub(crate) request_id: HeaderValue,
    pub(crate) worker: Option<Arc<Worker>>,
    /// [`CLIENT_CLOSED`] until there is an answer.
    pub(crate) status: StatusCode,
    pub(crate) code: Option<&'static str>,
    /// Of the response's body.
    pub(crate) bytes: u64,
    body: BodyState,
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
pub(crate) struct Noted {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) referer: Option<HeaderValue>,
    pub(crate) user_agent: Option<HeaderValue>,
    host: Option<HeaderValue>,
    version: Version,
}

/// nginx's status for clients that left before there was an answer.
const CLIENT_CLOSED: u16 = 499;

impl Exchange {
    pub(crate) fn begin(
        thread: Rc<Thread>,
        connection: Rc<Connection>,
        request: &Request<Incoming>,
        scan: &Scan<'_>,
    ) -> Box<Self> {
        let started = thread.clock.tick();
        thread.counters.started.add(1);
        let has_body = scan.chunked || scan.content_length.is_some_and(|length| length > 0);
        let least_head = if has_body { least_head(request) } else { 0 };
        connection.begin_request(started, least_head, scan.content_length, scan.chunked);
        let trusted = scan.request_id.filter(|id| thread.config.trust_request_id && request_id::is_sane(id));
        let request_id = trusted.cloned().unwrap_or_else(|| thread.ids.next());
        let noted = thread.log.borrow().is_on().then(|| Noted {
            method: request.method().clone(),
            uri: request.uri().clone(),
            referer: scan.referer.cloned(),
            user_agent: scan.user_agent.cloned(),
            host: scan.host.cloned(),
            version: request.version(),
        });
        // Boxed because it moves from step to step, and into the response's body.
        Box::new(Self {
            thread,
            connection,
            started,
            protocol: match request.version() {
                Version::HTTP_2 => Protocol::Http2,
                Version::HTTP_11 => Protocol::Http11,
                _ => Protocol::Http10,
            },
            request_id,
            worker: None,
            status: StatusCode::from_u16(CLIENT_CLOSED).unwrap_or(StatusCode::BAD_REQUEST),
            code: None,
            bytes: 0,
            body: BodyState::Unread,
            noted,
        })
    }

    /// Adds the fields that every response has.
    pub(crate) fn decorate(&self, headers: &mut HeaderMap) {
        headers.insert(REQUEST_ID, self.request_id.clone());
        if let Some(server) = &self.thread.server_header {
            headers.insert(header::SERVER, server.clone());
        }
    }

    /// The WebSocket that the request became is over.
    pub(crate) fn socket_ended(&mut self, end: SocketEnd) {
        self.bytes = end.sent;
        self.code = end.failure;
    }

    /// A part of the response's body goes to the client; `last` when nothing follows it.
    pub(crate) fn body_frame(&mut self, frame: Option<&Result<Frame<Bytes>, EngineError>>, last: bool) {
        match frame {
            Some(Ok(frame)) => {
                self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                self.body = if last { BodyState::Ended } else { BodyState::Streaming };
            }
            Some(Err(error)) => {
                self.code = Some(error.code());
                self.body = BodyState::Ended;
            }
            None => self.body = BodyState::Ended,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let left = self.body == BodyState::Streaming || self.status.as_u16() == CLIENT_CLOSED;
        if left && self.code.is_none() {
            self.code = Some("client_closed");
        }
        log_and_measure(self);
    }
}

impl Noted {
    /// The host asked for, in the target or in `Host`.
    pub(crate) fn host(&self) -> &[u8] {
        match (self.uri.authority(), &self.host) {
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

/// The fewest bytes that a head of HTTP/1 can have been sent in: no blanks that may be left out.
fn least_head(request: &Request<Incoming>) -> u64 {
    let target = request.uri().path_and_query().map_or(1, |target| target.as_str().len());
    let line = request.method().as_str().len() + target + "  HTTP/1.1\r\n".len();
    let fields: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ":\r\n".len()).sum();
    (line + fields + "\r\n".len()) as u64
}
