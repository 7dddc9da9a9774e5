//! A real `selvedge` for end-to-end tests: started on free ports with data of its own, killed at drop.
//!
//! Needs what `cargo xtask build` makes; `cargo xtask test` does both.
#![allow(dead_code)] // Each test program uses a part.

pub mod api;
pub mod client;
pub mod origin;
pub mod servers;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Beyond this a test is stuck; nothing takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Settings of a test, in its data directory so that they last across restarts.
const SETTINGS: &str = "selvedge.toml";

/// The executable under test.
pub fn selvedge() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_selvedge"));
    for name in ["SELVEDGE_API", "SELVEDGE_TOKEN", "SELVEDGE_DATA", "SELVEDGE_ACCOUNT"] {
        command.env_remove(name);
    }
    command
}

/// A directory of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// A running `selvedge up`.
pub struct Selvedge {
    child: Child,
    pub http: SocketAddr,
    /// Where it speaks TLS, if it does.
    pub https: Option<SocketAddr>,
    pub admin: SocketAddr,
    data: TempDir,
    /// Processes that took the first one's place.
    heirs: Mutex<Vec<u32>>,
}

impl Selvedge {
    /// Starts with empty data.
    pub fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap())
    }

    /// Starts with empty data and this `selvedge.toml`.
    pub fn configured(settings: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join(SETTINGS), settings).unwrap();
        Self::start_in(data)
    }

    /// Starts with empty data by another name of the executable.
    pub fn called(name: &Path) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut command = Command::new(name);
        command.args(up(data.path()).get_args());
        Self::start_by(command, data)
    }

    /// Starts with empty data and this `selvedge.toml`, which says itself where to listen, the first time without TLS.
    pub fn listening(settings: &str) -> Self {
        Self::notifying(settings, None)
    }

    /// The same, with a service manager's socket to be told of its state.
    pub fn notifying(settings: &str, socket: Option<&Path>) -> Self {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join(SETTINGS), settings).unwrap();
        let mut command = up_at(data.path(), &["--admin=127.0.0.1:0"]);
        command.env_remove("NOTIFY_SOCKET").envs(socket.map(|socket| ("NOTIFY_SOCKET", socket)));
        Self::start_by(command, data)
    }

    /// Starts with empty data, this `selvedge.toml`, and a variable of the environment.
    pub fn with_variables(variables: &[(&str, &str)], settings: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join(SETTINGS), settings).unwrap();
        let mut command = up(data.path());
        command.envs(variables.iter().copied());
        Self::start_by(command, data)
    }

    /// Starts with empty data, this `selvedge.toml`, and an isolate host from elsewhere.
    pub fn with_libexec(libexec: &Path, settings: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join(SETTINGS), settings).unwrap();
        let mut command = up(data.path());
        command.env("SELVEDGE_LIBEXEC", libexec);
        Self::start_by(command, data)
    }

    /// Starts with the data of an earlier run.
    pub fn start_in(data: TempDir) -> Self {
        Self::start_by(up(data.path()), data)
    }

    fn start_by(mut command: Command, data: TempDir) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("no addresses, but {line:?}"));
        let address = |value: &Value| value.as_str().unwrap().parse().unwrap();
        let https = ready["https"].get(0).map(address);
        let (http, admin) = (address(&ready["http"][0]), address(&ready["admin"]));
        let started = Self { child, http, https, admin, data, heirs: Mutex::default() };
        assert_eq!(started.call(started.admin, "GET", "x", "/health/ready", "").status, 200);
        started
    }

    /// Runs a command against it.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// A command against it, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = selvedge();
        command.args(arguments).env("SELVEDGE_API", format!("http://{}", self.admin));
        command.env("SELVEDGE_DATA", self.data.path());
        command
    }

    /// Runs a command with `--json` that must succeed.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs a command with `--json` that must fail; the error and what people read of it.
    pub fn refused(&self, arguments: &[&str]) -> (Value, String) {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        (document["error"].clone(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Deploys one file with this content.
    pub fn deploy(&self, name: &str, code: &str) -> Value {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("index.ts");
        std::fs::write(&file, code).unwrap();
        self.json(&["deploy", file.to_str().unwrap(), "--name", name])
    }

    /// `GET http://<name>.localhost<path>`.
    pub fn get(&self, name: &str, path: &str) -> Answer {
        self.call(self.http, "GET", &format!("{name}.localhost"), path, "")
    }

    /// A request with a body to a worker.
    pub fn post(&self, name: &str, path: &str, body: &str) -> Answer {
        self.call(self.http, "POST", &format!("{name}.localhost"), path, body)
    }

    fn call(&self, to: SocketAddr, method: &str, host: &str, path: &str, body: &str) -> Answer {
        let mut stream = connect(to);
        send(&mut stream, method, host, path, body);
        Answer::read(stream)
    }

    /// A request as it is written here.
    pub fn raw(&self, request: &str) -> Answer {
        use std::io::Write;
        let mut stream = connect(self.http);
        stream.write_all(request.as_bytes()).unwrap();
        Answer::read(stream)
    }

    /// A request whose answer is read later.
    pub fn begin(&self, name: &str, path: &str) -> TcpStream {
        let mut stream = connect(self.http);
        send(&mut stream, "GET", &format!("{name}.localhost"), path, "");
        stream
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until the process has ended; its data for a next one.
    pub fn ended(mut self) -> TempDir {
        self.child.wait().unwrap();
        std::mem::replace(&mut self.data, tempfile::tempdir().unwrap())
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has another process take its place; that one's id.
    pub fn upgrade(&self, arguments: &[&str]) -> u32 {
        let answer = self.json(&[&["upgrade"], arguments].concat());
        let pid = answer["pid"].as_u64().unwrap() as u32;
        self.heirs.lock().unwrap().push(pid);
        pid
    }

    /// A process that took its place without being asked by [`upgrade`](Self::upgrade) ends with it, too.
    pub fn adopt(&self, pid: u32) {
        self.heirs.lock().unwrap().push(pid);
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        self.data.path()
    }
}

impl Drop for Selvedge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in self.heirs.lock().unwrap().drain(..) {
            // Most of them are gone.
            let _ = Pid::from_raw(pid as i32).map(|pid| kill_process(pid, Signal::KILL));
        }
    }
}

/// `selvedge up` on free ports. Confined where the machine allows; tests run on others, too.
pub fn up(data: &Path) -> Command {
    up_at(data, &["--http=127.0.0.1:0", "--admin=127.0.0.1:0"])
}

fn up_at(data: &Path, addresses: &[&str]) -> Command {
    let mut command = selvedge();
    command.args(["up", "--json", "--access-log=off"]).args(addresses).arg("--data").arg(data);
    let settings = data.join(SETTINGS);
    if settings.exists() {
        command.arg("--config").arg(settings);
    }
    command
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn send(stream: &mut TcpStream, method: &str, host: &str, path: &str, body: &str) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
}

/// An HTTP/1.1 answer on a connection that was closed after it.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// Reads to the end.
    pub fn read(stream: TcpStream) -> Self {
        Self::try_read(stream).unwrap()
    }

    /// Reads to the end; an error when the answer is cut off before it.
    pub fn try_read(stream: TcpStream) -> io::Result<Self> {
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while reader.read_line(&mut head)? > 2 {}
        let mut body = Vec::new();
        if head.to_lowercase().contains("transfer-encoding: chunked") {
            while let Some(size) = chunk_size(&mut reader)? {
                let start = body.len();
                body.resize(start + size + 2, 0);
                reader.read_exact(&mut body[start..])?;
                body.truncate(start + size);
            }
        } else {
            reader.read_to_end(&mut body)?;
        }
        let cut_off = |_| io::Error::other(format!("no status in {head:?}"));
        let status = head.split(' ').nth(1).unwrap_or_default().parse().map_err(cut_off)?;
        Ok(Self { status, head, body: String::from_utf8(body).map_err(io::Error::other)? })
    }

    /// The stable code of an error, as the edge tells it.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

/// Of the next chunk; `None` for the last.
fn chunk_size(reader: &mut impl BufRead) -> io::Result<Option<usize>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let cut_off = |_| io::Error::other(format!("the body was cut off: {line:?}"));
    let size = usize::from_str_radix(line.trim(), 16).map_err(cut_off)?;
    Ok((size > 0).then_some(size))
}

/// A command that goes on, with its output to be read line by line.
pub struct Ongoing {
    child: Child,
    pub output: BufReader<ChildStdout>,
    pub errors: BufReader<ChildStderr>,
}

impl Ongoing {
    /// Starts it.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (output, errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Self { child, output: BufReader::new(output), errors: BufReader::new(errors) }
    }

    /// The next line of standard output that is a JSON document.
    pub fn document(&mut self) -> Value {
        serde_json::from_str(&line(&mut self.output)).unwrap()
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The next line; the end of the stream fails the test.
pub fn line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    assert_ne!(from.read_line(&mut line).unwrap(), 0, "the output ended");
    line
}

/// Tries until `attempt` gives something.
pub fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(started.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
