//! Asks for an API key.

use std::mem;
use std::path::Path;

use http::Request;
use selvedge_auth::api_key::{ApiKeyConfig, ApiKeys};
use selvedge_auth::unix_now;

use super::Flow;
use crate::body::RequestBody;
use crate::exchange::Exchange;

#[derive(Debug)]
pub(crate) struct ApiKeyStep(ApiKeys);

impl ApiKeyStep {
    pub(super) fn new(config: &ApiKeyConfig, base: &Path) -> Result<Self, String> {
        ApiKeys::new(config, base).map(Self).map_err(|error| error.to_string())
    }

    pub(super) fn before(&self, exchange: &mut Exchange, request: &mut Request<RequestBody>) -> Flow {
        // The request lends its two parts only one at a time.
        let mut uri = mem::take(request.uri_mut());
        let checked = self.0.check(&mut uri, request.headers_mut(), unix_now());
        *request.uri_mut() = uri;
        match checked {
            Ok(identity) => {
                exchange.identity = identity.or(exchange.identity.take());
                Flow::On
            }
            Err(denial) => Flow::deny(exchange, denial),
        }
    }
}
