//! Web servers, proxies and caches that the edge is measured against: Debian's nginx, haproxy, varnish, caddy and h2o.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::{Process, free_address};

/// What a server has to work with.
pub(crate) struct Scene {
    dir: TempDir,
    /// Answers requests that are passed on.
    pub(crate) origin: SocketAddr,
}

/// What a server is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Files of [`Scene::files`].
    Files,
    /// Everything from the origin.
    Proxy,
    /// Everything from the origin, once.
    Cache,
    /// Files over TLS, HTTP/1.1 and HTTP/2.
    Tls,
}

/// Another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    Nginx,
    Haproxy,
    Varnish,
    Caddy,
    H2o,
}

/// One that runs.
pub(crate) struct RunningFront {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    _dir: TempDir,
}

impl Scene {
    /// Files of the sizes that are asked for, and a certificate for `localhost`.
    pub(crate) fn new(origin: SocketAddr) -> Result<Self> {
        let scene = Self { dir: tempfile::tempdir()?, origin };
        fs::create_dir(scene.files())?;
        for (name, bytes) in
            [("1k.txt", 1 << 10), ("10k.txt", 10 << 10), ("1m.bin", 1 << 20), ("100m.bin", 100 << 20)]
        {
            fs::write(scene.files().join(name), vec![b'x'; bytes])?;
        }
        let mut openssl = Command::new("openssl");
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ]);
        openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
        openssl.arg("-keyout").arg(scene.key()).arg("-out").arg(scene.certificate());
        let output = openssl.output().context("run openssl (apt install openssl)")?;
        if !output.status.success() {
            bail!("openssl: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(scene)
    }

    /// Directory of `1k.txt`, `10k.txt`, `1m.bin` and `100m.bin`.
    pub(crate) fn files(&self) -> PathBuf {
        self.dir.path().join("files")
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.dir.path().join("certificate.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.dir.path().join("key.pem")
    }
}

impl Front {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Varnish => "varnish",
            Self::Caddy => "caddy",
            Self::H2o => "h2o",
        }
    }

    fn executable(self) -> PathBuf {
        let name = match self {
            Self::Varnish => "varnishd",
            other => other.name(),
        };
        // Where Debian puts servers, which is not on every user's path.
        let beside = Path::new("/usr/sbin").join(name);
        if beside.exists() { beside } else { name.into() }
    }

    /// What it says about its version.
    pub(crate) fn version(self) -> String {
        let flag = match self {
            Self::Nginx | Self::Haproxy => "-v",
            Self::Varnish => "-V",
            Self::Caddy => "version",
            Self::H2o => "--version",
        };
        let output = Command::new(self.executable()).arg(flag).output();
        let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let number =
            |word: &&str| word.chars().next().is_some_and(|c| c.is_ascii_digit()) && word.contains('.');
        let version = text.split(|c: char| c.is_whitespace() || "/-()".contains(c)).find(number);
        format!("{} {}", self.name(), version.unwrap_or("?"))
    }

    /// Starts it on one core, with one serving thread.
    pub(crate) fn start(self, duty: Duty, scene: &Scene, core: usize) -> Result<RunningFront> {
        let dir = tempfile::tempdir()?;
        let address = free_address()?;
        let config = dir.path().join("config");
        fs::write(&config, self.config(duty, scene, address, dir.path())?)?;
        let mut command = Command::new(self.executable());
        match self {
            Self::Nginx => command.arg("-c").arg(&config).arg("-p").arg(dir.path()),
            Self::Haproxy => command.arg("-db").arg("-f").arg(&config),
            Self::Caddy => {
                command.env("GOMAXPROCS", "1").env("HOME", dir.path()).env("XDG_DATA_HOME", dir.path());
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&config)
            }
            Self::H2o => command.arg("-c").arg(&config),
            Self::Varnish => {
                command.arg("-F").arg("-n").arg(dir.path().join("state")).arg("-f").arg(&config);
                command.arg("-a").arg(address.to_string()).args(["-s", "malloc,256m", "-p", "thread_pools=1"])
            }
        };
        let mut process = Process::start(command.stdout(Stdio::null()), dir.path(), Some(core))
            .with_context(|| format!("{} (apt install {})", self.name(), self.name()))?;
        process.wait_for(address).with_context(|| self.name().to_owned())?;
        Ok(RunningFront { process, address, _dir: dir })
    }

    fn config(self, duty: Duty, scene: &Scene, address: SocketAddr, dir: &Path) -> Result<String> {
        let (files, origin, dir) = (scene.files(), scene.origin, dir.display());
        let (files, certificate, key) = (files.display(), scene.certificate(), scene.key());
        let (certificate, key, port) = (certificate.display(), key.display(), address.port());
        Ok(match (self, duty) {
            (Self::Nginx, _) => {
                let (listen, location) = match duty {
                    Duty::Files => (String::new(), format!("root {files};")),
                    Duty::Tls => (" ssl http2".into(), format!("root {files};")),
                    Duty::Proxy => (String::new(), "proxy_pass http://origin;".into()),
                    Duty::Cache => (
                        String::new(),
                        "proxy_pass http://origin; proxy_cache all; proxy_cache_valid 200 1h;".into(),
                    ),
                };
                format!(
                    "daemon off; master_process off; worker_processes 1; pid {dir}/pid; error_log stderr crit;
                     worker_rlimit_nofile 65536;
                     events {{ worker_connections 60000; }}
                     http {{
                       access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; keepalive_timeout 3600;
                       client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f;
                       uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
                       proxy_cache_path {dir}/cache keys_zone=all:10m max_size=256m;
                       proxy_http_version 1.1; proxy_set_header Connection \"\";
                       ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;
                       http2_max_requests 1000000000; http2_max_concurrent_streams 256;
                       upstream origin {{ server {origin}; keepalive 64; keepalive_requests 1000000000; }}
                       server {{ listen {address}{listen}; location / {{ {location} }} }}
                     }}\n"
                )
            }
            (Self::Haproxy, Duty::Proxy) => format!(
                "global\n  nbthread 1\n  maxconn 4000\ndefaults\n  mode http\n  timeout client 1h\n  timeout server 1h\n  \
                 timeout connect 5s\n  http-reuse always\nfrontend f\n  bind {address}\n  default_backend b\nbackend b\n  \
                 server s {origin}\n"
            ),
            (Self::Varnish, Duty::Cache) => format!(
                "vcl 4.1; backend default {{ .host = \"{}\"; .port = \"{}\"; }} sub vcl_backend_response {{ set beresp.ttl = 1h; }}\n",
                origin.ip(),
                origin.port()
            ),
            (Self::Caddy, Duty::Files) => format!(
                "{{\n  admin off\n  auto_https off\n}}\nhttp://:{port} {{\n  bind 127.0.0.1\n  root * {files}\n  file_server\n}}\n"
            ),
            (Self::Caddy, Duty::Proxy) => format!(
                "{{\n  admin off\n  auto_https off\n}}\nhttp://:{port} {{\n  bind 127.0.0.1\n  reverse_proxy {origin}\n}}\n"
            ),
            (Self::H2o, Duty::Files | Duty::Tls) => {
                let ssl = match duty {
                    Duty::Tls => {
                        format!(
                            "\n  ssl:\n    certificate-file: {certificate}\n    key-file: {key}\n    minimum-version: TLSv1.3"
                        )
                    }
                    _ => String::new(),
                };
                format!(
                    "num-threads: 1\nmax-connections: 60000\nuser: root\nlisten:\n  port: {port}\n  host: 127.0.0.1{ssl}\nhttp2-idle-timeout: 3600\n\
                     hosts:\n  \"*\":\n    paths:\n      /:\n        file.dir: {files}\n"
                )
            }
            (other, duty) => bail!("{} is not measured as {duty:?}", other.name()),
        })
    }
}
