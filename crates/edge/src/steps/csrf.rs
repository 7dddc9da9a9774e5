//! Refuses requests that change something and come from pages of other sites.

use std::path::Path;

use http::{Request, header};
use selvedge_auth::csrf::{Csrf, CsrfConfig};

use super::Flow;
use crate::body::RequestBody;
use crate::exchange::Exchange;
use crate::headers::asks_for_websocket;
use crate::template::authority_of;

#[derive(Debug)]
pub(crate) struct CsrfStep(Csrf);

impl CsrfStep {
    pub(super) fn new(config: &CsrfConfig, base: &Path) -> Result<Self, String> {
        Csrf::new(config, base).map(Self)
    }

    pub(super) fn before(&self, exchange: &mut Exchange, request: &Request<RequestBody>) -> Flow {
        let (headers, identity) = (request.headers(), exchange.identity.as_deref());
        let websocket = asks_for_websocket(headers);
        match self.0.check(request.method(), headers, authority_of(request), websocket, identity) {
            Ok(None) => Flow::On,
            Ok(Some(cookie)) => {
                exchange.later.push(Box::new(move |response| {
                    response.headers_mut().append(header::SET_COOKIE, cookie);
                }));
                Flow::On
            }
            Err(denial) => Flow::deny(exchange, denial),
        }
    }
}
