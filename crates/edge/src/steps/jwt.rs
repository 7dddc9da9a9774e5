//! Asks for a JSON Web Token (RFC 7519).

use std::mem;
use std::path::Path;

use http::Request;
use selvedge_auth::fetch::Fetcher;
use selvedge_auth::jwt::{Jwt, JwtConfig};
use selvedge_auth::unix_now;

use super::Flow;
use crate::body::RequestBody;
use crate::exchange::Exchange;

#[derive(Debug)]
pub(crate) struct JwtStep(Jwt);

impl JwtStep {
    pub(super) fn new(config: &JwtConfig, base: &Path) -> Result<Self, String> {
        let fetcher = Fetcher::trusting(config.ca.as_deref(), base)?;
        Jwt::new(config, base, &fetcher).map(Self).map_err(|error| error.to_string())
    }

    pub(super) async fn before(&self, exchange: &mut Exchange, request: &mut Request<RequestBody>) -> Flow {
        // The request lends its two parts only one at a time.
        let mut uri = mem::take(request.uri_mut());
        let checked = self.0.check(&mut uri, request.headers_mut(), unix_now()).await;
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
