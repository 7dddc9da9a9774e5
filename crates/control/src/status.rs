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

pub(crate) async fn status(
    State(control): State<Control>,
    Extension(Identity(account)): Extension<Identity>,
) -> Json<Status> {
    let engine = control.sandbox().status();
    // The default account is the operator's; others learn nothing of their neighbours.
    let operator = account == AccountId::default_account();
    Json(Status { version: VERSION, engine: if operator { engine } else { own(engine, &account) } })
}

/// What of it concerns the account: processes that it shares with nobody.
fn own(mut status: EngineStatus, account: &AccountId) -> EngineStatus {
    let (together, alone) = (format!("account {account}"), format!("worker {account}/"));
    status.hosts.retain(|host| host.group == together || host.group.starts_with(&alone));
    status.isolates = status.hosts.iter().map(|host| host.isolates).sum();
    status.memory_bytes = status.hosts.iter().map(|host| host.memory_bytes).sum();
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use selvedge_engine::HostStatus;

    #[test]
    fn an_account_sees_its_own_processes() {
        let host = |group: &str| HostStatus {
            group: group.into(),
            isolates: 1,
            memory_bytes: 5,
            ..HostStatus::default()
        };
        let groups = ["", "shared", "account a", "account ab", "worker a/x", "worker ab/x"];
        let status = EngineStatus { hosts: groups.map(host).into(), isolates: 6, ..EngineStatus::default() };
        let seen = own(status, &"a".parse().unwrap());
        let groups: Vec<&str> = seen.hosts.iter().map(|host| host.group.as_str()).collect();
        assert_eq!((groups, seen.isolates, seen.memory_bytes), (vec!["account a", "worker a/x"], 2, 10));
    }
}
