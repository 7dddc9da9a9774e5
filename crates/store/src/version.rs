//! Versions: immutable records of code, bindings and limits.

use std::sync::{Arc, PoisonError};

use rusqlite::{Connection, OptionalExtension, Row};
use selvedge_model::assets::Assets;
use selvedge_model::{
    AccountId, Artifact, Binding, BindingValue, Digest, Egress, Isolation, Limits, RoutePattern, ScriptName,
    VersionId, Worker,
};
use serde::Serialize;
use uuid::Uuid;

use crate::deployment::{self, VersionShare};
use crate::store::{json, now_ms, parse};
use crate::{Artifacts, Store, StoreError, retention, route, script, secret};

/// Bindings of one version, secrets included.
pub const BINDINGS_MAX: usize = 256;

/// A version to be recorded.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// What was validated; its id (see [`new_version_id`]) and digest are those recorded.
    pub worker: Arc<Worker>,
    /// Handlers that its default export has.
    pub handlers: Vec<String>,
    /// What its maker said about it.
    pub message: String,
    /// Whether it gets all traffic at once.
    pub deploy: bool,
    /// Replaces the script's routes when given.
    pub routes: Option<Vec<RoutePattern>>,
}

/// A version as it is listed. Secrets appear by name only.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VersionRecord {
    /// Id.
    pub id: VersionId,
    /// Its code.
    pub digest: Digest,
    /// Unix time, milliseconds.
    pub created_at: i64,
    /// What its maker said about it.
    pub message: String,
    /// Its share of the traffic now, 0–100.
    pub percentage: f64,
    /// `env`, secrets without their text.
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
    /// Handlers that its default export has.
    pub handlers: Vec<String>,
    /// Number of static files.
    pub assets: usize,
    /// When its `scheduled` handler is called.
    pub crons: Vec<String>,
}

/// A new id: a UUID of version 7, which sorts by time.
pub fn new_version_id() -> VersionId {
    Uuid::now_v7().to_string().parse().expect("a UUID in its hyphenated form")
}

const SELECT: &str = "SELECT id, digest, created_at, message, bindings, limits, isolation,
        compatibility_date, compatibility_flags, handlers,
        coalesce((SELECT percentage FROM deployment_share WHERE version = version.id AND deployment =
            (SELECT max(seq) FROM deployment WHERE deployment.script = version.script)), 0.0),
        egress, assets, crons
     FROM version";

impl Store {
    /// Stores the artifact and records the version, making the script when it is absent. Artifact and records
    /// are on the disk when this returns. Returns whether the script is new.
    ///
    /// # Errors
    /// [`StoreError::RouteTaken`], or the disk or database fails; then nothing is recorded.
    pub fn add_version(
        &self,
        artifacts: &Artifacts,
        artifact: &Artifact,
        new: &NewVersion,
    ) -> Result<bool, StoreError> {
        let worker = &new.worker;
        let (created, digests) = {
            // Until the record names the artifact, nobody may take it for garbage.
            let _in_use = self.artifact_use.read().unwrap_or_else(PoisonError::into_inner);
            let digest = artifacts.put(artifact)?;
            if digest != worker.digest {
                return Err(StoreError::Damaged(format!(
                    "version {} is of another artifact",
                    worker.version
                )));
            }
            self.write(|tx| {
                let (row, created) = script::ensure(tx, &worker.account, &worker.script)?;
                insert(tx, row, new)?;
                let key = (&worker.account, &worker.script, &worker.version);
                secret::insert_all(tx, &self.sealer, key, &worker.bindings)?;
                if new.deploy {
                    deployment::insert(tx, row, &[VersionShare::all(worker.version.clone())], &new.message)?;
                }
                if let Some(patterns) = &new.routes {
                    route::replace(tx, &worker.account, row, patterns)?;
                }
                Ok((created, retention::prune(tx, row)?))
            })?
        };
        self.remove_unnamed(artifacts, &digests);
        Ok(created)
    }

    /// Versions of a script, newest first.
    ///
    /// # Errors
    /// [`StoreError::ScriptNotFound`], or the database fails.
    pub fn versions(
        &self,
        account: &AccountId,
        script: &ScriptName,
    ) -> Result<Vec<VersionRecord>, StoreError> {
        self.read(|db| {
            let row = script::id(db, account, script)?;
            let mut query = db.prepare_cached(&format!("{SELECT} WHERE script = ?1 ORDER BY seq DESC"))?;
            let mut rows = query.query([row])?;
            let mut records = Vec::new();
            while let Some(row) = rows.next()? {
                records.push(record(db, row)?);
            }
            Ok(records)
        })
    }

    /// One version.
    ///
    /// # Errors
    /// [`StoreError::ScriptNotFound`], [`StoreError::VersionNotFound`], or the database fails.
    pub fn version(
        &self,
        account: &AccountId,
        script: &ScriptName,
        version: &VersionId,
    ) -> Result<VersionRecord, StoreError> {
        self.read(|db| {
            let row = script::id(db, account, script)?;
            let mut query = db.prepare_cached(&format!("{SELECT} WHERE script = ?1 AND id = ?2"))?;
            let mut rows = query.query((row, version.as_str()))?;
            match rows.next()? {
                Some(row) => record(db, row),
                None => Err(not_found(script, version)),
            }
        })
    }

    /// The code of a version of any script; `None` when it is gone.
    ///
    /// # Errors
    /// The database fails.
    pub fn version_digest(&self, version: &VersionId) -> Result<Option<Digest>, StoreError> {
        self.read(|db| {
            let digest: Option<String> = db
                .prepare_cached("SELECT digest FROM version WHERE id = ?1")?
                .query_row([version.as_str()], |row| row.get(0))
                .optional()?;
            digest.map(|text| parse("digest", &text, str::parse)).transpose()
        })
    }

    /// The version that the next one takes over bindings from, secrets in the clear: the one with the largest
    /// share of the traffic, or the newest before the first deployment. `None` when the script is new.
    ///
    /// # Errors
    /// The database fails.
    pub fn base_worker(
        &self,
        account: &AccountId,
        script: &ScriptName,
    ) -> Result<Option<Worker>, StoreError> {
        self.read(|db| {
            let Some(row) = script::find(db, account, script)? else { return Ok(None) };
            let Some(version) = deployment::base(db, row)? else { return Ok(None) };
            self.load_worker(db, account, script, &version).map(Some)
        })
    }

    /// Reads a version as the engine wants it, secrets in the clear.
    pub(crate) fn load_worker(
        &self,
        db: &Connection,
        account: &AccountId,
        script: &ScriptName,
        version: &VersionId,
    ) -> Result<Worker, StoreError> {
        let mut query = db.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?;
        let mut rows = query.query([version.as_str()])?;
        let row = rows.next()?.ok_or_else(|| not_found(script, version))?;
        let mut record = record(db, row)?;
        let assets = assets(row)?.map(Arc::new);
        let mut secrets = secret::open_all(db, &self.sealer, (account, script, version))?;
        for binding in &mut record.bindings {
            if let BindingValue::SecretText { text } = &mut binding.value {
                *text = secrets.remove(&binding.name).unwrap_or_default();
            }
        }
        Ok(Worker {
            account: account.clone(),
            script: script.clone(),
            version: version.clone(),
            digest: record.digest,
            bindings: record.bindings,
            limits: record.limits,
            isolation: record.isolation,
            egress: record.egress,
            compatibility_date: record.compatibility_date,
            compatibility_flags: record.compatibility_flags,
            assets,
            crons: record.crons,
        })
    }
}

fn not_found(script: &ScriptName, version: &VersionId) -> StoreError {
    StoreError::VersionNotFound { script: script.clone(), version: version.clone() }
}

/// Fails unless the version is one of the script's.
pub(crate) fn require(
    db: &Connection,
    row: i64,
    script: &ScriptName,
    version: &VersionId,
) -> Result<(), StoreError> {
    let known: bool = db
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM version WHERE id = ?1 AND script = ?2)")?
        .query_row((version.as_str(), row), |row| row.get(0))?;
    if known { Ok(()) } else { Err(not_found(script, version)) }
}

fn insert(db: &Connection, script: i64, new: &NewVersion) -> Result<(), StoreError> {
    let worker = &new.worker;
    let public = |binding: &&Binding| !matches!(binding.value, BindingValue::SecretText { .. });
    let bindings: Vec<&Binding> = worker.bindings.iter().filter(public).collect();
    db.prepare_cached(
        "INSERT INTO version (id, script, digest, bindings, limits, isolation, compatibility_date,
            compatibility_flags, handlers, message, created_at, egress, assets, crons)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?
    .execute((
        worker.version.as_str(),
        script,
        worker.digest.as_str(),
        json(&bindings)?,
        json(&worker.limits)?,
        json(&worker.isolation)?,
        &worker.compatibility_date,
        json(&worker.compatibility_flags)?,
        json(&new.handlers)?,
        &new.message,
        now_ms(),
        json(&worker.egress)?,
        worker.assets.as_deref().map_or(Ok(String::new()), json)?,
        json(&worker.crons)?,
    ))?;
    Ok(())
}

/// Copies a version, without its secrets and without the binding called `without`; returns the copy's id.
pub(crate) fn copy(
    db: &Connection,
    from: &VersionId,
    without: &str,
    message: &str,
) -> Result<VersionId, StoreError> {
    let bindings: String = db
        .prepare_cached("SELECT bindings FROM version WHERE id = ?1")?
        .query_row([from.as_str()], |row| row.get(0))?;
    let mut bindings: Vec<Binding> = parse("bindings", &bindings, |t| serde_json::from_str(t))?;
    bindings.retain(|binding| binding.name != without);
    let id = new_version_id();
    db.execute(
        "INSERT INTO version (id, script, digest, bindings, limits, isolation, compatibility_date,
            compatibility_flags, handlers, message, created_at, egress, assets, crons)
         SELECT ?1, script, digest, ?2, limits, isolation, compatibility_date, compatibility_flags,
            handlers, ?3, ?4, egress, assets, crons FROM version WHERE id = ?5",
        (id.as_str(), json(&bindings)?, message, now_ms(), from.as_str()),
    )?;
    Ok(id)
}

/// How many bindings a version has, secrets included.
pub(crate) fn count_bindings(db: &Connection, version: &VersionId) -> Result<usize, StoreError> {
    let mut query = db.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?;
    let mut rows = query.query([version.as_str()])?;
    rows.next()?.map_or(Ok(0), |row| Ok(record(db, row)?.bindings.len()))
}

fn record(db: &Connection, row: &Row<'_>) -> Result<VersionRecord, StoreError> {
    let text = |column: usize| row.get::<_, String>(column);
    let id: VersionId = parse("version", &text(0)?, str::parse)?;
    let mut bindings: Vec<Binding> = parse("bindings", &text(4)?, |t| serde_json::from_str(t))?;
    for name in secret::names(db, &id)? {
        bindings.push(Binding { name, value: BindingValue::SecretText { text: String::new() } });
    }
    bindings.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(VersionRecord {
        id,
        digest: parse("digest", &text(1)?, str::parse)?,
        created_at: row.get(2)?,
        message: text(3)?,
        percentage: row.get(10)?,
        bindings,
        limits: parse("limits", &text(5)?, |t| serde_json::from_str(t))?,
        isolation: parse("isolation", &text(6)?, |t| serde_json::from_str(t))?,
        egress: parse("egress", &text(11)?, |t| serde_json::from_str(t))?,
        compatibility_date: text(7)?,
        compatibility_flags: parse("compatibility flags", &text(8)?, |t| serde_json::from_str(t))?,
        handlers: parse("handlers", &text(9)?, |t| serde_json::from_str(t))?,
        assets: assets(row)?.map_or(0, |assets| assets.files.len()),
        crons: parse("crons", &text(13)?, |t| serde_json::from_str(t))?,
    })
}

fn assets(row: &Row<'_>) -> Result<Option<Assets>, StoreError> {
    let text: String = row.get(12)?;
    if text.is_empty() { Ok(None) } else { parse("assets", &text, |t| serde_json::from_str(t)).map(Some) }
}
