//! `selvedge certs`: certificates that were ordered by ACME, and why others were not.

use clap::Args;
use selvedge_acme::{CertificateStatus, read_status};
use serde_json::json;

use crate::cli::Shared;
use crate::clock::{ago, ahead, now_ms};
use crate::failure::{Failure, Outcome};
use crate::places;
use crate::terminal::{BAD, GOOD, HINT, Terminal, plain, say, table};

/// Show certificates ordered by ACME: issuer, expiry, next renewal, and what went wrong. Reads the data directory, whether or not
/// a server runs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  selvedge certs\n  selvedge certs --data /var/lib/selvedge --json")]
pub(crate) struct CertsArgs {}

/// Runs the command.
pub(crate) fn run(_args: &CertsArgs, shared: &Shared, terminal: Terminal) -> Outcome {
    let dir = places::certificates(&shared.data_dir());
    let found = read_status(&dir).map_err(|error| {
        Failure::io("read", &dir, &error).help("run it as the user that runs Selvedge, or name its --data")
    })?;
    let now = now_ms();
    terminal.answer(&json!({ "certificates": found }), || {
        if found.is_empty() {
            say!("no certificates in {}", dir.display());
            say!("{HINT}order them with [edge.tls.acme] in selvedge.toml; see docs/acme.md{HINT:#}");
            return;
        }
        let mut lines = table(&["name", "issuer", "expires", "renewal", "state"]);
        for status in &found {
            lines.add_row([
                status.name.clone(),
                status.issuer.as_deref().map(plain).unwrap_or_default(),
                status.valid_until.map(|then| moment(then, now)).unwrap_or_else(|| "–".into()),
                status.renewal.map(|then| moment(then, now)).unwrap_or_else(|| "–".into()),
                state(status, now),
            ]);
        }
        say!("{lines}");
        for status in &found {
            let Some(error) = &status.error else { continue };
            let when = status.failed.map(|then| ago(then * 1000, now)).unwrap_or_default();
            say!("{BAD}{}{BAD:#} {when}: {}", status.name, plain(error));
        }
    });
    Ok(())
}

/// `in 60 days`, `3 h ago`.
fn moment(seconds: u64, now: u64) -> String {
    let then = seconds.saturating_mul(1000);
    if then > now { ahead(then, now) } else { ago(then, now) }
}

fn state(status: &CertificateStatus, now: u64) -> String {
    let expired = status.valid_until.is_none_or(|until| until.saturating_mul(1000) <= now);
    match (&status.error, expired) {
        (None, false) if status.on_demand => format!("{GOOD}good{GOOD:#}, on demand"),
        (None, false) => format!("{GOOD}good{GOOD:#}"),
        (None, true) => "waits".into(),
        (Some(_), _) => {
            let again = status.retry.map(|then| moment(then, now));
            match again.filter(|_| status.retry.is_some_and(|then| then.saturating_mul(1000) > now)) {
                Some(again) => format!("{BAD}failed{BAD:#}, again {again}"),
                None => format!("{BAD}failed{BAD:#}"),
            }
        }
    }
}
