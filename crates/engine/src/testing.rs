//! What unit tests of several modules need.

use selvedge_model::{AccountId, Isolation, Limits, Worker};

/// A worker without anything special about it.
pub fn worker(script: &str) -> Worker {
    Worker {
        account: AccountId::default_account(),
        script: script.parse().unwrap(),
        version: "00000000-0000-0000-0000-000000000001".parse().unwrap(),
        digest: "0".repeat(64).parse().unwrap(),
        bindings: vec![],
        limits: Limits::default(),
        isolation: Isolation::Account,
        egress: Default::default(),
        compatibility_date: String::new(),
        compatibility_flags: vec![],
        crons: vec![],
        assets: None,
    }
}
