//! Lets pass who has roles or scopes, as an earlier step found out.

use http::Request;
use selvedge_auth::roles::{Roles, RolesConfig};

use super::Flow;
use crate::body::RequestBody;
use crate::exchange::Exchange;

#[derive(Debug)]
pub(crate) struct RolesStep(Roles);

impl RolesStep {
    pub(super) fn new(config: &RolesConfig) -> Result<Self, String> {
        Roles::new(config).map(Self)
    }

    pub(super) fn before(&self, exchange: &mut Exchange, request: &Request<RequestBody>) -> Flow {
        match self.0.check(request.method(), exchange.identity.as_deref()) {
            Ok(()) => Flow::On,
            Err(denial) => Flow::deny(exchange, denial),
        }
    }
}
