//! Files of a directory answer a route.

use std::path::Path;
use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use selvedge_files::{Answer, Asked, Body, Files, FilesConfig, Found, Miss, Wait};

use crate::body::{Content, Prepared, RequestBody};
use crate::exchange::Exchange;
use crate::file_body::FileBody;
use crate::refusal::Refusal;

/// Methods that files know.
const ALLOWED: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// A directory. Requests that wait for a disk share it with the thread that waits.
#[derive(Debug)]
pub(crate) struct FileServer(Arc<Files>);

impl FileServer {
    /// A root that is no absolute path is below `base`.
    pub(super) fn new(config: &FilesConfig, base: &Path) -> Result<Self, String> {
        Files::new(config, base).map(Arc::new).map(Self)
    }

    pub(super) async fn answer(
        &self,
        exchange: &mut Exchange,
        request: &Request<RequestBody>,
    ) -> Result<Response<Content>, Refusal> {
        let method = request.method();
        if *method == Method::OPTIONS {
            let mut response = Response::new(Content::Empty);
            *response.status_mut() = StatusCode::NO_CONTENT;
            response.headers_mut().insert(header::ALLOW, ALLOWED);
            return Ok(response);
        }
        if *method != Method::GET && *method != Method::HEAD {
            exchange.later.push(Box::new(|response| {
                response.headers_mut().insert(header::ALLOW, ALLOWED);
            }));
            return Err(Refusal::ROUTE_METHOD);
        }
        let found = match self.0.find(request.uri().path(), Wait::Never) {
            // Boxed, so that what is at hand reserves no room for it.
            Err(Miss::WouldWait) => Box::pin(self.find_waiting(request.uri().path())).await,
            found => found,
        };
        let found = found.map_err(refusal)?;
        let asked = Asked::new(method, request.uri().query().unwrap_or_default(), request.headers());
        Ok(match self.0.answer(found, &asked) {
            Answer::Prepared { status, lines, body } => {
                let prepared = Prepared { lines, body, kept: true, ..Prepared::default() };
                let mut response = Response::new(Content::Prepared(prepared));
                *response.status_mut() = status;
                response
            }
            Answer::Made(response) => response.map(|body| match body {
                Body::Bytes(bytes) => bytes.into(),
                Body::Pieces(pieces) => FileBody::content(pieces),
            }),
        })
    }

    /// Looks where the disk has to be waited for.
    async fn find_waiting(&self, path: &str) -> Result<Found, Miss> {
        let (files, path) = (self.0.clone(), path.to_owned());
        let found = tokio::task::spawn_blocking(move || files.find(&path, Wait::Allowed));
        found.await.unwrap_or(Err(Miss::Failed))
    }
}

fn refusal(miss: Miss) -> Refusal {
    match miss {
        Miss::NotFound => Refusal::NO_FILE,
        Miss::Malformed => Refusal::bad_request("The path has a percent sign without two digits after it."),
        Miss::Forbidden => Refusal::FILE_FORBIDDEN,
        Miss::Busy | Miss::WouldWait => Refusal::FILES_BUSY,
        Miss::Failed => Refusal::INTERNAL,
        Miss::Status(_) => {
            Refusal { status: miss.status().unwrap_or(StatusCode::NOT_FOUND), ..Refusal::NO_FILE }
        }
    }
}
