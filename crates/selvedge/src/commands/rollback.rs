//! `selvedge rollback`: an earlier version answers again.

use clap::Args;
use selvedge_model::{ScriptName, VersionId};
use serde_json::json;

use super::{script, text};
use crate::cli::Shared;
use crate::failure::Outcome;
use crate::terminal::{GOOD, Terminal, say};

/// Go back to an earlier version. Nothing is rebuilt, and a rollback can itself be rolled back.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  selvedge rollback hello\n  selvedge rollback hello --to 0199a3c2-7d1e-7b70-8f00-0123456789ab"
)]
pub(crate) struct RollbackArgs {
    /// The worker [default: that of the project in this directory]
    name: Option<ScriptName>,
    /// The version to go back to [default: the one deployed before]
    #[arg(long, value_name = "VERSION")]
    to: Option<VersionId>,
}

/// Runs the command.
pub(crate) fn run(args: &RollbackArgs, shared: &Shared, terminal: Terminal) -> Outcome {
    let name = script(args.name.as_ref(), shared)?;
    let client = shared.client()?;
    let body = args.to.as_ref().map_or_else(|| json!({}), |version| json!({ "version": version }));
    let answer = client.send("POST", &client.account_path(&format!("/scripts/{name}/rollback")), &body)?;
    terminal.answer(&answer, || {
        let versions = answer["versions"].as_array().into_iter().flatten();
        let versions: Vec<_> = versions.map(|share| text(share, "version")).collect();
        say!("{GOOD}✓{GOOD:#} {name} is back at version {}", versions.join(", "));
    });
    Ok(())
}
