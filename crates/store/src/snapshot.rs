//! What the data plane serves, read from the records as a whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};

use rusqlite::OptionalExtension;
use selvedge_model::{AccountId, ScriptDeployment, ScriptName, Share, Snapshot, VersionId};

use crate::store::parse;
use crate::{Store, StoreError, route};

type Key = (AccountId, ScriptName);

impl Store {
    /// Everything that is deployed now, secrets in the clear. Workers that the last snapshot had are the same
    /// `Arc`s in this one. A script whose records are damaged is left out and logged.
    ///
    /// # Errors
    /// The database fails.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let mut known = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut used = HashMap::with_capacity(known.len());
        let snapshot = self.read(|db| {
            let generation: Option<i64> = db
                .query_row("SELECT value FROM meta WHERE key = 'generation'", [], |row| row.get(0))
                .optional()?;
            let mut query = db.prepare_cached(
                "SELECT s.account, s.name, x.version, x.percentage FROM script s
                 JOIN deployment_share x ON x.deployment =
                    (SELECT max(seq) FROM deployment WHERE script = s.id)
                 ORDER BY s.id, x.position",
            )?;
            let mut rows = query.query([])?;
            let mut scripts: BTreeMap<Key, Result<Vec<Share>, StoreError>> = BTreeMap::new();
            while let Some(row) = rows.next()? {
                let account: AccountId = parse("account", &row.get::<_, String>(0)?, str::parse)?;
                let script: ScriptName = parse("script", &row.get::<_, String>(1)?, str::parse)?;
                let version: VersionId = parse("version", &row.get::<_, String>(2)?, str::parse)?;
                let worker = match known.get(&version) {
                    Some(worker) => Ok(worker.clone()),
                    None => self.load_worker(db, &account, &script, &version).map(Arc::new),
                };
                let shares = scripts.entry((account, script)).or_insert_with(|| Ok(Vec::new()));
                match (worker, shares) {
                    (Ok(worker), Ok(shares)) => {
                        used.insert(version, worker.clone());
                        shares.push(Share { worker, percentage: row.get(3)? });
                    }
                    (Err(error), shares) => *shares = Err(error),
                    (Ok(_), Err(_)) => {}
                }
            }
            let mut sound = BTreeMap::new();
            for ((account, script), shares) in scripts {
                match shares {
                    Ok(shares) => {
                        let key = (account.clone(), script.clone());
                        sound.insert(key, Arc::new(ScriptDeployment { account, script, shares }));
                    }
                    // One damaged record must not take every other script down.
                    Err(error @ (StoreError::Damaged(_) | StoreError::WrongKey)) => {
                        tracing::error!(%account, %script, %error, "a script cannot be served");
                    }
                    Err(error) => return Err(error),
                }
            }
            let generation = u64::try_from(generation.unwrap_or(0)).unwrap_or(0);
            Ok(Snapshot { generation, scripts: sound, routes: route::all(db)? })
        })?;
        *known = used;
        Ok(snapshot)
    }
}
