//! The list of calls, from which the router is made.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, Uri};
use axum::middleware;
use axum::routing::{MethodRouter, delete, get, post, put};

use selvedge_model::assets::ASSET_BYTES_MAX;

use crate::control::Control;
use crate::error::ApiError;
use crate::{
    assets, auth, deployments, logs, profile, routes, scheduled, scripts, secrets, status, upload, versions,
};

/// Largest JSON body, bytes.
const JSON_BYTES_MAX: usize = 1 << 20;

type Call = (&'static str, &'static str, MethodRouter<Control>);

/// Every call, in the order of `docs/api.md`. `A/` stands for the account's prefix.
fn table() -> Vec<Call> {
    let large = || DefaultBodyLimit::max(upload::UPLOAD_BYTES_MAX);
    vec![
        ("GET", "/api/v1/whoami", get(status::whoami)),
        ("GET", "/api/v1/status", get(status::status)),
        ("GET", "A/scripts", get(scripts::list)),
        ("GET", "A/scripts/{script}", get(scripts::show)),
        ("PUT", "A/scripts/{script}", put(scripts::upload).layer(large())),
        ("DELETE", "A/scripts/{script}", delete(scripts::remove)),
        ("GET", "A/scripts/{script}/versions", get(versions::list)),
        ("POST", "A/scripts/{script}/versions", post(versions::upload).layer(large())),
        ("GET", "A/scripts/{script}/versions/{id}", get(versions::show)),
        ("GET", "A/scripts/{script}/deployments", get(deployments::list)),
        ("POST", "A/scripts/{script}/deployments", post(deployments::create)),
        ("POST", "A/scripts/{script}/rollback", post(deployments::rollback)),
        ("GET", "A/scripts/{script}/secrets", get(secrets::list)),
        ("PUT", "A/scripts/{script}/secrets/{name}", put(secrets::set)),
        ("DELETE", "A/scripts/{script}/secrets/{name}", delete(secrets::remove)),
        ("POST", "A/assets/missing", post(assets::missing)),
        ("PUT", "A/assets/{digest}", put(assets::put).layer(DefaultBodyLimit::max(ASSET_BYTES_MAX as usize))),
        ("GET", "A/routes", get(routes::list)),
        ("PUT", "A/scripts/{script}/routes", put(routes::replace)),
        ("GET", "A/scripts/{script}/logs", get(logs::recent)),
        ("GET", "A/scripts/{script}/tail", get(logs::tail)),
        ("POST", "A/scripts/{script}/profile", post(profile::create)),
        ("POST", "A/scripts/{script}/scheduled", post(scheduled::trigger)),
    ]
}

/// `A/…` with the account's prefix written out.
fn full(path: &str) -> String {
    match path.strip_prefix("A/") {
        Some(rest) => format!("/api/v1/accounts/{{account}}/{rest}"),
        None => path.into(),
    }
}

/// Method and path pattern of every call.
pub fn calls() -> Vec<(&'static str, String)> {
    table().into_iter().map(|(method, path, _)| (method, full(path))).collect()
}

/// The API, to be served on the admin address. Unknown paths and wrong methods are answered in JSON too.
pub fn router(control: Control) -> Router {
    let mut router = Router::new();
    for (_, path, handler) in table() {
        router = router.route(&full(path), handler);
    }
    router
        .route_layer(middleware::from_fn_with_state(control.clone(), auth::authenticate))
        .layer(DefaultBodyLimit::max(JSON_BYTES_MAX))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(control)
}

/// Further calls, for whoever wires the server: behind the same door, for tokens of the default account, which is the
/// operator's.
pub fn for_operator(control: &Control, calls: Router) -> Router {
    calls
        .route_layer(middleware::from_fn(auth::operator_only))
        .route_layer(middleware::from_fn_with_state(control.clone(), auth::authenticate))
}

async fn not_found(uri: Uri) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "not_found", format!("there is nothing at {}", uri.path()))
}

async fn wrong_method(uri: Uri) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{} does not take this method", uri.path()),
    )
}
