use std::path::Path;

use super::*;
use crate::server::Settings;

/// Imports a text; what comes of it must be settings without a mistake.
fn imported(kind: Kind, text: &str) -> (Settings, Draft, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("www")).unwrap();
    std::fs::write(
        dir.path().join("users"),
        "ada:$2y$05$bIrJbLW4oUpgZXJ1XNEXTeI7b5UoAWfRKJpSUHTxUXMvYBmXOyD3K\n",
    )
    .unwrap();
    let file = dir.path().join("source");
    let root = dir.path().join("www").display().to_string();
    std::fs::write(
        &file,
        text.replace("/www", &root).replace("/users", &dir.path().join("users").display().to_string()),
    )
    .unwrap();
    let draft = import(&file, kind).unwrap();
    let settings = dir.path().join("selvedge.toml");
    let toml = draft.text();
    std::fs::write(&settings, &toml).unwrap();
    let read = Settings::read(&settings, None).unwrap_or_else(|failure| panic!("{failure:?}\n{toml}"));
    (read.settings, draft, toml)
}

fn notes(draft: &Draft) -> Vec<(usize, String)> {
    draft.notes.iter().map(|note| (note.line, note.directive.clone())).collect()
}

const NGINX: &str = r#"user www-data;
events { worker_connections 1024; }
http {
  limit_req_zone $binary_remote_addr zone=one:10m rate=10r/s;
  upstream app {
    least_conn;
    server 127.0.0.1:3000 weight=3;
    server 127.0.0.1:3001;
    keepalive 16;
  }
  map $uri $x { default 1; }
  server {
    listen 80;
    server_name example.com .example.org;
    return 301 https://$host$request_uri;
  }
  server {
    listen 8443 default_server;
    server_name www.example.com;
    root /www;
    index index.html index.htm;
    client_max_body_size 2m;
    add_header X-Frame-Options DENY always;
    error_page 404 /404.html;
    location / { try_files $uri $uri/ /index.html; }
    location = /health { return 200 "fine\n"; }
    location /api/ {
      limit_req zone=one burst=20;
      proxy_pass http://app/v1/;
      proxy_set_header Host $host;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Tenant $http_x_tenant;
    }
    location ~* \.(png|jpg)$ { expires 30d; }
    location /admin/ {
      allow 10.0.0.0/8;
      deny all;
      auth_basic "Staff";
      auth_basic_user_file /users;
      proxy_pass http://127.0.0.1:9000;
      proxy_read_timeout 5m;
    }
    location ~ \.php$ { fastcgi_pass unix:/run/php.sock; }
  }
}
"#;

#[test]
fn nginx_becomes_sites() {
    let (settings, draft, toml) = imported(Kind::Nginx, NGINX);
    assert_eq!(
        notes(&draft),
        [(11, "map $uri $x".into()), (43, "fastcgi_pass unix:/run/php.sock".into())],
        "{toml}"
    );
    assert!(toml.starts_with("# Not carried over:\n#   "), "{toml}");
    let [first, second] = &settings.sites[..] else { panic!("{toml}") };
    assert_eq!(first.hosts, ["example.com", "example.org", "*.example.org"]);
    let redirect = first.routes[0].redirect.as_ref().unwrap();
    assert_eq!((redirect.to.as_str(), redirect.status), ("https://{host}{uri}", 301));
    let route = |path: &str| {
        second.routes.iter().find(|route| route.path == path).unwrap_or_else(|| panic!("{path}\n{toml}"))
    };
    assert_eq!(route("/*").files.as_ref().unwrap().fallback.as_deref(), Some("/index.html"));
    assert_eq!(route("/health").respond.as_ref().unwrap().body, "fine\n");
    let api = route("/api/*");
    assert_eq!(api.uses, ["one", "bodies", "fields-2"]);
    let proxy = api.proxy.as_ref().unwrap();
    assert_eq!((proxy.upstream.as_deref(), proxy.host.as_deref()), (Some("app"), Some("keep")));
    let rewrite = proxy.rewrite.as_ref().unwrap();
    assert_eq!((rewrite.pattern.as_str(), rewrite.to.as_str()), ("^/api/", "/v1/"));
    let admin = route("/admin/*");
    assert_eq!(admin.uses[..2], ["addresses", "passwords"]);
    assert_eq!(admin.proxy.as_ref().unwrap().servers.idle_timeout_ms, 300_000);
    assert_eq!(route("~\\.php$").respond.as_ref().unwrap().status, 501, "sources are not shown");
    assert!(second.routes.iter().any(|route| route.path == "~(?i)\\.(png|jpg)$"));
}

const CADDY: &str = r#"{
	email ops@example.com
}
(common) {
	header {
		X-Frame-Options DENY
		-Server
	}
	encode zstd gzip
}
example.com, www.example.com:8443 {
	import common
	root * /www
	@old path /old/*
	redir @old https://{host}/new permanent
	handle_path /api/* {
		reverse_proxy 127.0.0.1:3000 127.0.0.1:3001 {
			lb_policy least_conn
			health_uri /ping
			header_up Host {upstream_hostport}
		}
	}
	@posts {
		method POST
		header X-Beta *
	}
	handle @posts {
		respond "no" 403
	}
	respond /never "answers"
	handle {
		try_files {path} /index.html
		file_server browse
	}
	php_fastcgi unix//run/php.sock
}
http://plain.example {
	respond "plain"
}
"#;

#[test]
fn caddy_becomes_sites() {
    let (settings, draft, toml) = imported(Kind::Caddy, CADDY);
    let left = [(30, "respond /never answers".into()), (35, "php_fastcgi unix//run/php.sock".into())];
    assert_eq!(notes(&draft), left, "{toml}");
    assert!(!toml.contains("\"/never\""), "what Caddy never reaches is not reached here: {toml}");
    let [first, second] = &settings.sites[..] else { panic!("{toml}") };
    assert_eq!(first.hosts, ["example.com", "www.example.com"]);
    let route = |path: &str| first.routes.iter().filter(|route| route.path == path).collect::<Vec<_>>();
    assert_eq!(route("/old/*")[0].redirect.as_ref().unwrap().status, 301);
    let api = route("/api/*")[0].proxy.as_ref().unwrap();
    assert_eq!((api.strip_prefix.as_deref(), api.host.as_deref()), (Some("/api"), Some("upstream")));
    assert!(api.servers.health.is_some());
    let all = route("/*");
    assert!(
        all.iter().any(|route| route.methods == ["POST"] && route.respond.as_ref().unwrap().status == 403),
        "{toml}"
    );
    let files = all.iter().find_map(|route| route.files.as_ref()).unwrap();
    assert_eq!((files.listing, files.fallback.as_deref()), (true, Some("/index.html")));
    assert_eq!(second.hosts, ["plain.example"]);
    assert_eq!(kind_of(Path::new("/etc/caddy/Caddyfile")), Kind::Caddy);
}

#[test]
fn one_site_may_do_without_braces() {
    let (settings, ..) = imported(Kind::Caddy, "a.example\nrespond \"hi\"\n");
    assert_eq!(settings.sites[0].routes[0].respond.as_ref().unwrap().body, "hi");
}

#[test]
fn broken_files_say_where() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.conf");
    std::fs::write(&file, "http {\n server {\n").unwrap();
    let failure = import(&file, Kind::Nginx).unwrap_err();
    assert_eq!(failure.code, "bad_import");
    assert!(failure.message.contains("x.conf:2"), "{failure}");
}
