//! Another Selvedge between this one and the origin, which misses are sent to: many servers' misses become one there.

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use selvedge_cache::status::NAME;
use selvedge_upstream::Registry;
use selvedge_upstream::config::ProxyConfig;
use std::collections::BTreeMap;
use std::path::Path;

use super::RouteCache;
use crate::body::{Content, RequestBody};
use crate::exchange::Exchange;
use crate::handlers::Handler;
use crate::refusal::Refusal;
use crate::request::Facts;
use crate::sites::Route;

/// Which caches a request has passed (RFC 8586).
const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// The way to a route's shields; nothing where it has none. The error is a sentence.
pub(super) fn new(servers: &[String], registry: &Registry, base: &Path) -> Result<Option<Handler>, String> {
    if servers.is_empty() {
        return Ok(None);
    }
    let config: ProxyConfig = serde_json::from_value(serde_json::json!({ "to": servers }))
        .map_err(|error| format!("shield: {error}"))?;
    let shield = Handler::proxy(&config, &BTreeMap::new(), registry, base);
    shield.map(Some).map_err(|problem| format!("shield: {problem}"))
}

/// Whether a request came from another Selvedge: it goes to the origin then, so that shields that name each other make no circle.
pub(super) fn has_passed(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CDN_LOOP).into_iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .any(|member| member.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(NAME))
}

/// Has the shield answer where there is one, else, or where it does not answer, what answers the route.
pub(super) async fn ask(
    route: &Route,
    cache: &RouteCache,
    exchange: &mut Exchange,
    request: Box<Request<RequestBody>>,
    facts: &Facts,
) -> Result<Response<Content>, Refusal> {
    if let Some(shield) = &cache.shield
        && !has_passed(request.headers())
    {
        let mut passed = Box::new(Request::new(RequestBody::None));
        *passed.method_mut() = request.method().clone();
        *passed.uri_mut() = request.uri().clone();
        *passed.version_mut() = request.version();
        *passed.headers_mut() = request.headers().clone();
        passed.headers_mut().append(CDN_LOOP, HeaderValue::from_static(NAME));
        match shield.answer(exchange, passed, facts).await {
            Ok(answer) => return Ok(answer),
            Err(refusal) => {
                exchange.thread.cache.count(selvedge_cache::store::Event::ShieldDown);
                tracing::debug!(code = refusal.code, "the shield does not answer; the origin is asked");
            }
        }
    }
    route.handler.answer(exchange, request, facts).await
}
