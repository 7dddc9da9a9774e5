//! A new process in place of this one, without a connection lost: `selvedge upgrade`, or SIGUSR2.
//!
//! The new process gets the very sockets that this one listens on, so that what waits in their queues is answered by either. It
//! says when it is ready; until it serves, this one can go on as if nothing had happened.

mod channel;
mod origin;
mod takeover;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use selvedge_edge::{EdgeControl, Handed};
use selvedge_engine::EngineHandle;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;

use super::admin::Doors;
use super::gate::Gate;
use super::notify::notify;
use crate::failure::{Failure, Outcome};
use channel::{Address, Channel, Heritage, Message};
pub(crate) use origin::Origin;
use origin::trusted;
pub(crate) use takeover::Takeover;

/// Says to a process that it was started to take over, and from which.
const TAKES_OVER: &str = "SELVEDGE_TAKES_OVER";
/// For the new process to get ready, seconds, where nobody says otherwise.
const READY_S: u64 = 60;
/// Longest time that may be asked for, seconds. Whoever asks waits as long.
const READY_S_MAX: u64 = 110;
/// From the moment when no connection is taken here to the one when the new process says that it takes them.
const SERVING_TIMEOUT: Duration = Duration::from_secs(10);
/// For changes under way to end before the records are handed over.
const CHANGES_TIMEOUT: Duration = Duration::from_secs(30);
/// For a process that closed its socket to end.
const END_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two looks whether it has.
const END_POLL: Duration = Duration::from_millis(10);

/// What an upgrade concerns.
pub(super) struct Parts {
    pub(super) origin: Origin,
    pub(super) data: PathBuf,
    /// The control API's address, as the settings have it and as it is.
    pub(super) admin: (SocketAddr, SocketAddr),
    /// The lock of the data, and the control API's listener.
    pub(super) held: Mutex<Vec<OwnedFd>>,
    pub(super) edge: EdgeControl,
    pub(super) engine: EngineHandle,
    pub(super) gate: Gate,
    pub(super) doors: watch::Sender<Doors>,
}

/// The way to a new process.
#[derive(Clone)]
pub(super) struct Upgrader(Arc<Inner>);

struct Inner {
    parts: Parts,
    /// One upgrade at a time.
    busy: Mutex<()>,
    /// The process that is to take over.
    child: Mutex<Option<Child>>,
    done: watch::Sender<bool>,
}

/// What may be asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    /// Another executable than the one that is running.
    executable: Option<PathBuf>,
    /// For the new process to get ready, seconds.
    timeout_s: Option<u64>,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Upgraded {
    /// The process that serves now.
    pid: u32,
    /// The one that finishes its requests.
    former_pid: u32,
    executable: PathBuf,
    /// From the start of the new process until it served, milliseconds.
    ready_ms: u64,
}

impl Upgrader {
    pub(super) fn new(parts: Parts) -> Self {
        let (busy, child, done) = (Mutex::default(), Mutex::default(), watch::Sender::new(false));
        Self(Arc::new(Inner { parts, busy, child, done }))
    }

    /// Turns true when another process serves.
    pub(super) fn done(&self) -> watch::Receiver<bool> {
        self.0.done.subscribe()
    }

    /// This process is to end: none takes over.
    pub(super) fn cancel(&self) {
        if let Some(child) = &mut *self.0.child() {
            // It is gone already otherwise.
            let _ = child.kill();
        }
    }

    /// An upgrade as it is usual, told in the log.
    pub(super) fn upgrade_and_tell(&self, why: &'static str) {
        let inner = self.0.clone();
        tokio::task::spawn_blocking(move || match inner.upgrade(&Asked::default()) {
            Ok(Upgraded { pid, ready_ms, .. }) => {
                tracing::warn!(why, pid, ready_ms, "another process serves now")
            }
            Err(failure) => {
                let mistakes: Vec<String> = failure.diagnostics.iter().map(ToString::to_string).collect();
                let mistakes = mistakes.join("\n");
                tracing::error!(why, %failure, "there is no new process, this one goes on\n{mistakes}");
            }
        });
    }

    /// Answers `POST /api/v1/upgrade`.
    pub(super) async fn call(self, body: Bytes) -> Response {
        let asked = if body.is_empty() { Ok(Asked::default()) } else { serde_json::from_slice(&body) };
        let refused = |status: StatusCode, failure: &Failure| {
            (status, Json(json!({ "error": failure }))).into_response()
        };
        let asked: Asked = match asked {
            Ok(asked) => asked,
            Err(error) => {
                let failure = Failure::new("invalid_request", error.to_string());
                return refused(StatusCode::BAD_REQUEST, &failure);
            }
        };
        let inner = self.0;
        match tokio::task::spawn_blocking(move || inner.upgrade(&asked)).await {
            Ok(Ok(upgraded)) => Json(upgraded).into_response(),
            Ok(Err(failure)) if failure.code == "upgrade_running" => refused(StatusCode::CONFLICT, &failure),
            Ok(Err(failure)) => {
                tracing::error!(%failure, "there is no new process, this one goes on");
                refused(StatusCode::UNPROCESSABLE_ENTITY, &failure)
            }
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

impl Inner {
    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn upgrade(&self, asked: &Asked) -> Outcome<Upgraded> {
        let _one = match self.busy.try_lock() {
            Ok(one) => one,
            Err(TryLockError::Poisoned(one)) => one.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::new("upgrade_running", "an upgrade is under way")
                    .help("wait for its end; `selvedge status` shows which process answers"));
            }
        };
        if *self.done.borrow() {
            let message = "another process serves already; this one finishes its requests";
            return Err(Failure::new("upgrade_running", message));
        }
        let (origin, former_pid) = (&self.parts.origin, std::process::id());
        if former_pid == 1 {
            let message = "this server is the first process of a container, which ends with it";
            return Err(Failure::new("upgrade_unfit", message).help("replace the container instead"));
        }
        let executable = match &asked.executable {
            Some(path) => trusted(path)?,
            None => origin.executable.clone(),
        };
        let started = Instant::now();
        let patience = asked.timeout_s.unwrap_or(READY_S).clamp(1, READY_S_MAX);
        let heritage = self.heritage().map_err(|error| failed(format!("its sockets: {error}")))?;
        let (ours, theirs) = UnixStream::pair().map_err(|error| failed(error.to_string()))?;
        let mut command = Command::new(&executable);
        command
            .args(&origin.arguments)
            .current_dir(&origin.directory)
            .env(TAKES_OVER, former_pid.to_string())
            // The only thing that it inherits: everything else comes through this.
            .stdin(Stdio::from(OwnedFd::from(theirs)));
        let child = command
            .spawn()
            .map_err(|error| failed(format!("{} cannot be started: {error}", executable.display())))?;
        drop(command);
        let pid = child.id();
        *self.child() = Some(child);
        let mut undo = Undo { inner: self, closed: false, paused: false, over: false };
        self.hand_over(ours, heritage, started + Duration::from_secs(patience), &mut undo)?;
        // It lives on by itself.
        undo.over = true;
        drop(self.child().take());
        self.parts.held.lock().unwrap_or_else(PoisonError::into_inner).clear();
        notify(&format!("MAINPID={pid}"));
        self.done.send_replace(true);
        Ok(Upgraded { pid, former_pid, executable, ready_ms: started.elapsed().as_millis() as u64 })
    }

    fn heritage(&self) -> io::Result<(Heritage, Vec<OwnedFd>)> {
        let Parts { data, admin, held, edge, .. } = &self.parts;
        let held = held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sockets = held.iter().map(OwnedFd::try_clone).collect::<io::Result<Vec<_>>>()?;
        drop(held);
        let mut listeners = Vec::new();
        for Handed { configured, bound, sockets: own } in edge.sockets()? {
            let (configured, bound) = (configured.to_string(), bound.to_string());
            listeners.push(Address { configured, bound, sockets: own.len() });
            sockets.extend(own);
        }
        let admin = Address { configured: admin.0.to_string(), bound: admin.1.to_string(), sockets: 1 };
        let data = data.canonicalize().unwrap_or_else(|_| data.clone());
        Ok((Heritage { data, admin, listeners }, sockets))
    }

    /// The dialogue, up to the moment when the new process serves.
    fn hand_over(
        &self,
        socket: UnixStream,
        (heritage, sockets): (Heritage, Vec<OwnedFd>),
        until: Instant,
        undo: &mut Undo<'_>,
    ) -> Outcome {
        let Parts { edge, engine, gate, doors, .. } = &self.parts;
        let broken = |error: io::Error| match error.kind() {
            io::ErrorKind::TimedOut => {
                Failure::new("upgrade_timeout", "the new process did not get ready in time; it was ended")
                    .help("it says on standard error what it waits for; --timeout gives it longer")
            }
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => self.ended(),
            _ => failed(format!("the new process and this one do not understand each other: {error}")),
        };
        let channel = Channel::new(socket).map_err(broken)?;
        channel.send(&Message::Heritage(heritage)).map_err(broken)?;
        channel.send_sockets(&sockets).map_err(broken)?;
        drop(sockets);
        loop {
            match channel.receive(Some(until)).map_err(broken)? {
                Some(Message::Records) => {
                    undo.closed = true;
                    if !gate.close(CHANGES_TIMEOUT.min(until.saturating_duration_since(Instant::now()))) {
                        return Err(Failure::new("upgrade_busy", "a change by the control API takes long")
                            .help("try again when uploads are through"));
                    }
                    channel.send(&Message::Yours).map_err(broken)?;
                }
                Some(Message::Ready) => break,
                Some(Message::Failed { failure }) => {
                    let message = format!("the new process gave up: {failure}");
                    return Err(Failure { code: "upgrade_failed".into(), message, ..failure });
                }
                Some(_) => return Err(broken(io::Error::other("an answer without a question"))),
                None => return Err(self.ended()),
            }
        }
        undo.paused = true;
        doors.send_replace(Doors::Closed);
        edge.accept(false).map_err(|error| failed(error.to_string()))?;
        let minute = engine.turn().end();
        channel.send(&Message::Go { minute }).map_err(broken)?;
        match channel.receive(Some(Instant::now() + SERVING_TIMEOUT)).map_err(broken)? {
            Some(Message::Serving) => Ok(()),
            Some(_) => Err(broken(io::Error::other("it does not say that it serves"))),
            None => Err(self.ended()),
        }
    }

    /// The new process closed its socket: how it ended.
    fn ended(&self) -> Failure {
        let until = Instant::now() + END_TIMEOUT;
        let status = loop {
            let status = self.child().as_mut().and_then(|child| child.try_wait().ok().flatten());
            if status.is_some() || Instant::now() >= until {
                break status;
            }
            std::thread::sleep(END_POLL);
        };
        let how =
            status.map_or("let go of this one".into(), |status: ExitStatus| format!("ended ({status})"));
        failed(format!("the new process {how} before it was ready"))
            .help("what it said is on the server's standard error")
    }
}

/// Takes everything back unless it is over.
struct Undo<'i> {
    inner: &'i Inner,
    /// Nobody may write.
    closed: bool,
    /// No connections are taken.
    paused: bool,
    over: bool,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        // First the other one, so that there are never two.
        if let Some(mut child) = self.inner.child().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let Parts { edge, engine, gate, doors, .. } = &self.inner.parts;
        if self.paused {
            if let Err(error) = edge.accept(true) {
                tracing::error!(%error, "connections cannot be taken again");
            }
            engine.turn().begin(None);
            doors.send_if_modified(|doors| {
                let closed = *doors == Doors::Closed;
                if closed {
                    *doors = Doors::Open;
                }
                closed
            });
        }
        if self.closed {
            gate.open();
        }
    }
}

fn failed(message: String) -> Failure {
    Failure::new("upgrade_failed", message)
}
