//! `selvedge reload`: new settings while the server runs.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::Shared;
use crate::failure::Outcome;
use crate::terminal::{DIM, GOOD, HINT, Terminal, say};

/// Have the running server read its settings again. With a mistake in them it keeps those it has.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  selvedge reload\n  selvedge check && selvedge reload")]
pub(crate) struct ReloadArgs {}

/// Runs the command.
pub(crate) fn run(_args: &ReloadArgs, shared: &Shared, terminal: Terminal) -> Outcome {
    let answer = shared.client()?.send("POST", "/api/v1/reload", &json!({}))?;
    terminal.answer(&answer, || {
        let names = |key: &str| -> String {
            let names = answer[key].as_array().into_iter().flatten().filter_map(Value::as_str);
            names.collect::<Vec<_>>().join(", ")
        };
        match names("changed") {
            none if none.is_empty() => say!("{GOOD}✓{GOOD:#} settings were read again; nothing changed"),
            changed => say!("{GOOD}✓{GOOD:#} settings were read again  {DIM}({changed}){DIM:#}"),
        }
        let restart = names("restart");
        if !restart.is_empty() {
            say!("{HINT}after `selvedge upgrade` or a restart:{HINT:#} {restart}");
        }
    });
    Ok(())
}
