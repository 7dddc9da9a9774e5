//! What the data plane serves: versions of scripts, their shares of traffic, and routes to them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::assets::Assets;
use crate::{AccountId, Digest, Egress, Isolation, Limits, Route, ScriptName, VersionId};

/// The value behind a name in a worker's `env`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum BindingValue {
    /// A string variable.
    PlainText {
        /// The value.
        text: String,
    },
    /// A parsed JSON value, kept as its text.
    Json {
        /// JSON text.
        text: String,
    },
    /// A secret string: encrypted at rest, never returned by the API, never logged.
    SecretText {
        /// The value in the clear; empty where only the name is shown.
        #[serde(default, skip_serializing)]
        text: String,
    },
    /// The version's static files.
    Assets,
    /// Another worker of the account, or the worker itself.
    Service {
        /// Its name.
        service: ScriptName,
        /// Name of the export that answers; the default export when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entrypoint: Option<String>,
        /// JSON text of an object for `ctx.props`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        props: Option<String>,
    },
}

impl fmt::Debug for BindingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PlainText { text } => write!(f, "PlainText({text:?})"),
            Self::Json { text } => write!(f, "Json({text})"),
            Self::SecretText { .. } => write!(f, "SecretText(…)"),
            Self::Assets => f.write_str("Assets"),
            Self::Service { service, entrypoint, .. } => {
                write!(f, "Service({service}#{})", entrypoint.as_deref().unwrap_or("default"))
            }
        }
    }
}

/// One entry of a worker's `env`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The property's name in `env`.
    pub name: String,
    /// Its value.
    #[serde(flatten)]
    pub value: BindingValue,
}

/// One version of a script, ready to be run: everything the engine needs besides the artifact's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Owner.
    pub account: AccountId,
    /// Name.
    pub script: ScriptName,
    /// Immutable version.
    pub version: VersionId,
    /// Code, in the artifact directory.
    pub digest: Digest,
    /// `env`, secrets in the clear.
    pub bindings: Vec<Binding>,
    /// What it may use.
    pub limits: Limits,
    /// Whom it shares a process with.
    pub isolation: Isolation,
    /// What it may reach.
    pub egress: Egress,
    /// `YYYY-MM-DD`, empty when not given.
    pub compatibility_date: String,
    /// Flags such as `nodejs_compat`.
    pub compatibility_flags: Vec<String>,
    /// Static files.
    pub assets: Option<Arc<Assets>>,
    /// When its `scheduled` handler is called: cron expressions of five fields, UTC.
    pub crons: Vec<String>,
}

/// One version's share of a script's traffic.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// The version.
    pub worker: Arc<Worker>,
    /// Percent of requests, 0–100; the shares of a deployment add up to 100.
    pub percentage: f64,
}

/// What of a script answers requests now.
#[derive(Clone, Debug, PartialEq)]
pub struct ScriptDeployment {
    /// Owner.
    pub account: AccountId,
    /// Name.
    pub script: ScriptName,
    /// Never empty.
    pub shares: Vec<Share>,
}

impl ScriptDeployment {
    /// The version for a request, chosen by `dice`, uniform in `[0, 1)`.
    pub fn pick(&self, dice: f64) -> &Arc<Worker> {
        let mut point = dice * 100.0;
        for share in &self.shares[..self.shares.len() - 1] {
            if point < share.percentage {
                return &share.worker;
            }
            point -= share.percentage;
        }
        &self.shares[self.shares.len() - 1].worker
    }
}

/// Everything the data plane serves at one moment; replaced as a whole on each change.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Grows by one with each change.
    pub generation: u64,
    /// By account and script.
    pub scripts: BTreeMap<(AccountId, ScriptName), Arc<ScriptDeployment>>,
    /// Explicit routes; `<script>.localhost` needs none.
    pub routes: Vec<Route>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(n: u8) -> Arc<Worker> {
        Arc::new(Worker {
            account: AccountId::default_account(),
            script: "s".parse().unwrap(),
            version: format!("00000000-0000-0000-0000-{n:012}").parse().unwrap(),
            digest: "0".repeat(64).parse().unwrap(),
            bindings: vec![],
            limits: Limits::default(),
            isolation: Isolation::Account,
            egress: Egress::default(),
            compatibility_date: String::new(),
            compatibility_flags: vec![],
            crons: vec![],
            assets: None,
        })
    }

    #[test]
    fn shares_are_kept() {
        let deployment = ScriptDeployment {
            account: AccountId::default_account(),
            script: "s".parse().unwrap(),
            shares: vec![
                Share { worker: worker(1), percentage: 10.0 },
                Share { worker: worker(2), percentage: 90.0 },
            ],
        };
        let first =
            (0..1000).filter(|i| deployment.pick(f64::from(*i) / 1000.0).version == worker(1).version);
        assert_eq!(first.count(), 100);
    }

    #[test]
    fn secrets_do_not_leak() {
        let binding =
            Binding { name: "KEY".into(), value: BindingValue::SecretText { text: "hunter2".into() } };
        assert!(!format!("{binding:?}").contains("hunter2"));
        assert!(!serde_json::to_string(&binding).unwrap().contains("hunter2"));
    }
}
