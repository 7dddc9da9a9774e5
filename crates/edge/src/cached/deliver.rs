//! Answers put together from stored responses, and from those that arrive.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use selvedge_cache::condition;
use selvedge_cache::disk::DiskBody;
use selvedge_cache::fill::Reader;
use selvedge_cache::flight::Arriving;
use selvedge_cache::object::{Object, Stock};
use selvedge_cache::range::{Asked, parse};
use selvedge_cache::slices;
use selvedge_cache::status::CacheStatus;
use tokio::task::JoinHandle;

use crate::body::{Content, Fault, Prepared, RequestBody};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Who is answered.
pub(super) struct Asker {
    pub(super) request: Box<Request<RequestBody>>,
    /// Milliseconds since the Unix epoch.
    now: u64,
}

/// What of a response a client gets.
pub(super) enum Portion {
    Whole,
    Part(Range<u64>, u64),
    /// The client has it already.
    Unmodified,
    /// What it wants is not there, of so many bytes.
    Unsatisfiable(u64),
}

impl Asker {
    pub(super) fn new(request: Box<Request<RequestBody>>, now: u64) -> Self {
        Self { request, now }
    }

    pub(super) fn portion(&self, status: StatusCode, headers: &HeaderMap, length: Option<u64>) -> Portion {
        let asked = self.request.headers();
        if status != StatusCode::OK {
            return Portion::Whole;
        }
        if (asked.contains_key(header::IF_NONE_MATCH) || asked.contains_key(header::IF_MODIFIED_SINCE))
            && condition::is_unmodified(asked, headers)
        {
            return Portion::Unmodified;
        }
        let (Some(range), Some(length)) = (asked.get(header::RANGE), length) else { return Portion::Whole };
        if self.request.method() != Method::GET || !condition::if_range(asked, headers) {
            return Portion::Whole;
        }
        match parse(range.as_bytes(), length) {
            Asked::Whole => Portion::Whole,
            Asked::Part(range) => Portion::Part(range, length),
            Asked::Nothing => Portion::Unsatisfiable(length),
        }
    }
}

/// Appends what this cache did; caches nearer to the origin stand before it (RFC 9211, section 2).
pub(super) fn add_status(headers: &mut HeaderMap, status: &CacheStatus) {
    if let Ok(value) = HeaderValue::try_from(status.member()) {
        headers.append(CACHE_STATUS, value);
    }
}

/// The head of an answer.
pub(super) fn head(portion: &Portion, status: StatusCode, headers: &HeaderMap) -> Response<Content> {
    let mut response = Response::new(Content::Empty);
    *response.status_mut() = match portion {
        Portion::Whole => status,
        Portion::Part(..) => StatusCode::PARTIAL_CONTENT,
        Portion::Unmodified => StatusCode::NOT_MODIFIED,
        Portion::Unsatisfiable(_) => StatusCode::RANGE_NOT_SATISFIABLE,
    };
    let fields = response.headers_mut();
    fields.reserve(headers.len() + 4);
    let told = headers.iter().filter(|(name, _)| **name != slices::FIELD);
    fields.extend(told.map(|(name, value)| (name.clone(), value.clone())));
    match portion {
        Portion::Whole => {}
        Portion::Part(range, length) => {
            let text = format!("bytes {}-{}/{length}", range.start, range.end - 1);
            fields.extend(HeaderValue::try_from(text).map(|value| (header::CONTENT_RANGE, value)));
        }
        Portion::Unmodified => {
            for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_RANGE] {
                fields.remove(name);
            }
        }
        Portion::Unsatisfiable(length) => {
            for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::ETAG, header::LAST_MODIFIED]
            {
                fields.remove(name);
            }
            fields.extend(
                HeaderValue::try_from(format!("bytes */{length}"))
                    .map(|value| (header::CONTENT_RANGE, value)),
            );
        }
    }
    response
}

/// Of a stored response.
pub(super) fn object(asker: &Asker, object: &Object, status: &CacheStatus) -> Response<Content> {
    let portion = asker.portion(object.status, &object.headers, Some(object.body.len()));
    if let (Portion::Whole, Some(lines)) = (&portion, &object.lines) {
        // The usual case: nothing is copied, and no field is looked at.
        let body = object.body.parts().first().cloned().unwrap_or_default();
        let mut prepared = Prepared { body, kept: true, ..Prepared::default() };
        if status.hit.is_some()
            && *status == (CacheStatus { hit: status.hit, ..CacheStatus::default() })
            && let Some(lines) = object.hit_lines(asker.now)
        {
            (prepared.lines, prepared.dated) = (lines, true);
            let mut response = Response::new(Content::Prepared(prepared));
            *response.status_mut() = object.status;
            return response;
        }
        prepared.lines = lines.clone();
        let mut response = Response::new(Content::Prepared(prepared));
        *response.status_mut() = object.status;
        response
            .headers_mut()
            .extend(object.headers.get(header::DATE).map(|date| (header::DATE, date.clone())));
        aged(&mut response, asker, object, status);
        return response;
    }
    let mut response = head(&portion, object.status, &object.headers);
    *response.body_mut() = match portion {
        Portion::Whole => stock(&object.body, 0..object.body.len()),
        Portion::Part(range, _) => stock(&object.body, range),
        Portion::Unmodified | Portion::Unsatisfiable(_) => Content::Empty,
    };
    aged(&mut response, asker, object, status);
    response
}

pub(super) fn aged(response: &mut Response<Content>, asker: &Asker, object: &Object, status: &CacheStatus) {
    let age = object.freshness.age(asker.now) / 1000;
    response.headers_mut().insert(header::AGE, HeaderValue::from(age));
    add_status(response.headers_mut(), status);
}

/// A range of a stored body.
fn stock(body: &Stock, range: Range<u64>) -> Content {
    match body.file() {
        Some(_) if range.is_empty() => Content::Empty,
        Some(file) => Content::boxed(FromDisk { file: file.clone(), range, reading: None }),
        None => parts(body.slice(range)),
    }
}

fn parts(mut parts: Vec<Bytes>) -> Content {
    match parts.len() {
        0 => Content::Empty,
        1 => Content::from(parts.remove(0)),
        _ => {
            let left = parts.iter().map(|part| part.len() as u64).sum();
            parts.reverse();
            Content::boxed(Parts { parts, left })
        }
    }
}

/// Of a response whose body is on its way.
pub(super) fn arriving(
    asker: &Asker,
    arriving: &Arriving,
    reader: Reader,
    headers: &HeaderMap,
    status: &CacheStatus,
) -> Response<Content> {
    let portion = asker.portion(arriving.status, headers, arriving.length);
    let mut response = head(&portion, arriving.status, headers);
    *response.body_mut() = match portion {
        Portion::Whole => Content::boxed(Arrival { reader, skip: 0, left: arriving.length }),
        Portion::Part(range, _) => {
            Content::boxed(Arrival { reader, skip: range.start, left: Some(range.end - range.start) })
        }
        Portion::Unmodified | Portion::Unsatisfiable(_) => Content::Empty,
    };
    add_status(response.headers_mut(), status);
    response
}

/// Of a response that is for one client only, whose conditions its fetch did not have.
pub(super) fn alone(asker: &Asker, response: Response<Content>) -> Response<Content> {
    match asker.portion(response.status(), response.headers(), None) {
        Portion::Unmodified => head(&Portion::Unmodified, response.status(), response.headers()),
        _ => response,
    }
}

/// Parts of a stored body, from the last to the first.
struct Parts {
    parts: Vec<Bytes>,
    left: u64,
}

impl Body for Parts {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let part = self.parts.pop();
        self.left -= part.as_ref().map_or(0, |part| part.len() as u64);
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// So many bytes as they come.
pub(super) fn part(reader: Reader, length: u64) -> Content {
    Content::boxed(Arrival { reader, skip: 0, left: Some(length) })
}

/// A range of a body on the disk, of which one block is in memory at a time.
struct FromDisk {
    file: Arc<DiskBody>,
    /// What is left.
    range: Range<u64>,
    reading: Option<JoinHandle<std::io::Result<Bytes>>>,
}

impl Body for FromDisk {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = &mut *self;
        if this.range.is_empty() {
            return Poll::Ready(None);
        }
        let reading = this.reading.get_or_insert_with(|| {
            let (file, range) = (this.file.clone(), this.range.clone());
            tokio::task::spawn_blocking(move || file.read(&range))
        });
        let read = ready!(Pin::new(reading).poll(cx));
        this.reading = None;
        Poll::Ready(Some(match read {
            Ok(Ok(part)) => {
                this.range.start += part.len() as u64;
                Ok(Frame::data(part))
            }
            // What is not what was written is not sent.
            Ok(Err(_)) | Err(_) => {
                this.range.start = this.range.end;
                Err(Fault { code: "cache_damaged" })
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.range.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.range.end - self.range.start)
    }
}

/// A body that arrives, or a range of it.
struct Arrival {
    reader: Reader,
    skip: u64,
    left: Option<u64>,
}

impl Body for Arrival {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = &mut *self;
        loop {
            if this.left == Some(0) {
                return Poll::Ready(None);
            }
            let mut part = match ready!(this.reader.poll_next(cx)) {
                None => return Poll::Ready(None),
                Some(Err(code)) => return Poll::Ready(Some(Err(Fault { code }))),
                Some(Ok(part)) => part,
            };
            let skipped = usize::try_from(this.skip).unwrap_or(usize::MAX).min(part.len());
            this.skip -= skipped as u64;
            let _ = part.split_to(skipped);
            if let Some(left) = &mut this.left {
                part.truncate(usize::try_from(*left).unwrap_or(usize::MAX).min(part.len()));
                *left -= part.len() as u64;
            }
            if !part.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(part))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0) || self.left.is_none() && self.reader.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
