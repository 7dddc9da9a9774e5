//! What of the past is kept, and removal of the rest.

use std::collections::{BTreeSet, HashSet};

use rusqlite::Connection;
use selvedge_model::assets::Assets;
use selvedge_model::{AccountId, Digest, VersionId};

use crate::store::parse;
use crate::{Artifacts, Store, StoreError};

/// Versions kept per script besides those in its last two deployments.
pub const VERSIONS_KEPT: usize = 100;
/// Deployments kept per script.
pub const DEPLOYMENTS_KEPT: usize = 100;

impl Store {
    /// Removes artifacts that no version names, such as one written by a deploy that a crash cut short. Meant
    /// for the start; returns how many there were.
    ///
    /// # Errors
    /// The directory cannot be read, or the database fails.
    pub fn sweep_artifacts(&self, artifacts: &Artifacts) -> Result<usize, StoreError> {
        let stored = artifacts.list()?;
        Ok(self.remove_unnamed(artifacts, &stored.into_iter().collect()))
    }

    /// Removes static files that no version names; returns how many. Meant for the start.
    ///
    /// # Errors
    /// The directory cannot be read, or the database fails.
    pub fn sweep_assets(&self, artifacts: &Artifacts) -> Result<usize, StoreError> {
        let in_use = self.read(|db| {
            let mut query = db.prepare(
                "SELECT s.account, v.assets FROM version v JOIN script s ON s.id = v.script WHERE v.assets <> ''",
            )?;
            let mut rows = query.query([])?;
            let mut in_use = HashSet::new();
            while let Some(row) = rows.next()? {
                let account: AccountId = parse("account", &row.get::<_, String>(0)?, str::parse)?;
                let assets: Assets = parse("assets", &row.get::<_, String>(1)?, |t| serde_json::from_str(t))?;
                in_use.extend(assets.files.into_values().map(|file| (account.clone(), file.digest)));
            }
            Ok(in_use)
        })?;
        Ok(artifacts.sweep_blobs(&in_use)?)
    }

    /// Removes those of `digests` that no version names; returns how many. The records are already right, so a
    /// failure only wastes space and is logged.
    pub(crate) fn remove_unnamed(&self, artifacts: &Artifacts, digests: &BTreeSet<Digest>) -> usize {
        if digests.is_empty() {
            return 0;
        }
        let _alone = self.artifact_use.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let remove = |digest: &Digest| -> Result<bool, StoreError> {
            let named: bool = self.read(|db| {
                let mut query =
                    db.prepare_cached("SELECT EXISTS (SELECT 1 FROM version WHERE digest = ?1)")?;
                Ok(query.query_row([digest.as_str()], |row| row.get(0))?)
            })?;
            if !named {
                artifacts.remove(digest)?;
            }
            Ok(!named)
        };
        let mut removed = 0;
        for digest in digests {
            match remove(digest) {
                Ok(gone) => removed += usize::from(gone),
                Err(error) => tracing::warn!(%digest, %error, "an unused artifact was not removed"),
            }
        }
        removed
    }
}

/// Removes the old records of a script; returns the digests that may now be unnamed. Kept are the newest
/// [`VERSIONS_KEPT`] versions besides those of the deployment in force and of the one before it (the target of
/// a rollback). A deployment goes with its first version that goes.
pub(crate) fn prune(db: &Connection, script: i64) -> Result<BTreeSet<Digest>, StoreError> {
    db.execute(
        "DELETE FROM deployment WHERE script = ?1 AND seq NOT IN
            (SELECT seq FROM deployment WHERE script = ?1 ORDER BY seq DESC LIMIT ?2)",
        (script, DEPLOYMENTS_KEPT as i64),
    )?;
    let mut query = db.prepare_cached(
        "SELECT id, digest FROM version WHERE script = ?1 AND id NOT IN
            (SELECT version FROM deployment_share WHERE deployment IN
                (SELECT seq FROM deployment WHERE script = ?1 ORDER BY seq DESC LIMIT 2))
         ORDER BY seq DESC LIMIT -1 OFFSET ?2",
    )?;
    let mut rows = query.query((script, VERSIONS_KEPT as i64))?;
    let mut doomed: Vec<VersionId> = Vec::new();
    let mut digests = BTreeSet::new();
    while let Some(row) = rows.next()? {
        doomed.push(parse("version", &row.get::<_, String>(0)?, str::parse)?);
        digests.insert(parse("digest", &row.get::<_, String>(1)?, str::parse)?);
    }
    for version in doomed {
        db.execute(
            "DELETE FROM deployment WHERE seq IN (SELECT deployment FROM deployment_share WHERE version = ?1)",
            [version.as_str()],
        )?;
        db.execute("DELETE FROM version WHERE id = ?1", [version.as_str()])?;
    }
    Ok(digests)
}

/// Digests of all versions of a script.
pub(crate) fn digests(db: &Connection, script: i64) -> Result<BTreeSet<Digest>, StoreError> {
    let mut query = db.prepare_cached("SELECT DISTINCT digest FROM version WHERE script = ?1")?;
    let mut rows = query.query([script])?;
    let mut digests = BTreeSet::new();
    while let Some(row) = rows.next()? {
        digests.insert(parse("digest", &row.get::<_, String>(0)?, str::parse)?);
    }
    Ok(digests)
}
