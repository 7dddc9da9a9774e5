//! `selvedge routes`: which hosts and paths lead to which worker.

use clap::Args;
use selvedge_model::ScriptName;
use serde_json::json;

use super::text;
use crate::cli::Shared;
use crate::failure::Outcome;
use crate::terminal::{GOOD, Terminal, say, table};

const EXAMPLES: &str = "\
Examples:
  selvedge routes                                      all routes
  selvedge routes hello --set 'example.com/*' --set '*/hello'
  selvedge routes hello --clear";

/// Show all routes, or replace those of a worker.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RoutesArgs {
    /// The worker whose routes are replaced
    #[arg(requires = "change")]
    name: Option<ScriptName>,
    /// Patterns that lead to the worker from now on, in place of all others
    #[arg(long, value_name = "PATTERN", group = "change", requires = "name")]
    set: Vec<String>,
    /// No pattern leads to the worker any more; its own name still does
    #[arg(long, group = "change", requires = "name")]
    clear: bool,
}

/// Runs the command.
pub(crate) fn run(args: &RoutesArgs, shared: &Shared, terminal: Terminal) -> Outcome {
    let client = shared.client()?;
    if let Some(name) = &args.name {
        let path = client.account_path(&format!("/scripts/{name}/routes"));
        let answer = client.send("PUT", &path, &json!({ "patterns": args.set }))?;
        terminal.answer(&answer, || {
            say!("{GOOD}✓{GOOD:#} {} lead to {name} besides its own name", count(args.set.len()));
        });
        return Ok(());
    }
    let routes = client.get(&client.account_path("/routes"))?;
    terminal.answer(&routes, || {
        let mut list = table(&["pattern", "worker"]);
        for row in routes.as_array().into_iter().flatten() {
            list.add_row([text(row, "pattern"), text(row, "script")]);
        }
        say!("{list}");
    });
    Ok(())
}

fn count(patterns: usize) -> String {
    match patterns {
        0 => "no patterns".into(),
        1 => "1 pattern".into(),
        many => format!("{many} patterns"),
    }
}
