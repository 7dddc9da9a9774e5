//! `selvedge trigger`: call a worker's `scheduled` handler now.

use clap::Args;
use selvedge_model::ScriptName;
use serde_json::json;

use super::{script, text};
use crate::cli::Shared;
use crate::failure::Outcome;
use crate::terminal::{DIM, GOOD, Terminal, say};

const EXAMPLES: &str = "\
Examples:
  selvedge trigger hello
  selvedge trigger hello --cron '0 3 * * *'";

/// Call a worker's `scheduled` handler now, as a cron trigger would, and wait for it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TriggerArgs {
    /// The worker [default: that of the project in this directory]
    name: Option<ScriptName>,
    /// What the handler sees as `controller.cron` [default: its first cron trigger]
    #[arg(long, value_name = "EXPRESSION")]
    cron: Option<String>,
}

/// Runs the command.
pub(crate) fn run(args: &TriggerArgs, shared: &Shared, terminal: Terminal) -> Outcome {
    let name = script(args.name.as_ref(), shared)?;
    let client = shared.client()?;
    let mut wanted = json!({});
    if let Some(cron) = &args.cron {
        wanted["cron"] = cron.as_str().into();
    }
    let answer = client.send("POST", &client.account_path(&format!("/scripts/{name}/scheduled")), &wanted)?;
    terminal.answer(&answer, || {
        let cron = text(&answer, "cron");
        let cron = if cron.is_empty() { String::new() } else { format!("  {DIM}({cron}){DIM:#}") };
        say!("{GOOD}✓{GOOD:#} {name} has run{cron}");
    });
    Ok(())
}
