//! Static files of a worker: the answer before its code is asked, and to its `ASSETS` binding.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, request};
use http_body::Body;
use selvedge_assets::{Decision, Found, Site};
use selvedge_model::{Digest, VersionId, Worker};
use selvedge_wire::message::{self, Head, ResetCode};
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};

use crate::connection::Connection;
use crate::service::Question;
use crate::shared::Shared;
use crate::stream::Stream;
use crate::{EngineError, WorkerBody};

/// Largest file that is kept in memory, bytes.
const HOT_FILE_MAX: u64 = 1 << 20;
/// All files in memory together, bytes.
const HOT_BYTES_MAX: usize = 64 << 20;
/// Sites that are kept ready.
const SITES_MAX: usize = 4096;
/// What is read of a larger file at a time, bytes.
const CHUNK: usize = 64 << 10;

/// Files in memory and sites ready for use.
#[derive(Debug, Default)]
pub struct Files {
    sites: Mutex<HashMap<VersionId, Arc<Site>>>,
    hot: Mutex<Hot>,
}

/// Files in memory; the one that came first goes first.
#[derive(Debug, Default)]
struct Hot {
    files: HashMap<Digest, Bytes>,
    order: VecDeque<Digest>,
    bytes: usize,
}

/// Who asks for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A client, whom the worker may answer instead.
    Client,
    /// The worker itself.
    Worker,
}

impl Files {
    /// The worker's site; `None` when it has no files.
    fn site(&self, worker: &Worker) -> Option<Arc<Site>> {
        let assets = worker.assets.as_ref()?;
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(site) = sites.get(&worker.version) {
            return Some(site.clone());
        }
        // It was checked when it was uploaded.
        let site = Site::new(assets.clone())
            .inspect_err(|problem| tracing::error!(%problem, "static files"))
            .ok()?;
        if sites.len() >= SITES_MAX {
            sites.clear();
        }
        let site = Arc::new(site);
        sites.insert(worker.version.clone(), site.clone());
        Some(site)
    }

    fn hot(&self, digest: &Digest) -> Option<Bytes> {
        self.hot.lock().unwrap_or_else(PoisonError::into_inner).files.get(digest).cloned()
    }

    fn keep(&self, digest: &Digest, bytes: &Bytes) {
        let mut hot = self.hot.lock().unwrap_or_else(PoisonError::into_inner);
        if hot.files.insert(digest.clone(), bytes.clone()).is_some() {
            return;
        }
        hot.order.push_back(digest.clone());
        hot.bytes += bytes.len();
        while hot.bytes > HOT_BYTES_MAX
            && let Some(oldest) = hot.order.pop_front()
        {
            hot.bytes -= hot.files.remove(&oldest).map_or(0, |bytes| bytes.len());
        }
    }
}

/// What the worker's files answer; `None` when the worker is to.
pub async fn answer(
    shared: &Arc<Shared>,
    worker: &Worker,
    parts: &request::Parts,
    asked: Asked,
) -> Option<Result<Response<WorkerBody>, EngineError>> {
    let site = shared.files.site(worker)?;
    let field = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let host = parts.uri.host().or_else(|| field(header::HOST)).unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let path = parts.uri.path();
    if asked == Asked::Client && site.worker_first(host, path) {
        return None;
    }
    let last = asked == Asked::Worker || site.is_alone();
    // Since this date a browser that goes to a page is shown the page for what is not found, without the worker.
    let navigates = field(HeaderName::from_static("sec-fetch-mode")) == Some("navigate")
        && worker.compatibility_date.as_str() >= "2025-04-01";
    let decision = site.decide(parts.method.as_str(), host, path, parts.uri.query(), navigates, last);
    Some(match decision {
        Decision::Nothing if last => Ok(short(StatusCode::NOT_FOUND, &[])),
        Decision::Nothing => return None,
        Decision::MethodNotAllowed if asked == Asked::Client && !site.is_alone() => return None,
        Decision::MethodNotAllowed => Ok(short(StatusCode::METHOD_NOT_ALLOWED, &[("allow", "GET, HEAD")])),
        Decision::Redirect { status, location } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND);
            Ok(short(status, &[("location", &location)]))
        }
        Decision::File(found) => file(shared, worker, parts, &found).await,
    })
}

/// Serves the worker's own call for a file.
pub async fn serve(
    shared: &Arc<Shared>,
    connection: &Rc<Connection>,
    caller: &Rc<Stream>,
    worker: &Worker,
    question: Question,
) -> Result<(), (ResetCode, String)> {
    let failed = |text: &str| (ResetCode::Unreachable, text.to_owned());
    let mut request = Request::builder().method(&question.method[..]).uri(&question.url[..]);
    for (name, value) in message::header_pairs(&question.headers) {
        request = request.header(name, value);
    }
    let Ok(request) = request.body(()) else { return Err(failed("The request is not one of HTTP.")) };
    let (parts, ()) = request.into_parts();
    let Some(answer) = answer(shared, worker, &parts, Asked::Worker).await else {
        return Err(failed("The worker was deployed without static files."));
    };
    let (head, mut body) = answer.map_err(|error| failed(&error.to_string()))?.into_parts();
    let mut headers = Vec::new();
    for (name, value) in &head.headers {
        message::put_header(&mut headers, name.as_str().as_bytes(), value.as_bytes());
    }
    let empty = body.is_end_stream() || parts.method == Method::HEAD;
    connection.answer(caller, Head { status: head.status.as_u16(), headers: &headers }, empty);
    if empty {
        return Ok(());
    }
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let chunk = frame.map_err(|error| failed(&error.to_string()))?.into_data().unwrap_or_default();
        if !caller.send_all(&chunk, false).await {
            return Ok(());
        }
    }
    caller.send_data(&[], true);
    Ok(())
}

/// An answer without a body.
fn short(status: StatusCode, fields: &[(&str, &str)]) -> Response<WorkerBody> {
    let mut response = Response::new(WorkerBody::default());
    *response.status_mut() = status;
    set(&mut response, fields.iter().copied());
    response
}

fn set<'a>(response: &mut Response<WorkerBody>, fields: impl Iterator<Item = (&'a str, &'a str)>) {
    for (name, value) in fields {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
}

async fn file(
    shared: &Arc<Shared>,
    worker: &Worker,
    parts: &request::Parts,
    found: &Found,
) -> Result<Response<WorkerBody>, EngineError> {
    let fields = || found.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let tag = fields().find(|(name, _)| *name == "etag").map(|(_, tag)| tag);
    if found.status == 200 && tag.is_some_and(|tag| has_it(parts, tag)) {
        let mut response = short(StatusCode::NOT_MODIFIED, &[]);
        set(&mut response, fields().filter(|(name, _)| *name != "content-type"));
        return Ok(response);
    }
    let path = shared.artifacts.blob_path(&worker.account, &found.asset.digest);
    let body = if found.asset.size > HOT_FILE_MAX {
        FileBody::Cold { path, remaining: found.asset.size, opened: Opened::Not }
    } else if let Some(bytes) = shared.files.hot(&found.asset.digest) {
        FileBody::Whole(bytes)
    } else {
        let bytes = Bytes::from(tokio::fs::read(&path).await.map_err(|error| unreadable(&path, &error))?);
        shared.files.keep(&found.asset.digest, &bytes);
        FileBody::Whole(bytes)
    };
    let mut response = Response::new(WorkerBody::file(body));
    *response.status_mut() = StatusCode::from_u16(found.status).unwrap_or(StatusCode::OK);
    set(&mut response, fields());
    Ok(response)
}

/// Whether the client says that it has the file with this tag (RFC 9110, section 13.1.2).
fn has_it(parts: &request::Parts, tag: &str) -> bool {
    let mut lists =
        parts.headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    lists.any(|list| {
        list.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == tag)
    })
}

fn unreadable(path: &std::path::Path, error: &io::Error) -> EngineError {
    tracing::error!(%error, path = %path.display(), "a static file cannot be read");
    EngineError::Unavailable("a static file cannot be read".into())
}

/// The content of a file.
#[derive(Debug)]
pub enum FileBody {
    /// In memory.
    Whole(Bytes),
    /// Read bit by bit, from when somebody asks for it.
    Cold { path: PathBuf, remaining: u64, opened: Opened },
}

/// A file on its way to being read.
pub enum Opened {
    Not,
    Opening(Pin<Box<dyn Future<Output = io::Result<File>>>>),
    Open(File),
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opened")
    }
}

impl FileBody {
    /// Bytes to come.
    pub fn remaining(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Cold { remaining, .. } => *remaining,
        }
    }

    /// The next chunk.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, EngineError>>> {
        let (path, remaining, opened) = match self {
            Self::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Self::Whole(bytes) => return Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            Self::Cold { remaining: 0, .. } => return Poll::Ready(None),
            Self::Cold { path, remaining, opened } => (path, remaining, opened),
        };
        loop {
            match opened {
                Opened::Not => *opened = Opened::Opening(Box::pin(File::open(path.clone()))),
                Opened::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Ok(mut file) => {
                        file.set_max_buf_size(CHUNK);
                        *opened = Opened::Open(file);
                    }
                    Err(error) => return Poll::Ready(Some(Err(unreadable(path, &error)))),
                },
                Opened::Open(file) => {
                    let mut chunk = BytesMut::zeroed(CHUNK.min(*remaining as usize));
                    let mut buffer = ReadBuf::new(&mut chunk);
                    let read = ready!(Pin::new(file).poll_read(cx, &mut buffer));
                    let count = buffer.filled().len();
                    return Poll::Ready(match read {
                        Err(error) => Some(Err(unreadable(path, &error))),
                        Ok(()) if count == 0 => {
                            let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
                            Some(Err(unreadable(path, &cut)))
                        }
                        Ok(()) => {
                            chunk.truncate(count);
                            *remaining -= count as u64;
                            Some(Ok(chunk.freeze()))
                        }
                    });
                }
            }
        }
    }
}
