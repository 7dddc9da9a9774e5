//! `selvedge upgrade`: a new process in place of the running one.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::Shared;
use crate::failure::Outcome;
use crate::terminal::{DIM, GOOD, Terminal, say};

const EXAMPLES: &str = "\
Examples:
  selvedge upgrade
  selvedge upgrade --executable /opt/selvedge-2.0/bin/selvedge";

/// Replace the running server by a new process, without losing a connection: its executable may be a newer one, and all settings are
/// read again. If the new process does not get ready, the running one goes on.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UpgradeArgs {
    /// Absolute path of another executable [default: the one that is running, as it lies on the disk now]
    #[arg(long, value_name = "PATH")]
    executable: Option<PathBuf>,
    /// For the new process to get ready, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=110))]
    timeout: u64,
}

/// Runs the command.
pub(crate) fn run(args: &UpgradeArgs, shared: &Shared, terminal: Terminal) -> Outcome {
    let mut asked = json!({ "timeout_s": args.timeout });
    if let Some(executable) = &args.executable {
        asked["executable"] = json!(executable);
    }
    let answer = shared.client()?.send("POST", "/api/v1/upgrade", &asked)?;
    terminal.answer(&answer, || {
        say!(
            "{GOOD}✓{GOOD:#} process {} serves now  {DIM}({}, ready after {} ms){DIM:#}",
            answer["pid"],
            super::text(&answer, "executable"),
            answer["ready_ms"]
        );
        say!("  process {} finishes its requests and ends", answer["former_pid"]);
    });
    Ok(())
}
