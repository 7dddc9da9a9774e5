//! A deployed worker answers a route.

use std::sync::Arc;

use http::{Request, Response};
use selvedge_model::{AccountId, ScriptName, Worker};

use crate::body::{Content, RequestBody};
use crate::exchange::Exchange;
use crate::refusal::Refusal;
use crate::request::{Facts, run_worker};
use crate::thread::Thread;

/// `NAME`, or `ACCOUNT/NAME`.
#[derive(Clone, Debug)]
pub(crate) struct WorkerName((AccountId, ScriptName));

impl WorkerName {
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let (account, name) = match text.split_once('/') {
            Some((account, name)) => (account.parse().map_err(|error| format!("{text:?}: {error}"))?, name),
            None => (AccountId::default_account(), text),
        };
        let name = name.parse().map_err(|error| format!("{text:?}: {error}"))?;
        Ok(Self((account, name)))
    }

    /// The version whose turn it is.
    pub(crate) fn worker(&self, thread: &Thread) -> Result<Arc<Worker>, Refusal> {
        let mut routes = thread.routes.borrow_mut();
        let deployment = routes.script(&self.0).ok_or(Refusal::NO_SUCH_WORKER)?;
        thread.pick(deployment)
    }

    pub(super) async fn answer(
        &self,
        exchange: &mut Exchange,
        request: Box<Request<RequestBody>>,
        facts: &Facts,
    ) -> Result<Response<Content>, Refusal> {
        let worker = self.worker(&exchange.thread)?;
        run_worker(exchange, worker, request, facts).await
    }
}
