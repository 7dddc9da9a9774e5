//! `selvedge doctor`: what this machine offers, and what to do where something is missing.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use clap::Args;
use comfy_table::{Cell, Color};
use selvedge_confine::probe::Machine;
use serde::Serialize;

use crate::cli::Shared;
use crate::failure::{Failure, Outcome};
use crate::places;
use crate::terminal::{DIM, Terminal, bytes, say, table};

/// Fewer open files than this limit the clients that can be served at a time.
const FILES_WANTED: u64 = 4096;
/// Less available memory than this leaves little for sandboxes, bytes.
const MEMORY_WANTED: u64 = 512 << 20;

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
    let machine = Machine::probe();
    let mut findings = confinement(&machine);
    findings.extend(resources(&machine));
    findings.extend(helper_files(&places::libexec()));
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

fn confinement(machine: &Machine) -> Vec<Finding> {
    let sufficient = if machine.is_sufficient() {
        Finding::new("confinement", State::Ok, "sandboxes can be confined here", "")
    } else {
        let help = "run on Linux 5.13 or newer with the features below, or start with --allow-unconfined for trusted code";
        Finding::new("confinement", State::Missing, "sandboxes cannot be confined here", help)
    };
    let mut findings = vec![sufficient];
    let landlock = machine.landlock.as_ref().map(|abi| format!("version {abi}")).map_err(String::as_str);
    findings.push(feature("landlock", landlock, "boot with `lsm=landlock,…`, on Linux 5.13 or newer"));
    let seccomp =
        if machine.seccomp { Ok("available".into()) } else { Err("the kernel has no system call filters") };
    findings.push(feature("seccomp", seccomp, "use a kernel with CONFIG_SECCOMP_FILTER"));
    for (namespace, result) in &machine.namespaces {
        let result = result.as_ref().map(|()| "can be made".to_owned()).map_err(String::as_str);
        let help = "run as root, or allow it to users: `sysctl kernel.unprivileged_userns_clone=1`";
        findings.push(feature(&format!("{namespace:?} namespace").to_lowercase(), result, help));
    }
    let cgroup = machine.cgroup.as_deref().map(str::to_owned).map_err(String::as_str);
    findings.push(feature(
        "control groups",
        cgroup,
        "run as root or with `systemd-run --user -p Delegate=yes`; without, limits are enforced by polling",
    ));
    findings
}

/// Each single feature makes confinement stronger; whether the whole suffices is a finding of its own.
fn feature(what: &str, found: Result<String, &str>, help: &str) -> Finding {
    match found {
        Ok(detail) => Finding::new(what, State::Ok, detail, ""),
        Err(reason) => Finding::new(what, State::Warn, reason, help),
    }
}

fn resources(machine: &Machine) -> Vec<Finding> {
    let (soft, hard) = machine.open_files;
    let files = if hard < FILES_WANTED { State::Warn } else { State::Ok };
    let memory = if machine.available_bytes < MEMORY_WANTED { State::Warn } else { State::Ok };
    vec![
        Finding::new("kernel", State::Ok, &machine.kernel, ""),
        Finding::new("processors", State::Ok, machine.processors.to_string(), ""),
        Finding::new(
            "memory",
            memory,
            format!("{} of {} available", bytes(machine.available_bytes), bytes(machine.memory_bytes)),
            "lower the budget of sandboxes: `selvedge up --memory-budget-mb 128`",
        ),
        Finding::new(
            "open files",
            files,
            format!("{soft}, up to {hard}"),
            "raise the hard limit (`ulimit -Hn 65536`, or LimitNOFILE= of the service): each client takes one",
        ),
    ]
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
    say!("{list}");
    say!("{DIM}All of it as JSON: selvedge doctor --json{DIM:#}");
}
