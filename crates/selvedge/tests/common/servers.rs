//! Real servers for the edge to pass requests on to: nginx, haproxy, and one written for Node.js. Each is installed when it is not there,
//! listens on a free port, and ends with the test.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process};

/// A server, which ends with this.
pub struct Running {
    child: Child,
    pub address: SocketAddr,
}

impl Running {
    /// `http://ADDRESS`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends a signal, and waits for the end where it is one that ends.
    pub fn signal(&mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        if signal == Signal::KILL {
            self.child.wait().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that was free a moment ago.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Installs a program that is not there.
pub fn install(program: &str, package: &str) {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
    if !found.status.success() {
        let installed = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../xtask/apt-install"))
            .arg(package)
            .output();
        assert!(installed.is_ok_and(|output| output.status.success()), "{package} cannot be installed");
    }
}

/// A shared library of a package, which is installed when it is not there.
pub fn library(package: &str, name: &str) -> String {
    let find = || {
        let output = Command::new("dpkg").args(["-L", package]).output().unwrap();
        let files = String::from_utf8(output.stdout).unwrap();
        files.lines().find(|line| line.ends_with(name)).map(str::to_owned)
    };
    find().unwrap_or_else(|| {
        let installed = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../xtask/apt-install"))
            .arg(package)
            .output();
        assert!(installed.is_ok_and(|output| output.status.success()), "{package} cannot be installed");
        find().expect("the library is in its package")
    })
}

/// The packages of a directory of the tests (`package.json` and its lock), installed where builds go; the directory.
pub fn npm(name: &str) -> PathBuf {
    // Installing is not to be done twice at a time.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&target).unwrap();
    for entry in source.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, target.join(path.file_name().unwrap())).unwrap();
        }
    }
    let lock = target.join("node_modules/.package-lock.json");
    let fresh = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
    if fresh(&lock) < fresh(&source.join("package-lock.json")) {
        let npm = ["ci", "--silent", "--ignore-scripts", "--no-audit"];
        let status = Command::new("npm").args(npm).current_dir(&target).status().expect("npm is installed");
        assert!(status.success(), "npm ci for {name}");
    }
    target
}

/// Starts a server and waits until it listens.
pub fn start(command: &mut Command, address: SocketAddr) -> Running {
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut running = Running { child, address };
    super::eventually("the server listens", || {
        let ended = running.child.try_wait().unwrap();
        assert!(ended.is_none(), "{command:?} ended: {ended:?}");
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()
    });
    running
}

/// nginx with this in its `server`, and `page.txt` in its root.
pub fn nginx(dir: &Path, address: SocketAddr, more: &str) -> Running {
    install("nginx", "nginx-light");
    std::fs::write(dir.join("page.txt"), "a page of nginx").unwrap();
    let config = dir.join(format!("nginx-{}.conf", address.port()));
    std::fs::write(&config, nginx_config(dir, &address.to_string(), more)).unwrap();
    start(Command::new("nginx").arg("-c").arg(config).args(["-e", "/dev/null"]), address)
}

/// A whole configuration of nginx that keeps all it writes in `dir`.
pub fn nginx_config(dir: &Path, listen: &str, more: &str) -> String {
    let root = dir.display();
    let name = listen.replace(['/', ':'], "-");
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {root}/{kind};\n"))
        .concat();
    format!(
        "daemon off; master_process off; pid {root}/{name}.pid; error_log /dev/null;\nevents {{ worker_connections 256; }}\n\
         http {{\naccess_log off;\n{temporary}keepalive_requests 7;\nserver {{ listen {listen}; root {root};\n{more}\n}}\n}}\n"
    )
}

/// haproxy in front of a server.
pub fn haproxy(dir: &Path, server: SocketAddr) -> Running {
    install("haproxy", "haproxy");
    let address = free_address();
    let config = dir.join("haproxy.cfg");
    let text = format!(
        "global\n maxconn 256\ndefaults\n mode http\n timeout connect 10s\n timeout client 60s\n timeout server 60s\n\
         listen all\n bind {address}\n server one {server}\n"
    );
    std::fs::write(&config, text).unwrap();
    start(Command::new("haproxy").arg("-db").arg("-f").arg(config), address)
}

/// What [`node`] serves. What it is asked is in `/seen`, a line each; `/seen` itself is not.
const NODE: &str = r#"
const [port, name] = process.argv.slice(1);
const seen = [], listeners = new Set();
let well = true;
const server = require("node:http").createServer({ keepAliveTimeout: 600000 }, (request, response) => {
  const url = new URL(request.url, "http://x"), query = url.searchParams;
  if (url.pathname === "/seen") return response.end(seen.join("\n"));
  if (url.pathname === "/healthz") return response.writeHead(well ? 200 : 500).end();
  seen.push(`${request.method} ${request.url} ${request.socket.remotePort}`);
  let length = 0;
  request.on("data", (data) => {
    length += data.length;
    if (url.pathname === "/die") process.kill(process.pid, "SIGKILL");
  });
  request.on("error", () => {});
  request.on("end", () => {
    switch (url.pathname) {
      case "/name": return response.end(name);
      case "/length": response.write("got "); return response.end(String(length));
      case "/die": return process.kill(process.pid, "SIGKILL");
      case "/half":
        if (query.has("length")) response.setHeader("content-length", query.get("length"));
        return response.write("x".repeat(1000));
      case "/slow": return setTimeout(() => response.end("slow"), Number(query.get("ms")));
      case "/well": well = query.get("is") === "yes"; return response.end();
      case "/events":
        response.writeHead(200, { "content-type": "text/event-stream" });
        response.flushHeaders();
        listeners.add(response);
        return response.on("close", () => listeners.delete(response));
      case "/tell":
        for (const listener of listeners) listener.write(`data: ${query.get("what")}\n\n`);
        return response.end(String(listeners.size));
      default: return response.end(`${request.method} ${request.url}`);
    }
  });
});
server.listen(Number(port), "127.0.0.1");
"#;

/// A server of Node.js that answers with its name, goes slowly, breaks off, dies.
pub fn node(name: &str) -> Running {
    node_at(free_address(), name)
}

/// The same at this address.
pub fn node_at(address: SocketAddr, name: &str) -> Running {
    install("node", "nodejs");
    start(Command::new("node").args(["-e", NODE, &address.port().to_string(), name]), address)
}

/// What a server of [`node`] was asked: method, path and the port that the request came from.
pub fn seen(server: &Running) -> Vec<String> {
    ask(server.address, "/seen").lines().map(str::to_owned).collect()
}

/// The body of an answer without a detour.
pub fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = super::connect(address);
    super::send(&mut stream, "GET", "direct", path, "");
    super::Answer::read(stream).body
}

/// An authority of a test; all it makes is in `dir`, as `NAME.pem` and `NAME.key`.
pub struct Authority<'a> {
    dir: &'a Path,
    issuer: Issuer<'static, KeyPair>,
}

impl<'a> Authority<'a> {
    /// Its own certificate is `NAME.pem`.
    pub fn new(dir: &'a Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        std::fs::write(dir.join(format!("{name}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { dir, issuer: Issuer::new(params, key) }
    }

    /// A certificate for servers and clients.
    pub fn issue(&self, name: &str, hosts: &[&str]) {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        std::fs::write(self.dir.join(format!("{name}.pem")), pem).unwrap();
        std::fs::write(self.dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}
