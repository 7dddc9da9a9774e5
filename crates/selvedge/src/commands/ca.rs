//! `selvedge ca`: the server's own authority, whose certificates clients accept once they trust its root.

use std::path::Path;
use std::process::Command;

use clap::Args;
use selvedge_edge::Authority;
use serde_json::json;

use crate::cli::Shared;
use crate::failure::{Failure, Outcome};
use crate::server::AUTHORITY;
use crate::terminal::{DIM, GOOD, HINT, Terminal, say};

/// Where Debian, Ubuntu and their relatives look for authorities of the machine's own.
const STORE: &str = "/usr/local/share/ca-certificates";
/// What puts them into the system's trust store.
const UPDATE: &str = "update-ca-certificates";

const EXAMPLES: &str = "\
Examples:
  selvedge ca                        where the root certificate is
  selvedge ca --print > root.pem     the root certificate itself
  sudo selvedge ca --install         have this machine trust it";

/// Show the own authority, which issues certificates for localhost and internal names; make it if there is none.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CaArgs {
    /// Print the root certificate, PEM
    #[arg(long, conflicts_with = "install")]
    print: bool,
    /// Add the root certificate to the trust store of this machine
    #[arg(long)]
    install: bool,
}

/// Runs the command.
pub(crate) fn run(args: &CaArgs, shared: &Shared, terminal: Terminal) -> Outcome {
    let directory = shared.data_dir().join(AUTHORITY);
    let authority = Authority::open(&directory).map_err(|error| Failure::new("ca", error.to_string()))?;
    let (path, fingerprint) = (authority.path(), authority.root().fingerprint());
    let days = authority.root().lifetime().0.as_secs() / (24 * 3600);
    if args.print {
        let answer = json!({ "root": authority.root_pem() });
        terminal.answer(&answer, || say!("{}", authority.root_pem().trim_end()));
        return Ok(());
    }
    let installed = if args.install { Some(install(path, fingerprint)?) } else { None };
    let answer = json!({ "path": path, "sha256": fingerprint, "days": days, "installed": installed });
    terminal.answer(&answer, || {
        say!("root     {}", path.display());
        say!("SHA-256  {fingerprint}");
        say!("valid    {days} days more");
        match &installed {
            Some(copy) => {
                say!("{GOOD}✓{GOOD:#} copied to {copy}, and {UPDATE} was run");
                say!("{DIM}Firefox and Chrome may have trust stores of their own: import the root there.{DIM:#}");
            }
            None => say!("{HINT}sudo selvedge ca --install --data {}{HINT:#}", shared.data_dir().display()),
        }
    });
    Ok(())
}

/// Copies the root to where the system looks, and has it look.
fn install(root: &Path, fingerprint: &str) -> Outcome<String> {
    let store = Path::new(STORE);
    if !store.is_dir() {
        let message = format!("this machine has no {STORE}, which {UPDATE} reads");
        return Err(Failure::new("no_trust_store", message)
            .help(format!("add {} to the trust store by the system's own means", root.display())));
    }
    // Several authorities can be trusted at a time.
    let name: String = fingerprint.chars().take(12).collect();
    let copy = store.join(format!("selvedge-{name}.crt"));
    std::fs::copy(root, &copy).map_err(|error| Failure::io("write", &copy, &error))?;
    let ran = Command::new(UPDATE).output();
    match ran {
        Ok(output) if output.status.success() => Ok(copy.display().to_string()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(Failure::new("trust_store", format!("{UPDATE} failed: {said}")))
        }
        Err(error) => Err(Failure::new("trust_store", format!("{UPDATE} could not be run: {error}"))),
    }
}
