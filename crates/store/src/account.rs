//! Accounts: the owners of scripts.

use selvedge_model::AccountId;

use crate::store::now_ms;
use crate::{Store, StoreError};

impl Store {
    /// Makes the account when it is absent.
    ///
    /// # Errors
    /// The database fails.
    pub fn create_account(&self, account: &AccountId) -> Result<(), StoreError> {
        self.write(|tx| {
            tx.execute(
                "INSERT INTO account (id, created_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                (account.as_str(), now_ms()),
            )?;
            Ok(())
        })
    }
}
