//! What HTTP makes of a file that was found (RFC 9110).

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use crate::coding;
use crate::find::{ColdFile, Files, Found, What, not_modified};
use crate::hot::{Form, HotFile};
use crate::pieces::{Part, Pieces};
use crate::preconditions::{Conditions, Outcome, Validators};
use crate::ranges::{self, Asked as Ranges};

/// What of a request decides how it is answered.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    get: bool,
    conditional: bool,
    conditions: Conditions<'a>,
    range: Option<&'a HeaderValue>,
    accept_encoding: &'a [u8],
    json: bool,
    query: &'a str,
}

/// An answer.
#[derive(Debug)]
pub enum Answer {
    /// With a head that was made before.
    Prepared {
        /// 200 or 304, or that of an error with a page of its own.
        status: StatusCode,
        /// Fields, as lines of a head of HTTP/1.1, without those that tell the length.
        lines: Bytes,
        /// All of it.
        body: Bytes,
    },
    /// Any other.
    Made(Box<Response<Body>>),
}

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    /// In memory; there may be none.
    Bytes(Bytes),
    /// In a file.
    Pieces(Pieces),
}

impl<'a> Asked<'a> {
    /// Of a request with `GET` or `HEAD`.
    pub fn new(method: &Method, query: &'a str, headers: &'a HeaderMap) -> Self {
        let mut asked = Self {
            get: *method == Method::GET,
            conditional: false,
            conditions: Conditions::default(),
            range: None,
            accept_encoding: b"",
            json: false,
            query,
        };
        for (name, value) in headers {
            let place = match *name {
                header::ACCEPT_ENCODING => {
                    asked.accept_encoding = value.as_bytes();
                    continue;
                }
                header::ACCEPT => {
                    asked.json = prefers_json(value.as_bytes());
                    continue;
                }
                header::RANGE => &mut asked.range,
                header::IF_MATCH => &mut asked.conditions.if_match,
                header::IF_NONE_MATCH => &mut asked.conditions.if_none_match,
                header::IF_MODIFIED_SINCE => &mut asked.conditions.if_modified_since,
                header::IF_UNMODIFIED_SINCE => &mut asked.conditions.if_unmodified_since,
                header::IF_RANGE => &mut asked.conditions.if_range,
                _ => continue,
            };
            *place = Some(value);
            asked.conditional = true;
        }
        asked
    }
}

/// Programs say `application/json` and not `text/html`.
fn prefers_json(accept: &[u8]) -> bool {
    let accept = String::from_utf8_lossy(accept).to_ascii_lowercase();
    accept.contains("application/json") && !accept.contains("text/html")
}

impl Files {
    /// Answers a request with what was found for it.
    pub fn answer(&self, found: Found, asked: &Asked<'_>) -> Answer {
        // Pages of errors are neither conditional nor had in parts.
        let whole = found.status != StatusCode::OK;
        match found.what {
            What::Hot(file) => self.hot(&file, found.status, asked, whole),
            What::Cold(file) => Answer::Made(Box::new(self.cold(*file, found.status, asked, whole))),
            What::Moved(path) => Answer::Made(Box::new(moved(&path, asked.query))),
            What::Listing(listing) => {
                let (kind, text) = match asked.json {
                    true => ("application/json", listing.json()),
                    false => ("text/html; charset=utf-8", listing.html(asked.query)),
                };
                let mut response = Response::new(Body::Bytes(text.into()));
                let headers = response.headers_mut();
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
                headers.insert(header::VARY, HeaderValue::from_static("accept"));
                headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
                headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
                Answer::Made(Box::new(response))
            }
        }
    }

    fn hot(&self, file: &HotFile, status: StatusCode, asked: &Asked<'_>, whole: bool) -> Answer {
        let form = choose(&file.forms, asked);
        if whole || !asked.conditional {
            return Answer::Prepared { status, lines: form.lines.clone(), body: form.body.clone() };
        }
        let has = Validators { tag: form.tag.as_bytes(), modified: form.modified };
        match asked.conditions.outcome(has) {
            Outcome::NotModified => {
                let (lines, body) = (form.lines_304.clone(), Bytes::new());
                return Answer::Prepared { status: StatusCode::NOT_MODIFIED, lines, body };
            }
            Outcome::Failed => return Answer::Made(Box::new(failed())),
            Outcome::Proceed => {}
        }
        let size = form.body.len() as u64;
        match self.ranges(asked, has, size) {
            Ranges::Whole => Answer::Prepared { status, lines: form.lines.clone(), body: form.body.clone() },
            Ranges::Unsatisfiable => Answer::Made(Box::new(unsatisfiable(size))),
            Ranges::Parts(parts) => {
                let take = |range: &Range<u64>| form.body.slice(range.start as usize..range.end as usize);
                let (headers, parts) = partial(form.headers.clone(), &parts, size);
                let mut body = Vec::new();
                for part in &parts {
                    match part {
                        Part::Bytes(text) => body.extend_from_slice(text),
                        Part::File(range) if parts.len() == 1 => {
                            return made(StatusCode::PARTIAL_CONTENT, headers, Body::Bytes(take(range)));
                        }
                        Part::File(range) => body.extend_from_slice(&take(range)),
                    }
                }
                made(StatusCode::PARTIAL_CONTENT, headers, Body::Bytes(body.into()))
            }
        }
    }

    fn cold(&self, mut file: ColdFile, status: StatusCode, asked: &Asked<'_>, whole: bool) -> Response<Body> {
        let wanted = coding::choose(asked.accept_encoding, file.forms.iter().filter_map(|form| form.coding));
        let index = file.forms.iter().position(|form| form.coding == wanted).unwrap_or(0);
        let form = file.forms.swap_remove(index);
        let (mut headers, stamp) = (file.headers, form.stamp);
        let tag = stamp.tag();
        form.add_headers(&mut headers, &tag);
        let mut parts = vec![Part::File(0..stamp.size)];
        let mut status = status;
        if asked.conditional && !whole {
            let has = Validators { tag: tag.as_bytes(), modified: stamp.modified_s() };
            match asked.conditions.outcome(has) {
                Outcome::NotModified => {
                    let mut response = Response::new(Body::Bytes(Bytes::new()));
                    *response.status_mut() = StatusCode::NOT_MODIFIED;
                    *response.headers_mut() = not_modified(&headers);
                    return response;
                }
                Outcome::Failed => return failed(),
                Outcome::Proceed => {}
            }
            match self.ranges(asked, has, stamp.size) {
                Ranges::Whole => {}
                Ranges::Unsatisfiable => return unsatisfiable(stamp.size),
                Ranges::Parts(ranges) => {
                    (headers, parts) = partial(headers, &ranges, stamp.size);
                    status = StatusCode::PARTIAL_CONTENT;
                }
            }
        }
        parts.retain(|part| !matches!(part, Part::File(range) if range.is_empty()));
        let mut response = Response::new(Body::Pieces(Pieces::new(Arc::new(form.file), stamp, parts)));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    fn ranges(&self, asked: &Asked<'_>, has: Validators<'_>, size: u64) -> Ranges {
        match asked.range {
            // Ranges are for GET only (RFC 9110, section 14.2).
            Some(field) if asked.get && asked.conditions.range_holds(has) => {
                ranges::asked(field.as_bytes(), size, self.max_ranges)
            }
            _ => Ranges::Whole,
        }
    }
}

fn choose<'f>(forms: &'f [Form], asked: &Asked<'_>) -> &'f Form {
    if forms.len() == 1 {
        return &forms[0];
    }
    let wanted = coding::choose(asked.accept_encoding, forms.iter().filter_map(|form| form.coding));
    forms.iter().find(|form| form.coding == wanted).unwrap_or(&forms[0])
}

fn made(status: StatusCode, headers: HeaderMap, body: Body) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Answer::Made(Box::new(response))
}

/// Fields and body of an answer with parts (RFC 9110, section 15.3.7).
fn partial(mut headers: HeaderMap, ranges: &[Range<u64>], size: u64) -> (HeaderMap, Vec<Part>) {
    let content_range = |range: &Range<u64>| format!("bytes {}-{}/{size}", range.start, range.end - 1);
    if let [range] = ranges {
        if let Ok(value) = HeaderValue::from_str(&content_range(range)) {
            headers.insert(header::CONTENT_RANGE, value);
        }
        return (headers, vec![Part::File(range.clone())]);
    }
    let boundary = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    let kind = HeaderValue::from_str(&format!("multipart/byteranges; boundary={boundary}"));
    let kind = kind.unwrap_or(HeaderValue::from_static("multipart/byteranges"));
    let inner = headers.insert(header::CONTENT_TYPE, kind);
    let inner = inner.as_ref().and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let mut parts = Vec::new();
    for (index, range) in ranges.iter().enumerate() {
        let begin = if index == 0 { "" } else { "\r\n" };
        let head = format!(
            "{begin}--{boundary}\r\ncontent-type: {inner}\r\ncontent-range: {}\r\n\r\n",
            content_range(range)
        );
        parts.push(Part::Bytes(head.into()));
        parts.push(Part::File(range.clone()));
    }
    parts.push(Part::Bytes(format!("\r\n--{boundary}--\r\n").into()));
    (headers, parts)
}

fn failed() -> Response<Body> {
    let mut response = Response::new(Body::Bytes(Bytes::new()));
    *response.status_mut() = StatusCode::PRECONDITION_FAILED;
    response
}

fn unsatisfiable(size: u64) -> Response<Body> {
    let mut response = Response::new(Body::Bytes(Bytes::new()));
    *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    response
}

/// `path` begins with one slash, so that it cannot name another host.
fn moved(path: &str, query: &str) -> Response<Body> {
    let location = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let mut response = Response::new(Body::Bytes(Bytes::new()));
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    match HeaderValue::from_str(&location) {
        Ok(value) => {
            response.headers_mut().insert(header::LOCATION, value);
        }
        Err(_) => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    response
}
