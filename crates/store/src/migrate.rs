//! Brings a database file to the schema that this program knows.

use rusqlite::{Connection, TransactionBehavior};

use crate::StoreError;

/// Every change of the schema, oldest first. An entry is never edited once released.
pub(crate) const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_records.sql"),
    include_str!("../migrations/0002_egress.sql"),
    include_str!("../migrations/0003_assets.sql"),
    include_str!("../migrations/0004_crons.sql"),
];

/// Applies what is missing, each migration in a transaction of its own together with its record in
/// `schema_migration`. Refuses a database that a newer program wrote.
pub(crate) fn migrate(db: &mut Connection, migrations: &[&str]) -> Result<(), StoreError> {
    db.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_migration (
            number     INTEGER PRIMARY KEY,
            applied_at INTEGER NOT NULL
        ) STRICT",
    )?;
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    let found: u32 =
        db.query_row("SELECT coalesce(max(number), 0) FROM schema_migration", [], |row| row.get(0))?;
    if found > known {
        return Err(StoreError::NewerSchema { found, known });
    }
    for (number, sql) in (1..=known).zip(migrations).skip(found as usize) {
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch(sql)?;
        if tx.prepare("PRAGMA foreign_key_check")?.exists([])? {
            return Err(StoreError::Damaged(format!("migration {number} leaves dangling references")));
        }
        tx.execute(
            "INSERT INTO schema_migration (number, applied_at) VALUES (?1, ?2)",
            (number, crate::store::now_ms()),
        )?;
        tx.commit()?;
        tracing::info!(number, "schema migration applied");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(db: &Connection) -> u32 {
        db.query_row("SELECT count(*) FROM schema_migration", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn only_what_is_missing_is_applied() {
        let mut db = Connection::open_in_memory().unwrap();
        let first = "CREATE TABLE a (x INTEGER)";
        let second = "ALTER TABLE a ADD COLUMN y INTEGER; INSERT INTO a VALUES (1, 2)";
        migrate(&mut db, &[first]).unwrap();
        migrate(&mut db, &[first, second]).unwrap();
        migrate(&mut db, &[first, second]).unwrap();
        assert_eq!(applied(&db), 2);
        assert_eq!(db.query_row("SELECT sum(y) FROM a", [], |row| row.get::<_, i64>(0)).unwrap(), 2);
    }

    #[test]
    fn a_failing_migration_leaves_nothing_behind() {
        let mut db = Connection::open_in_memory().unwrap();
        let broken = "CREATE TABLE a (x INTEGER); INSERT INTO missing VALUES (1)";
        assert!(migrate(&mut db, &[broken]).is_err());
        let dangling = "CREATE TABLE a (x INTEGER PRIMARY KEY); CREATE TABLE b (x REFERENCES a (x));
            INSERT INTO b VALUES (1)";
        db.pragma_update(None, "foreign_keys", "OFF").unwrap();
        assert!(matches!(migrate(&mut db, &[dangling]), Err(StoreError::Damaged(_))));
        assert_eq!(applied(&db), 0);
        migrate(&mut db, &["CREATE TABLE a (x INTEGER)"]).unwrap();
    }

    #[test]
    fn a_newer_database_is_refused() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db, &["SELECT 1", "SELECT 1"]).unwrap();
        let error = migrate(&mut db, &["SELECT 1"]).unwrap_err();
        assert!(matches!(error, StoreError::NewerSchema { found: 2, known: 1 }), "{error}");
    }
}
