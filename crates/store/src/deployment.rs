//! Deployments: which versions of a script answer which share of its traffic. The newest one is in force.

use rusqlite::{Connection, OptionalExtension};
use selvedge_model::{AccountId, ScriptName, VersionId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store::{now_ms, parse};
use crate::{Artifacts, Store, StoreError, retention, script, version};

/// Most versions in one deployment.
pub const SHARES_MAX: usize = 10;

/// One version's share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionShare {
    /// The version.
    pub version: VersionId,
    /// Percent of requests, 0–100.
    pub percentage: f64,
}

impl VersionShare {
    /// All traffic to one version.
    pub fn all(version: VersionId) -> Self {
        Self { version, percentage: 100.0 }
    }
}

/// A deployment as it is listed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeploymentRecord {
    /// A UUID.
    pub id: String,
    /// Unix time, milliseconds.
    pub created_at: i64,
    /// What its maker said about it.
    pub message: String,
    /// Shares, which add up to 100.
    pub versions: Vec<VersionShare>,
}

impl Store {
    /// Deployments of a script, newest first.
    ///
    /// # Errors
    /// [`StoreError::ScriptNotFound`], or the database fails.
    pub fn deployments(
        &self,
        account: &AccountId,
        script: &ScriptName,
    ) -> Result<Vec<DeploymentRecord>, StoreError> {
        self.read(|db| list(db, script::id(db, account, script)?))
    }

    /// Puts `shares` in force.
    ///
    /// # Errors
    /// [`StoreError::ScriptNotFound`], [`StoreError::VersionNotFound`], [`StoreError::BadShares`], or the
    /// database fails.
    pub fn deploy(
        &self,
        artifacts: &Artifacts,
        account: &AccountId,
        script: &ScriptName,
        shares: &[VersionShare],
        message: &str,
    ) -> Result<DeploymentRecord, StoreError> {
        check(shares)?;
        let (record, digests) = self.write(|tx| {
            let row = script::id(tx, account, script)?;
            for share in shares {
                version::require(tx, row, script, &share.version)?;
            }
            let record = insert(tx, row, shares, message)?;
            Ok((record, retention::prune(tx, row)?))
        })?;
        self.remove_unnamed(artifacts, &digests);
        Ok(record)
    }

    /// Deploys `to` to all traffic, or, without it, the shares of the newest earlier deployment that differ from
    /// those in force.
    ///
    /// # Errors
    /// As [`Store::deploy`], and [`StoreError::NothingToRollBack`].
    pub fn rollback(
        &self,
        artifacts: &Artifacts,
        account: &AccountId,
        script: &ScriptName,
        to: Option<VersionId>,
        message: &str,
    ) -> Result<DeploymentRecord, StoreError> {
        let shares = match to {
            Some(version) => vec![VersionShare::all(version)],
            None => {
                let mut past = self.deployments(account, script)?.into_iter().map(|d| d.versions);
                let current = past.next();
                past.find(|shares| Some(shares) != current.as_ref())
                    .ok_or_else(|| StoreError::NothingToRollBack(script.clone()))?
            }
        };
        self.deploy(artifacts, account, script, &shares, message)
    }
}

/// Whether `shares` distribute the traffic.
fn check(shares: &[VersionShare]) -> Result<(), StoreError> {
    let refuse = |text: String| Err(StoreError::BadShares(text));
    if shares.is_empty() || shares.len() > SHARES_MAX {
        return refuse(format!("a deployment has 1 to {SHARES_MAX} versions, not {}", shares.len()));
    }
    for (i, share) in shares.iter().enumerate() {
        if !(0.0..=100.0).contains(&share.percentage) {
            return refuse(format!("{} is not a percentage from 0 to 100", share.percentage));
        }
        if shares[..i].iter().any(|other| other.version == share.version) {
            return refuse(format!("version {} appears twice", share.version));
        }
    }
    let sum: f64 = shares.iter().map(|share| share.percentage).sum();
    if (sum - 100.0).abs() > 1e-6 {
        return refuse(format!("the percentages add up to {sum}, not to 100"));
    }
    Ok(())
}

/// Records a deployment of the script with row id `script`.
pub(crate) fn insert(
    db: &Connection,
    script: i64,
    shares: &[VersionShare],
    message: &str,
) -> Result<DeploymentRecord, StoreError> {
    let record = DeploymentRecord {
        id: Uuid::now_v7().to_string(),
        created_at: now_ms(),
        message: message.into(),
        versions: shares.to_vec(),
    };
    db.execute(
        "INSERT INTO deployment (id, script, message, created_at) VALUES (?1, ?2, ?3, ?4)",
        (&record.id, script, message, record.created_at),
    )?;
    let deployment = db.last_insert_rowid();
    for (position, share) in shares.iter().enumerate() {
        db.execute(
            "INSERT INTO deployment_share (deployment, position, version, percentage)
             VALUES (?1, ?2, ?3, ?4)",
            (deployment, position as i64, share.version.as_str(), share.percentage),
        )?;
    }
    Ok(record)
}

fn list(db: &Connection, script: i64) -> Result<Vec<DeploymentRecord>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT seq, id, created_at, message FROM deployment WHERE script = ?1 ORDER BY seq DESC",
    )?;
    let mut rows = query.query([script])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(DeploymentRecord {
            id: row.get(1)?,
            created_at: row.get(2)?,
            message: row.get(3)?,
            versions: shares(db, row.get(0)?)?,
        });
    }
    Ok(records)
}

fn shares(db: &Connection, deployment: i64) -> Result<Vec<VersionShare>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT version, percentage FROM deployment_share WHERE deployment = ?1 ORDER BY position",
    )?;
    let mut rows = query.query([deployment])?;
    let mut shares = Vec::new();
    while let Some(row) = rows.next()? {
        let version = parse("version", &row.get::<_, String>(0)?, str::parse)?;
        shares.push(VersionShare { version, percentage: row.get(1)? });
    }
    Ok(shares)
}

/// Shares in force; empty before the first deployment.
pub(crate) fn current(db: &Connection, script: i64) -> Result<Vec<VersionShare>, StoreError> {
    let newest: Option<i64> = db
        .prepare_cached("SELECT max(seq) FROM deployment WHERE script = ?1")?
        .query_row([script], |row| row.get(0))?;
    newest.map_or(Ok(Vec::new()), |seq| shares(db, seq))
}

/// The version that the next one starts from: the largest share of the traffic, or the newest version before
/// the first deployment.
pub(crate) fn base(db: &Connection, script: i64) -> Result<Option<VersionId>, StoreError> {
    let mut best: Option<VersionShare> = None;
    for share in current(db, script)? {
        if best.as_ref().is_none_or(|best| share.percentage > best.percentage) {
            best = Some(share);
        }
    }
    if let Some(share) = best {
        return Ok(Some(share.version));
    }
    let newest: Option<String> = db
        .prepare_cached("SELECT id FROM version WHERE script = ?1 ORDER BY seq DESC LIMIT 1")?
        .query_row([script], |row| row.get(0))
        .optional()?;
    newest.map(|id| parse("version", &id, str::parse)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(n: u8, percentage: f64) -> VersionShare {
        VersionShare { version: format!("00000000-0000-0000-0000-{n:012}").parse().unwrap(), percentage }
    }

    #[test]
    fn shares_are_a_distribution() {
        check(&[share(1, 100.0)]).unwrap();
        check(&[share(1, 33.3), share(2, 33.3), share(3, 33.4)]).unwrap();
        check(&[share(1, 0.0), share(2, 100.0)]).unwrap();
        for bad in [
            vec![],
            vec![share(1, 99.0)],
            vec![share(1, 50.0), share(1, 50.0)],
            vec![share(1, -1.0), share(2, 101.0)],
            vec![share(1, f64::NAN)],
            vec![share(1, f64::INFINITY)],
            (0..20).map(|n| share(n, 5.0)).collect(),
        ] {
            assert!(matches!(check(&bad), Err(StoreError::BadShares(_))), "{bad:?}");
        }
    }
}
