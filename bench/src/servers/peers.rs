//! The peers that `hello` is measured against: workerd and deno from npm, and the node on PATH.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::{Process, free_address};

/// What every server answers.
pub(crate) const WORKER: &str = "export default { fetch() { return new Response(\"Hello, World!\"); } };\n";

const NODE: &str = "require('node:http').createServer((request, response) => {
  response.writeHead(200, { 'content-type': 'text/plain;charset=UTF-8' });
  response.end('Hello, World!');
}).listen(Number(process.argv[2]), '127.0.0.1');
";

/// Another server that runs JavaScript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Workerd,
    Deno,
    Node,
}

/// A running peer.
pub(crate) struct RunningPeer {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// Removed after the process has ended: fields are dropped in order.
    _dir: TempDir,
}

/// Where the peers' packages were installed.
#[derive(Debug)]
pub(crate) struct Packages(PathBuf);

impl Packages {
    /// Installs what bench/peers/package-lock.json pins into target/bench/peers, unless it is there.
    pub(crate) fn install(root: &Path) -> Result<Self> {
        let (from, to) = (root.join("bench/peers"), root.join("target/bench/peers"));
        let lock = fs::read(from.join("package-lock.json")).context("read bench/peers/package-lock.json")?;
        let stamp = to.join("installed.json");
        if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
            return Ok(Self(to));
        }
        fs::create_dir_all(&to)?;
        for file in ["package.json", "package-lock.json", ".npmrc"] {
            fs::copy(from.join(file), to.join(file)).with_context(|| format!("copy bench/peers/{file}"))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
        let output = npm.current_dir(&to).output().context("run npm (install Node.js with npm)")?;
        if !output.status.success() {
            bail!("npm ci in {}: {}", to.display(), String::from_utf8_lossy(&output.stderr));
        }
        fs::write(&stamp, lock)?;
        Ok(Self(to))
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.0
    }

    fn executable(&self, peer: Peer) -> PathBuf {
        let machine = match std::env::consts::ARCH {
            "aarch64" => ["arm64", "arm64"],
            _ => ["64", "x64"],
        };
        match peer {
            Peer::Workerd => {
                self.0.join(format!("node_modules/@cloudflare/workerd-linux-{}/bin/workerd", machine[0]))
            }
            Peer::Deno => self.0.join(format!("node_modules/@deno/linux-{}-glibc/deno", machine[1])),
            Peer::Node => "node".into(),
        }
    }
}

impl Peer {
    pub(crate) const ALL: [Self; 3] = [Self::Workerd, Self::Deno, Self::Node];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Workerd => "workerd",
            Self::Deno => "deno serve",
            Self::Node => "node http",
        }
    }

    /// What it says about its version.
    pub(crate) fn version(self, packages: &Packages) -> String {
        let output = Command::new(packages.executable(self)).arg("--version").output();
        let text =
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let version = line.split_whitespace().find(|word| word.contains(|c: char| c.is_ascii_digit()));
        format!("{} {}", self.name(), version.unwrap_or("?").trim_start_matches('v'))
    }

    /// Starts it with a worker, on one core; node answers hello whatever the worker.
    pub(crate) fn start(self, packages: &Packages, worker: &str, core: usize) -> Result<RunningPeer> {
        let dir = tempfile::tempdir()?;
        let address = free_address()?;
        let mut command = Command::new(packages.executable(self));
        let file = |name: &str, content: &str| -> Result<PathBuf> {
            let path = dir.path().join(name);
            fs::write(&path, content)?;
            Ok(path)
        };
        match self {
            Self::Workerd => {
                file("worker.js", worker)?;
                command.arg("serve").arg(file("config.capnp", &workerd_config(address))?);
            }
            Self::Deno => {
                let worker = file("worker.js", worker)?;
                let port = address.port().to_string();
                command
                    .args(["serve", "--no-config", "--allow-net", "--host", "127.0.0.1", "--port", &port])
                    .arg(worker);
                command.env("DENO_DIR", dir.path().join("cache")).env("DENO_NO_UPDATE_CHECK", "1");
            }
            Self::Node => {
                command.arg(file("server.cjs", NODE)?).arg(address.port().to_string());
            }
        }
        let mut process = Process::start(command.stdout(Stdio::null()), dir.path(), Some(core))
            .with_context(|| self.name().to_owned())?;
        process.wait_for(address).with_context(|| self.name().to_owned())?;
        Ok(RunningPeer { process, address, _dir: dir })
    }
}

fn workerd_config(address: SocketAddr) -> String {
    format!(
        "using Workerd = import \"/workerd/workerd.capnp\";
const config :Workerd.Config = (
  services = [
    (name = \"main\", worker = .main),
    (name = \"internet\", network = (allow = [\"public\", \"private\"])),
  ],
  sockets = [(name = \"http\", address = \"{address}\", http = (), service = \"main\")],
);
const main :Workerd.Worker = (
  modules = [(name = \"worker.js\", esModule = embed \"worker.js\")],
  compatibilityDate = \"2026-11-01\",
);
"
    )
}
