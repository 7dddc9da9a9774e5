//! `selvedge up`: every role in one process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use selvedge_telemetry::access_log::{AccessLogFormat, AccessLogOutput};
use selvedge_telemetry::diagnostics::{self, DiagnosticsFormat};

use crate::cli::Shared;
use crate::failure::{Failure, Outcome};
use crate::server::{CONFIG_NAME, Life, Origin, Reread, Server, Settings, Takeover};
use crate::terminal::{DIM, GOOD, HINT, Terminal, say};

const EXAMPLES: &str = "\
Examples:
  selvedge up
  selvedge up --http 0.0.0.0:80 --data /var/lib/selvedge
  selvedge up --config /etc/selvedge.toml --env production";

/// Run everything on this machine: edge, sandboxes and control API.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UpArgs {
    /// Settings [default: selvedge.toml in this directory, if there is one]; options given here go before them
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address for requests to workers; may be repeated [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    http: Vec<SocketAddr>,
    /// Address for the control API, health and metrics [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// Memory of all sandboxes together, MiB
    #[arg(long, value_name = "MIB")]
    memory_budget_mb: Option<u64>,
    /// Unload a worker after so many seconds without a request
    #[arg(long, value_name = "SECONDS")]
    idle_seconds: Option<u64>,
    /// Threads in each sandbox host [default: one per core]
    #[arg(long, value_name = "COUNT")]
    host_threads: Option<usize>,
    /// Start even where this machine cannot confine sandboxes; for trusted code only
    #[arg(long)]
    allow_unconfined: bool,
    /// Where a line for each request goes: off, - for standard output, or a file
    #[arg(long, value_name = "off|-|PATH")]
    access_log: Option<String>,
    /// Looks of logs
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// Runs the command until a signal ends it.
pub(crate) fn run(args: UpArgs, shared: &Shared, terminal: Terminal) -> Outcome {
    let (data, environment) = (shared.data.clone(), shared.environment().map(str::to_owned));
    let read = {
        let args = args.clone();
        move || settings(args.clone(), data.clone(), environment.as_deref())
    };
    let reread = file(&args).map(|file| Reread::new(file, read.clone()));
    let origin = Some(Origin::now());
    let mut life = Life { reread, origin, takeover: Takeover::begin()?, ..Life::default() };
    let relieves = life.takeover.is_some();
    let server = read().and_then(|settings| {
        let diagnostics = diagnostics::start(&settings.diagnostics)
            .map_err(|error| Failure::new("bad_config", error.to_string()))?;
        life.diagnostics = Some(diagnostics);
        Server::start(settings, &mut life)
    });
    let server = server.inspect_err(|failure| {
        if let Some(former) = &life.takeover {
            former.fail(failure);
        }
    })?;
    // Whoever started the former process has read where it is.
    if !relieves {
        terminal.answer(&server.addresses(), || greet(&server));
    }
    server.run()
}

/// The file of settings, if there is one.
fn file(args: &UpArgs) -> Option<PathBuf> {
    let here = Path::new(CONFIG_NAME);
    args.config.clone().or_else(|| here.is_file().then(|| here.to_owned()))
}

fn settings(args: UpArgs, data: Option<PathBuf>, environment: Option<&str>) -> Outcome<Settings> {
    let mut settings = match file(&args) {
        Some(path) => Settings::read(&path, environment)?.settings,
        None => match environment {
            Some(name) => return Err(no_config(name)),
            None => Settings::default(),
        },
    };
    if let Some(data) = data {
        settings.data = data;
    }
    if !args.http.is_empty() {
        settings.edge.listen = args.http.into_iter().map(Into::into).collect();
    }
    if let Some(admin) = args.admin {
        settings.admin = admin;
    }
    let engine = &mut settings.engine;
    engine.memory_budget_mb = args.memory_budget_mb.unwrap_or(engine.memory_budget_mb);
    engine.idle_s = args.idle_seconds.unwrap_or(engine.idle_s);
    engine.host_threads = args.host_threads.unwrap_or(engine.host_threads);
    engine.allow_unconfined |= args.allow_unconfined;
    match args.access_log.as_deref() {
        None => {}
        Some("off") => settings.edge.access_log.output = AccessLogOutput::Off,
        Some("-") => settings.edge.access_log.output = AccessLogOutput::Stdout,
        Some(path) => settings.edge.access_log.output = AccessLogOutput::File(path.into()),
    }
    match args.log_format {
        None => {}
        Some(LogFormat::Text) => {
            settings.edge.access_log.format = AccessLogFormat::Text;
            settings.diagnostics.format = DiagnosticsFormat::Text;
        }
        Some(LogFormat::Json) => {
            settings.edge.access_log.format = AccessLogFormat::Json;
            settings.diagnostics.format = DiagnosticsFormat::Json;
        }
    }
    Ok(settings.complete())
}

fn no_config(environment: &str) -> Failure {
    Failure::new(
        "unknown_environment",
        format!("there is no {CONFIG_NAME} here that could know {environment:?}"),
    )
    .help("name the file with --config")
}

fn greet(server: &Server) {
    let addresses = server.addresses();
    say!("{GOOD}Selvedge is ready.{GOOD:#}");
    for http in &addresses.http {
        say!("  workers  {HINT}http://NAME.localhost:{}{HINT:#}  {DIM}({http}){DIM:#}", http.port());
    }
    for https in &addresses.https {
        say!("  workers  {HINT}https://NAME.localhost:{}{HINT:#}  {DIM}({https}){DIM:#}", https.port());
    }
    for unix in &addresses.unix {
        say!("  workers  {DIM}{unix}{DIM:#}");
    }
    say!("  control  {HINT}http://{}{HINT:#}", addresses.admin);
    say!("  data     {}", addresses.data.display());
    say!("  sandbox  {DIM}{}{DIM:#}\n", addresses.confinement.join(", "));
    say!("Next, in another terminal:");
    say!("  {HINT}selvedge init hello && selvedge deploy hello{HINT:#}");
    say!(
        "  {HINT}curl http://hello.localhost:{}{HINT:#}",
        addresses.http.first().map_or(80, SocketAddr::port)
    );
    say!("{DIM}Ctrl-C ends it; what is deployed stays.{DIM:#}\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn parsed(line: &str) -> Outcome<Settings> {
        let cli = crate::cli::Cli::try_parse_from(line.split(' ')).unwrap();
        let (data, environment) = (cli.shared.data.clone(), cli.shared.environment().map(str::to_owned));
        match cli.command {
            crate::cli::Command::Up(args) => settings(args, data, environment.as_deref()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_go_before_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("s.toml");
        std::fs::write(&file, "data = \"/from-file\"\nadmin = \"127.0.0.1:1\"\n[engine]\nidle_s = 7\n[env.slow.engine]\nidle_s = 9\n")
            .unwrap();
        let line = format!(
            "selvedge up --config {} --admin 127.0.0.1:2 --http 127.0.0.1:3 --http [::1]:4 --access-log off --memory-budget-mb 64",
            file.display()
        );
        let settings = parsed(&line).unwrap();
        assert_eq!(settings.admin.port(), 2);
        assert_eq!(settings.edge.listen.len(), 2);
        assert_eq!((settings.engine.idle_s, settings.engine.memory_budget_mb), (7, 64));
        assert_eq!(settings.edge.access_log.output, AccessLogOutput::Off);
        assert_eq!(parsed(&format!("{line} --env slow")).unwrap().engine.idle_s, 9);
        assert_eq!(parsed(&format!("{line} --env fast")).unwrap_err().code, "unknown_environment");
        assert_eq!(parsed(&format!("{line} --data /other")).unwrap().data, PathBuf::from("/other"));
    }
}
