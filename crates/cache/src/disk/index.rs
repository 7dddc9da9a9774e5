//! What is on the disk, in a table of SQLite: found by address and by tag without looking at everything, and there again after a restart.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Result, params};

use crate::object::Object;
use crate::record;
use crate::store::Purge;

/// Another process may hold it for a moment, while it takes over.
const PATIENCE: Duration = Duration::from_secs(2);
/// Layout of the tables; others are thrown away.
const LAYOUT: i64 = 2;
/// Responses of one address that are looked at.
const VARIANTS_MAX: i64 = 32;
/// What a response takes beside its body: its row, and what the file system adds, bytes.
const OVERHEAD: u64 = 4096;

/// The table.
#[derive(Debug)]
pub(super) struct Index(Connection);

/// A response on the disk, without its body.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) head: Vec<u8>,
    pub(super) sums: Arc<[u32]>,
    pub(super) length: u64,
    pub(super) expired: bool,
}

/// Files that nobody finds any more, and what they took.
pub(super) type Gone = Vec<(i64, u64)>;

impl Index {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let layout: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if layout != LAYOUT {
            connection.execute_batch(
                "BEGIN IMMEDIATE;
                DROP TABLE IF EXISTS objects; DROP TABLE IF EXISTS tags; DROP TABLE IF EXISTS noted;
                CREATE TABLE noted(only INTEGER PRIMARY KEY CHECK(only = 0), purge INTEGER NOT NULL);
                CREATE TABLE objects(
                    id INTEGER PRIMARY KEY, address TEXT NOT NULL, scope INTEGER NOT NULL, variant BLOB NOT NULL,
                    length INTEGER NOT NULL, bytes INTEGER NOT NULL, stored INTEGER NOT NULL, used INTEGER NOT NULL,
                    expired INTEGER NOT NULL DEFAULT 0, head BLOB NOT NULL, sums BLOB NOT NULL,
                    UNIQUE(address, scope, variant));
                CREATE INDEX by_use ON objects(used);
                CREATE TABLE tags(tag TEXT NOT NULL, object INTEGER NOT NULL, PRIMARY KEY(tag, object)) WITHOUT ROWID;
                CREATE INDEX tags_of ON tags(object);
                CREATE TRIGGER untag AFTER DELETE ON objects BEGIN DELETE FROM tags WHERE object = old.id; END;",
            )?;
            connection.pragma_update(None, "user_version", LAYOUT)?;
            connection.execute_batch("COMMIT")?;
        }
        Ok(Self(connection))
    }

    /// For looking only.
    pub(super) fn reader(path: &Path) -> Result<Self> {
        // It is not made here: only the writer knows its layout.
        let connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(Self(connection))
    }

    /// Responses of an address, the newest first.
    pub(super) fn find(&self, address: &str, scope: u64) -> Result<Vec<Row>> {
        let mut found = self.0.prepare_cached(
            "SELECT id, head, sums, length, expired FROM objects WHERE address = ?1 AND scope = ?2
            ORDER BY stored DESC LIMIT ?3",
        )?;
        let rows = found.query_map(params![address, scope.cast_signed(), VARIANTS_MAX], |row| {
            let sums: Vec<u8> = row.get(2)?;
            let sums = sums.as_chunks::<4>().0.iter().map(|sum| u32::from_le_bytes(*sum));
            Ok(Row {
                id: row.get(0)?,
                head: row.get(1)?,
                sums: sums.collect(),
                length: row.get::<_, i64>(3)?.cast_unsigned(),
                expired: row.get(4)?,
            })
        })?;
        rows.collect()
    }

    /// Whether a file belongs to a response.
    pub(super) fn has(&self, id: i64) -> Result<bool> {
        let mut has = self.0.prepare_cached("SELECT 1 FROM objects WHERE id = ?1")?;
        has.exists([id])
    }

    /// Takes a response in. Gives what it takes, and what it takes the place of.
    pub(super) fn insert(
        &mut self,
        id: i64,
        object: &Object,
        length: u64,
        sums: &[u32],
        now: u64,
    ) -> Result<(u64, Gone)> {
        let (head, variant) = (record::write(object), record::write_variant(&object.variant));
        let sums: Vec<u8> = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        let bytes = length + (head.len() + sums.len()) as u64 + OVERHEAD;
        let (scope, now) = (object.variant.scope.cast_signed(), now.cast_signed());
        let transaction = self.0.transaction()?;
        let gone = {
            let mut old = transaction.prepare_cached(
                "DELETE FROM objects WHERE id = ?4 OR (address = ?1 AND scope = ?2 AND variant = ?3) RETURNING id, bytes",
            )?;
            gone(old.query(params![&*object.address, scope, variant, id])?)?
        };
        transaction
            .prepare_cached(
                "INSERT INTO objects(id, address, scope, variant, length, bytes, stored, used, expired, head, sums)
                VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                id,
                &*object.address,
                scope,
                variant,
                length.cast_signed(),
                bytes.cast_signed(),
                now,
                object.is_expired(),
                head,
                sums
            ])?;
        for tag in &object.tags {
            let mut tagged = transaction.prepare_cached("INSERT OR IGNORE INTO tags VALUES(?1, ?2)")?;
            tagged.execute(params![&**tag, id])?;
        }
        transaction.commit()?;
        Ok((bytes, gone))
    }

    /// The file of a response that has the same body already, and is for the same requests.
    pub(super) fn same(&self, object: &Object, sums: &[u32]) -> Result<Option<i64>> {
        let sums: Vec<u8> = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        let mut same = self.0.prepare_cached(
            "SELECT id FROM objects WHERE address = ?1 AND scope = ?2 AND variant = ?3 AND length = ?4 AND sums = ?5",
        )?;
        let variant = record::write_variant(&object.variant);
        let length = object.body.len().cast_signed();
        same.query_row(
            params![&*object.address, object.variant.scope.cast_signed(), variant, length, sums],
            |row| row.get(0),
        )
        .optional()
    }

    /// A response was asked for.
    pub(super) fn touch(&self, object: &Object, now: u64) -> Result<()> {
        let mut touch = self.0.prepare_cached(
            "UPDATE objects SET used = ?4 WHERE address = ?1 AND scope = ?2 AND variant = ?3",
        )?;
        let variant = record::write_variant(&object.variant);
        let scope = object.variant.scope.cast_signed();
        touch.execute(params![&*object.address, scope, variant, now.cast_signed()]).map(drop)
    }

    /// Takes out one response.
    pub(super) fn remove(&self, object: &Object) -> Result<Gone> {
        let mut remove = self.0.prepare_cached(
            "DELETE FROM objects WHERE address = ?1 AND scope = ?2 AND variant = ?3 RETURNING id, bytes",
        )?;
        let variant = record::write_variant(&object.variant);
        gone(remove.query(params![&*object.address, object.variant.scope.cast_signed(), variant])?)
    }

    /// Takes out the response of a file.
    pub(super) fn remove_file(&self, id: i64) -> Result<Gone> {
        let mut remove = self.0.prepare_cached("DELETE FROM objects WHERE id = ?1 RETURNING id, bytes")?;
        gone(remove.query([id])?)
    }

    /// Takes out what was not asked for the longest.
    pub(super) fn evict(&self, count: usize) -> Result<Gone> {
        let mut oldest = self.0.prepare_cached(
            "DELETE FROM objects WHERE id IN (SELECT id FROM objects ORDER BY used LIMIT ?1) RETURNING id, bytes",
        )?;
        gone(oldest.query([count as i64])?)
    }

    /// Purges. How many responses were meant, and the files that have to go. A lasting one is on the disk when this returns.
    pub(super) fn purge(&self, purge: &Purge, soft: bool, lasting: bool) -> Result<(u64, Gone)> {
        if !lasting {
            return self.purge_now(purge, soft);
        }
        self.0.pragma_update(None, "synchronous", "FULL")?;
        let done = self.purge_now(purge, soft);
        self.0.pragma_update(None, "synchronous", "NORMAL")?;
        done
    }

    fn purge_now(&self, purge: &Purge, soft: bool) -> Result<(u64, Gone)> {
        let (which, name) = match purge {
            Purge::Address(address) => ("address = ?1", address.as_str()),
            // No text has this byte: all that begins so comes before it.
            Purge::Prefix(prefix) => {
                ("address >= ?1 AND address < ?1 || CAST(x'ff' AS TEXT)", prefix.as_str())
            }
            Purge::Tag(tag) => ("id IN (SELECT object FROM tags WHERE tag = ?1)", tag.as_str()),
            Purge::All => ("?1 = ''", ""),
        };
        if soft {
            let mut expire =
                self.0.prepare_cached(&format!("UPDATE objects SET expired = 1 WHERE {which}"))?;
            return Ok((expire.execute([name])? as u64, Vec::new()));
        }
        let mut delete =
            self.0.prepare_cached(&format!("DELETE FROM objects WHERE {which} RETURNING id, bytes"))?;
        let gone = gone(delete.query([name])?)?;
        Ok((gone.len() as u64, gone))
    }

    /// The last purge of all servers that was done here.
    pub(super) fn noted(&self) -> Result<Option<u64>> {
        let noted = self.0.query_row("SELECT purge FROM noted", [], |row| row.get::<_, i64>(0)).optional()?;
        Ok(noted.map(i64::cast_unsigned))
    }

    /// Remembers it.
    pub(super) fn note(&self, purge: u64) -> Result<()> {
        let mut note = self.0.prepare_cached("INSERT OR REPLACE INTO noted VALUES(0, ?1)")?;
        note.execute([purge.cast_signed()]).map(drop)
    }

    /// Responses, and what they take together.
    pub(super) fn total(&self) -> Result<(u64, u64)> {
        self.0.query_row("SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM objects", [], |row| {
            Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?.cast_unsigned()))
        })
    }
}

fn gone(mut rows: rusqlite::Rows<'_>) -> Result<Gone> {
    let mut gone = Vec::new();
    while let Some(row) = rows.next()? {
        gone.push((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()));
    }
    Ok(gone)
}
