//! `selvedge doctor`: what this machine offers, and what to do where something is missing.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use clap::Args;
use comfy_table::{Cell, Color};
use serde::Serialize;

use crate::cli::Shared;
use crate::failure::{Failure, Outcome};
use crate::places;
use crate::terminal::{DIM, Terminal, table};

/// Say what this machine offers: confinement, kernel features, files, ports.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  selvedge doctor\n  selvedge doctor --json")]
pub(crate) struct DoctorArgs {}

/// One thing looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    state: State,
    detail: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    help: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// There.
    Ok,
    /// It works without, less well.
    Warn,
    /// It does not work without.
    Missing,
}

impl Finding {
    fn new(
        what: impl Into<String>,
        state: State,
        detail: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let help = if state == State::Ok { String::new() } else { help.into() };
        Self { what: what.into(), state, detail: detail.into(), help }
    }
}

/// Runs the command. Fails when something is missing.
pub(crate) fn run(_args: &DoctorArgs, shared: &Shared, terminal: Terminal) -> Outcome {
    let mut findings = helper_files(&places::libexec());
    findings.push(data_dir(&shared.data_dir()));
    for (port, option) in [(8080, "--http"), (8081, "--admin")] {
        findings.push(port_free(port, option));
    }
    let missing = findings.iter().filter(|finding| finding.state == State::Missing).count();
    terminal.answer(&findings, || show(&findings));
    if missing == 0 {
        return Ok(());
    }
    Err(Failure::new("missing", format!("{missing} things are missing that Selvedge needs")))
}

fn helper_files(libexec: &Path) -> Vec<Finding> {
    let files = [
        ("carrier", "the executable with V8"),
        ("libisolate.so", "the isolate host"),
        ("runtime.snapshot", "the JavaScript runtime"),
        ("esbuild", "the bundler"),
    ];
    let finding = |(name, what): (&str, &str)| {
        let there = libexec.join(name).is_file();
        let state = if there { State::Ok } else { State::Missing };
        let help = "run `cargo xtask build`, or set SELVEDGE_LIBEXEC to the directory that holds it";
        Finding::new(what, state, libexec.join(name).display().to_string(), help)
    };
    files.map(finding).into()
}

fn data_dir(dir: &Path) -> Finding {
    // It is made at the first start, so its nearest existing parent counts.
    let existing = dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let writable = rustix::fs::access(existing, rustix::fs::Access::WRITE_OK).is_ok();
    let state = if writable { State::Ok } else { State::Missing };
    Finding::new(
        "data directory",
        state,
        dir.display().to_string(),
        "choose one that you may write to with --data",
    )
}

fn port_free(port: u16, option: &str) -> Finding {
    let free = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok();
    let (state, detail) =
        if free { (State::Ok, "free") } else { (State::Warn, "in use, perhaps by a Selvedge") };
    let help = format!(
        "fine if that is Selvedge; otherwise choose another with `selvedge up {option} 127.0.0.1:PORT`"
    );
    Finding::new(format!("port {port}"), state, detail, help)
}

fn show(findings: &[Finding]) {
    let mut list = table(&["", "what", "found"]);
    for finding in findings {
        let (colour, word) = match finding.state {
            State::Ok => (Color::Green, "ok"),
            State::Warn => (Color::Yellow, "warn"),
            State::Missing => (Color::Red, "missing"),
        };
        let mut found = finding.detail.clone();
        if !finding.help.is_empty() {
            found = format!("{found}\n{}", finding.help);
        }
        list.add_row([Cell::new(word).fg(colour), Cell::new(&finding.what), Cell::new(found)]);
    }
    anstream::println!("{list}");
    anstream::println!("{DIM}All of it as JSON: selvedge doctor --json{DIM:#}");
}
