//! A new process in place of a running one, on the real executable.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Ongoing, Selvedge, eventually, selvedge};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

/// A site with a text, a large file in the same directory, and further settings.
fn settings(text: &str, more: &str) -> String {
    format!(
        "{more}\n[[sites]]\nhosts = [\"a.example\", \"a.localhost\"]\n[[sites.routes]]\npath = \"/files/*\"\nfiles = {{ root = \".\", strip = \"/files\" }}\n\
         [[sites.routes]]\nrespond = {{ body = \"{text}\" }}\n"
    )
}

/// `[edge]` that listens on some port, on another one with TLS, and elsewhere.
fn edge(listen: &str, more: &str) -> String {
    let log = if more.contains("access_log") { "" } else { "access_log = { output = \"off\" }\n" };
    format!(
        "[edge]\nlisten = [\"127.0.0.1:0\", {{ address = \"127.0.0.1:0\", tls = true }}{listen}]\n{log}{more}\n"
    )
}

fn write(selvedge: &Selvedge, text: &str) {
    fs::write(selvedge.data().join("selvedge.toml"), text).unwrap();
}

const REQUEST: &str = "GET / HTTP/1.1\r\nhost: a.example\r\n\r\n";

fn body(selvedge: &Selvedge) -> String {
    selvedge.raw(&REQUEST.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n")).body
}

/// A worker that gives back what it gets, over a WebSocket too.
const ECHO: &str = "\
export default {
  async fetch(request) {
    if (request.headers.get('upgrade') !== 'websocket') return new Response('worker');
    const { 0: client, 1: server } = new WebSocketPair();
    server.accept();
    server.addEventListener('message', (event) => server.send(event.data));
    return new Response(null, { status: 101, webSocket: client });
  },
};";

/// What clients met.
#[derive(Default)]
struct Met {
    answers: AtomicU64,
    connections: AtomicU64,
    stop: AtomicBool,
}

impl Met {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Asks over one connection until it is told to use another one, again and again. A connection that ends otherwise fails
    /// the test.
    fn keep_asking(&self, selvedge: &Selvedge) {
        while self.goes_on() {
            let stream = TcpStream::connect(selvedge.http).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            self.connections.fetch_add(1, Ordering::Relaxed);
            let mut stream = BufReader::new(stream);
            let mut last = false;
            while self.goes_on() && !last {
                stream.get_mut().write_all(REQUEST.as_bytes()).unwrap();
                let (mut head, mut length) = (String::new(), 0);
                while head.is_empty() || !head.ends_with("\r\n\r\n") {
                    assert_ne!(stream.read_line(&mut head).unwrap(), 0, "closed without notice: {head:?}");
                }
                assert!(head.starts_with("HTTP/1.1 200"), "{head}");
                for line in head.lines() {
                    length = line.strip_prefix("content-length: ").map_or(length, |n| n.parse().unwrap());
                    last |= line == "connection: close";
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                assert!(body.starts_with(b"text"));
                self.answers.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Asks over a new connection each time.
    fn ask_anew(&self, selvedge: &Selvedge) {
        while self.goes_on() {
            assert!(body(selvedge).starts_with("text"));
            self.answers.fetch_add(1, Ordering::Relaxed);
            self.connections.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Asks over HTTP/2 inside of TLS, some requests on each connection.
    fn ask_secured(&self, selvedge: &Selvedge) {
        let Some(address) = selvedge.https else { return };
        let url = format!("https://a.localhost:{}/", address.port());
        while self.goes_on() {
            let mut curl = Command::new("curl");
            curl.args(["-sSk", "--http2", "--resolve", &format!("a.localhost:{}:127.0.0.1", address.port())]);
            for _ in 0..5 {
                curl.args(["-o", "/dev/null", "-w", "%{http_code} %{http_version}\\n", &url]);
            }
            let output = curl.output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(said, "200 2\n".repeat(5), "{}", String::from_utf8_lossy(&output.stderr));
            self.answers.fetch_add(5, Ordering::Relaxed);
        }
    }

    /// Asks a worker over new connections.
    fn ask_worker(&self, selvedge: &Selvedge) {
        while self.goes_on() {
            let answer = selvedge.get("echo", "/");
            assert_eq!((answer.status, &answer.body[..]), (200, "worker"), "{answer:?}");
            self.answers.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Asks in several ways while `work` is done; no request may fail.
fn under_load(selvedge: &Selvedge, work: impl FnOnce()) {
    let met = Met::default();
    std::thread::scope(|scope| {
        let clients = [
            scope.spawn(|| met.keep_asking(selvedge)),
            scope.spawn(|| met.keep_asking(selvedge)),
            scope.spawn(|| met.ask_anew(selvedge)),
            scope.spawn(|| met.ask_worker(selvedge)),
            scope.spawn(|| met.ask_secured(selvedge)),
        ];
        // A failure of the work itself ends the clients, too.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        met.stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap();
        }
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
    assert!(met.answers.load(Ordering::Relaxed) > 0);
}

/// Whether a process is there and no zombie.
fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}

#[test]
fn fifty_reloads_and_five_upgrades_lose_no_request() {
    let selvedge = Selvedge::listening(&settings("text", &edge("", "")));
    selvedge.deploy("echo", ECHO);
    let large = vec![b'x'; 24 << 20];
    fs::write(selvedge.data().join("large"), &large).unwrap();
    let connect = || {
        let stream = TcpStream::connect(selvedge.http).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    };
    // Both begin in the first process and go on past its relief.
    let mut download = connect();
    write!(download, "GET /files/large HTTP/1.1\r\nhost: a.example\r\n\r\n").unwrap();
    let mut arrived = vec![0; 64 << 10];
    download.read_exact(&mut arrived).unwrap();
    let (mut socket, _) =
        tungstenite::client(format!("ws://echo.localhost:{}/", selvedge.http.port()), connect()).unwrap();
    let mut echo = |text: String| {
        socket.send(Message::text(text.clone())).unwrap();
        assert_eq!(socket.read().unwrap().into_text().unwrap().as_str(), text);
    };
    echo("hello".into());
    assert!(selvedge.https.is_some());
    let first = selvedge.pid();
    let port = free_port();
    under_load(&selvedge, || {
        for n in 0..50 {
            // Of one kind for new connections only, of the other for all; with a listener that comes and goes.
            let more = match n % 3 {
                0 => edge(&format!(", \"127.0.0.1:{port}\""), &format!("idle_timeout_ms = {}", 70_000 + n)),
                1 => edge(
                    "",
                    &format!("max_headers = 64\naccess_log = {{ output = \"off\", sample = 0.{n} }}"),
                ),
                _ => edge("", ""),
            };
            write(&selvedge, &settings(&format!("text {n}"), &more));
            let answer = selvedge.json(&["reload"]);
            assert_eq!(answer["restart"], json!([]), "{answer}");
            // A process that was just relieved lets go of its listeners in a moment.
            let is_open = || TcpStream::connect(("127.0.0.1", port)).is_ok();
            eventually("the listener comes and goes", || (is_open() == (n % 3 == 0)).then_some(()));
            assert_eq!(body(&selvedge), format!("text {n}"));
            if n % 10 == 9 {
                let heir = selvedge.upgrade(&[]);
                echo(format!("after reload {n}"));
                assert!(lives(heir) && lives(first));
            }
        }
    });
    // The rest of the download comes from a process that was relieved five times over.
    let mut rest = BufReader::new(download);
    let mut bytes = 0;
    let mut buffer = vec![0; 1 << 20];
    while bytes + arrived.len() < large.len() {
        let count = rest.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "the download broke off");
        bytes += count;
    }
    echo("still there".into());
    drop((socket, rest));
    eventually("the first process ends once its last connections have", || (!lives(first)).then_some(()));
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An executable file with this text.
fn script(selvedge: &Selvedge, name: &str, text: &str) -> PathBuf {
    let path = selvedge.data().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// It answers, and takes changes.
fn goes_on(selvedge: &Selvedge, text: &str) {
    assert_eq!(body(selvedge), text);
    selvedge.deploy("another", ECHO);
    assert_eq!(selvedge.get("another", "/").status, 200);
    assert!(lives(selvedge.pid()));
}

#[test]
fn a_new_process_that_fails_changes_nothing() {
    let selvedge = Selvedge::configured(&settings("text", ""));
    selvedge.deploy("echo", ECHO);
    under_load(&selvedge, || {
        let refused_in = |seconds: &str, executable: &PathBuf| {
            selvedge.refused(&["upgrade", "--timeout", seconds, "--executable", executable.to_str().unwrap()])
        };
        let refused = |executable: &PathBuf| refused_in("60", executable);
        let crash = script(&selvedge, "crash", "#!/bin/sh\nexit 3\n");
        let (error, _) = refused(&crash);
        assert_eq!(error["code"], "upgrade_failed");
        assert!(error["message"].as_str().unwrap().contains("exit status: 3"), "{error}");
        let hang = script(&selvedge, "hang", "#!/bin/sh\nexec sleep 600\n");
        assert_eq!(refused_in("2", &hang).0["code"], "upgrade_timeout");
        let no_program = script(&selvedge, "none", "no program");
        assert_eq!(refused(&no_program).0["code"], "upgrade_failed");
        fs::set_permissions(&crash, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(refused(&crash).0["code"], "upgrade_untrusted");
        goes_on(&selvedge, "text");
        // Settings that the running process did not take either.
        write(&selvedge, &settings("text", "[edge]\nmax_headers = 0\n"));
        let (error, _) = selvedge.refused(&["upgrade"]);
        assert_eq!((&error["code"], &error["diagnostics"][0]["line"]), (&json!("upgrade_failed"), &json!(2)));
        assert!(error["message"].as_str().unwrap().contains("gave up"), "{error}");
        // An address that is taken, which shows late.
        write(&selvedge, &settings("text", ""));
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (own, taken) = (env!("CARGO_BIN_EXE_selvedge"), taken.local_addr().unwrap());
        let elsewhere = format!("#!/bin/sh\nexec {own} \"$@\" --http {taken}\n");
        let (error, _) = refused(&script(&selvedge, "elsewhere", &elsewhere));
        assert!(error["message"].as_str().unwrap().contains("another program listens there"), "{error}");
        assert_eq!(error["code"], "upgrade_failed", "{error}");
        goes_on(&selvedge, "text");
    });
    // And in the end it is relieved.
    let heir = selvedge.upgrade(&[]);
    eventually("the first process ends", || (!lives(selvedge.pid())).then_some(()));
    assert!(lives(heir));
    assert_eq!(body(&selvedge), "text");
    assert_eq!(selvedge.get("another", "/").status, 200);
    selvedge.deploy("late", ECHO);
    assert_eq!(selvedge.get("late", "/").status, 200);
    // Its data belong to the new process.
    let mut second = selvedge_up(&selvedge);
    let output = second.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["error"]["code"], "data_in_use");
    assert!(said["error"]["message"].as_str().unwrap().contains(&format!("process {heir},")), "{said}");
}

fn selvedge_up(running: &Selvedge) -> Command {
    let mut command = selvedge();
    command.args(["up", "--json", "--http=127.0.0.1:0", "--admin=127.0.0.1:0", "--data"]);
    command.arg(running.data());
    command
}

/// A program that does what the new process does, up to a point.
fn impostor(selvedge: &Selvedge, name: &str, then: &str) -> PathBuf {
    let text = format!(
        r#"#!/usr/bin/env python3
import array, json, os, socket, sys, time
s = socket.socket(fileno=0)
def line():
    text = b""
    while not text.endswith(b"\n"):
        byte = s.recv(1)
        if not byte: sys.exit(9)
        text += byte
    return json.loads(text)
def say(what): s.sendall(json.dumps({{"say": what}}).encode() + b"\n")
heritage = line()
count, fds = 2 + sum(l["sockets"] for l in heritage["listeners"]), []
while len(fds) < count:
    _, ancillary, _, _ = s.recvmsg(1, 65536)
    for _, _, data in ancillary: fds += array.array("i", data)
open({pid:?}, "w").write(str(os.getpid()))
{then}
"#,
        pid = selvedge.data().join(format!("{name}.pid")),
    );
    script(selvedge, name, &text)
}

/// The id that a program has written down.
fn pid_of(selvedge: &Selvedge, name: &str) -> u32 {
    let path = selvedge.data().join(format!("{name}.pid"));
    eventually("the program says who it is", || fs::read_to_string(&path).ok()?.parse().ok())
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
}

fn error_of(mut command: Ongoing) -> Value {
    let mut text = String::new();
    command.output.read_to_string(&mut text).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["error"].clone()
}

#[test]
fn a_new_process_that_is_killed_at_any_point_changes_nothing() {
    let selvedge = Selvedge::configured(&settings("text", ""));
    selvedge.deploy("echo", ECHO);
    let begin = |path: &PathBuf| {
        Ongoing::start(&mut selvedge.command(&["upgrade", "--json", "--executable", path.to_str().unwrap()]))
    };
    under_load(&selvedge, || {
        // Before it has asked for anything; meanwhile a second upgrade is refused, and changes are taken.
        let early = impostor(&selvedge, "early", "time.sleep(600)");
        let upgrade = begin(&early);
        let pid = pid_of(&selvedge, "early");
        assert_eq!(selvedge.refused(&["upgrade"]).0["code"], "upgrade_running");
        selvedge.deploy("meanwhile", ECHO);
        kill(pid);
        let error = error_of(upgrade);
        assert!(error["message"].as_str().unwrap().contains("signal: 9"), "{error}");
        goes_on(&selvedge, "text");

        // While it has the records: nobody writes.
        let records = "say('records'); assert line()['say'] == 'yours'\n\
            open(sys.argv[0] + '.has', 'w').close(); time.sleep(600)";
        let upgrade = begin(&impostor(&selvedge, "records", records));
        let pid = pid_of(&selvedge, "records");
        eventually("it has the records", || selvedge.data().join("records.has").exists().then_some(()));
        let (error, _) = selvedge.refused(&["delete", "meanwhile", "--yes"]);
        assert_eq!(error["code"], "upgrading");
        assert_eq!(selvedge.json(&["list"]).as_array().map(Vec::len), Some(3));
        kill(pid);
        assert_eq!(error_of(upgrade)["code"], "upgrade_failed");
        goes_on(&selvedge, "text");

        // When nobody takes connections.
        let ready =
            "say('records'); line(); say('ready'); assert line()['say'] == 'go'; os.kill(os.getpid(), 9)";
        let error = error_of(begin(&impostor(&selvedge, "ready", ready)));
        assert!(error["message"].as_str().unwrap().contains("signal: 9"), "{error}");
        goes_on(&selvedge, "text");

        // One that talks nonsense.
        for (name, then) in [
            ("noise", "s.sendall(b'noise\\n')"),
            ("wrong", "say('serving')"),
            ("flood", "s.sendall(b'x' * (1 << 20))"),
        ] {
            let error = error_of(begin(&impostor(&selvedge, name, &format!("{then}; time.sleep(600)"))));
            assert_eq!(error["code"], "upgrade_failed");
            eventually("it was ended", || (!lives(pid_of(&selvedge, name))).then_some(()));
        }
        goes_on(&selvedge, "text");
    });
    selvedge.upgrade(&[]);
    assert_eq!(body(&selvedge), "text");
}

/// The former process is killed when the new one has begun to start: that one takes over all the same.
#[test]
fn a_former_process_that_dies_midway_is_relieved_all_the_same() {
    let selvedge = Selvedge::configured(&settings("text", ""));
    selvedge.deploy("echo", ECHO);
    let started = selvedge.data().join("started");
    let slow = script(
        &selvedge,
        "slow",
        &format!(
            "#!/bin/sh\necho $$ > {0}.part; mv {0}.part {0}\nwhile test ! -e {0}.go; do sleep 0.05; done\nexec {1} \"$@\"\n",
            started.display(),
            env!("CARGO_BIN_EXE_selvedge")
        ),
    );
    let _upgrade =
        Ongoing::start(&mut selvedge.command(&["upgrade", "--executable", slow.to_str().unwrap()]));
    let heir: u32 = eventually("it starts", || fs::read_to_string(&started).ok()?.trim().parse().ok());
    selvedge.adopt(heir);
    // It is past the point where it reads what it inherits once it waits for the records, which is soon after `go`; killed before
    // that, it would start as any other server does.
    selvedge.signal(Signal::STOP);
    fs::write(selvedge.data().join("started.go"), "").unwrap();
    eventually("it has read what it inherits", || {
        let sockets = fs::read_dir(format!("/proc/{heir}/fd"))
            .ok()?
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        (sockets.filter(|link| link.to_string_lossy().starts_with("socket:")).count() > 3).then_some(())
    });
    selvedge.signal(Signal::KILL);
    eventually("the new process answers", || {
        let mut stream = TcpStream::connect(selvedge.http).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream.write_all(REQUEST.as_bytes()).ok()?;
        let mut answer = [0; 15];
        match stream.read_exact(&mut answer) {
            Ok(()) => (&answer == b"HTTP/1.1 200 OK").then_some(()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => None,
            Err(_) => None,
        }
    });
    assert!(lives(heir));
    assert_eq!(selvedge.get("echo", "/").status, 200);
}

#[test]
fn a_signal_upgrades_and_everything_is_inherited() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("edge.sock");
    let elsewhere = format!(", \"unix:{}\"", path.display());
    let manager = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let told = || {
        let mut buffer = [0; 256];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let settings = settings("text", &edge(&elsewhere, ""));
    let selvedge = Selvedge::notifying(&settings, Some(&dir.path().join("notify")));
    assert_eq!(told(), "READY=1");
    selvedge.deploy("echo", ECHO);
    let over_socket = || {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(REQUEST.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(over_socket().ends_with("text"));
    selvedge.signal(Signal::USR2);
    let lock = selvedge.data().join("lock");
    let holder = || -> Option<u32> {
        let text = fs::read_to_string(&lock).ok()?;
        text.strip_prefix("process ")?.split(',').next()?.parse().ok()
    };
    let heir = eventually("another process has the data", || holder().filter(|pid| *pid != selvedge.pid()));
    selvedge.adopt(heir);
    // In either order: one is the new process' own word.
    let mut states = [told(), told()];
    states.sort();
    assert_eq!(states, [format!("MAINPID={heir}"), "READY=1".into()]);
    eventually("the first process ends", || (!lives(selvedge.pid())).then_some(()));
    assert_eq!(body(&selvedge), "text");
    assert!(over_socket().ends_with("text"));
    // The API is where it was, and the next one inherits from this one.
    assert_eq!(selvedge.json(&["list"]).as_array().map(Vec::len), Some(1));
    let begun = Instant::now();
    let next = selvedge.upgrade(&[]);
    eventually("the second process ends", || (!lives(heir)).then_some(()));
    assert!(lives(next) && begun.elapsed() < Duration::from_secs(60));
    assert_eq!(selvedge.get("echo", "/").body, "worker");
    // It ends as any other does.
    kill_process(Pid::from_raw(next as i32).unwrap(), Signal::TERM).unwrap();
    eventually("it ends when it is told to", || (!lives(next)).then_some(()));
    assert!(TcpStream::connect(selvedge.http).is_err() && !path.exists());
}

/// A WebSocket that its worker answers, to a server with these settings.
fn with_socket(settings: &str) -> (Selvedge, WebSocket<TcpStream>) {
    let selvedge = Selvedge::configured(settings);
    selvedge.deploy("echo", ECHO);
    let stream = TcpStream::connect(selvedge.http).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let address = format!("ws://echo.localhost:{}/", selvedge.http.port());
    let (mut socket, _) = tungstenite::client(address, stream).unwrap();
    socket.send(Message::text("hello")).unwrap();
    assert_eq!(socket.read().unwrap().into_text().unwrap().as_str(), "hello");
    (selvedge, socket)
}

#[test]
fn what_does_not_end_by_itself_is_ended_at_the_deadline() {
    let (selvedge, mut socket) =
        with_socket(&settings("text", "[edge]\nupgrade_grace_ms = 200\nshutdown_grace_ms = 10_000\n"));
    let heir = selvedge.upgrade(&[]);
    let Message::Close(Some(close)) = socket.read().unwrap() else { panic!("it is told to close") };
    assert_eq!(u16::from(close.code), 1001);
    drop(socket);
    eventually("the first process ends", || (!lives(selvedge.pid())).then_some(()));
    assert!(lives(heir));
}

#[test]
fn a_relieved_process_does_not_keep_the_data() {
    let (selvedge, mut socket) = with_socket(&settings("text", ""));
    let heir = selvedge.upgrade(&[]);
    kill_process(Pid::from_raw(heir as i32).unwrap(), Signal::TERM).unwrap();
    eventually("the second process ends", || (!lives(heir)).then_some(()));
    // The first still serves its WebSocket, and another server has the data.
    let mut third = Ongoing::start(&mut selvedge_up(&selvedge));
    assert!(third.document()["http"][0].is_string());
    socket.send(Message::text("still there")).unwrap();
    assert_eq!(socket.read().unwrap().into_text().unwrap().as_str(), "still there");
    assert!(lives(selvedge.pid()));
}

/// The link by which a server was started may lead to another version.
#[test]
fn the_name_counts_by_which_it_was_started() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("selvedge");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_selvedge"), &link).unwrap();
    let selvedge = Selvedge::called(&link);
    fs::remove_file(&link).unwrap();
    let (error, _) = selvedge.refused(&["upgrade"]);
    assert!(error["message"].as_str().unwrap().contains("cannot be started"), "{error}");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_selvedge"), &link).unwrap();
    let answer = selvedge.json(&["upgrade"]);
    selvedge.adopt(answer["pid"].as_u64().unwrap() as u32);
    assert_eq!(answer["executable"], link.to_str().unwrap());
}
