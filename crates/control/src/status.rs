//! Who the caller is, and how the machine does.

use axum::extract::State;
use axum::{Extension, Json};
use selvedge_engine::EngineStatus;
use selvedge_model::AccountId;
use serde::Serialize;

use crate::auth::Identity;
use crate::control::Control;

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, Serialize)]
pub(crate) struct Whoami {
    accounts: Vec<AccountId>,
    version: &'static str,
}

#[derive(Debug, Serialize)]
pub(crate) struct Status {
    version: &'static str,
    #[serde(flatten)]
    engine: EngineStatus,
}

pub(crate) async fn whoami(Extension(Identity(account)): Extension<Identity>) -> Json<Whoami> {
    Json(Whoami { accounts: vec![account], version: VERSION })
}

pub(crate) async fn status(State(control): State<Control>) -> Json<Status> {
    Json(Status { version: VERSION, engine: control.sandbox().status() })
}
