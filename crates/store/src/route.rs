//! Routes: patterns that lead to scripts.

use rusqlite::{Connection, OptionalExtension};
use selvedge_model::{AccountId, Route, RoutePattern, ScriptName};

use crate::store::parse;
use crate::{Store, StoreError, script};

impl Store {
    /// The account's routes, by pattern.
    ///
    /// # Errors
    /// The database fails.
    pub fn routes(&self, account: &AccountId) -> Result<Vec<Route>, StoreError> {
        self.read(|db| {
            let routes = all(db)?;
            Ok(routes.into_iter().filter(|route| route.account == *account).collect())
        })
    }

    /// Replaces the routes of a script.
    ///
    /// # Errors
    /// [`StoreError::ScriptNotFound`], [`StoreError::RouteTaken`], or the database fails.
    pub fn set_routes(
        &self,
        account: &AccountId,
        script: &ScriptName,
        patterns: &[RoutePattern],
    ) -> Result<(), StoreError> {
        self.write(|tx| replace(tx, account, script::id(tx, account, script)?, patterns))
    }
}

/// Replaces the routes of the script with row id `script`.
pub(crate) fn replace(
    db: &Connection,
    account: &AccountId,
    script: i64,
    patterns: &[RoutePattern],
) -> Result<(), StoreError> {
    db.execute("DELETE FROM route WHERE script = ?1", [script])?;
    // Within a host the longer path wins, so that a part of another account's host would be taken from it.
    let taken: Vec<Route> = all(db)?.into_iter().filter(|route| route.account != *account).collect();
    for pattern in patterns {
        if taken.iter().any(|route| route.pattern.shares_host(pattern)) {
            let owner = "a script of another account".into();
            return Err(StoreError::RouteTaken { pattern: pattern.clone(), owner });
        }
        let text = pattern.to_string();
        let owner: Option<(i64, String)> = db
            .prepare_cached(
                "SELECT s.id, s.name FROM route r JOIN script s ON s.id = r.script WHERE r.pattern = ?1",
            )?
            .query_row([&text], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match owner {
            None => {
                db.execute("INSERT INTO route (pattern, script) VALUES (?1, ?2)", (&text, script))?;
            }
            // The same pattern twice in one list.
            Some((id, ..)) if id == script => {}
            Some((_, name)) => {
                let owner = format!("script {name}");
                return Err(StoreError::RouteTaken { pattern: pattern.clone(), owner });
            }
        }
    }
    Ok(())
}

/// Patterns of the script with that row id.
pub(crate) fn of_script(db: &Connection, script: i64) -> Result<Vec<RoutePattern>, StoreError> {
    let mut query = db.prepare_cached("SELECT pattern FROM route WHERE script = ?1 ORDER BY pattern")?;
    let mut rows = query.query([script])?;
    let mut patterns = Vec::new();
    while let Some(row) = rows.next()? {
        patterns.push(parse("route", &row.get::<_, String>(0)?, str::parse)?);
    }
    Ok(patterns)
}

/// Every route, by pattern.
pub(crate) fn all(db: &Connection) -> Result<Vec<Route>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT r.pattern, s.account, s.name FROM route r JOIN script s ON s.id = r.script
         ORDER BY r.pattern",
    )?;
    let mut rows = query.query([])?;
    let mut routes = Vec::new();
    while let Some(row) = rows.next()? {
        routes.push(Route {
            pattern: parse("route", &row.get::<_, String>(0)?, str::parse)?,
            account: parse("account", &row.get::<_, String>(1)?, str::parse)?,
            script: parse("script", &row.get::<_, String>(2)?, str::parse)?,
        });
    }
    Ok(routes)
}
