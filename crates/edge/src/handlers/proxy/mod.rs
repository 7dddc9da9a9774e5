//! Servers behind this one answer a route.

mod buffer;
mod mirror;
mod path;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header};
use selvedge_engine::websocket::handshake;
use selvedge_telemetry::http_metrics::Protocol;
use selvedge_upstream::config::{Buffering, ProxyConfig, UpstreamConfig};
use selvedge_upstream::forward::Forwarded;
use selvedge_upstream::{
    Hints, Outgoing, Payload, Registry, Report, Upstream, UpstreamBody, UpstreamError, send,
};

use crate::body::{Content, Prepared, RequestBody};
use crate::exchange::Exchange;
use crate::headers::REQUEST_ID;
use crate::hints::Teller;
use crate::refusal::Refusal;
use crate::request::Facts;
use mirror::Mirror;
use path::Path;

/// Fields that are written with every head; the second where the settings say so.
static OWN: [HeaderName; 2] = [REQUEST_ID, header::SERVER];

/// A route's way to an upstream.
#[derive(Debug)]
pub(crate) struct Proxy {
    upstream: Arc<Upstream>,
    host: Host,
    path: Path,
    /// Largest body that is buffered, bytes, where bodies are.
    buffer_request: Option<usize>,
    /// Largest response that is buffered, bytes.
    buffer_response: usize,
    mirror: Option<Mirror>,
    via: bool,
}

/// Which `Host` servers see.
#[derive(Debug)]
enum Host {
    Keep,
    Upstream,
    Name(String),
}

impl Proxy {
    /// The error is a sentence.
    pub(super) fn new(
        config: &ProxyConfig,
        upstreams: &BTreeMap<String, UpstreamConfig>,
        registry: &Registry,
        base: &std::path::Path,
    ) -> Result<Self, String> {
        if let Some(problem) = config.problem() {
            return Err(problem);
        }
        let upstream = match &config.upstream {
            None => registry.upstream(&config.servers.based(base))?,
            Some(name) => {
                let servers = upstreams.get(name).ok_or_else(|| format!("there is no [upstreams.{name}]"))?;
                registry.named(name, &servers.based(base))?
            }
        };
        Ok(Self {
            upstream,
            host: match config.host.as_deref() {
                None | Some("keep") => Host::Keep,
                Some("upstream") => Host::Upstream,
                Some(name) => Host::Name(name.to_owned()),
            },
            path: Path::new(config)?,
            buffer_request: (config.buffer_request == Buffering::Memory).then(|| config.buffer_bytes()),
            buffer_response: config.buffer_response_bytes,
            mirror: config.mirror.as_ref().map(|mirror| Mirror::new(mirror, registry)).transpose()?,
            via: !config.hide_via,
        })
    }

    pub(super) async fn answer(
        &self,
        exchange: &mut Exchange,
        request: Box<Request<RequestBody>>,
        facts: &Facts,
    ) -> Result<Response<Content>, Refusal> {
        let (mut head, body) = request.into_parts();
        head.headers.insert(REQUEST_ID, exchange.request_id.clone());
        let expected = match facts.websocket {
            true => Some(challenge(&mut head.headers, head.version)?),
            false => None,
        };
        let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
        let host = authority.or_else(|| head.headers.get(header::HOST).map(HeaderValue::as_bytes));
        let asked = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let target = self.path.of(asked)?;
        let hints = if facts.websocket { None } else { Teller::of(exchange, &head.method, &head.headers) };
        // Else somebody looks at the fields.
        let as_lines = exchange.later.is_empty()
            && exchange.protocol != Protocol::Http2
            && exchange.route.as_ref().is_some_and(|route| route.cache.is_none());
        let outgoing = Outgoing {
            method: &head.method,
            target: &target,
            host: match &self.host {
                Host::Keep => host,
                Host::Upstream => None,
                Host::Name(name) => Some(name.as_bytes()),
            },
            headers: &head.headers,
            version: head.version,
            forwarded: Forwarded {
                peer: exchange.connection.peer(),
                trusted: exchange.thread.is_trusted(exchange.connection.peer()),
                scheme: exchange.scheme(),
                host: host.unwrap_or_default(),
            },
            client: exchange.client,
            websocket: facts.websocket,
            trailers: facts.trailers,
            expects_continue: self.buffer_request.is_none() && head.headers.contains_key(header::EXPECT),
            via: self.via,
            hints: hints.as_ref().map(|hints| hints as &dyn Hints),
            // What is written with every head is not to stand in it twice.
            lines: as_lines.then(|| match exchange.thread.server_header {
                Some(_) => &OWN[..],
                None => &OWN[..1],
            }),
        };
        let mut payload = match body {
            RequestBody::None => Payload::Empty,
            body => match self.buffer_request {
                Some(most) => Payload::Bytes(buffer::request(body, facts.content_length, most).await?),
                None => Payload::Stream(body),
            },
        };
        if let Some(mirror) = &self.mirror
            && !facts.websocket
        {
            payload = mirror.copy(&exchange.thread, &outgoing, facts.content_length, payload).await?;
        }
        let mut report = Report::default();
        let local = &exchange.thread.upstreams;
        let answer = send(local, &self.upstream, &outgoing, payload, &mut report).await;
        exchange.report = report.server.is_some().then(|| Box::new(report));
        let (parts, body) = answer.map_err(Refusal::from)?.into_parts();
        let content = match body {
            UpstreamBody::Empty => Content::Empty,
            UpstreamBody::Whole { lines, body } => {
                let dated = names(&lines, b"date");
                Content::Prepared(Prepared { lines, body, dated, ..Prepared::default() })
            }
            UpstreamBody::Tunnel(ref tunnel)
                if !tunnel.is_http2() && !accepts(&parts.headers, expected.as_ref()) =>
            {
                return Err(UpstreamError::BadResponse(None).into());
            }
            body if self.buffer_response > 0 && parts.status != StatusCode::SWITCHING_PROTOCOLS => {
                Box::pin(buffer::response(body, self.buffer_response)).await?
            }
            body => Content::Proxied(body),
        };
        Ok(Response::from_parts(parts, content))
    }
}

/// Whether lines of a head, as upstreams have them, have a field.
fn names(lines: &[u8], name: &[u8]) -> bool {
    lines
        .split(|byte| *byte == b'\n')
        .any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(b":")))
}

/// The server's answer to the handshake is the one to this handshake (RFC 6455, section 4.1).
fn accepts(headers: &HeaderMap, expected: Option<&HeaderValue>) -> bool {
    expected.is_some() && headers.get(header::SEC_WEBSOCKET_ACCEPT) == expected
}

/// Completes a handshake as HTTP/1.1 has it; clients of HTTP/2 send no key (RFC 8441, section 5). Gives the answer that the
/// server has to have.
fn challenge(headers: &mut HeaderMap, version: Version) -> Result<HeaderValue, Refusal> {
    if version == Version::HTTP_2 {
        headers.insert(header::SEC_WEBSOCKET_KEY, random_key());
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    handshake::accept(headers).map_err(|_| Refusal::INTERNAL)
}

/// 16 random bytes in base64: 21 digits, one that has two bits, and what fills up.
fn random_key() -> HeaderValue {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut key = [b'='; 24];
    for digit in &mut key[..21] {
        *digit = DIGITS[fastrand::usize(..64)];
    }
    key[21] = DIGITS[fastrand::usize(..4) * 16];
    HeaderValue::from_bytes(&key).unwrap_or_else(|_| HeaderValue::from_static(""))
}
