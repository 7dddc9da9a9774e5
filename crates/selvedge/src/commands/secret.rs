//! `selvedge secret`: values that a worker sees in `env` and nobody else sees.

use std::io::{IsTerminal, Read, Write, stderr, stdin};

use clap::{Args, Subcommand};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use selvedge_model::ScriptName;
use serde_json::json;

use super::{script, text};
use crate::cli::Shared;
use crate::failure::{Failure, Outcome};
use crate::terminal::{GOOD, Terminal, say};

/// Longest secret read, bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

const EXAMPLES: &str = "\
Examples:
  selvedge secret put API_KEY --name hello          asks for the value
  selvedge secret put API_KEY --name hello < key.txt
  selvedge secret list --name hello
  selvedge secret delete API_KEY --name hello";

/// Set, list and remove a worker's secrets. Values are encrypted at rest and never shown.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SecretArgs {
    #[command(subcommand)]
    action: Action,
    /// The worker [default: that of the project in this directory]
    #[arg(long, global = true)]
    name: Option<ScriptName>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Set a secret; its value comes from standard input
    Put {
        /// Its name in `env`
        key: String,
    },
    /// List the names of a worker's secrets
    List,
    /// Remove a secret
    Delete {
        /// Its name in `env`
        key: String,
    },
}

/// Runs the command.
pub(crate) fn run(args: &SecretArgs, shared: &Shared, terminal: Terminal) -> Outcome {
    let name = script(args.name.as_ref(), shared)?;
    let client = shared.client()?;
    let all = client.account_path(&format!("/scripts/{name}/secrets"));
    match &args.action {
        Action::Put { key } => {
            let path = format!("{all}/{}", key_segment(key)?);
            let answer = client.send("PUT", &path, &json!({ "text": value(key)? }))?;
            terminal.answer(&answer, || say!("{GOOD}✓{GOOD:#} {name} has the secret {key}"));
        }
        Action::List => {
            let answer = client.get(&all)?;
            terminal.answer(&answer, || {
                for secret in answer.as_array().into_iter().flatten() {
                    let name = secret.as_str().map_or_else(|| text(secret, "name"), str::to_owned);
                    say!("{name}");
                }
            });
        }
        Action::Delete { key } => {
            let answer = client.delete(&format!("{all}/{}", key_segment(key)?))?;
            terminal.answer(&answer, || say!("{GOOD}✓{GOOD:#} {name} has no secret {key} any more"));
        }
    }
    Ok(())
}

/// Secrets are properties of `env`, so their names are identifiers; this also keeps the URL's path whole.
fn key_segment(key: &str) -> Outcome<&str> {
    let fits = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'$') && !key.is_empty();
    if fits {
        return Ok(key);
    }
    Err(Failure::new("bad_name", format!("{key:?} is no name for a secret"))
        .help("use letters, digits and _"))
}

/// From a pipe or file, without its last line break; on a terminal, asked for without echo.
pub(super) fn value(key: &str) -> Outcome<String> {
    let failed =
        |error: std::io::Error| Failure::new("io", format!("could not read the secret's value: {error}"));
    let mut value = String::new();
    if stdin().is_terminal() {
        let _quiet = NoEcho::on().map_err(failed)?;
        let _ = write!(stderr(), "Value of {key} (not shown): ").and_then(|()| stderr().flush());
        stdin().read_line(&mut value).map_err(failed)?;
        let _ = writeln!(stderr());
    } else {
        stdin().take(SECRET_BYTES_MAX).read_to_string(&mut value).map_err(failed)?;
    }
    let line = value.strip_suffix('\n').unwrap_or(&value);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(Failure::new("no_value", format!("{key} was given no value")));
    }
    Ok(line.to_owned())
}

/// Keeps the terminal from showing what is typed, until dropped.
struct NoEcho(rustix::termios::Termios);

impl NoEcho {
    fn on() -> std::io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for NoEcho {
    fn drop(&mut self) {
        // Nothing better can be done than to try.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0);
    }
}
