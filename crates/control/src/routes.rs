//! Routes: patterns of hosts and paths that lead to scripts.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use selvedge_model::{AccountId, RoutePattern, ScriptName};
use serde::{Deserialize, Serialize};

use crate::control::Control;
use crate::error::ApiError;
use crate::extract::{JsonBody, Params};
use crate::metadata::check_routes;

#[derive(Debug, Serialize)]
pub(crate) struct RouteItem {
    pattern: RoutePattern,
    script: ScriptName,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRoutes {
    patterns: Vec<RoutePattern>,
}

/// Refuses hosts that go by the name of another account's workers; the edge would not heed such a route.
pub(crate) fn check_hosts(
    control: &Control,
    account: &AccountId,
    patterns: &[RoutePattern],
) -> Result<(), ApiError> {
    let domain = &control.settings().public_url.domain;
    let foreign = patterns.iter().find(|pattern| !pattern.may_name(account, domain));
    foreign.map_or(Ok(()), |pattern| {
        let text = format!("route {pattern} takes hosts under {domain} that are another account's; yours are *.{account}.{domain}");
        Err(ApiError::new(StatusCode::CONFLICT, "route_taken", text))
    })
}

pub(crate) async fn list(
    State(control): State<Control>,
    Params(account): Params<AccountId>,
) -> Result<Json<Vec<RouteItem>>, ApiError> {
    let routes = control.read(move |records| records.store.routes(&account)).await?;
    let item = |route: selvedge_model::Route| RouteItem { pattern: route.pattern, script: route.script };
    Ok(Json(routes.into_iter().map(item).collect()))
}

pub(crate) async fn replace(
    State(control): State<Control>,
    Params((account, script)): Params<(AccountId, ScriptName)>,
    JsonBody(NewRoutes { patterns }): JsonBody<NewRoutes>,
) -> Result<Json<Vec<RouteItem>>, ApiError> {
    check_routes(&patterns)?;
    check_hosts(&control, &account, &patterns)?;
    let turn = control.turn(&account, &script).await;
    let name = script.clone();
    let set = move |records: &crate::control::Records| {
        records.store.set_routes(&account, &script, &patterns)?;
        records.store.script(&account, &script)
    };
    let routes = control.change(turn, set).await?.routes;
    Ok(Json(routes.into_iter().map(|pattern| RouteItem { pattern, script: name.clone() }).collect()))
}
