//! Settings of nginx and Caddy on their own server, and imported (`selvedge import`) on this one: the same requests get the same answers, but for
//! what is listed here with its reason.

mod common;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::servers::{Running, free_address, install, node, start};
use common::{Answer, Selvedge, selvedge};

/// Fields that are compared. What a server says of itself and of the time is its own.
const FIELDS: [&str; 10] = [
    "content-type",
    "location",
    "cache-control",
    "content-range",
    "www-authenticate",
    "x-frame-options",
    "x-served",
    "x-api",
    "content-length",
    "access-control-allow-origin",
];

/// A request, and what differs in its answers: nothing, or names of what does, each with its reason.
struct Case {
    line: &'static str,
    host: &'static str,
    fields: &'static str,
    body: &'static str,
    differs: &'static [(&'static str, &'static str)],
    own_page: bool,
}

const fn case(line: &'static str, host: &'static str) -> Case {
    Case { line, host, fields: "", body: "", differs: &[], own_page: false }
}

impl Case {
    const fn fields(mut self, fields: &'static str) -> Self {
        self.fields = fields;
        self
    }

    const fn body(mut self, body: &'static str) -> Self {
        self.body = body;
        self
    }

    const fn differs(mut self, differs: &'static [(&'static str, &'static str)]) -> Self {
        self.differs = differs;
        self
    }

    const fn own_page(mut self) -> Self {
        self.own_page = true;
        self
    }

    fn ask(&self, address: SocketAddr) -> Answer {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let length = if self.body.is_empty() {
            String::new()
        } else {
            format!("content-length: {}\r\n", self.body.len())
        };
        let head = format!(
            "{} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{length}{}\r\n",
            self.line, self.host, self.fields
        );
        stream.write_all(head.as_bytes()).unwrap();
        let _ = stream.write_all(self.body.as_bytes());
        Answer::read(stream)
    }
}

/// Where settings name no page, each server has its own: what it says, in which type, and whether caches may keep it.
const OWN_PAGE: [&str; 4] = ["body", "content-type", "content-length", "cache-control"];
/// nginx's table of types is older than RFC 9239.
const SCRIPTS: &[(&str, &str)] = &[("content-type", "text/javascript since RFC 9239")];
/// Caddy looks at the beginning of answers that have no type; here they pass as they are.
const GUESSED: &[(&str, &str)] = &[("content-type", "Caddy guesses types of answers that have none")];

fn compare(name: &str, cases: &[Case], original: SocketAddr, imported: SocketAddr) -> Vec<String> {
    let mut wrong = Vec::new();
    for case in cases {
        let (theirs, ours) = (case.ask(original), case.ask(imported));
        let mut pairs = vec![
            ("status".to_owned(), theirs.status.to_string(), ours.status.to_string()),
            ("body".to_owned(), theirs.body.clone(), ours.body.clone()),
        ];
        for field in FIELDS {
            let text = |answer: &Answer| answer.header(field).unwrap_or("-").to_owned();
            pairs.push((field.to_owned(), text(&theirs), text(&ours)));
        }
        for (what, theirs, ours) in pairs {
            let listed = case.differs.iter().any(|(listed, _)| *listed == what);
            let kind = |text: &str| text.split(';').next().unwrap_or_default().trim().to_owned();
            let same = match what.as_str() {
                // With or without an encoding.
                "content-type" => kind(&theirs) == kind(&ours),
                // Both ways of saying how long an answer is are as good.
                "content-length" => theirs == ours || theirs == "-" || ours == "-",
                _ => theirs == ours,
            };
            let own = case.own_page && OWN_PAGE.contains(&what.as_str());
            // Fields that protect people in browsers are here for every site that does not say otherwise.
            let protects = what == "x-frame-options" && theirs == "-";
            if same == listed && !own && !protects {
                let how = if listed { "is listed as different, and is the same" } else { "differs" };
                wrong.push(format!(
                    "{name}: {} {} {}: {what} {how}: theirs {theirs:?}, ours {ours:?}",
                    case.line,
                    case.host,
                    case.fields.trim()
                ));
            }
        }
    }
    wrong
}

/// This server with what it made of another's settings.
fn imported(file: &Path) -> Selvedge {
    let output = selvedge().arg("import").arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let settings = String::from_utf8(output.stdout).unwrap();
    Selvedge::configured(&settings)
}

/// A directory of pages.
fn pages(dir: &Path) {
    let www = dir.join("www");
    std::fs::create_dir_all(www.join("docs")).unwrap();
    std::fs::create_dir_all(www.join("assets")).unwrap();
    for (name, text) in [
        ("index.html", "<h1>home</h1>"),
        ("about.html", "<h1>about</h1>"),
        ("404.html", "<h1>nothing here</h1>"),
        ("docs/index.html", "<h1>docs</h1>"),
        ("assets/app.js", "console.log(1)"),
        ("assets/style.css", "body{}"),
        ("data.json", "{\"a\":1}"),
        ("picture.png", "no real picture"),
        ("page.txt", "plain text"),
    ] {
        std::fs::write(www.join(name), text).unwrap();
    }
    // ada, with the password "secret".
    let hash = Command::new("openssl").args(["passwd", "-apr1", "secret"]).output().unwrap();
    let hash = String::from_utf8(hash.stdout).unwrap();
    std::fs::write(dir.join("users"), format!("ada:{}\n", hash.trim())).unwrap();
}

const NGINX: &str = r#"
upstream app { server NODE; keepalive 4; }
server {
  listen PORT;
  server_name old.example;
  return 301 http://www.example$request_uri;
}
server {
  listen PORT;
  server_name www.example *.www.example;
  root DIR/www;
  index index.html;
  client_max_body_size 1k;
  add_header X-Frame-Options DENY always;
  error_page 404 /404.html;
  location / { try_files $uri $uri/ =404; }
  location = /health { default_type text/plain; return 200 "fine\n"; }
  location = /gone { return 410; }
  location /api/ { proxy_pass http://app/; proxy_set_header Host $host; }
  location /raw/ { proxy_pass http://app; }
  location /assets/ { expires 1h; add_header X-Served assets; }
  location ~* \.(png|jpg)$ { expires 30d; }
  location /private/ { allow 10.0.0.0/8; deny all; }
  location /files/ { alias DIR/www/docs/; }
  location ^~ /fixed/ { return 204; }
  location /moved { return 302 /docs/; }
}
server {
  listen PORT;
  server_name spa.example;
  root DIR/www;
  location / { try_files $uri $uri/ /index.html; }
}
"#;

const NGINX_CASES: &[Case] = &[
    case("GET /a?b=c", "old.example").own_page(),
    case("GET /", "www.example"),
    case("GET /", "deep.www.example"),
    case("GET /about.html", "www.example"),
    case("GET /docs/", "www.example"),
    case("GET /data.json", "www.example"),
    case("GET /page.txt", "www.example"),
    case("GET /page.txt", "www.example").fields("range: bytes=2-5\r\n"),
    case("GET /page.txt", "www.example").fields("range: bytes=900-\r\n").own_page(),
    case("GET /nothing", "www.example"),
    case("GET /health", "www.example"),
    case("GET /gone", "www.example").own_page(),
    case("GET /api/name", "www.example"),
    case("GET /api/x?y=z", "www.example"),
    case("GET /raw/x?y=z", "www.example"),
    case("POST /api/length", "www.example").body("twelve bytes"),
    case("GET /assets/app.js", "www.example").differs(SCRIPTS),
    case("GET /assets/style.css", "www.example"),
    case("GET /picture.png", "www.example"),
    case("GET /private/x", "www.example").own_page(),
    case("GET /files/", "www.example"),
    case("GET /fixed/x", "www.example"),
    case("GET /moved", "www.example").own_page().differs(&[(
        "location",
        "nginx makes paths addresses; they mean the same (RFC 9110, section 10.2.2)",
    )]),
    case("GET /deep/link", "spa.example"),
    case("GET /assets/app.js", "spa.example").differs(SCRIPTS),
];

#[test]
fn nginx_and_its_settings_imported() {
    install("nginx", "nginx-light");
    let dir = tempfile::tempdir().unwrap();
    pages(dir.path());
    let (node, address) = (node("app"), free_address());
    let config = dir.path().join("nginx.conf");
    let text = NGINX
        .replace("NODE", &node.address.to_string())
        .replace("PORT", &address.to_string())
        .replace("DIR", &dir.path().display().to_string());
    let root = dir.path().display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {root}/{kind};\n"))
        .concat();
    let whole = format!(
        "user root; daemon off; master_process off; pid {root}/nginx.pid; error_log /dev/null;\nevents {{ worker_connections 256; }}\n\
         http {{\ninclude /etc/nginx/mime.types;\naccess_log off;\n{temporary}{text}}}\n"
    );
    std::fs::write(&config, whole).unwrap();
    let nginx: Running =
        start(Command::new("nginx").arg("-c").arg(&config).args(["-e", "/dev/null"]), address);
    let ours = imported(&config);
    let wrong = compare("nginx", NGINX_CASES, nginx.address, ours.http);
    assert!(
        wrong.is_empty(),
        "{wrong:#?}\n{}",
        std::fs::read_to_string(ours.data().join("selvedge.toml")).unwrap()
    );
}

const CADDY: &str = r#"{
	admin off
	auto_https off
}
http://old.example:PORT {
	redir http://www.example{uri} permanent
}
http://www.example:PORT {
	root * DIR/www
	header X-Frame-Options DENY
	respond /health "fine" 200
	respond /gone 410
	handle /fine {
		respond "fine" 200
	}
	handle_path /api/* {
		reverse_proxy NODE
	}
	handle /raw/* {
		reverse_proxy NODE
	}
	handle /assets/* {
		header Cache-Control "max-age=3600"
		file_server
	}
	handle {
		file_server
	}
}
http://spa.example:PORT {
	root * DIR/www
	try_files {path} /index.html
	file_server
}
"#;

const CADDY_CASES: &[Case] = &[
    case("GET /a?b=c", "old.example"),
    case("GET /", "www.example"),
    case("GET /about.html", "www.example"),
    case("GET /docs/", "www.example"),
    case("GET /data.json", "www.example"),
    case("GET /page.txt", "www.example").fields("range: bytes=2-5\r\n"),
    case("GET /nothing", "www.example").own_page(),
    // Never reached: a `handle` takes all before it.
    case("GET /health", "www.example").own_page(),
    case("GET /gone", "www.example").own_page(),
    case("GET /fine", "www.example"),
    case("GET /api/name", "www.example").differs(GUESSED),
    case("GET /api/x?y=z", "www.example").differs(GUESSED),
    case("GET /raw/x?y=z", "www.example").differs(GUESSED),
    case("POST /api/length", "www.example").body("twelve bytes"),
    case("GET /assets/app.js", "www.example"),
    case("GET /picture.png", "www.example"),
    case("GET /deep/link", "spa.example"),
    case("GET /assets/app.js", "spa.example"),
];

#[test]
fn caddy_and_its_settings_imported() {
    install("caddy", "caddy");
    let dir = tempfile::tempdir().unwrap();
    pages(dir.path());
    let (node, address) = (node("app"), free_address());
    let config = dir.path().join("Caddyfile");
    let text = CADDY
        .replace("NODE", &node.address.to_string())
        .replace("PORT", &address.port().to_string())
        .replace("DIR", &dir.path().display().to_string());
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&config);
    let caddy = start(command.env("HOME", dir.path()).env("XDG_DATA_HOME", dir.path()), address);
    let ours = imported(&config);
    let wrong = compare("caddy", CADDY_CASES, caddy.address, ours.http);
    assert!(
        wrong.is_empty(),
        "{wrong:#?}\n{}",
        std::fs::read_to_string(ours.data().join("selvedge.toml")).unwrap()
    );
}
