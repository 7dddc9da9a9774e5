//! `selvedge dev`: serve a worker from its sources, and reload when they change.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use clap::Args;
use notify::{RecursiveMode, Watcher};
use rustix::fs::{CWD, Mode, mkfifoat};
use selvedge_model::{AccountId, ScriptName, Snapshot};
use selvedge_telemetry::access_log::{AccessLogFormat, AccessLogOutput};
use serde::Deserialize;
use tokio::sync::watch;

use super::deploy;
use crate::cli::Shared;
use crate::client::Client;
use crate::clock;
use crate::failure::{Failure, Outcome};
use crate::inspector::{Inspector, SourceMaps, Target};
use crate::log_view;
use crate::places;
use crate::project::{Project, bundle, collect_assets, dev_vars, dev_vars_file};
use crate::server::{Life, Server, Settings};
use crate::terminal::{BAD, DIM, GOOD, HINT, Terminal, say};

/// Editors write a file in several steps; what comes within this time is one change.
const SETTLE: Duration = Duration::from_millis(15);
/// Limits under which somebody may look at code that is paused, milliseconds.
const UNHURRIED: [(&str, u64); 3] = [("wall_ms", 3_600_000), ("cpu_ms", 300_000), ("cpu_burst_ms", 300_000)];
/// Ports tried from the first on.
const PORTS_TRIED: u16 = 50;

const EXAMPLES: &str = "\
Examples:
  selvedge dev                the project in this directory
  selvedge dev hello.ts --port 3000
  selvedge dev --inspect      with a debugger: Chrome (chrome://inspect), VS Code, node inspect";

/// Serve a worker from its sources and reload when they change. Needs no `selvedge up`; nothing is kept.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DevArgs {
    /// A JavaScript or TypeScript file, or a directory with wrangler.jsonc or wrangler.toml
    #[arg(default_value = ".", value_name = "FILE|DIR")]
    path: PathBuf,
    /// Port; the next free one when it is taken
    #[arg(long, default_value_t = 8787)]
    port: u16,
    /// Let a debugger connect on this port, and lift the limits of time
    #[arg(long, value_name = "PORT", num_args = 0..=1, require_equals = true, default_missing_value = "9229")]
    inspect: Option<u16>,
    /// Start even where this machine cannot confine sandboxes; for trusted code only
    #[arg(long)]
    allow_unconfined: bool,
}

/// Runs the command until Ctrl-C.
pub(crate) fn run(args: &DevArgs, shared: &Shared, terminal: Terminal) -> Outcome {
    let env = shared.environment();
    let project = open_project(&args.path, env)?;
    let name = project.name.clone().map_or_else(|| "worker".parse(), Ok);
    let name: ScriptName =
        name.map_err(|error: selvedge_model::IdError| Failure::new("bad_name", error.to_string()))?;
    let data = tempfile::tempdir().map_err(|error| Failure::io("create", &std::env::temp_dir(), &error))?;
    let requests = data.path().join("requests");
    mkfifoat(CWD, &requests, Mode::RUSR | Mode::WUSR)
        .map_err(|error| Failure::io("create", &requests, &error.into()))?;
    // Opened before the server does: a FIFO's writer waits for its reader.
    let reader = std::thread::spawn({
        let requests = requests.clone();
        move || print_requests(&requests)
    });

    let server = Server::start(settings(args, data.path(), requests)?, &mut Life::default())?;
    drop(reader);
    let addresses = server.addresses().clone();
    let debugger = args.inspect.map(|port| Debugger::start(&server, port)).transpose()?;
    let token = places::token(None, data.path())?;
    let client = Client::new(&format!("http://{}", addresses.admin), token, "default")?;
    let port = addresses.http.first().map_or(args.port, SocketAddr::port);
    let mut session = Session {
        client,
        name,
        path: args.path.clone(),
        env: env.map(str::to_owned),
        terminal,
        port,
        debugger,
    };
    std::thread::spawn(move || {
        if let Err(failure) = session.follow() {
            terminal.failure(&failure);
            std::process::exit(1);
        }
    });
    server.run()
}

fn open_project(path: &Path, env: Option<&str>) -> Outcome<Project> {
    let mut project = Project::open(path, env)?;
    project.build.development = true;
    for binding in dev_vars(&project.root, env)? {
        project.bindings.retain(|other| other.name != binding.name);
        project.bindings.push(binding);
    }
    Ok(project)
}

fn settings(args: &DevArgs, data: &Path, requests: PathBuf) -> Outcome<Settings> {
    let mut settings = Settings { data: data.into(), ..Settings::default() };
    let port = free_port(args.port)?;
    settings.admin = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    settings.edge.listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()];
    settings.edge.access_log.output = AccessLogOutput::File(requests);
    settings.edge.access_log.format = AccessLogFormat::Json;
    // Whoever stops `dev` does not want to wait.
    settings.edge.shutdown_grace_ms = 500;
    settings.engine.allow_unconfined = args.allow_unconfined;
    settings.explain = true;
    settings.engine.inspect = args.inspect.is_some();
    Ok(settings)
}

fn free_port(first: u16) -> Outcome<u16> {
    let ports = first..=first.saturating_add(PORTS_TRIED);
    ports.into_iter().find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).ok_or_else(|| {
        Failure::new("listen", format!("no free port from {first} on")).help("choose another one with --port")
    })
}

/// One `dev`: the sources on one side, the running server on the other.
struct Session {
    client: Client,
    name: ScriptName,
    path: PathBuf,
    env: Option<String>,
    terminal: Terminal,
    port: u16,
    debugger: Option<Debugger>,
}

impl Session {
    /// Deploys, and again after each change.
    fn follow(&mut self) -> Outcome {
        let watching =
            |error: notify::Error| Failure::new("watch", format!("files cannot be watched: {error}"));
        let (changed, changes) = channel();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if let Ok(event) = event
                && !event.kind.is_access()
            {
                // The receiver lives as long as the process.
                let _ = changed.send(event.paths);
            }
        })
        .map_err(watching)?;
        let mut watched = BTreeSet::new();
        let mut sources = BTreeSet::new();
        let mut first = true;
        loop {
            let started = Instant::now();
            let deployed = self.deploy(&mut sources);
            // Before anything is said: whoever reads it may write at once.
            // Directories rather than files: editors replace files, and a watch on the old one would hear nothing.
            for dir in sources.iter().filter_map(|source: &PathBuf| source.parent()) {
                if watched.insert(dir.to_path_buf()) {
                    watcher.watch(dir, RecursiveMode::NonRecursive).map_err(watching)?;
                }
            }
            match deployed {
                Ok(answer) => {
                    self.say_ready(first, started.elapsed(), &answer);
                    if std::mem::take(&mut first) {
                        self.tail();
                    }
                }
                Err(failure) => {
                    self.terminal.failure(&failure);
                    let what =
                        if first { "waiting for a change" } else { "the version before goes on answering" };
                    anstream::eprintln!("{DIM}{what}{DIM:#}\n");
                }
            }
            wait_for_change(&changes, &sources);
        }
    }

    /// Bundles and deploys once. `sources` becomes the files that it depended on.
    fn deploy(&self, sources: &mut BTreeSet<PathBuf>) -> Outcome<serde_json::Value> {
        // Until a build succeeds, at least these are watched.
        sources.extend(self.path.canonicalize().ok().into_iter().flat_map(|path| {
            let root =
                if path.is_dir() { path.clone() } else { path.parent().unwrap_or(&path).to_path_buf() };
            [
                path,
                root.join("wrangler.jsonc"),
                root.join("wrangler.toml"),
                root.join("wrangler.json"),
                dev_vars_file(&root, self.env.as_deref()),
            ]
        }));
        let mut project = open_project(&self.path, self.env.as_deref())?;
        // What a build makes changes with each build: its sources are watched instead.
        let build = project.custom_build.as_ref();
        match build {
            None => drop(sources.insert(project.root.join(&project.main))),
            Some(build) => sources.extend(build.sources(&project.root)),
        }
        if let Some(assets) = &project.assets {
            let only = project.main.as_os_str().is_empty();
            sources.extend(collect_assets(&project.root, assets, only)?.content.into_values());
        }
        let bundle = bundle(&project, &places::libexec())?;
        if build.is_none() {
            sources.extend(bundle.sources.iter().cloned());
        }
        for warning in project.warnings.iter().cloned().chain(bundle.warnings.iter().map(ToString::to_string))
        {
            self.terminal.warning(&warning);
        }
        let Some(debugger) = &self.debugger else {
            return deploy::upload(&self.client, &self.name, &project, bundle, "", |_| {});
        };
        for (limit, most) in UNHURRIED {
            project.limits.insert(limit.into(), most.into());
        }
        let maps = SourceMaps::of(&bundle, &project.root);
        let answer = deploy::upload(&self.client, &self.name, &project, bundle, "", |_| {})?;
        debugger.follow(&self.name, maps);
        Ok(answer)
    }

    fn say_ready(&self, first: bool, took: Duration, answer: &serde_json::Value) {
        let ms = took.as_millis();
        if self.terminal.json {
            let mut answer = answer.clone();
            if let Some(debugger) = &self.debugger {
                answer["inspector"] = debugger.inspector.url().into();
            }
            self.terminal.document(&answer);
        } else if first {
            say!(
                "{GOOD}✓{GOOD:#} {} answers at {HINT}http://{}.localhost:{}{HINT:#}  {DIM}(ready in {ms} ms; Ctrl-C ends){DIM:#}\n",
                self.name,
                self.name,
                self.port
            );
            if let Some(debugger) = &self.debugger {
                let inspector = &debugger.inspector;
                say!(
                    "  debugger at {HINT}{}{HINT:#}\n  {DIM}Chrome: chrome://inspect   VS Code: attach to port {}   terminal: node inspect {}{DIM:#}\n",
                    inspector.url(),
                    inspector.address.port(),
                    inspector.address
                );
            }
        } else {
            say!(
                "{DIM}{}{DIM:#} {GOOD}reloaded{GOOD:#}  {DIM}in {ms} ms{DIM:#}",
                clock::time_of_day(clock::now_ms())
            );
        }
    }

    /// Prints what the worker logs.
    fn tail(&self) {
        let (client, name, terminal) = (self.client.clone(), self.name.clone(), self.terminal);
        std::thread::spawn(move || {
            while let Ok(events) = client.tail(name.as_str()) {
                for event in events {
                    if terminal.json {
                        terminal.document(&event);
                    } else {
                        log_view::print(&event);
                    }
                }
            }
        });
    }
}

/// The debugger, and what is deployed.
struct Debugger {
    inspector: Inspector,
    deployed: watch::Receiver<Arc<Snapshot>>,
}

impl Debugger {
    fn start(server: &Server, port: u16) -> Outcome<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| {
            Failure::new("listen", format!("the debugger cannot listen on port {port}: {error}"))
                .help("another debugger may be there; choose a port with --inspect=PORT")
        })?;
        let (engine, deployed) = server.inner();
        Ok(Self { inspector: Inspector::start(listener, engine)?, deployed })
    }

    /// Debugs the version that answers now.
    fn follow(&self, name: &ScriptName, maps: SourceMaps) {
        let deployed = self.deployed.borrow();
        let deployment = deployed.scripts.get(&(AccountId::default_account(), name.clone()));
        if let Some(share) = deployment.and_then(|deployment| deployment.shares.first()) {
            self.inspector.follow(Target { worker: share.worker.clone(), maps });
        }
    }
}

/// Blocks until one of `sources` has changed and the editor has come to rest.
fn wait_for_change(changes: &Receiver<Vec<PathBuf>>, sources: &BTreeSet<PathBuf>) {
    let concerns = |paths: &[PathBuf]| paths.iter().any(|path| sources.contains(path));
    // The sender lives in the watcher, which outlives this call.
    while let Ok(paths) = changes.recv() {
        if concerns(&paths) {
            break;
        }
    }
    while !matches!(
        changes.recv_timeout(SETTLE),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)
    ) {}
}

/// The fields of an access log line that are shown.
#[derive(Deserialize)]
struct RequestLine {
    /// `2026-11-21T02:26:32.123Z`
    time: String,
    method: String,
    target: String,
    status: u16,
    duration_us: u64,
}

fn print_requests(fifo: &Path) {
    let Ok(file) = File::open(fifo) else { return };
    for line in BufReader::new(file).lines() {
        let Ok(line) = line else { return };
        let Ok(request) = serde_json::from_str::<RequestLine>(&line) else { continue };
        let style = if request.status >= 500 { BAD } else { DIM };
        anstream::eprintln!(
            "{DIM}{}{DIM:#} {} {} {style}{}{style:#} {DIM}{:.1} ms{DIM:#}",
            request.time.get(11..23).unwrap_or(&request.time),
            request.method,
            request.target,
            request.status,
            request.duration_us as f64 / 1000.0
        );
    }
}
