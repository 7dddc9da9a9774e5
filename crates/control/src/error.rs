//! The API's errors: one JSON shape, stable codes.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use selvedge_model::{ArtifactError, Diagnostic};
use selvedge_store::StoreError;
use serde::Serialize;

/// A refusal or failure as the client sees it.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    diagnostic: Option<Box<Diagnostic>>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnostic: Option<&'a Diagnostic>,
}

impl ApiError {
    /// A refusal. `message` may start in lower case and lack its full stop.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: sentence(message.into()), diagnostic: None }
    }

    /// 400.
    pub(crate) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 413.
    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// 422: the worker's code is at fault.
    pub(crate) fn refused(diagnostic: Diagnostic) -> Self {
        let message = match (&diagnostic.file, diagnostic.line) {
            (Some(file), Some(line)) => {
                format!("{file}:{line}:{}: {}", diagnostic.column.unwrap_or(1), diagnostic.message)
            }
            _ => diagnostic.message.clone(),
        };
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            code: "code_refused",
            // As the engine put it: it may start with a file's name.
            message,
            diagnostic: Some(Box::new(diagnostic)),
        }
    }

    /// 500. The cause goes to the log only.
    pub(crate) fn internal(cause: impl std::error::Error) -> Self {
        let mut text = cause.to_string();
        let mut source = cause.source();
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        tracing::error!(cause = text, "a call of the API failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the server failed; its log says why")
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let status = match &error {
            StoreError::ScriptNotFound(_)
            | StoreError::VersionNotFound { .. }
            | StoreError::SecretNotFound { .. } => StatusCode::NOT_FOUND,
            StoreError::BadShares(_) => StatusCode::BAD_REQUEST,
            StoreError::RouteTaken { .. }
            | StoreError::NotDeployed(_)
            | StoreError::SplitDeployment(_)
            | StoreError::TooManyBindings(_)
            | StoreError::NothingToRollBack(_) => StatusCode::CONFLICT,
            StoreError::Io { .. }
            | StoreError::Database(_)
            | StoreError::Artifacts(_)
            | StoreError::NewerSchema { .. }
            | StoreError::WrongKey
            | StoreError::KeyMissing(_)
            | StoreError::BadKey
            | StoreError::Damaged(_) => return Self::internal(error),
        };
        Self::new(status, error.code(), error.to_string())
    }
}

impl From<ArtifactError> for ApiError {
    fn from(error: ArtifactError) -> Self {
        match error {
            ArtifactError::TooLarge(_) => Self::too_large(error.to_string()),
            _ => Self::bad("invalid_upload", error.to_string()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let inner = Inner { code: self.code, message: &self.message, diagnostic: self.diagnostic.as_deref() };
        let mut response = (self.status, Json(Body { error: inner })).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::SERVICE_UNAVAILABLE || self.status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Upper-case start and a full stop.
fn sentence(text: String) -> String {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return text };
    let stop = if text.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{}{}{stop}", first.to_uppercase(), chars.as_str())
}
