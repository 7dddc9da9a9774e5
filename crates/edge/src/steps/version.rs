//! Finds out which version of an API a request wants, tells what answers in the field `api-version`, and tells clients when
//! theirs ends.

use http::{HeaderName, HeaderValue, Request, header};
use selvedge_limit::versions::{Asked, Versions, VersionsConfig};

use super::Flow;
use crate::body::RequestBody;
use crate::exchange::Exchange;
use crate::refusal::Refusal;

const API_VERSION: HeaderName = HeaderName::from_static("api-version");

#[derive(Debug)]
pub(crate) struct VersionStep(Versions);

impl VersionStep {
    pub(super) fn new(config: &VersionsConfig) -> Result<Self, String> {
        Versions::new(config).map(Self)
    }

    pub(super) fn before(&self, exchange: &mut Exchange, request: &mut Request<RequestBody>) -> Flow {
        let now = exchange.thread.clock.since_epoch(exchange.started).as_secs();
        let (found, fields) = match self.0.find(request.uri().path(), request.headers(), now) {
            Asked::Version { name, fields, strip } => (Some((name, strip)), fields),
            Asked::Gone(fields) => (None, fields),
            Asked::Unknown => return Flow::Refuse(Refusal::UNKNOWN_VERSION),
        };
        let (fields, vary) = (fields.to_vec(), self.0.vary());
        if !fields.is_empty() || vary.is_some() {
            exchange.later.push(Box::new(move |response| {
                let headers = response.headers_mut();
                if let Some(vary) = vary {
                    headers.append(header::VARY, vary);
                }
                for (name, value) in fields {
                    headers.append(name, value);
                }
            }));
        }
        let Some((name, strip)) = found else { return Flow::Refuse(Refusal::GONE_VERSION) };
        if let Ok(name) = HeaderValue::from_str(name) {
            request.headers_mut().insert(API_VERSION, name);
        }
        if strip > 0 {
            let target = request.uri().path_and_query().map_or("", |target| target.as_str()).get(strip..);
            let target = target.unwrap_or_default().trim_start_matches('/');
            let mut parts = request.uri().clone().into_parts();
            parts.path_and_query = format!("/{target}").parse().ok();
            match http::Uri::from_parts(parts) {
                Ok(uri) => *request.uri_mut() = uri,
                Err(_) => return Flow::Refuse(Refusal::REWRITE),
            }
        }
        Flow::On
    }
}
