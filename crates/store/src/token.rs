//! API tokens: random, shown once, kept as their SHA-256.

use std::fmt;
use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use selvedge_model::AccountId;

use crate::seal::{hex, random};
use crate::store::{now_ms, parse};
use crate::{Store, StoreError, private_file};

/// The default token's file in the data directory.
const TOKEN_FILE: &str = "token";
/// Its name among the account's tokens.
const DEFAULT_TOKEN: &str = "default";
/// Makes tokens recognisable to scanners that look for leaked secrets.
const PREFIX: &str = "slv_";
/// Longer texts are no tokens and are not hashed.
const TOKEN_BYTES_MAX: usize = 256;

/// A token in the clear, at the one moment when it can be shown.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// The text that goes after `Bearer`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Store {
    /// Makes a token of 256 random bits for `account`, replacing its token of the same name.
    ///
    /// # Errors
    /// The database fails, or the account is absent.
    pub fn create_token(&self, account: &AccountId, name: &str) -> Result<Token, StoreError> {
        let token = new_token()?;
        self.record_token(account, name, &token)?;
        Ok(token)
    }

    /// The account that `token` speaks for. Compares hashes in constant time.
    ///
    /// # Errors
    /// The database fails.
    pub fn authenticate(&self, token: &str) -> Result<Option<AccountId>, StoreError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Ok(None);
        }
        let presented = digest(&SHA256, token.as_bytes());
        self.read(|db| {
            let mut query = db.prepare_cached("SELECT hash, account FROM token")?;
            let mut rows = query.query([])?;
            let mut found = None;
            while let Some(row) = rows.next()? {
                let hash: Vec<u8> = row.get(0)?;
                if verify_slices_are_equal(&hash, presented.as_ref()).is_ok() {
                    found = Some(parse("account", &row.get::<_, String>(1)?, str::parse)?);
                }
            }
            Ok(found)
        })
    }

    /// Sees to it that the token file holds a valid token. The file is written before the record, so that a
    /// crash between the two is repaired by the next start.
    pub(crate) fn ensure_default_token(&self, dir: &Path) -> Result<(), StoreError> {
        let path = dir.join(TOKEN_FILE);
        if let Some(text) = private_file::read(&path)?
            && self.authenticate(text.trim())?.is_some()
        {
            return Ok(());
        }
        let token = new_token()?;
        private_file::write(&path, token.as_str())?;
        self.record_token(&AccountId::default_account(), DEFAULT_TOKEN, &token)
    }

    fn record_token(&self, account: &AccountId, name: &str, token: &Token) -> Result<(), StoreError> {
        let hash = digest(&SHA256, token.as_str().as_bytes());
        self.write(|tx| {
            tx.execute(
                "INSERT INTO token (account, name, hash, created_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (account, name) DO UPDATE SET hash = excluded.hash,
                    created_at = excluded.created_at",
                (account.as_str(), name, hash.as_ref(), now_ms()),
            )?;
            Ok(())
        })
    }
}

fn new_token() -> Result<Token, StoreError> {
    Ok(Token(format!("{PREFIX}{}", hex(&random()?))))
}
