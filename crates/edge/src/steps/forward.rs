//! Asks another server whether a request may pass.

use std::mem;
use std::path::Path;

use http::Request;
use selvedge_auth::fetch::Fetcher;
use selvedge_auth::forward::{Asked, Decision, ForwardAuth, ForwardAuthConfig};

use super::Flow;
use crate::body::{Content, RequestBody};
use crate::exchange::Exchange;
use crate::template::authority_of;

#[derive(Debug)]
pub(crate) struct ForwardAuthStep(ForwardAuth);

impl ForwardAuthStep {
    pub(super) fn new(config: &ForwardAuthConfig, base: &Path) -> Result<Self, String> {
        let fetcher = Fetcher::trusting(config.ca.as_deref(), base)?;
        ForwardAuth::new(config, fetcher).map(Self)
    }

    pub(super) async fn before(&self, exchange: &mut Exchange, request: &mut Request<RequestBody>) -> Flow {
        let mut headers = mem::take(request.headers_mut());
        let host = match request.uri().authority() {
            Some(_) => authority_of(request).to_owned(),
            None => headers
                .get(http::header::HOST)
                .and_then(|host| host.to_str().ok())
                .unwrap_or_default()
                .to_owned(),
        };
        let asked = Asked { scheme: exchange.scheme(), host: &host, client: exchange.client };
        let decision = self.0.check(request.method(), request.uri(), &mut headers, asked).await;
        *request.headers_mut() = headers;
        match decision {
            Ok(Decision::Pass(identity, for_client)) => {
                exchange.identity = identity.or(exchange.identity.take());
                if !for_client.is_empty() {
                    exchange.later.push(Box::new(move |response| {
                        for (name, value) in &for_client {
                            response.headers_mut().append(name, value.clone());
                        }
                    }));
                }
                Flow::On
            }
            Ok(Decision::Answer(answer)) => Flow::Answer(Box::new(answer.map(Content::from))),
            Err(denial) => Flow::deny(exchange, denial),
        }
    }
}
