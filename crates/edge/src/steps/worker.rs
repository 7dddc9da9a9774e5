//! A worker looks at requests before what answers does: it answers itself, or lets them pass, changed or not.
//!
//! The worker gets the request without its body. When its response has the field `selvedge-next`, the request goes on: fields of the
//! response that begin with `selvedge-request-` are set on it (without that prefix), the others are added to the final response.
//! Without `selvedge-next` the worker's response is the answer.

use http::{HeaderMap, HeaderName, Request, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Flow;
use crate::body::RequestBody;
use crate::exchange::Exchange;
use crate::handlers::WorkerName;
use crate::request::{Facts, call_worker};

/// Says that the request goes on.
const NEXT: &str = "selvedge-next";
/// Begins fields for the request.
const REQUEST: &str = "selvedge-request-";

/// Which worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkerStepConfig {
    /// `NAME`, or `ACCOUNT/NAME`.
    pub name: String,
}

#[derive(Debug)]
pub(crate) struct WorkerStep(WorkerName);

impl WorkerStep {
    pub(super) fn new(config: &WorkerStepConfig) -> Result<Self, String> {
        WorkerName::new(&config.name).map(Self)
    }

    pub(super) async fn before(&self, exchange: &mut Exchange, request: &mut Request<RequestBody>) -> Flow {
        let worker = match self.0.worker(&exchange.thread) {
            Ok(worker) => worker,
            Err(refusal) => return Flow::Refuse(refusal),
        };
        let mut copy = Box::new(Request::new(RequestBody::None));
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        *copy.headers_mut() = request.headers().clone();
        for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::EXPECT] {
            copy.headers_mut().remove(name);
        }
        let facts = Facts { content_length: None, hop: true, websocket: false, trailers: false };
        let mut answer = match call_worker(exchange, &worker, copy, &facts).await {
            Ok(answer) => answer,
            Err(refusal) => return Flow::Refuse(refusal),
        };
        if answer.headers_mut().remove(NEXT).is_none() {
            return Flow::Answer(Box::new(answer));
        }
        let mut for_response = HeaderMap::new();
        for (name, value) in answer.headers() {
            let for_request = name.as_str().strip_prefix(REQUEST);
            match for_request.map(str::parse::<HeaderName>) {
                // They say where the message ends and whom it is for, which is settled.
                Some(Ok(name))
                    if [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING].contains(&name) => {}
                Some(Ok(name)) => {
                    request.headers_mut().insert(name, value.clone());
                }
                Some(Err(_)) => {}
                None if [header::CONTENT_LENGTH, header::CONTENT_TYPE].contains(name) => {}
                None => {
                    for_response.append(name.clone(), value.clone());
                }
            }
        }
        exchange.later.push(Box::new(move |response| response.headers_mut().extend(for_response)));
        Flow::On
    }
}
