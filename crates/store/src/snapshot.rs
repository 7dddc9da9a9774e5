//! What the data plane serves, read from the records as a whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};

use rusqlite::OptionalExtension;
use selvedge_model::{AccountId, ScriptDeployment, ScriptName, Share, Snapshot};

use crate::deployment::{self, VersionShare};
use crate::store::parse;
use crate::{Store, StoreError, route};

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
            let mut query =
                db.prepare_cached("SELECT id, account, name FROM script ORDER BY account, name")?;
            let mut rows = query.query([])?;
            let mut scripts = BTreeMap::new();
            while let Some(row) = rows.next()? {
                let account: AccountId = parse("account", &row.get::<_, String>(1)?, str::parse)?;
                let script: ScriptName = parse("script", &row.get::<_, String>(2)?, str::parse)?;
                let current = deployment::current(db, row.get(0)?)?;
                let shares = current.into_iter().map(|VersionShare { version, percentage }| {
                    let worker = match known.get(&version) {
                        Some(worker) => worker.clone(),
                        None => Arc::new(self.load_worker(db, &account, &script, &version)?),
                    };
                    used.insert(version, worker.clone());
                    Ok(Share { worker, percentage })
                });
                let shares: Vec<Share> = match shares.collect() {
                    Ok(shares) => shares,
                    // One damaged record must not take every other script down.
                    Err(error @ (StoreError::Damaged(_) | StoreError::WrongKey)) => {
                        tracing::error!(%account, %script, %error, "a script cannot be served");
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                if !shares.is_empty() {
                    let deployment =
                        ScriptDeployment { account: account.clone(), script: script.clone(), shares };
                    scripts.insert((account, script), Arc::new(deployment));
                }
            }
            let generation = u64::try_from(generation.unwrap_or(0)).unwrap_or(0);
            Ok(Snapshot { generation, scripts, routes: route::all(db)? })
        })?;
        *known = used;
        Ok(snapshot)
    }
}
