//! The database file: opening it, and one transaction per change.

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use selvedge_model::{AccountId, VersionId, Worker};

use crate::StoreError;
use crate::migrate::{MIGRATIONS, migrate};
use crate::seal::{Sealer, SecretKey};

/// The records' file in the data directory.
const DATABASE_FILE: &str = "selvedge.db";
/// The secret key's file in the data directory.
const KEY_FILE: &str = "secret.key";
/// Row of `meta` with a known text under the secret key, by which a wrong key is noticed at start.
const KEY_CHECK: &str = "key_check";
/// How long to wait for another process that has the database locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The records of one data directory. Calls block on the disk; each change is one durable transaction.
#[derive(Debug)]
pub struct Store {
    db: Mutex<Connection>,
    pub(crate) sealer: Sealer,
    /// Workers of the last snapshot; versions are immutable, so the next one takes them from here.
    pub(crate) workers: Mutex<HashMap<VersionId, Arc<Worker>>>,
    /// Held shared from writing an artifact until a version names it, exclusively while removing artifacts.
    pub(crate) artifact_use: RwLock<()>,
}

impl Store {
    /// Opens the records in `dir`, making what is absent: the directory (mode 0700), the database, the secret
    /// key (`secret.key`, mode 0600, unless `key` is given), the default account and its token (`token`, mode
    /// 0600). When this returns, `<dir>/token` holds a valid token.
    ///
    /// # Errors
    /// A disk or database failure, a database of a newer program, or a key that does not fit the database.
    pub fn open(dir: &Path, key: Option<SecretKey>) -> Result<Self, StoreError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|source| StoreError::Io {
            action: "create",
            path: dir.into(),
            source,
        })?;
        let mut db = Connection::open(dir.join(DATABASE_FILE))?;
        db.busy_timeout(BUSY_TIMEOUT)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        // What is acknowledged survives a power cut: WAL alone syncs at checkpoints only.
        db.pragma_update(None, "synchronous", "FULL")?;
        db.pragma_update(None, "trusted_schema", "OFF")?;
        // A migration may rebuild a table that others refer to; it is checked as a whole instead.
        db.pragma_update(None, "foreign_keys", "OFF")?;
        migrate(&mut db, MIGRATIONS)?;
        db.pragma_update(None, "foreign_keys", "ON")?;
        let sealer = unlock(&db, dir, key)?;
        let store =
            Self { db: Mutex::new(db), sealer, workers: Mutex::default(), artifact_use: RwLock::default() };
        store.create_account(&AccountId::default_account())?;
        store.ensure_default_token(dir)?;
        Ok(store)
    }

    /// Whether the records can be read, and are where they were.
    ///
    /// # Errors
    /// The database fails, or its file is gone.
    pub fn check(&self) -> Result<(), StoreError> {
        self.read(|db| {
            db.query_row("SELECT count(*) FROM meta", [], |row| row.get::<_, i64>(0))?;
            let path = db.path().map(PathBuf::from).unwrap_or_default();
            match std::fs::metadata(&path) {
                Ok(_) => Ok(()),
                Err(source) => Err(StoreError::Io { action: "find", path, source }),
            }
        })
    }

    /// Runs `query` alone on the database.
    pub(crate) fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        query(&self.lock())
    }

    /// Runs `change` in a transaction that is on the disk when this returns, or undone when it fails.
    pub(crate) fn write<T>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut db = self.lock();
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = change(&tx)?;
        tx.execute(
            "INSERT INTO meta (key, value) VALUES ('generation', 1)
             ON CONFLICT (key) DO UPDATE SET value = value + 1",
            [],
        )?;
        tx.commit()?;
        Ok(result)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic inside a transaction rolled it back, so the connection is sound.
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds the key, makes one when the database has no secrets yet, and checks that it fits.
fn unlock(db: &Connection, dir: &Path, key: Option<SecretKey>) -> Result<Sealer, StoreError> {
    let path = dir.join(KEY_FILE);
    let check: Option<Vec<u8>> =
        db.query_row("SELECT value FROM meta WHERE key = ?1", [KEY_CHECK], |row| row.get(0)).optional()?;
    let key = match (key, SecretKey::read(&path)?, &check) {
        (Some(key), _, _) | (None, Some(key), _) => key,
        (None, None, Some(_)) => return Err(StoreError::KeyMissing(path)),
        (None, None, None) => SecretKey::create(&path)?,
    };
    let sealer = key.sealer()?;
    match check {
        Some(sealed) => {
            sealer.open(KEY_CHECK, &sealed)?;
        }
        None => {
            let sealed = sealer.seal(KEY_CHECK, KEY_CHECK)?;
            db.execute("INSERT INTO meta (key, value) VALUES (?1, ?2)", (KEY_CHECK, sealed))?;
        }
    }
    Ok(sealer)
}

/// Unix time, milliseconds.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Reads a text column that holds a checked type or JSON.
pub(crate) fn parse<T, E: std::fmt::Display>(
    what: &str,
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, StoreError> {
    parse(text).map_err(|error| StoreError::Damaged(format!("{what}: {error}")))
}

/// A value as a JSON column.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Damaged(error.to_string()))
}
