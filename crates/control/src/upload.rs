//! Reads a multipart upload into an artifact and its metadata, within fixed bounds.

use std::time::Duration;

use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{HeaderMap, StatusCode, header};
use selvedge_model::artifact::{ARTIFACT_BYTES_MAX, MODULES_MAX};
use selvedge_model::{Artifact, Limits, Module, ModuleKind};
use tokio::sync::OwnedSemaphorePermit;

use crate::control::Control;
use crate::error::ApiError;
use crate::extract::timeout;
use crate::metadata::Metadata;

/// Largest upload, bytes: the modules, the metadata and the multipart framing.
pub(crate) const UPLOAD_BYTES_MAX: usize = ARTIFACT_BYTES_MAX + METADATA_BYTES_MAX + (2 << 20);
/// Largest module, bytes.
const MODULE_BYTES_MAX: usize = 32 << 20;
/// Largest metadata, bytes.
const METADATA_BYTES_MAX: usize = 8 << 20;
/// How long an upload may take to arrive.
const UPLOAD_TIME: Duration = Duration::from_secs(300);

/// A worker as it was uploaded.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) metadata: Metadata,
    pub(crate) artifact: Artifact,
    /// Its share of the memory for uploads, held until it is recorded.
    pub(crate) room: OwnedSemaphorePermit,
}

impl FromRequest<Control> for Upload {
    type Rejection = ApiError;

    async fn from_request(request: Request, control: &Control) -> Result<Self, ApiError> {
        let length = length(request.headers());
        if length > UPLOAD_BYTES_MAX {
            return Err(over_limit());
        }
        // The body is not read until there is room for it.
        let mib = length.div_ceil(1 << 20).max(1) as u32;
        let room = control.uploads().clone().acquire_many_owned(mib).await.map_err(ApiError::internal)?;
        let mut multipart = Multipart::from_request(request, control).await.map_err(|_| {
            ApiError::bad("invalid_upload", "an upload is multipart/form-data with a boundary")
        })?;
        let read = async {
            let upload = read(&mut multipart, &control.settings().limits_max).await;
            if upload.is_err() {
                // A client that is still sending sees the answer only if the rest is read; the body's limit
                // bounds that, and nothing of it is kept.
                while let Ok(Some(_)) = multipart.next_field().await {}
            }
            let (metadata, artifact) = upload?;
            Ok(Upload { metadata, artifact, room })
        };
        tokio::time::timeout(UPLOAD_TIME, read).await.unwrap_or_else(|_| Err(timeout()))
    }
}

/// Bytes that the body will have: as announced, or else as many as are allowed.
fn length(headers: &HeaderMap) -> usize {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    announced.unwrap_or(UPLOAD_BYTES_MAX)
}

async fn read(multipart: &mut Multipart, limits_max: &Limits) -> Result<(Metadata, Artifact), ApiError> {
    let mut metadata = None;
    let mut modules = Vec::new();
    while let Some(field) = multipart.next_field().await.map_err(unreadable)? {
        let name = field
            .name()
            .ok_or_else(|| ApiError::bad("invalid_upload", "a part has no field name"))?
            .to_owned();
        if name == "metadata" {
            if metadata.is_some() {
                return Err(ApiError::bad("invalid_upload", "part metadata appears twice"));
            }
            let bytes = bytes(field, &name, METADATA_BYTES_MAX).await?;
            metadata = Some(Metadata::parse(&bytes, limits_max)?);
            continue;
        }
        if modules.len() == MODULES_MAX {
            return Err(ApiError::too_large(format!("more than {MODULES_MAX} modules")));
        }
        let kind = kind(&name, field.content_type())?;
        let content = bytes(field, &name, MODULE_BYTES_MAX).await?;
        let textual =
            matches!(kind, ModuleKind::Esm | ModuleKind::Script | ModuleKind::Text | ModuleKind::Json);
        if textual && std::str::from_utf8(&content).is_err() {
            return Err(ApiError::bad("invalid_upload", format!("module {name:?} is not UTF-8")));
        }
        modules.push(Module { name, kind, content });
    }
    let metadata = metadata.ok_or_else(|| ApiError::bad("invalid_upload", "part metadata is missing"))?;
    let stray = modules
        .iter()
        .find(|module| module.kind == ModuleKind::Script && module.name != metadata.main_module);
    if let Some(Module { name, .. }) = stray {
        return Err(ApiError::bad(
            "invalid_upload",
            format!(
                "{name:?} is a script, which cannot be imported: upload it as application/javascript+module"
            ),
        ));
    }
    let artifact = Artifact::new(metadata.main_module.as_str(), modules)?;
    Ok((metadata, artifact))
}

async fn bytes(mut field: Field<'_>, name: &str, max: usize) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(unreadable)? {
        if bytes.len() + chunk.len() > max {
            return Err(ApiError::too_large(format!("part {name:?} is larger than {max} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// How a module is to be read, by its content type.
fn kind(name: &str, content_type: Option<&str>) -> Result<ModuleKind, ApiError> {
    let content_type = content_type.unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    Ok(match essence.to_ascii_lowercase().as_str() {
        "application/javascript+module" => ModuleKind::Esm,
        "application/javascript" => ModuleKind::Script,
        "text/plain" => ModuleKind::Text,
        "application/octet-stream" => ModuleKind::Data,
        "application/json" => ModuleKind::Json,
        "application/wasm" => ModuleKind::Wasm,
        "application/source-map" => ModuleKind::SourceMap,
        _ => {
            return Err(ApiError::bad(
                "invalid_upload",
                format!("module {name:?} has content type {content_type:?}, which is none of a module"),
            ));
        }
    })
}

fn unreadable(error: MultipartError) -> ApiError {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => over_limit(),
        _ => ApiError::bad(
            "invalid_upload",
            format!("the upload is malformed or broke off: {}", error.body_text()),
        ),
    }
}

fn over_limit() -> ApiError {
    ApiError::too_large(format!("the upload is larger than {UPLOAD_BYTES_MAX} bytes"))
}
