//! `selvedge list`: what is deployed.

use clap::Args;

use super::{age, text};
use crate::cli::Shared;
use crate::failure::Outcome;
use crate::terminal::{Terminal, say, table};

/// List what is deployed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  selvedge list\n  selvedge list --json")]
pub(crate) struct ListArgs {}

/// Runs the command.
pub(crate) fn run(_args: &ListArgs, shared: &Shared, terminal: Terminal) -> Outcome {
    let client = shared.client()?;
    let scripts = client.get(&client.account_path("/scripts"))?;
    terminal.answer(&scripts, || {
        let rows = scripts.as_array().map(Vec::as_slice).unwrap_or_default();
        if rows.is_empty() {
            say!("Nothing is deployed yet. Try `selvedge init hello`, then `selvedge deploy hello`.");
            return;
        }
        let mut list = table(&["worker", "url", "deployed", "routes"]);
        for row in rows {
            let routes = row["routes"].as_array().into_iter().flatten().filter_map(|route| route.as_str());
            let routes = routes.collect::<Vec<_>>().join("\n");
            list.add_row([text(row, "script"), text(row, "url"), age(row, "deployed_at"), routes]);
        }
        say!("{list}");
    });
    Ok(())
}
