//! `selvedge delete`: a worker and all that belongs to it.

use clap::Args;
use selvedge_model::ScriptName;

use crate::cli::Shared;
use crate::failure::{Failure, Outcome};
use crate::terminal::{GOOD, Terminal, say};

/// Remove a worker with its versions, routes and secrets. This cannot be undone.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  selvedge delete hello\n  selvedge delete hello --yes")]
pub(crate) struct DeleteArgs {
    /// The worker
    name: ScriptName,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Runs the command.
pub(crate) fn run(args: &DeleteArgs, shared: &Shared, terminal: Terminal) -> Outcome {
    let name = &args.name;
    let client = shared.client()?;
    if !args.yes && !terminal.json && !confirmed(&format!("Delete {name}, its versions and secrets? [y/N] "))?
    {
        return Err(
            Failure::new("not_confirmed", format!("{name} was not deleted")).help("answer y, or give --yes")
        );
    }
    client.delete(&client.account_path(&format!("/scripts/{name}")))?;
    terminal.answer(&serde_json::json!({ "deleted": name }), || {
        say!("{GOOD}✓{GOOD:#} {name} is deleted");
    });
    Ok(())
}

/// Asks on the terminal. Where there is none, the answer is no.
fn confirmed(question: &str) -> Outcome<bool> {
    use std::io::{BufRead, IsTerminal, Write, stderr, stdin};
    if !stdin().is_terminal() {
        return Ok(false);
    }
    let mut answer = String::new();
    let mut ask = || {
        write!(stderr(), "{question}")?;
        stderr().flush()?;
        stdin().lock().read_line(&mut answer)
    };
    ask().map_err(|error| Failure::new("io", format!("could not ask on the terminal: {error}")))?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}
