//! `selvedge check`: mistakes in the server's settings, before a server meets them.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::Shared;
use crate::failure::Outcome;
use crate::server::{CONFIG_NAME, Settings};
use crate::terminal::{DIM, GOOD, Terminal, say};

const EXAMPLES: &str = "\
Examples:
  selvedge check
  selvedge check /etc/selvedge.toml --env production
  selvedge check --schema > selvedge.schema.json     for editors: #:schema ./selvedge.schema.json";

/// Look for mistakes in the settings of `selvedge up`: all of them, with line and column.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CheckArgs {
    /// The file
    #[arg(default_value = CONFIG_NAME, value_name = "FILE")]
    file: PathBuf,
    /// Print the settings as they are in effect, with defaults, includes, environment and variables
    #[arg(long)]
    show: bool,
    /// Print the JSON Schema of the file instead
    #[arg(long, conflicts_with = "show")]
    schema: bool,
}

/// Runs the command.
pub(crate) fn run(args: &CheckArgs, shared: &Shared, terminal: Terminal) -> Outcome {
    if args.schema {
        say!("{:#}", Settings::schema());
        return Ok(());
    }
    let read = Settings::read(&args.file, shared.environment())?;
    // Environments that are not chosen may have mistakes of their own.
    if shared.environment().is_none() {
        for environment in &read.environments {
            Settings::read(&args.file, Some(environment))?;
        }
    }
    let settings = read.settings.complete();
    let document = json!({ "files": read.files, "environments": read.environments, "settings": settings });
    terminal.answer(&document, || {
        if args.show {
            say!("{}", toml::to_string_pretty(&settings).unwrap_or_else(|error| format!("# {error}")));
            return;
        }
        let count = |many: usize, what: &str| format!("{many} {what}{}", if many == 1 { "" } else { "s" });
        say!(
            "{GOOD}✓{GOOD:#} {} has no mistakes  {DIM}({}, {}){DIM:#}",
            args.file.display(),
            count(read.files.len(), "file"),
            count(read.environments.len(), "environment")
        );
    });
    Ok(())
}
