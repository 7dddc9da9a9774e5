//! What answers for deployed workers: the engine, or in tests something that stands for it.

use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response};
use selvedge_engine::{EngineError, LocalEngine, RequestContext};
use selvedge_model::Worker;

use crate::body::{Content, RequestBody};

/// Stands for the engine on one serving thread.
pub type StandIn = Box<dyn Fn(Arc<Worker>, Request<RequestBody>, RequestContext) -> Answering>;
/// What a [`StandIn`] gives.
pub type Answering = Pin<Box<dyn Future<Output = Result<Response<Content>, EngineError>>>>;

/// One serving thread's way to the workers.
pub(crate) enum Workers {
    Engine(LocalEngine),
    StandIn(StandIn),
}

impl Workers {
    /// Has a worker answer.
    pub(crate) async fn fetch(
        &self,
        worker: &Arc<Worker>,
        request: Request<RequestBody>,
        context: RequestContext,
    ) -> Result<Response<Content>, EngineError> {
        match self {
            Self::Engine(engine) => Ok(engine.fetch(worker, request, context).await?.map(Content::Worker)),
            Self::StandIn(answer) => answer(worker.clone(), request, context).await,
        }
    }
}
