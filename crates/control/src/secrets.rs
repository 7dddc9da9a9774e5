//! Secrets: names out, values in, never the other way round.

use axum::Json;
use axum::extract::State;
use selvedge_model::{AccountId, ScriptName, VersionId};
use serde::{Deserialize, Serialize};

use crate::control::{Control, Records};
use crate::error::ApiError;
use crate::extract::{JsonBody, Params};
use crate::metadata::{Sensitive, check_name, check_text};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSecret {
    text: Sensitive,
}

/// The answer to a change: the version that was made and deployed for it.
#[derive(Debug, Serialize)]
pub(crate) struct Changed {
    version: VersionId,
}

pub(crate) async fn list(
    State(control): State<Control>,
    Params((account, script)): Params<(AccountId, ScriptName)>,
) -> Result<Json<Vec<String>>, ApiError> {
    control.read(move |records| records.store.secret_names(&account, &script)).await.map(Json)
}

pub(crate) async fn set(
    State(control): State<Control>,
    Params((account, script, name)): Params<(AccountId, ScriptName, String)>,
    JsonBody(NewSecret { text }): JsonBody<NewSecret>,
) -> Result<Json<Changed>, ApiError> {
    check_name(&name)?;
    check_text(&name, &text)?;
    change(&control, account, script, name, Some(text)).await
}

pub(crate) async fn remove(
    State(control): State<Control>,
    Params((account, script, name)): Params<(AccountId, ScriptName, String)>,
) -> Result<Json<Changed>, ApiError> {
    check_name(&name)?;
    change(&control, account, script, name, None).await
}

async fn change(
    control: &Control,
    account: AccountId,
    script: ScriptName,
    name: String,
    value: Option<Sensitive>,
) -> Result<Json<Changed>, ApiError> {
    let turn = control.turn(&account, &script).await;
    let work = move |Records { store, artifacts }: &Records| {
        let value = value.as_ref().map(|value| value.0.as_str());
        store.change_secret(artifacts, &account, &script, &name, value)
    };
    Ok(Json(Changed { version: control.change(turn, work).await? }))
}
