//! `selvedge import`: another server's settings as selvedge.toml.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::cli::Shared;
use crate::failure::{Failure, Outcome};
use crate::import::{self, Kind};
use crate::terminal::{DIM, GOOD, HINT, Terminal, say};

const EXAMPLES: &str = "\
Examples:
  selvedge import /etc/nginx/nginx.conf
  selvedge import Caddyfile --output selvedge.toml && selvedge check";

/// Write the settings of nginx or Caddy as selvedge.toml. What has no counterpart is named.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ImportArgs {
    /// nginx.conf or a Caddyfile; nginx's includes are followed
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Whose it is [default: by its name]
    #[arg(long, value_enum, value_name = "nginx|caddy")]
    from: Option<Kind>,
    /// Where it goes; a file that is there is left alone [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &ImportArgs, _shared: &Shared, terminal: Terminal) -> Outcome {
    let kind = args.from.unwrap_or_else(|| import::kind_of(&args.file));
    let draft = import::import(&args.file, kind)?;
    let text = draft.text();
    if let Some(output) = &args.output {
        write_new(output, &text)?;
    }
    terminal.answer(&json!({ "settings": text, "notes": draft.notes }), || match &args.output {
        None => say!("{}", text.trim_end()),
        Some(output) => {
            let sites = draft.sites.len();
            let some = if sites == 1 { "1 site".to_owned() } else { format!("{sites} sites") };
            say!("{GOOD}✓{GOOD:#} {}  {DIM}({some}){DIM:#}", output.display());
            for note in &draft.notes {
                say!("  {HINT}not carried over:{HINT:#} {note}");
            }
            say!("{DIM}next: selvedge check {}{DIM:#}", output.display());
        }
    });
    Ok(())
}

fn write_new(path: &Path, text: &str) -> Outcome {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
        let failure = Failure::io("write", path, &error);
        match error.kind() {
            std::io::ErrorKind::AlreadyExists => failure.help("remove it, or choose another name"),
            _ => failure,
        }
    })
}
