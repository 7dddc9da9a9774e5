//! Who calls: a bearer token, never a web page of another origin.

use axum::Extension;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use selvedge_model::AccountId;

use crate::control::Control;
use crate::error::ApiError;

/// The account that the request's token speaks for; an extension of every request past [`authenticate`].
#[derive(Clone, Debug)]
pub(crate) struct Identity(pub(crate) AccountId);

/// Middleware around every call: checks origin, token and, where the path names one, the account.
pub(crate) async fn authenticate(
    State(control): State<Control>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    check_origin(request.headers(), &control.settings().admin_origins)?;
    let token = bearer(request.headers())
        .ok_or_else(|| unauthorized("the call has no token; send `Authorization: Bearer` and the token"))?;
    let account = control
        .read(move |records| records.store.authenticate(&token))
        .await?
        .ok_or_else(|| unauthorized("the token is not valid; the default one is in the data directory"))?;
    let params = params.map_err(|error| ApiError::bad("invalid_request", error.body_text()))?;
    // Whether the other account exists is not told.
    if params.iter().any(|(name, value)| name == "account" && value != account.as_str()) {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!("the token is for account {account} only"),
        ));
    }
    request.extensions_mut().insert(Identity(account));
    Ok(next.run(request).await)
}

/// Middleware behind [`authenticate`]: the default account only.
pub(crate) async fn operator_only(
    Extension(Identity(account)): Extension<Identity>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if account != AccountId::default_account() {
        let message = "this call is the operator's; use a token of the default account";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", message));
    }
    Ok(next.run(request).await)
}

fn unauthorized(message: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
}

/// Refuses what a browser sends on behalf of a page that is not the admin's own. Workers' pages live beside the
/// API on one machine, and a name can be rebound to its address, so the `Host` header proves nothing.
fn check_origin(headers: &HeaderMap, own: &[String]) -> Result<(), ApiError> {
    for origin in headers.get_all(header::ORIGIN) {
        if !own.iter().any(|own| own.as_bytes() == origin.as_bytes()) {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "foreign_origin",
                "the API does not answer web pages of other origins",
            ));
        }
    }
    Ok(())
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}
