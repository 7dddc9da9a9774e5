//! `selvedge logs`: what a worker said lately.

use clap::Args;
use selvedge_model::{LogEvent, ScriptName};

use super::script;
use crate::cli::Shared;
use crate::failure::Outcome;
use crate::log_view;
use crate::terminal::Terminal;

/// Show a worker's recent logs and exceptions, oldest first.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  selvedge logs hello\n  selvedge logs hello --limit 20 --json")]
pub(crate) struct LogsArgs {
    /// The worker [default: that of the project in this directory]
    name: Option<ScriptName>,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    limit: u32,
}

/// Runs the command.
pub(crate) fn run(args: &LogsArgs, shared: &Shared, terminal: Terminal) -> Outcome {
    let name = script(args.name.as_ref(), shared)?;
    let client = shared.client()?;
    let answer = client.get(&client.account_path(&format!("/scripts/{name}/logs?limit={}", args.limit)))?;
    terminal.answer(&answer, || {
        // Events of a newer server may hold kinds unknown here; they are passed over.
        let events = answer.as_array().into_iter().flatten();
        for event in events.filter_map(|event| serde_json::from_value::<LogEvent>(event.clone()).ok()) {
            log_view::print(&event);
        }
    });
    Ok(())
}
