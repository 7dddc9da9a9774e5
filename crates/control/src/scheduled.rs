//! Calling a worker's `scheduled` handler now, as a cron trigger would.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use selvedge_engine::EngineError;
use selvedge_model::{AccountId, ScriptName};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::control::Control;
use crate::error::ApiError;
use crate::extract::{JsonBody, Params};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trigger {
    /// What the handler sees as `controller.cron`; the version's first expression when absent.
    #[serde(default)]
    cron: Option<String>,
    /// `controller.scheduledTime`, Unix milliseconds; now when absent.
    #[serde(default)]
    time_ms: Option<u64>,
}

pub(crate) async fn trigger(
    State(control): State<Control>,
    Params((account, script)): Params<(AccountId, ScriptName)>,
    JsonBody(Trigger { cron, time_ms }): JsonBody<Trigger>,
) -> Result<Json<Value>, ApiError> {
    let worker = control.deployed_worker(&account, &script, None).await?;
    if let Some(cron) = &cron {
        selvedge_engine::schedule::parse(cron).map_err(|error| ApiError::bad("invalid_request", error))?;
    }
    let cron = cron.or_else(|| worker.crons.first().cloned()).unwrap_or_default();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let time_ms = time_ms.unwrap_or_else(now);
    let version = worker.version.clone();
    match control.sandbox().scheduled(worker, cron.clone(), time_ms).await {
        Ok(()) => Ok(Json(json!({ "version": version, "cron": cron, "time_ms": time_ms }))),
        Err(error) => {
            let status = match &error {
                EngineError::Unavailable(_) | EngineError::SandboxLost | EngineError::Overloaded => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
                _ => StatusCode::BAD_GATEWAY,
            };
            Err(ApiError::new(status, error.code(), format!("the `scheduled` handler failed: {error}")))
        }
    }
}
