//! `selvedge status`: sandbox hosts, isolates and memory now.

use clap::Args;

use super::text;
use crate::cli::Shared;
use crate::failure::Outcome;
use crate::terminal::{Terminal, bytes, say, table};

/// Show sandbox hosts, isolates and memory.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  selvedge status\n  selvedge status --json")]
pub(crate) struct StatusArgs {}

/// Runs the command.
pub(crate) fn run(_args: &StatusArgs, shared: &Shared, terminal: Terminal) -> Outcome {
    let status = shared.client()?.get("/api/v1/status")?;
    terminal.answer(&status, || {
        let number = |key: &str| status[key].as_u64().unwrap_or_default();
        let confinement =
            status["confinement"].as_array().into_iter().flatten().filter_map(|line| line.as_str());
        let confinement = confinement.collect::<Vec<_>>().join(", ");
        say!("selvedge {} at {}", text(&status, "version"), shared.api);
        say!("confinement: {}", if confinement.is_empty() { "none" } else { &confinement });
        say!(
            "isolates: {}   memory: {} of {}\n",
            number("isolates"),
            bytes(number("memory_bytes")),
            bytes(number("memory_budget_bytes")),
        );
        let mut hosts = table(&["host", "group", "isolates", "memory", "cpu"]);
        for host in status["hosts"].as_array().into_iter().flatten() {
            let of = |key: &str| host[key].as_u64().unwrap_or_default();
            let group = text(host, "group");
            hosts.add_row([
                of("pid").to_string(),
                if group.is_empty() { "(warm)".into() } else { group },
                of("isolates").to_string(),
                bytes(of("memory_bytes")),
                format!("{:.1} s", of("cpu_ms") as f64 / 1000.0),
            ]);
        }
        say!("{hosts}");
    });
    Ok(())
}
