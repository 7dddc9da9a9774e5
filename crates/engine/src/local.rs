//! One edge thread's way into the engine.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use selvedge_model::Worker;

use crate::EngineError;

/// What of a request does not stand in its head.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    /// `http` or `https`, as the client asked.
    pub scheme: &'static str,
    /// Id for logs.
    pub request_id: String,
}

/// The engine as one edge thread uses it; its connections to the hosts live on this thread.
#[derive(Clone, Debug)]
pub struct LocalEngine(#[allow(dead_code)] Rc<()>);

impl LocalEngine {
    /// Has `worker` answer `request`, starting an isolate when none is loaded. Dropping the future or the
    /// response body cancels the request in the isolate.
    pub async fn fetch(
        &self,
        _worker: &Arc<Worker>,
        _request: Request<Incoming>,
        _context: RequestContext,
    ) -> Result<Response<WorkerBody>, EngineError> {
        todo!()
    }

    /// Runs the worker's `scheduled` handler.
    pub async fn scheduled(
        &self,
        _worker: &Arc<Worker>,
        _cron: &str,
        _time_ms: u64,
    ) -> Result<(), EngineError> {
        todo!()
    }
}

/// A response body, streamed from the isolate with backpressure.
#[derive(Debug, Default)]
pub struct WorkerBody {}

impl Body for WorkerBody {
    type Data = Bytes;
    type Error = EngineError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EngineError>>> {
        todo!()
    }

    fn is_end_stream(&self) -> bool {
        todo!()
    }

    fn size_hint(&self) -> SizeHint {
        todo!()
    }
}
