//! Why the store could not do what was asked, each with a stable code.

use std::io;
use std::path::PathBuf;

use selvedge_model::{RoutePattern, ScriptName, VersionId};

use crate::artifacts::ArtifactsError;
use crate::version::BINDINGS_MAX;

/// The failure of one call to the store. None of the messages holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk said no.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was attempted, such as `write`.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// SQLite said no.
    #[error("the database failed")]
    Database(#[from] rusqlite::Error),
    /// An artifact could not be written or read.
    #[error(transparent)]
    Artifacts(#[from] ArtifactsError),
    /// The database was written by a newer program.
    #[error(
        "the database has schema {found}, this program knows schemas up to {known}; use a newer program or another data directory"
    )]
    NewerSchema {
        /// In the file.
        found: u32,
        /// The newest one known here.
        known: u32,
    },
    /// The key is not the one that sealed the secrets of this database.
    #[error(
        "the secret key does not fit this database; restore its secret.key file or the SELVEDGE_SECRET_KEY it was made with"
    )]
    WrongKey,
    /// The database holds sealed secrets, but there is no key at all.
    #[error(
        "{} is missing, and without it the secrets in this database cannot be read; restore the file or set SELVEDGE_SECRET_KEY",
        .0.display()
    )]
    KeyMissing(PathBuf),
    /// The key's text is malformed.
    #[error("the secret key must be 64 hexadecimal characters")]
    BadKey,
    /// A record cannot be read back.
    #[error("a record is damaged: {0}")]
    Damaged(String),
    /// No such script in this account.
    #[error("there is no script {0}")]
    ScriptNotFound(ScriptName),
    /// No such version of this script.
    #[error("script {script} has no version {version}")]
    VersionNotFound {
        /// The script.
        script: ScriptName,
        /// What was asked for.
        version: VersionId,
    },
    /// No such secret in the deployed version.
    #[error("script {script} has no secret {name:?}")]
    SecretNotFound {
        /// The script.
        script: ScriptName,
        /// The secret's name.
        name: String,
    },
    /// Another script has the route.
    #[error("route {pattern} already leads to {owner}; remove it there first")]
    RouteTaken {
        /// The pattern.
        pattern: RoutePattern,
        /// Who has it: `script x`, or `a script of another account`.
        owner: String,
    },
    /// Shares that are no distribution of traffic.
    #[error("{0}")]
    BadShares(String),
    /// The script has no deployment yet.
    #[error("script {0} has no deployed version; deploy one first")]
    NotDeployed(ScriptName),
    /// A change of the deployed version is ambiguous while several are deployed.
    #[error("script {0} has its traffic split between versions; deploy one of them to 100 % first")]
    SplitDeployment(ScriptName),
    /// One version has as many bindings as it may have.
    #[error("script {0} has {BINDINGS_MAX} bindings already, the most that are allowed")]
    TooManyBindings(ScriptName),
    /// There is no earlier deployment.
    #[error("script {0} has no earlier deployment to roll back to")]
    NothingToRollBack(ScriptName),
}

impl StoreError {
    /// Stable, machine-readable.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } | Self::Database(_) | Self::Artifacts(_) => "store_failed",
            Self::NewerSchema { .. } => "schema_newer",
            Self::WrongKey => "secret_key_wrong",
            Self::KeyMissing(_) => "secret_key_missing",
            Self::BadKey => "secret_key_malformed",
            Self::Damaged(_) => "record_damaged",
            Self::ScriptNotFound(_) => "script_not_found",
            Self::VersionNotFound { .. } => "version_not_found",
            Self::SecretNotFound { .. } => "secret_not_found",
            Self::RouteTaken { .. } => "route_taken",
            Self::BadShares(_) => "invalid_percentages",
            Self::NotDeployed(_) => "not_deployed",
            Self::SplitDeployment(_) => "split_deployment",
            Self::TooManyBindings(_) => "too_many_bindings",
            Self::NothingToRollBack(_) => "nothing_to_roll_back",
        }
    }
}
