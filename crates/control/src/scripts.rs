//! Scripts: the list, one of them, deploy, delete.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use selvedge_model::{AccountId, ScriptName};
use selvedge_store::{DeploymentRecord, ScriptRecord};
use serde::Serialize;

use crate::control::Control;
use crate::error::ApiError;
use crate::extract::Params;
use crate::upload::Upload;
use crate::versions::{self, Uploaded};

#[derive(Debug, Serialize)]
pub(crate) struct Script {
    url: String,
    #[serde(flatten)]
    record: ScriptRecord,
}

#[derive(Debug, Serialize)]
pub(crate) struct ScriptDetail {
    #[serde(flatten)]
    script: Script,
    /// The one in force; `null` before the first.
    deployment: Option<DeploymentRecord>,
}

fn script(control: &Control, account: &AccountId, record: ScriptRecord) -> Script {
    Script { url: control.settings().public_url.of(account, &record.script), record }
}

pub(crate) async fn list(
    State(control): State<Control>,
    Params(account): Params<AccountId>,
) -> Result<Json<Vec<Script>>, ApiError> {
    let owner = account.clone();
    let records = control.read(move |records| records.store.scripts(&owner)).await?;
    Ok(Json(records.into_iter().map(|record| script(&control, &account, record)).collect()))
}

pub(crate) async fn show(
    State(control): State<Control>,
    Params((account, name)): Params<(AccountId, ScriptName)>,
) -> Result<Json<ScriptDetail>, ApiError> {
    let owner = account.clone();
    let read = control.read(move |records| {
        let record = records.store.script(&owner, &name)?;
        let newest = records.store.deployments(&owner, &name)?.into_iter().next();
        Ok((record, newest))
    });
    let (record, deployment) = read.await?;
    Ok(Json(ScriptDetail { script: script(&control, &account, record), deployment }))
}

pub(crate) async fn upload(
    State(control): State<Control>,
    Params((account, name)): Params<(AccountId, ScriptName)>,
    upload: Upload,
) -> Result<Json<Uploaded>, ApiError> {
    versions::add(&control, account, name, upload, true).await.map(Json)
}

pub(crate) async fn remove(
    State(control): State<Control>,
    Params((account, name)): Params<(AccountId, ScriptName)>,
) -> Result<StatusCode, ApiError> {
    let turn = control.turn(&account, &name).await;
    let (owner, script) = (account.clone(), name.clone());
    let delete = move |records: &crate::control::Records| {
        records.store.delete_script(&records.artifacts, &owner, &script)
    };
    control.change(turn, delete).await?;
    control.logs().forget(&account, &name);
    Ok(StatusCode::NO_CONTENT)
}
