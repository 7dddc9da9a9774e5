//! A Selvedge with a data directory of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use super::Process;
use super::api::{Api, Worker, connect, receive};
use crate::process;

/// How to start it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// One core and one thread for each of its parts, as the peers have.
    pub(crate) core: Option<usize>,
    /// A private origin that workers may fetch from.
    pub(crate) origin: Option<SocketAddr>,
    /// Sites and middleware, as in `selvedge.toml`.
    pub(crate) settings: String,
    /// Listens with TLS, in the place of cleartext.
    pub(crate) tls: bool,
    /// Connections at most; the default when `None`.
    pub(crate) max_connections: Option<usize>,
    /// Of all sandboxes together, MiB; the default when `None`.
    pub(crate) memory_budget_mb: Option<u64>,
}

/// Data that outlives restarts. Removed with this value.
pub(crate) struct Data(TempDir);

/// A running Selvedge.
pub(crate) struct Selvedge {
    pub(crate) process: Process,
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
    token: String,
}

impl Data {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir().context("make a data directory")?))
    }

    fn dir(&self) -> &Path {
        self.0.path()
    }

    /// The file of settings, where there is one.
    pub(crate) fn settings(&self) -> PathBuf {
        self.dir().join("selvedge.toml")
    }
}

impl Selvedge {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(executable: &Path, data: &Data, options: &Options) -> Result<Self> {
        let mut started = Self::exec(executable, data, options)?;
        started.wait_until_ready().context("selvedge")?;
        started.token = fs::read_to_string(data.dir().join("data/token")).context("read the token")?;
        started.token.truncate(started.token.trim_end().len());
        Ok(started)
    }

    /// Starts it and waits until it names its addresses, which it does before it is ready.
    pub(crate) fn exec(executable: &Path, data: &Data, options: &Options) -> Result<Self> {
        let mut command = Command::new(executable);
        command.args(["up", "--json", "--admin", "127.0.0.1:0", "--data"]);
        command.arg(data.dir().join("data")).stdout(Stdio::piped());
        if options.core.is_some() {
            let settings = data.settings();
            let origin = options.origin.map(|origin| format!("egress_allow = [\"{origin}\"]\n"));
            let origin = origin.unwrap_or_default();
            let listen = match options.tls {
                true => "{ address = \"127.0.0.1:0\", tls = true }",
                false => "\"127.0.0.1:0\"",
            };
            let most = options.max_connections.map(|most| format!("edge.max_connections = {most}\n"));
            let most = most.unwrap_or_default();
            // Settings that say nothing of it want no log.
            let log = if options.settings.contains("access_log") {
                ""
            } else {
                "edge.access_log.output = \"off\"\n"
            };
            let more = &options.settings;
            fs::write(
                &settings,
                format!(
                    "edge.threads = 1\nedge.listen = [{listen}]\n{most}{log}[engine]\nhost_threads = 1\n{origin}{more}"
                ),
            )?;
            command.arg("--config").arg(settings);
        } else {
            command.args(["--http", "127.0.0.1:0", "--access-log", "off"]);
        }
        if let Some(budget) = options.memory_budget_mb {
            command.args(["--memory-budget-mb", &budget.to_string()]);
        }
        // Settings of whoever measures must not lead to another instance.
        for name in ["SELVEDGE_API", "SELVEDGE_DATA", "SELVEDGE_TOKEN", "SELVEDGE_ACCOUNT"] {
            command.env_remove(name);
        }
        let mut process = Process::start(&mut command, data.dir(), options.core)?;
        let mut line = String::new();
        if let Some(output) = process.stdout() {
            // Ends with the line or with the process.
            BufReader::new(output).read_line(&mut line)?;
        }
        let addresses: Value = serde_json::from_str(&line)
            .with_context(|| format!("selvedge said {line:?} and {}", process.said()))?;
        let address = |value: &Value| -> Result<SocketAddr> {
            Ok(value.as_str().context("selvedge did not name its address")?.parse()?)
        };
        let listens = if options.tls { &addresses["https"] } else { &addresses["http"] };
        let (http, admin) = (address(&listens[0])?, address(&addresses["admin"])?);
        Ok(Self { process, http, admin, token: String::new() })
    }

    /// Asks until `/health/ready` answers 200.
    pub(crate) fn wait_until_ready(&mut self) -> Result<()> {
        let admin = self.admin;
        self.process.wait_until(Duration::from_micros(200), || is_ready(admin).unwrap_or(false))
    }

    pub(crate) fn api(&self) -> Api {
        Api::new(self.admin, self.token.clone())
    }

    /// Deploys workers, a few at a time.
    pub(crate) fn deploy(&self, workers: &[Worker]) -> Result<()> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = workers
                .chunks(workers.len().div_ceil(4).max(1))
                .map(|share| {
                    scope.spawn(|| -> Result<()> {
                        let api = self.api();
                        share.iter().try_for_each(|worker| api.deploy(worker))
                    })
                })
                .collect();
            for thread in threads {
                match thread.join() {
                    Ok(done) => done?,
                    Err(_) => bail!("a thread that deployed workers panicked"),
                }
            }
            Ok(())
        })
    }

    /// Its sandbox host processes.
    pub(crate) fn hosts(&self) -> Result<Vec<u32>> {
        Ok(process::tree(self.process.pid())?.into_iter().skip(1).collect())
    }
}

fn is_ready(admin: SocketAddr) -> Result<bool> {
    use std::io::Write;
    let mut stream = connect(admin)?;
    stream.write_all(b"GET /health/ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    Ok(receive(&mut stream)?.0.status == 200)
}

/// The `Host` under which a worker answers.
pub(crate) fn host(worker: &str) -> String {
    format!("{worker}.localhost")
}
