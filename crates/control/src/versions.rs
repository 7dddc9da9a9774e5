//! Versions, and how an upload becomes one.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use selvedge_engine::ValidateError;
use selvedge_model::{AccountId, BindingValue, Diagnostic, Digest, ScriptName, VersionId, Worker};
use selvedge_store::{Artifacts, NewVersion, VersionRecord, new_version_id};
use serde::Serialize;
use tokio::task::spawn_blocking;

use crate::assets;
use crate::control::Control;
use crate::error::ApiError;
use crate::extract::Params;
use crate::routes::check_hosts;
use crate::stack::ArtifactMaps;
use crate::upload::Upload;

/// The answer to an upload.
#[derive(Debug, Serialize)]
pub(crate) struct Uploaded {
    version: VersionId,
    digest: Digest,
    url: String,
    created: bool,
    startup_ms: f64,
}

pub(crate) async fn list(
    State(control): State<Control>,
    Params((account, script)): Params<(AccountId, ScriptName)>,
) -> Result<Json<Vec<VersionRecord>>, ApiError> {
    control.read(move |records| records.store.versions(&account, &script)).await.map(Json)
}

pub(crate) async fn show(
    State(control): State<Control>,
    Params((account, script, id)): Params<(AccountId, ScriptName, VersionId)>,
) -> Result<Json<VersionRecord>, ApiError> {
    control.read(move |records| records.store.version(&account, &script, &id)).await.map(Json)
}

pub(crate) async fn upload(
    State(control): State<Control>,
    Params((account, script)): Params<(AccountId, ScriptName)>,
    upload: Upload,
) -> Result<Json<Uploaded>, ApiError> {
    add(&control, account, script, upload, false).await.map(Json)
}

/// Tries the upload in a sandbox, records it as a version, deploys it when asked, and has it served.
pub(crate) async fn add(
    control: &Control,
    account: AccountId,
    script: ScriptName,
    upload: Upload,
    deploy: bool,
) -> Result<Uploaded, ApiError> {
    let turn = control.turn(&account, &script).await;
    let Upload { mut metadata, artifact, room } = upload;
    check_hosts(control, &account, metadata.routes.as_deref().unwrap_or_default())?;
    let artifact = Arc::new(artifact);
    let base = {
        let (account, script, artifact) = (account.clone(), script.clone(), artifact.clone());
        control.read(move |records| {
            let base = records.store.base_worker(&account, &script)?;
            Ok((base, Artifacts::digest(&artifact)))
        })
    };
    let (base, digest) = base.await?;
    let assets = metadata.assets.take().map(Arc::new);
    if let Some(assets) = &assets {
        assets::check(control, &account, assets).await?;
    }
    let url = control.settings().public_url.of(&account, &script);
    let worker = Arc::new(Worker {
        account,
        script,
        version: new_version_id(),
        digest,
        bindings: metadata.merge_bindings(base.map(|base| base.bindings).unwrap_or_default())?,
        limits: metadata.limits,
        isolation: metadata.isolation,
        egress: metadata.egress,
        crons: metadata.crons,
        compatibility_date: metadata.compatibility_date,
        compatibility_flags: metadata.compatibility_flags,
        assets,
    });
    services_exist(control, &worker).await?;
    let validated = match control.sandbox().validate(worker.clone(), artifact.clone()).await {
        Ok(validated) => validated,
        Err(ValidateError::Refused(diagnostic)) => return Err(refused(*diagnostic, artifact).await),
        Err(error @ ValidateError::Unavailable(_)) => {
            return Err(ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "sandbox_unavailable",
                error.to_string(),
            ));
        }
    };
    if !worker.crons.is_empty() && !validated.handlers.iter().any(|handler| handler == "scheduled") {
        return Err(ApiError::bad(
            "no_scheduled_handler",
            "the worker has cron triggers, and no `scheduled` handler that they could call; export one",
        ));
    }
    let new = NewVersion {
        worker: worker.clone(),
        handlers: validated.handlers,
        message: metadata.message,
        deploy,
        routes: metadata.routes,
    };
    let record = move |records: &crate::control::Records| {
        let created = records.store.add_version(&records.artifacts, &artifact, &new);
        drop((artifact, room));
        created
    };
    let created = control.change(turn, record).await?;
    Ok(Uploaded {
        version: worker.version.clone(),
        digest: worker.digest.clone(),
        url,
        created,
        startup_ms: validated.startup_ms,
    })
}

/// Refuses bindings to workers that the account does not have.
async fn services_exist(control: &Control, worker: &Arc<Worker>) -> Result<(), ApiError> {
    let bound = worker.bindings.iter().filter_map(|binding| match &binding.value {
        BindingValue::Service { service, .. } if *service != worker.script => {
            Some((binding.name.clone(), service.clone()))
        }
        _ => None,
    });
    let bound: Vec<_> = bound.collect();
    let account = worker.account.clone();
    for (name, service) in bound {
        let (account, script) = (account.clone(), service.clone());
        match control.read(move |records| records.store.base_worker(&account, &script)).await? {
            Some(_) => {}
            None => {
                return Err(ApiError::bad(
                    "no_such_service",
                    format!(
                        "the binding {name:?} leads to the worker {:?}, which this account does not have; deploy it first",
                        service.as_str()
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// The refusal, told in terms of the original source where a source map was uploaded.
async fn refused(diagnostic: Diagnostic, artifact: Arc<selvedge_model::Artifact>) -> ApiError {
    let map = move || ArtifactMaps::new(&artifact).map_diagnostic(diagnostic);
    match spawn_blocking(map).await {
        Ok(diagnostic) => ApiError::refused(diagnostic),
        Err(error) => ApiError::internal(error),
    }
}
