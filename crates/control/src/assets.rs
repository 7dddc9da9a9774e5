//! Static files: which are missing, and their upload. A version names them; see `docs/api.md`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use selvedge_assets::Site;
use selvedge_model::assets::{ASSET_BYTES_MAX, Assets};
use selvedge_model::{AccountId, Digest};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::task::spawn_blocking;

use crate::control::Control;
use crate::error::ApiError;
use crate::extract::{JsonBody, Params, timeout};

/// Digests that one call may ask about.
const DIGESTS_MAX: usize = 10_000;
/// How long one file may take to arrive.
const UPLOAD_TIME: std::time::Duration = std::time::Duration::from_secs(300);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Digests {
    digests: Vec<Digest>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Missing {
    missing: Vec<Digest>,
}

/// Which of the files the account has not uploaded yet.
pub(crate) async fn missing(
    State(control): State<Control>,
    Params(account): Params<AccountId>,
    JsonBody(Digests { mut digests }): JsonBody<Digests>,
) -> Result<Json<Missing>, ApiError> {
    if digests.len() > DIGESTS_MAX {
        return Err(ApiError::too_large(format!("more than {DIGESTS_MAX} digests")));
    }
    let looked = control.read(move |records| {
        digests.retain(|digest| !records.artifacts.has_blob(&account, digest));
        Ok(digests)
    });
    Ok(Json(Missing { missing: looked.await? }))
}

/// Takes one file.
pub(crate) async fn put(
    State(control): State<Control>,
    Params((account, digest)): Params<(AccountId, Digest)>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let mib = (ASSET_BYTES_MAX >> 20) as u32;
    let _room = control.uploads().clone().acquire_many_owned(mib).await.map_err(ApiError::internal)?;
    let read = tokio::time::timeout(UPLOAD_TIME, Bytes::from_request(request, &control)).await;
    let bytes = read.map_err(|_| timeout())?.map_err(|_| {
        ApiError::too_large(format!("a file has at most {ASSET_BYTES_MAX} bytes, and must arrive whole"))
    })?;
    let stored = control.read(move |records| match records.artifacts.put_blob(&account, &digest, &bytes) {
        Err(selvedge_store::ArtifactsError::Damaged(_)) => Ok(false),
        stored => Ok(stored.map(|()| true)?),
    });
    if stored.await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::bad("digest_mismatch", "the file's SHA-256 is not the digest in the path"))
    }
}

/// Whether a version can have these files: they make sense, and they are here.
pub(crate) async fn check(
    control: &Control,
    account: &AccountId,
    assets: &Arc<Assets>,
) -> Result<(), ApiError> {
    let checked = assets.clone();
    let site = spawn_blocking(move || Site::new(checked).map(drop)).await.map_err(ApiError::internal)?;
    site.map_err(|problem| ApiError::bad("invalid_assets", problem.to_string()))?;
    let (account, assets) = (account.clone(), assets.clone());
    let absent = control.read(move |records| {
        let absent = assets.files.iter().find(|(_, file)| {
            let found = std::fs::metadata(records.artifacts.blob_path(&account, &file.digest));
            !found.is_ok_and(|found| found.len() == file.size)
        });
        Ok(absent.map(|(path, _)| path.clone()))
    });
    match absent.await? {
        None => Ok(()),
        Some(path) => Err(ApiError::new(
            StatusCode::CONFLICT,
            "assets_missing",
            format!(
                "the file {path} was not uploaded, or has another size; upload what `assets/missing` names first"
            ),
        )),
    }
}
