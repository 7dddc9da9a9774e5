//! Secrets of a version, sealed. A change of one makes and deploys a new version of the same code.

use std::collections::BTreeMap;

use rusqlite::Connection;
use selvedge_model::{AccountId, Binding, BindingValue, ScriptName, VersionId};

use crate::seal::Sealer;
use crate::{Artifacts, Store, StoreError, deployment, retention, script, version};

impl Store {
    /// Names of the secrets in the deployed version (the one with the largest share), or in the newest version
    /// before the first deployment.
    ///
    /// # Errors
    /// [`StoreError::ScriptNotFound`], or the database fails.
    pub fn secret_names(&self, account: &AccountId, script: &ScriptName) -> Result<Vec<String>, StoreError> {
        self.read(|db| {
            let id = script::id(db, account, script)?;
            match deployment::base(db, id)? {
                Some(version) => names(db, &version),
                None => Ok(Vec::new()),
            }
        })
    }

    /// Sets (`Some`) or removes (`None`) a secret: copies the deployed version with the change and deploys the
    /// copy to all traffic. A plain binding of that name gives way. Returns the new version.
    ///
    /// # Errors
    /// [`StoreError::ScriptNotFound`], [`StoreError::NotDeployed`], [`StoreError::SplitDeployment`],
    /// [`StoreError::TooManyBindings`], for a removal [`StoreError::SecretNotFound`], or the database fails.
    pub fn change_secret(
        &self,
        artifacts: &Artifacts,
        account: &AccountId,
        script: &ScriptName,
        name: &str,
        value: Option<&str>,
    ) -> Result<VersionId, StoreError> {
        let sealed =
            value.map(|value| self.sealer.seal(&context(account, script, name), value)).transpose()?;
        let (id, digests) = self.write(|tx| {
            let row = script::id(tx, account, script)?;
            let shares = deployment::current(tx, row)?;
            let base = match shares.as_slice() {
                [] => return Err(StoreError::NotDeployed(script.clone())),
                [only] => only.version.clone(),
                _ => return Err(StoreError::SplitDeployment(script.clone())),
            };
            if sealed.is_none() && !names(tx, &base)?.iter().any(|known| known == name) {
                return Err(StoreError::SecretNotFound { script: script.clone(), name: name.into() });
            }
            let verb = if sealed.is_some() { "Set" } else { "Delete" };
            let message = format!("{verb} secret {name}");
            let id = version::copy(tx, &base, name, &message)?;
            tx.execute(
                "INSERT INTO version_secret (version, name, sealed)
                 SELECT ?1, name, sealed FROM version_secret WHERE version = ?2 AND name <> ?3",
                (id.as_str(), base.as_str(), name),
            )?;
            if let Some(sealed) = &sealed {
                insert(tx, &id, name, sealed)?;
            }
            if version::count_bindings(tx, &id)? > version::BINDINGS_MAX {
                return Err(StoreError::TooManyBindings(script.clone()));
            }
            deployment::insert(tx, row, &[deployment::VersionShare::all(id.clone())], &message)?;
            Ok((id, retention::prune(tx, row)?))
        })?;
        self.remove_unnamed(artifacts, &digests);
        Ok(id)
    }
}

/// What a secret's sealing is bound to: moved to another script or name, it does not open.
fn context(account: &AccountId, script: &ScriptName, name: &str) -> String {
    format!("{account}/{script}/{name}")
}

/// Seals and stores the secrets among `bindings`.
pub(crate) fn insert_all(
    db: &Connection,
    sealer: &Sealer,
    (account, script, version): (&AccountId, &ScriptName, &VersionId),
    bindings: &[Binding],
) -> Result<(), StoreError> {
    for binding in bindings {
        if let BindingValue::SecretText { text } = &binding.value {
            let sealed = sealer.seal(&context(account, script, &binding.name), text)?;
            insert(db, version, &binding.name, &sealed)?;
        }
    }
    Ok(())
}

fn insert(db: &Connection, version: &VersionId, name: &str, sealed: &[u8]) -> Result<(), StoreError> {
    db.prepare_cached("INSERT INTO version_secret (version, name, sealed) VALUES (?1, ?2, ?3)")?
        .execute((version.as_str(), name, sealed))?;
    Ok(())
}

/// Names of a version's secrets, sorted.
pub(crate) fn names(db: &Connection, version: &VersionId) -> Result<Vec<String>, StoreError> {
    let mut query = db.prepare_cached("SELECT name FROM version_secret WHERE version = ?1 ORDER BY name")?;
    let names = query.query_map([version.as_str()], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(names)
}

/// A version's secrets in the clear, by name.
pub(crate) fn open_all(
    db: &Connection,
    sealer: &Sealer,
    (account, script, version): (&AccountId, &ScriptName, &VersionId),
) -> Result<BTreeMap<String, String>, StoreError> {
    let mut query =
        db.prepare_cached("SELECT name, sealed FROM version_secret WHERE version = ?1 ORDER BY name")?;
    let mut rows = query.query([version.as_str()])?;
    let mut secrets = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let plain = sealer.open(&context(account, script, &name), &row.get::<_, Vec<u8>>(1)?)?;
        secrets.insert(name, plain);
    }
    Ok(secrets)
}
