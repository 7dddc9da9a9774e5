//! Requests of pages of other origins: answers preflights, and says in answers who may read them.

use http::{Request, Response, StatusCode, header};
use selvedge_limit::cors::{Cors, CorsConfig, Preflight};
use std::sync::Arc;

use super::Flow;
use crate::body::{Content, RequestBody};
use crate::exchange::Exchange;
use crate::refusal::Refusal;

#[derive(Debug)]
pub(crate) struct CorsStep(Arc<Cors>);

impl CorsStep {
    pub(super) fn new(config: &CorsConfig) -> Result<Self, String> {
        Cors::new(config).map(|cors| Self(Arc::new(cors)))
    }

    pub(super) fn before(&self, exchange: &mut Exchange, request: &Request<RequestBody>) -> Flow {
        match self.0.preflight(request.method(), request.headers()) {
            Some(Preflight::Allowed(headers)) => {
                let mut answer = Response::new(Content::Empty);
                *answer.status_mut() = StatusCode::NO_CONTENT;
                *answer.headers_mut() = headers;
                return Flow::Answer(Box::new(answer));
            }
            Some(Preflight::Denied(message)) => {
                return Flow::Refuse(Refusal { message, ..Refusal::CORS_DENIED });
            }
            None => {}
        }
        let (cors, origin) = (self.0.clone(), request.headers().get(header::ORIGIN).cloned());
        exchange.later.push(Box::new(move |response| cors.answer(origin.as_ref(), response.headers_mut())));
        Flow::On
    }
}
