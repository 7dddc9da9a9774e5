//! `selvedge versions`: what was deployed when.

use clap::Args;
use selvedge_model::ScriptName;

use super::{age, script, text};
use crate::cli::Shared;
use crate::failure::Outcome;
use crate::terminal::{Terminal, say, table};

/// List the versions of a worker, newest first.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  selvedge versions hello\n  selvedge versions hello --json")]
pub(crate) struct VersionsArgs {
    /// The worker [default: that of the project in this directory]
    name: Option<ScriptName>,
}

/// Runs the command.
pub(crate) fn run(args: &VersionsArgs, shared: &Shared, terminal: Terminal) -> Outcome {
    let name = script(args.name.as_ref(), shared)?;
    let client = shared.client()?;
    let versions = client.get(&client.account_path(&format!("/scripts/{name}/versions")))?;
    terminal.answer(&versions, || {
        let mut list = table(&["version", "traffic", "created", "code", "message"]);
        for row in versions.as_array().into_iter().flatten() {
            let share = row["percentage"].as_f64().filter(|share| *share > 0.0);
            list.add_row([
                text(row, "id"),
                share.map(|share| format!("{share} %")).unwrap_or_default(),
                age(row, "created_at"),
                text(row, "digest").chars().take(12).collect(),
                text(row, "message"),
            ]);
        }
        say!("{list}");
    });
    Ok(())
}
