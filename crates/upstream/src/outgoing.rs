//! A request as servers are to see it.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Uri, Version};
use selvedge_http1::{put_field, put_request_line};

use crate::balance::hash;
use crate::config::HashBy;
use crate::endpoint::Endpoint;
use crate::forward::{Forwarded, is_dropped, named};

/// Who wants to know what a response will need, before it is there.
pub trait Hints: std::fmt::Debug {
    /// The fields of a response 103 (RFC 8297), as the server sent them. Called while the request is polled.
    fn early(&self, fields: &HeaderMap);
}

/// A request as servers are to see it. Its fields are the client's; what is to be different is said besides.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Method.
    pub method: &'a Method,
    /// Path and query, beginning with `/`; or `*`.
    pub target: &'a str,
    /// `Host`; where it is missing, the server's own name.
    pub host: Option<&'a [u8]>,
    /// The client's fields. Those that concern its connection only are left out.
    pub headers: &'a HeaderMap,
    /// The version that the client speaks.
    pub version: Version,
    /// What is said about the client.
    pub forwarded: Forwarded<'a>,
    /// Who asks, for balancing.
    pub client: IpAddr,
    /// It asks for a WebSocket.
    pub websocket: bool,
    /// The client takes trailer fields.
    pub trailers: bool,
    /// The client waits to be told before it sends the body.
    pub expects_continue: bool,
    /// `Via` is said.
    pub via: bool,
    /// Who is told of hints.
    pub hints: Option<&'a dyn Hints>,
    /// A response that is there at once may come with its fields as lines ([`UpstreamBody::Whole`](crate::UpstreamBody)), without
    /// these.
    pub lines: Option<&'a [HeaderName]>,
}

impl Outgoing<'_> {
    /// What a hash of the request goes by.
    pub(crate) fn key(&self, by: &HashBy) -> u64 {
        let found = match by {
            HashBy::Address => None,
            HashBy::Path => Some(self.target.split('?').next().unwrap_or_default().as_bytes()),
            HashBy::Header(name) => self.headers.get(name.as_str()).map(HeaderValue::as_bytes),
            HashBy::Cookie(name) => self.cookie(name),
        };
        match (found, self.client) {
            (Some(found), _) => hash(found),
            (None, IpAddr::V4(client)) => hash(&client.octets()),
            (None, IpAddr::V6(client)) => hash(&client.octets()),
        }
    }

    fn cookie(&self, name: &str) -> Option<&[u8]> {
        let values = self.headers.get_all(header::COOKIE).into_iter();
        values.flat_map(|value| value.as_bytes().split(|byte| *byte == b';')).find_map(|pair| {
            let pair = pair.trim_ascii();
            pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
        })
    }

    /// Gives each field that is passed on, and each that we say, to `put`; not `Host`, and not what frames the body.
    fn for_each_field(&self, mut put: impl FnMut(&[u8], &[u8])) {
        // Most requests name nothing there.
        let named =
            if self.headers.contains_key(header::CONNECTION) { named(self.headers) } else { Vec::new() };
        for (name, value) in self.headers {
            if !is_dropped(name) && !named.contains(name) {
                put(name.as_str().as_bytes(), value.as_bytes());
            }
        }
        let mut text = Vec::new();
        self.forwarded.for_each(self.headers, &mut text, &mut put);
        for value in self.headers.get_all(header::VIA) {
            put(b"via", value.as_bytes());
        }
        if self.via {
            text.clear();
            text.extend_from_slice(via(self.version).as_bytes());
            put(b"via", &text);
        }
        if self.trailers {
            put(b"te", b"trailers");
        }
    }

    /// Appends the head of HTTP/1.1, without what frames the body and the empty line.
    pub(crate) fn put_head(&self, endpoint: &Endpoint, out: &mut Vec<u8>) {
        put_request_line(self.method.as_str().as_bytes(), self.target.as_bytes(), out);
        put_field(b"host", self.host.unwrap_or(endpoint.target.authority.as_bytes()), out);
        self.for_each_field(|name, value| put_field(name, value, out));
        if self.websocket {
            out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
        } else if self.trailers {
            out.extend_from_slice(b"connection: te\r\n");
        }
    }

    /// The request of HTTP/2; nothing where it is none that HTTP/2 has.
    pub(crate) fn http2<B>(&self, endpoint: &Endpoint, body: B) -> Option<http::Request<B>> {
        let host = self.host.unwrap_or(endpoint.target.authority.as_bytes());
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(if endpoint.is_tls() { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = Some(Authority::try_from(host).ok()?);
        parts.path_and_query = Some(PathAndQuery::try_from(self.target).ok()?);
        let mut request = http::Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from_parts(parts).ok()?;
        *request.version_mut() = Version::HTTP_2;
        let headers = request.headers_mut();
        headers.reserve(self.headers.len() + 5);
        self.for_each_field(|name, value| {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        });
        Some(request)
    }
}

/// What `Via` says of a message that came in this version.
pub(crate) fn via(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2.0 selvedge",
        Version::HTTP_10 => "1.0 selvedge",
        _ => "1.1 selvedge",
    }
}
