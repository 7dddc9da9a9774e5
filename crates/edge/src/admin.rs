//! Health and metrics, for the admin address.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use selvedge_telemetry::{OPENMETRICS_TYPE, Registry, openmetrics};

use crate::Readiness;

/// What the admin server shows.
#[derive(Clone, Debug)]
pub struct AdminState {
    /// Set by the wiring.
    pub readiness: Arc<Readiness>,
    /// Everything that is measured.
    pub registry: Arc<Registry>,
}

/// `/health/live`, `/health/ready`, `/health/startup` and `/metrics`; to be merged with the control API's.
pub fn admin_router(state: AdminState) -> Router {
    Router::new()
        .route("/health/live", get(async || health(None)))
        .route("/health/ready", get(ready))
        .route("/health/startup", get(startup))
        .route("/metrics", get(metrics))
        .with_state(state)
}

async fn ready(State(state): State<AdminState>) -> Response {
    health(state.readiness.refusal())
}

async fn startup(State(state): State<AdminState>) -> Response {
    health((!state.readiness.has_started()).then_some("starting"))
}

async fn metrics(State(state): State<AdminState>) -> Response {
    match openmetrics(&state.registry) {
        Ok(text) => ([(header::CONTENT_TYPE, OPENMETRICS_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics could not be encoded");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// 200 `{"status":"ok"}`, or 503 with the reasons against it.
fn health(reason: Option<&str>) -> Response {
    let (status, body) = match reason {
        None => (StatusCode::OK, serde_json::json!({ "status": "ok" })),
        Some(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            serde_json::json!({ "status": "unavailable", "reasons": [reason] }),
        ),
    };
    (status, [(header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response()
}
