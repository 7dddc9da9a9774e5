//! `selvedge key`: what the middleware `api_key`, `basic` and `oidc` keep in settings.

use clap::{Args, Subcommand};
use selvedge_auth::api_key::NewKey;
use selvedge_auth::password::Hash;
use serde_json::json;

use super::secret;
use crate::failure::{Failure, Outcome};
use crate::terminal::{DIM, Terminal, say};

const EXAMPLES: &str = "\
Examples:
  selvedge key new                   a new API key, shown once, and its hash for the settings
  selvedge key hash                  the hash of an API key there is; asks for it
  selvedge key hash-password         the hash of a password; asks for it
  selvedge key hash-password < password.txt";

/// Make API keys, and hashes of keys and passwords for selvedge.toml.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a random API key; it is shown once
    New,
    /// Hash an API key that there is; it comes from standard input
    Hash,
    /// Hash a password; it comes from standard input
    HashPassword,
}

/// Runs the command.
pub(crate) fn run(args: &KeyArgs, terminal: Terminal) -> Outcome {
    let failed = || Failure::new("no_random", "the system gave no random bytes");
    match args.action {
        Action::New => {
            let new = NewKey::make().map_err(|_| failed())?;
            terminal.answer(&json!({ "key": new.key.as_str(), "hash": new.hash }), || {
                say!("{DIM}key, for its owner; it is not shown again{DIM:#}");
                say!("{}", new.key.as_str());
                say!("{DIM}hash, for selvedge.toml{DIM:#}");
                say!("{}", new.hash);
            });
        }
        Action::Hash => {
            let hash = selvedge_auth::api_key::hash(&secret::value("the API key")?);
            terminal.answer(&json!({ "hash": hash }), || say!("{hash}"));
        }
        Action::HashPassword => {
            let password = secret::value("the password")?;
            let hash = Hash::make(password.as_bytes()).map_err(|_| failed())?;
            terminal.answer(&json!({ "hash": hash }), || say!("{hash}"));
        }
    }
    Ok(())
}
