//! Health and metrics, for the admin address.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use selvedge_cache::key;
use selvedge_cache::settings::QueryKey;
use selvedge_cache::store::{Purge, Store};
use selvedge_cache::targets::{self, PurgeTarget, Told};
use selvedge_telemetry::{Format, HttpMetrics, Registry, exposition};
use selvedge_tls::config::Endpoint;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::readiness::Health;
use crate::{Edge, EdgeControl, Readiness};

/// What the admin server shows.
#[derive(Clone, Debug)]
pub struct AdminState {
    /// Set by the wiring.
    pub readiness: Arc<Readiness>,
    /// Everything that is measured.
    pub registry: Arc<Registry>,
    /// Durations of requests.
    pub http: HttpMetrics,
}

/// `/health/live`, `/health/ready`, `/health/startup` and `/metrics`; to be merged with the control API's.
pub fn admin_router(state: AdminState) -> Router {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/health/startup", get(startup))
        .route("/metrics", get(metrics))
        .with_state(state)
}

async fn live(State(state): State<AdminState>) -> Response {
    health(&state.readiness.live().await)
}

/// `?upstreams&certificates` makes these matter to who asks.
async fn ready(State(state): State<AdminState>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let asked = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    health(&state.readiness.ready(asked).await)
}

async fn startup(State(state): State<AdminState>) -> Response {
    health(&state.readiness.startup())
}

async fn metrics(State(state): State<AdminState>, headers: HeaderMap) -> Response {
    let accept: Vec<&str> = headers.get_all(header::ACCEPT).iter().map(text).collect();
    let format = Format::accepted(&accept.join(","));
    match exposition(&state.registry, &state.http, format) {
        Ok(text) => {
            let fields = [(header::CONTENT_TYPE, format.media_type()), (header::VARY, "accept")];
            (fields, text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "metrics could not be encoded");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

/// 200, or 503 with the reasons against it.
fn health(health: &Health) -> Response {
    let status = if health.reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], axum::Json(health)).into_response()
}

/// What of the cache is to go: exactly one of the first four.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PurgeCall {
    url: Option<String>,
    prefix: Option<String>,
    tag: Option<String>,
    all: bool,
    /// It stays, and is asked about before its next use.
    soft: bool,
}

impl PurgeCall {
    fn purge(self) -> Result<(Purge, bool), &'static str> {
        let spelled = |url: &str| -> Result<String, &'static str> {
            let uri = url.parse::<Uri>().ok().filter(|uri| uri.scheme().is_some());
            let uri = uri.ok_or("name an absolute address, such as \"https://example.com/a\"")?;
            let host = uri.authority().map_or("", |host| host.as_str());
            let scheme = uri.scheme_str().unwrap_or_default();
            Ok(key::address(scheme, host, uri.path(), uri.query(), &QueryKey::default()))
        };
        let purge = match (self.url, self.prefix, self.tag, self.all) {
            (Some(url), None, None, false) => Purge::Address(spelled(&url)?),
            (None, Some(prefix), None, false) => Purge::Prefix(spelled(&prefix)?),
            (None, None, Some(tag), false) => Purge::Tag(tag),
            (None, None, None, true) => Purge::All,
            _ => return Err("name exactly one of url, prefix, tag and all"),
        };
        Ok((purge, self.soft))
    }
}

/// What calls about the cache need.
#[derive(Debug)]
struct Cache {
    store: Arc<Store>,
    targets: Vec<PurgeTarget>,
    /// Knows where to ask for what is to be cached.
    edge: EdgeControl,
}

/// `GET /api/v1/cache` and `POST /api/v1/cache/purge`, for those who may.
pub fn cache_calls(edge: &Edge) -> Router {
    let cache = Cache {
        store: edge.cache().clone(),
        // They do not change while it runs.
        targets: edge.control().config().cache.purge_targets.clone(),
        edge: edge.control().clone(),
    };
    Router::new()
        .route("/api/v1/cache", get(status))
        .route("/api/v1/cache/purge", post(purge))
        .with_state(Arc::new(cache))
}

async fn status(State(cache): State<Arc<Cache>>) -> axum::Json<Value> {
    let mut status = serde_json::to_value(cache.store.counts()).unwrap_or_default();
    let listeners = cache.edge.endpoints().into_iter().filter_map(|(endpoint, tls)| match endpoint {
        Endpoint::Tcp(address) => Some(json!({ "address": address, "tls": tls })),
        Endpoint::Unix(_) => None,
    });
    status["listeners"] = listeners.collect();
    axum::Json(status)
}

async fn purge(State(cache): State<Arc<Cache>>, call: axum::body::Bytes) -> Response {
    let call = serde_json::from_slice::<PurgeCall>(&call).map_err(|error| error.to_string());
    let (purge, soft) = match call.and_then(|call| call.purge().map_err(str::to_owned)) {
        Ok(meant) => meant,
        Err(message) => {
            let error = json!({ "error": { "code": "bad_purge", "message": message } });
            return (StatusCode::BAD_REQUEST, axum::Json(error)).into_response();
        }
    };
    let mut told: Vec<Told> = Vec::new();
    if let Some(announced) = cache.store.announce(&purge, soft).await {
        let message = announced.err().map(|error| error.to_string());
        told.push(Told { target: "redis".into(), ok: message.is_none(), message });
    }
    // It may walk over all that is stored, and ask others.
    let purged = tokio::task::spawn_blocking(move || {
        let count = cache.store.purge(&purge, soft);
        told.extend(targets::tell_all(&cache.targets, &purge, soft));
        (count, told)
    });
    match purged.await {
        Ok((count, told)) => axum::Json(json!({ "purged": count, "targets": told })).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purge_means_one_thing() {
        let of =
            |text: &str| serde_json::from_str::<PurgeCall>(text).map_err(|_| ())?.purge().map_err(|_| ());
        assert_eq!(of(r#"{"url":"HTTP://A:80/%7e"}"#), Ok((Purge::Address("http://a/~".into()), false)));
        assert_eq!(
            of(r#"{"prefix":"https://a/b","soft":true}"#),
            Ok((Purge::Prefix("https://a/b".into()), true))
        );
        assert_eq!(of(r#"{"all":true}"#), Ok((Purge::All, false)));
        for bad in ["{}", r#"{"all":true,"tag":"x"}"#, r#"{"url":"/a"}"#, r#"{"tags":"x"}"#, "[]x"] {
            assert_eq!(of(bad), Err(()), "{bad}");
        }
    }
}
