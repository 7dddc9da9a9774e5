//! `selvedge tail`: a worker's logs and exceptions as they happen.

use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use selvedge_model::ScriptName;

use super::script;
use crate::cli::Shared;
use crate::failure::Outcome;
use crate::log_view;
use crate::terminal::{DIM, NOTE, Terminal};

/// Between attempts to connect again.
const PAUSE: Duration = Duration::from_secs(1);

/// Watch a worker's logs and exceptions live, until Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  selvedge tail hello\n  selvedge tail hello --json | jq .message")]
pub(crate) struct TailArgs {
    /// The worker [default: that of the project in this directory]
    name: Option<ScriptName>,
}

/// Runs the command. With `--json`, each event is a document on a line of its own.
pub(crate) fn run(args: &TailArgs, shared: &Shared, terminal: Terminal) -> Outcome {
    let name = script(args.name.as_ref(), shared)?;
    let client = shared.client()?;
    let mut events = client.tail(name.as_str())?;
    anstream::eprintln!("{DIM}watching {name}; Ctrl-C ends{DIM:#}");
    loop {
        for event in &mut events {
            let read = if terminal.json { terminal.document(&event) } else { log_view::print(&event) };
            if !read {
                return Ok(());
            }
        }
        anstream::eprintln!("{NOTE}the connection was lost{NOTE:#}; connecting again");
        events = loop {
            sleep(PAUSE);
            match client.tail(name.as_str()) {
                Ok(again) => break again,
                // The server is away; anything else, such as a deleted worker, will not mend itself.
                Err(failure) if failure.code == "api_unreachable" => {}
                Err(failure) => return Err(failure),
            }
        };
        anstream::eprintln!("{DIM}connected; what happened meanwhile is in `selvedge logs {name}`{DIM:#}");
    }
}
