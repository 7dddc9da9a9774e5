//! Has people log in at an OpenID provider.

use std::mem;
use std::path::Path;

use http::{Request, header};
use selvedge_auth::fetch::Fetcher;
use selvedge_auth::oidc::{Oidc, OidcConfig, Outcome};
use selvedge_auth::unix_now;

use super::Flow;
use crate::body::{Content, RequestBody};
use crate::exchange::Exchange;
use crate::template::authority_of;

#[derive(Debug)]
pub(crate) struct OidcStep(Oidc);

impl OidcStep {
    pub(super) fn new(config: &OidcConfig, base: &Path) -> Result<Self, String> {
        let fetcher = Fetcher::trusting(config.ca.as_deref(), base)?;
        Oidc::new(config, base, fetcher).map(Self)
    }

    pub(super) async fn before(&self, exchange: &mut Exchange, request: &mut Request<RequestBody>) -> Flow {
        let origin = format!("{}://{}", exchange.scheme(), authority_of(request));
        let mut headers = mem::take(request.headers_mut());
        let outcome = self.0.check(request.method(), request.uri(), &mut headers, &origin, unix_now()).await;
        *request.headers_mut() = headers;
        match outcome {
            Ok(Outcome::Pass(identity, cookies)) => {
                exchange.identity = identity.or(exchange.identity.take());
                if !cookies.is_empty() {
                    exchange.later.push(Box::new(move |response| {
                        for cookie in cookies {
                            response.headers_mut().append(header::SET_COOKIE, cookie);
                        }
                    }));
                }
                Flow::On
            }
            Ok(Outcome::Answer(answer)) => Flow::Answer(Box::new(answer.map(Content::from))),
            Err(denial) => Flow::deny(exchange, denial),
        }
    }
}
