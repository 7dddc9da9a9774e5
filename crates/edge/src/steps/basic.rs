//! Asks for a name and a password (RFC 7617).

use std::path::Path;

use http::Request;
use selvedge_auth::basic::{Basic, BasicConfig};
use selvedge_auth::unix_now;

use super::Flow;
use crate::body::RequestBody;
use crate::exchange::Exchange;

#[derive(Debug)]
pub(crate) struct BasicStep(Basic);

impl BasicStep {
    pub(super) fn new(config: &BasicConfig, base: &Path) -> Result<Self, String> {
        Basic::new(config, base).map(Self).map_err(|error| error.to_string())
    }

    pub(super) async fn before(&self, exchange: &mut Exchange, request: &mut Request<RequestBody>) -> Flow {
        match self.0.check(request.headers_mut(), unix_now()).await {
            Ok(identity) => {
                exchange.identity = identity.or(exchange.identity.take());
                Flow::On
            }
            Err(denial) => Flow::deny(exchange, denial),
        }
    }
}
