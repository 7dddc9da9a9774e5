//! From the bytes of a head to a request.

use std::rc::Rc;

use bytes::Bytes;
use http::uri::Uri;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use selvedge_http1::{Framing, HeadFinder, Limits, RequestHead, Version, Violation, parse_request};

use super::body::Receiving;
use super::socket::{Interim, Socket};
use super::{Http1Body, Next};
use crate::body::RequestBody;

/// Takes a request's head off the front of `bytes`, if all of it is there, and how long it was.
pub(super) fn take_request(
    bytes: &[u8],
    finder: &mut HeadFinder,
    socket: &Rc<Socket>,
) -> Option<(usize, Next)> {
    let config = &socket.thread.config;
    let limits = Limits { head_bytes: config.max_header_bytes, fields: config.max_headers };
    let place = match finder.find(bytes, &limits) {
        Ok(place) => place?,
        Err(violation) => return Some((bytes.len(), Next::Malformed(violation))),
    };
    let end = place.end;
    let next = match request(&bytes[place], &limits, socket) {
        Ok(next) => next,
        Err(violation) => Next::Malformed(violation),
    };
    Some((end, next))
}

fn request(bytes: &[u8], limits: &Limits, socket: &Rc<Socket>) -> Result<Next, Violation> {
    let mut fields = socket.thread.scratch.fields.borrow_mut();
    let head = parse_request(bytes, limits, &mut fields)?;
    // Target and values stay together in one piece of memory.
    let shared = Bytes::copy_from_slice(bytes);
    // One more for the request's id.
    let mut headers = HeaderMap::with_capacity(fields.len() + 1);
    for field in fields.iter() {
        let name = HeaderName::from_bytes(field.name.of(bytes)).map_err(|_| Violation::FieldName)?;
        let value = HeaderValue::from_maybe_shared(shared.slice(field.value.range()))
            .map_err(|_| Violation::FieldValue)?;
        headers.try_append(name, value).map_err(|_| Violation::TooManyFields)?;
    }
    let mut request = Box::new(Request::new(RequestBody::None));
    *request.method_mut() = Method::from_bytes(head.method.of(bytes)).map_err(|_| Violation::RequestLine)?;
    *request.uri_mut() =
        Uri::from_maybe_shared(shared.slice(head.target.range())).map_err(|_| Violation::Target)?;
    *request.version_mut() = match head.version {
        Version::Http10 => http::Version::HTTP_10,
        Version::Http11 => http::Version::HTTP_11,
    };
    *request.headers_mut() = headers;
    *request.body_mut() = body(&head, socket);
    Ok(Next::Request { request, keep_alive: head.keep_alive })
}

/// The body that follows a head.
fn body(head: &RequestHead, socket: &Rc<Socket>) -> RequestBody {
    let receiving = match head.framing {
        Framing::None => return RequestBody::None,
        Framing::Length(left) => Receiving::Length(left),
        Framing::Chunked => Receiving::Chunks(Box::default()),
    };
    *socket.receiving.borrow_mut() = receiving;
    socket.interim.set(if head.expects_continue { Interim::Owed } else { Interim::Done });
    RequestBody::Http1(Http1Body::of(socket.clone()))
}
