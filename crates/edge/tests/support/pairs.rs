//! Real servers behind the edge, each of which passes requests on to the same Node.js server, which remembers what it saw:
//! what two of them read in different ways shows there.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test crate uses its part of the helpers")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Answers what it was asked, and remembers it; the port that comes last tells what was.
const NODE: &str = r#"
const http = require("node:http"), seen = [], ports = [];
const handler = (name) => (request, response) => {
  seen.push(`${name} begun ${request.method} ${request.url}`);
  const parts = [];
  request.on("data", (part) => parts.push(part)).on("error", () => {});
  request.on("end", () => {
    seen.push(`${name} whole ${request.method} ${request.url}`);
    const body = Buffer.concat(parts).toString("latin1");
    response.end(`${request.method} ${request.url} ${request.headers.host} ${body}`);
  });
};
const tell = (request, response) => response.end(seen.join("\n"));
const names = ["node", "nginx", "haproxy", "apache2"];
const servers = [...names.map(handler), tell].map((serve) => http.createServer({ keepAliveTimeout: 60000 }, serve));
let left = servers.length;
for (const server of servers) {
  server.listen(0, "127.0.0.1", () => {
    if (--left === 0) console.log(servers.map((server) => server.address().port).join(" "));
  });
}
"#;

/// A server behind the edge.
pub struct Backend {
    pub name: &'static str,
    pub port: u16,
}

/// All of them; they end with this.
pub struct Backends {
    pub all: Vec<Backend>,
    tell: u16,
    children: Vec<Child>,
    _dir: tempfile::TempDir,
}

impl Backends {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (program, package) in
            [("node", "nodejs"), ("nginx", "nginx-light"), ("haproxy", "haproxy"), ("apache2", "apache2-bin")]
        {
            install(program, package);
        }
        let mut node = Command::new("node").args(["-e", NODE]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(node.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ports: Vec<u16> = line.split_whitespace().map(|port| port.parse().unwrap()).collect();
        let mut backends = Self {
            all: vec![Backend { name: "node", port: ports[0] }],
            tell: ports[4],
            children: vec![node],
            _dir: dir,
        };
        let dir = backends._dir.path().to_owned();
        backends.run(
            "nginx",
            ports[1],
            |port, node| nginx(&dir, port, node),
            |file| vec!["-c".into(), file, "-e".into(), "/dev/null".into()],
        );
        backends.run("haproxy", ports[2], haproxy, |file| vec!["-db".into(), "-f".into(), file]);
        backends.run(
            "apache2",
            ports[3],
            |port, node| apache(&dir, port, node),
            |file| vec!["-D".into(), "FOREGROUND".into(), "-f".into(), file],
        );
        backends
    }

    fn run(
        &mut self,
        name: &'static str,
        node: u16,
        settings: impl Fn(u16, u16) -> String,
        arguments: impl Fn(String) -> Vec<String>,
    ) {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = self._dir.path().join(format!("{name}.conf"));
        std::fs::write(&file, settings(port, node)).unwrap();
        let mut command = Command::new(name);
        command.args(arguments(file.to_str().unwrap().to_owned()));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.children.push(command.spawn().unwrap());
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = self.children.last_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{name} ended: {ended:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.all.push(Backend { name, port });
    }

    /// What Node.js was asked so far: `SERVER begun|whole METHOD PATH`.
    pub fn seen(&self) -> Vec<String> {
        let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], self.tell))).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        body.lines().map(str::to_owned).collect()
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Apache has children of its own to end.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }
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

fn nginx(dir: &Path, port: u16, node: u16) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {}/{name};\n", dir.display()))
        .concat();
    format!(
        "daemon off; master_process off; pid {0}/nginx.pid; error_log /dev/null;\n\
         events {{ worker_connections 256; }}\n\
         http {{\naccess_log off;\n{temporary}\
         upstream node {{ server 127.0.0.1:{node}; keepalive 4; }}\n\
         server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://node; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; proxy_set_header Host $http_host; }} }}\n}}\n",
        dir.display()
    )
}

fn haproxy(port: u16, node: u16) -> String {
    format!(
        "global\n maxconn 256\ndefaults\n mode http\n timeout connect 10s\n timeout client 60s\n timeout server 60s\n \
         http-reuse always\nlisten all\n bind 127.0.0.1:{port}\n server node 127.0.0.1:{node}\n"
    )
}

fn apache(dir: &Path, port: u16, node: u16) -> String {
    let modules: String = ["mpm_event", "authz_core", "proxy", "proxy_http"]
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .concat();
    format!(
        "ServerRoot {0}\nPidFile {0}/apache.pid\nErrorLog /dev/null\nServerName localhost\nListen 127.0.0.1:{port}\n\
         {modules}User www-data\nGroup www-data\nProxyPreserveHost On\nMaxKeepAliveRequests 0\nKeepAliveTimeout 60\n\
         ProxyPass / http://127.0.0.1:{node}/ keepalive=On nocanon\n",
        dir.display()
    )
}
