//! Scripts: the names under which versions are deployed.

use rusqlite::{Connection, OptionalExtension, Row};
use selvedge_model::{AccountId, RoutePattern, ScriptName, VersionId};
use serde::Serialize;

use crate::store::{now_ms, parse};
use crate::{Artifacts, Store, StoreError, retention, route};

/// A script as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ScriptRecord {
    /// Name.
    pub script: ScriptName,
    /// The version with the largest share of the traffic; `None` before the first deployment.
    pub version: Option<VersionId>,
    /// When the deployment in force was made, Unix milliseconds.
    pub deployed_at: Option<i64>,
    /// Explicit routes, sorted.
    pub routes: Vec<RoutePattern>,
}

const SELECT: &str = "SELECT s.id, s.name, d.created_at,
        (SELECT version FROM deployment_share WHERE deployment = d.seq
         ORDER BY percentage DESC, position LIMIT 1)
     FROM script s
     LEFT JOIN deployment d ON d.seq = (SELECT max(seq) FROM deployment WHERE script = s.id)
     WHERE s.account = ?1";

impl Store {
    /// The account's scripts, by name.
    ///
    /// # Errors
    /// The database fails.
    pub fn scripts(&self, account: &AccountId) -> Result<Vec<ScriptRecord>, StoreError> {
        self.read(|db| {
            let mut query = db.prepare_cached(&format!("{SELECT} ORDER BY s.name"))?;
            let mut rows = query.query([account.as_str()])?;
            let mut scripts = Vec::new();
            while let Some(row) = rows.next()? {
                scripts.push(record(db, row)?);
            }
            Ok(scripts)
        })
    }

    /// One script.
    ///
    /// # Errors
    /// [`StoreError::ScriptNotFound`], or the database fails.
    pub fn script(&self, account: &AccountId, script: &ScriptName) -> Result<ScriptRecord, StoreError> {
        self.read(|db| {
            let mut query = db.prepare_cached(&format!("{SELECT} AND s.name = ?2"))?;
            let mut rows = query.query((account.as_str(), script.as_str()))?;
            let row = rows.next()?.ok_or_else(|| StoreError::ScriptNotFound(script.clone()))?;
            record(db, row)
        })
    }

    /// Removes a script with its versions, secrets, deployments, routes and the artifacts that nothing else
    /// names.
    ///
    /// # Errors
    /// [`StoreError::ScriptNotFound`], or the database fails.
    pub fn delete_script(
        &self,
        artifacts: &Artifacts,
        account: &AccountId,
        script: &ScriptName,
    ) -> Result<(), StoreError> {
        let digests = self.write(|tx| {
            let id = id(tx, account, script)?;
            let digests = retention::digests(tx, id)?;
            tx.execute("DELETE FROM script WHERE id = ?1", [id])?;
            Ok(digests)
        })?;
        self.remove_unnamed(artifacts, &digests);
        Ok(())
    }
}

fn record(db: &Connection, row: &Row<'_>) -> Result<ScriptRecord, StoreError> {
    let version: Option<String> = row.get(3)?;
    Ok(ScriptRecord {
        script: parse("script", &row.get::<_, String>(1)?, str::parse)?,
        version: version.map(|id| parse("version", &id, str::parse)).transpose()?,
        deployed_at: row.get(2)?,
        routes: route::of_script(db, row.get(0)?)?,
    })
}

/// The row id of a script.
pub(crate) fn id(db: &Connection, account: &AccountId, script: &ScriptName) -> Result<i64, StoreError> {
    find(db, account, script)?.ok_or_else(|| StoreError::ScriptNotFound(script.clone()))
}

/// The row id of a script that may be absent.
pub(crate) fn find(
    db: &Connection,
    account: &AccountId,
    script: &ScriptName,
) -> Result<Option<i64>, StoreError> {
    Ok(db
        .prepare_cached("SELECT id FROM script WHERE account = ?1 AND name = ?2")?
        .query_row((account.as_str(), script.as_str()), |row| row.get(0))
        .optional()?)
}

/// The row id of a script, made when absent, and whether it was.
pub(crate) fn ensure(
    db: &Connection,
    account: &AccountId,
    script: &ScriptName,
) -> Result<(i64, bool), StoreError> {
    if let Some(id) = find(db, account, script)? {
        return Ok((id, false));
    }
    db.execute(
        "INSERT INTO script (account, name, created_at) VALUES (?1, ?2, ?3)",
        (account.as_str(), script.as_str(), now_ms()),
    )?;
    Ok((db.last_insert_rowid(), true))
}
