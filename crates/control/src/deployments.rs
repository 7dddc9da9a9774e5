//! Deployments: which versions answer which share of the traffic.

use axum::Json;
use axum::extract::State;
use selvedge_model::{AccountId, ScriptName, VersionId};
use selvedge_store::{DeploymentRecord, VersionShare};
use serde::Deserialize;

use crate::control::Control;
use crate::error::ApiError;
use crate::extract::{JsonBody, Params};
use crate::metadata::check_message;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDeployment {
    versions: Vec<VersionShare>,
    #[serde(default)]
    message: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rollback {
    #[serde(default)]
    version: Option<VersionId>,
    #[serde(default)]
    message: String,
}

pub(crate) async fn list(
    State(control): State<Control>,
    Params((account, script)): Params<(AccountId, ScriptName)>,
) -> Result<Json<Vec<DeploymentRecord>>, ApiError> {
    control.read(move |records| records.store.deployments(&account, &script)).await.map(Json)
}

pub(crate) async fn create(
    State(control): State<Control>,
    Params((account, script)): Params<(AccountId, ScriptName)>,
    JsonBody(new): JsonBody<NewDeployment>,
) -> Result<Json<DeploymentRecord>, ApiError> {
    check_message(&new.message)?;
    let turn = control.turn(&account, &script).await;
    let deploy = move |records: &crate::control::Records| {
        records.store.deploy(&records.artifacts, &account, &script, &new.versions, &new.message)
    };
    control.change(turn, deploy).await.map(Json)
}

pub(crate) async fn rollback(
    State(control): State<Control>,
    Params((account, script)): Params<(AccountId, ScriptName)>,
    JsonBody(Rollback { version, message }): JsonBody<Rollback>,
) -> Result<Json<DeploymentRecord>, ApiError> {
    check_message(&message)?;
    let turn = control.turn(&account, &script).await;
    let message = if message.is_empty() { "Rollback".into() } else { message };
    let roll_back = move |records: &crate::control::Records| {
        records.store.rollback(&records.artifacts, &account, &script, version, &message)
    };
    control.change(turn, roll_back).await.map(Json)
}
