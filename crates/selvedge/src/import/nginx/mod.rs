//! nginx's settings: servers become sites, locations routes.

mod location;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use globset::Glob;
use toml::{Table, Value};

use super::units::{bytes, duration_ms, expires, route, set, upstream_url};
use super::words::{Directive, Ending, parse};
use super::{Draft, Note};

/// Files that are read together.
const FILES_MAX: usize = 256;

/// What has no counterpart because nothing needs to be said: the default here does it, or another part of the system.
const SILENT: &[&str] = &[
    "user",
    "worker_processes",
    "worker_connections",
    "worker_rlimit_nofile",
    "pid",
    "error_log",
    "events",
    "use",
    "multi_accept",
    "sendfile",
    "tcp_nopush",
    "tcp_nodelay",
    "keepalive_timeout",
    "keepalive_requests",
    "keepalive",
    "types_hash_max_size",
    "types",
    "default_type",
    "charset",
    "server_names_hash_bucket_size",
    "server_tokens",
    "gzip",
    "gzip_types",
    "gzip_vary",
    "gzip_proxied",
    "gzip_comp_level",
    "gzip_min_length",
    "gzip_buffers",
    "gzip_http_version",
    "gzip_disable",
    "gzip_static",
    "brotli",
    "brotli_types",
    "brotli_static",
    "brotli_comp_level",
    "http2",
    "http3",
    "proxy_http_version",
    "proxy_buffering",
    "proxy_buffers",
    "proxy_buffer_size",
    "proxy_busy_buffers_size",
    "proxy_redirect",
    "ssl_protocols",
    "ssl_ciphers",
    "ssl_prefer_server_ciphers",
    "ssl_session_cache",
    "ssl_session_timeout",
    "ssl_session_tickets",
    "ssl_dhparam",
    "ssl_stapling",
    "ssl_stapling_verify",
    "ssl_trusted_certificate",
    "resolver",
    "resolver_timeout",
    "include",
    "log_format",
    "access_log",
    "daemon",
    "master_process",
    "client_body_temp_path",
    "proxy_temp_path",
    "fastcgi_temp_path",
    "uwsgi_temp_path",
    "scgi_temp_path",
    "limit_req_zone",
    "map_hash_bucket_size",
    "map_hash_max_size",
    "client_body_buffer_size",
    "client_header_buffer_size",
    "large_client_header_buffers",
    "proxy_cache_path",
    "proxy_cache_valid",
    "proxy_cache_key",
    "proxy_cache_lock",
    "proxy_cache_use_stale",
    "proxy_cache_revalidate",
    "proxy_cache_background_update",
    "proxy_cache_min_uses",
    "proxy_cache_bypass",
    "proxy_no_cache",
    "satisfy",
    "absolute_redirect",
    "server_name_in_redirect",
    "port_in_redirect",
    "log_not_found",
    "etag",
    "if_modified_since",
    "real_ip_header",
    "load_module",
];

/// Values that a location takes from around it.
#[derive(Clone, Debug, Default)]
struct Around {
    root: Option<String>,
    index: Option<Vec<String>>,
    response: BTreeMap<String, String>,
    request: BTreeMap<String, String>,
    /// What `Host` upstreams see.
    host: Option<String>,
    proxy: Table,
    steps: Vec<String>,
    errors: Table,
    cached: bool,
    body_bytes: Option<i64>,
    rules: (Vec<String>, Vec<String>),
    basic: Option<(String, String)>,
}

pub(super) fn import(file: &Path, text: &str) -> Result<Draft, Note> {
    let mut all = parse(&file.display().to_string(), text, Ending::Semicolon)?;
    let mut files = 1;
    include(&mut all, file.parent().unwrap_or(Path::new("")), &mut files)?;
    let mut import = Import::default();
    import.top(&all);
    Ok(import.draft)
}

/// Puts the directives of included files in the place of `include`. Files of types are left alone.
fn include(directives: &mut Vec<Directive>, base: &Path, files: &mut usize) -> Result<(), Note> {
    let mut at = 0;
    while at < directives.len() {
        if let Some(block) = &mut directives[at].block {
            include(block, base, files)?;
        }
        if directives[at].name() != "include" || directives[at].first().ends_with("mime.types") {
            at += 1;
            continue;
        }
        let directive = directives.remove(at);
        let pattern = base.join(directive.first());
        let mut found = Vec::new();
        for path in matching(&pattern) {
            *files += 1;
            if *files > FILES_MAX {
                return Err(directive.note("too many files are included"));
            }
            let text = std::fs::read_to_string(&path).map_err(|error| directive.note(&error.to_string()))?;
            let mut inner = parse(&path.display().to_string(), &text, Ending::Semicolon)?;
            include(&mut inner, base, files)?;
            found.extend(inner);
        }
        let count = found.len();
        directives.splice(at..at, found);
        at += count;
    }
    Ok(())
}

fn matching(pattern: &Path) -> Vec<std::path::PathBuf> {
    if !pattern.to_string_lossy().contains(['*', '?']) {
        return vec![pattern.to_owned()];
    }
    let name = pattern.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Ok(glob) = Glob::new(&name) else { return Vec::new() };
    let glob = glob.compile_matcher();
    let directory = pattern.parent().unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<_> =
        entries.filter(|entry| glob.is_match(entry.file_name())).map(|entry| entry.path()).collect();
    found.sort();
    found
}

#[derive(Default)]
struct Import {
    draft: Draft,
    /// `limit_req_zone` by name: requests, and the time for them.
    zones: BTreeMap<String, (i64, &'static str)>,
    listens: BTreeSet<String>,
}

impl Import {
    fn top(&mut self, all: &[Directive]) {
        for directive in all {
            match directive.name() {
                "http" => self.http(directive.inside()),
                "server" | "upstream" => self.http(std::slice::from_ref(directive)),
                name if SILENT.contains(&name) => {}
                _ => self.note(directive, "there is no counterpart"),
            }
        }
    }

    fn note(&mut self, directive: &Directive, why: &str) {
        self.draft.notes.push(directive.note(why));
    }

    fn http(&mut self, inside: &[Directive]) {
        let mut around = Around::default();
        for directive in inside.iter().filter(|one| one.name() == "limit_req_zone") {
            self.zone(directive);
        }
        for directive in inside {
            match directive.name() {
                "server" | "upstream" => {}
                name if self.common(directive, &mut around) || SILENT.contains(&name) => {}
                "map" | "geo" | "split_clients" => {
                    self.note(directive, "variables of one's own have no counterpart; conditions of routes or a worker may do it");
                }
                _ => self.note(directive, "there is no counterpart"),
            }
        }
        for directive in inside {
            match directive.name() {
                "upstream" => self.upstream(directive),
                "server" => self.server(directive, &around),
                _ => {}
            }
        }
    }

    fn zone(&mut self, directive: &Directive) {
        let value = |key: &str| directive.arguments().iter().find_map(|word| word.strip_prefix(key));
        let name = value("zone=").and_then(|zone| zone.split(':').next()).unwrap_or_default();
        let rate = value("rate=").unwrap_or_default();
        let (count, per) = match rate.strip_suffix("r/s") {
            Some(count) => (count, "1s"),
            None => (rate.strip_suffix("r/m").unwrap_or_default(), "1m"),
        };
        match count.parse() {
            Ok(count) => {
                self.zones.insert(name.into(), (count, per));
            }
            Err(_) => self.note(directive, "its rate is not understood"),
        }
    }

    fn upstream(&mut self, directive: &Directive) {
        let mut settings = Table::new();
        let mut to = Vec::new();
        for inner in directive.inside() {
            match inner.name() {
                "server" => {
                    let url = upstream_url("http", inner.first());
                    let weight = inner
                        .arguments()
                        .iter()
                        .find_map(|word| word.strip_prefix("weight=")?.parse::<i64>().ok());
                    to.push(match weight {
                        Some(weight) => Value::Table(Table::from_iter([
                            ("url".into(), url.into()),
                            ("weight".into(), weight.into()),
                        ])),
                        None => url.into(),
                    });
                    let other =
                        inner.arguments().iter().skip(1).any(|word| word == "backup" || word == "down");
                    if other {
                        self.note(inner, "servers in reserve have no counterpart; unhealthy ones are left out by themselves");
                    }
                }
                "least_conn" => set(&mut settings, "balance", "least_connections"),
                "ip_hash" => set(&mut settings, "balance", "ip_hash"),
                "random" => set(&mut settings, "balance", "two_choices"),
                "hash" => {
                    set(&mut settings, "balance", "consistent_hash");
                    match inner.first() {
                        "$remote_addr" | "$binary_remote_addr" => {}
                        "$request_uri" | "$uri" => set(&mut settings, "hash_by", "path"),
                        variable => {
                            match (variable.strip_prefix("$http_"), variable.strip_prefix("$cookie_")) {
                                (Some(name), _) => set(
                                    &mut settings,
                                    "hash_by",
                                    format!("header:{}", name.replace('_', "-")),
                                ),
                                (_, Some(name)) => set(&mut settings, "hash_by", format!("cookie:{name}")),
                                _ => self.note(inner, "hashed is the client's address instead"),
                            }
                        }
                    }
                }
                "keepalive" | "keepalive_timeout" | "keepalive_requests" | "zone" => {}
                _ => self.note(inner, "there is no counterpart"),
            }
        }
        settings.insert("to".into(), to.into());
        self.draft.upstreams.insert(directive.first().into(), settings.into());
    }

    fn server(&mut self, directive: &Directive, around: &Around) {
        let mut around = around.clone();
        let mut site = Table::new();
        let mut hosts: Vec<Value> = Vec::new();
        let mut tls = Table::new();
        let mut routes: Vec<Value> = Vec::new();
        let mut secure = false;
        for inner in directive.inside() {
            match inner.name() {
                "listen" => secure |= self.listen(inner),
                "server_name" => {
                    for name in inner.arguments() {
                        match name.as_str() {
                            "_" | "" => {}
                            name if name.starts_with('~') => {
                                self.note(inner, "hosts are names, or *.name; no expressions")
                            }
                            name => match name.strip_prefix('.') {
                                Some(name) => hosts.extend([name.into(), format!("*.{name}").into()]),
                                None => hosts.push(name.into()),
                            },
                        }
                    }
                }
                "ssl_certificate" => set(&mut tls, "certificate", inner.first()),
                "ssl_certificate_key" => set(&mut tls, "key", inner.first()),
                "ssl_client_certificate" => set(&mut tls, "client_ca", inner.first()),
                "ssl_verify_client" if inner.first() == "on" => {}
                "ssl_verify_client" if inner.first() == "optional" => {
                    set(&mut tls, "client_auth", "optional")
                }
                "ssl" => secure |= inner.first() == "on",
                "location" | "return" | "rewrite" | "if" => {}
                name if self.common(inner, &mut around) || SILENT.contains(&name) => {}
                _ => self.note(inner, "there is no counterpart"),
            }
        }
        for inner in directive.inside() {
            match inner.name() {
                "location" => self.location(inner, &around, &mut routes),
                "return" => routes.extend(self.answer(inner).map(|answer| route("/*", answer, &[]))),
                "rewrite" => routes.extend(self.rewrite(inner)),
                "if" => self.note(inner, "conditions belong to routes: methods, headers, query"),
                _ => {}
            }
        }
        if !routes.iter().any(|route| route.get("path").and_then(Value::as_str) == Some("/*")) {
            let nothing: &[Directive] = &[];
            routes.extend(self.route_of("/*", "/", nothing, &around));
        }
        if hosts.is_empty() {
            hosts.push("*".into());
        }
        site.insert("hosts".into(), hosts.into());
        if secure && !tls.is_empty() {
            site.insert("tls".into(), tls.into());
        }
        site.insert("routes".into(), routes.into());
        self.draft.sites.push(site);
    }

    /// Whether it is TLS.
    fn listen(&mut self, directive: &Directive) -> bool {
        let address = match directive.first() {
            port if port.parse::<u16>().is_ok() => format!("0.0.0.0:{port}"),
            any if any.starts_with("*:") => format!("0.0.0.0{}", &any[1..]),
            name if !name.contains(':') => format!("{name}:80"),
            other => other.replace("localhost", "127.0.0.1"),
        };
        let has = |word: &str| directive.arguments().iter().any(|other| other == word);
        let secure = has("ssl") || has("quic");
        if self.listens.insert(address.clone()) {
            let mut table = Table::from_iter([("address".into(), Value::from(address.clone()))]);
            if secure {
                table.insert("tls".into(), true.into());
            }
            if has("proxy_protocol") {
                set(&mut table, "proxy_protocol", "required");
                self.note(directive, "say in `from` whose PROXY header is believed");
            }
            self.draft.listen.push(if table.len() == 1 { address.into() } else { table.into() });
        }
        secure
    }

    /// Directives that may stand at any level; true when it was one.
    fn common(&mut self, directive: &Directive, around: &mut Around) -> bool {
        let argument = directive.first().to_owned();
        let milliseconds = || duration_ms(&argument).map_or(Value::from(60_000), Value::from);
        match directive.name() {
            "root" => around.root = Some(argument),
            "index" => {
                around.index = Some(
                    directive.arguments().iter().filter(|name| !name.starts_with('/')).cloned().collect(),
                )
            }
            "add_header" => {
                if let Some(value) = self.template(directive, directive.arguments().get(1)) {
                    around.response.insert(argument.to_lowercase(), value);
                }
            }
            "expires" => match expires(&argument) {
                Some(value) => drop(around.response.insert("cache-control".into(), value)),
                None => self.note(directive, "say it by `cache_control` of the files, or a field"),
            },
            "proxy_set_header" => self.proxy_header(directive, around),
            "proxy_connect_timeout" => drop(around.proxy.insert("connect_timeout_ms".into(), milliseconds())),
            "proxy_read_timeout" => {
                around.proxy.insert("response_timeout_ms".into(), milliseconds());
                around.proxy.insert("idle_timeout_ms".into(), milliseconds());
            }
            "proxy_send_timeout" => {}
            "proxy_request_buffering" => {}
            "proxy_ssl_verify" | "proxy_ssl_server_name" | "proxy_ssl_name" => {
                self.note(
                    directive,
                    "certificates of servers are checked always; `tls = { insecure = true }` would not",
                );
            }
            "proxy_cache" => around.cached = argument != "off",
            "client_max_body_size" => around.body_bytes = bytes(&argument),
            "allow" | "deny" => {
                let rules =
                    if directive.name() == "allow" { &mut around.rules.0 } else { &mut around.rules.1 };
                rules.push(argument);
            }
            "auth_basic" if argument == "off" => around.basic = None,
            "auth_basic" => around.basic = Some((argument, String::new())),
            "auth_basic_user_file" => {
                around.basic.get_or_insert_default().1 = argument;
            }
            "limit_req" => self.limit(directive, around),
            "error_page" => {
                let (page, statuses) = match directive.arguments().split_last() {
                    Some((page, statuses)) if page.starts_with('/') => (page, statuses),
                    _ => {
                        self.note(directive, "only pages of this site can stand for errors");
                        return true;
                    }
                };
                for status in statuses.iter().filter(|status| status.parse::<u16>().is_ok()) {
                    around.errors.insert(status.clone(), page.as_str().into());
                }
            }
            "set_real_ip_from" => self.note(directive, "put the proxy into `trusted_proxies` of [edge]"),
            _ => return false,
        }
        true
    }

    fn limit(&mut self, directive: &Directive, around: &mut Around) {
        let value = |key: &str| directive.arguments().iter().find_map(|word| word.strip_prefix(key));
        let name = value("zone=").unwrap_or_default().to_owned();
        let Some((requests, per)) = self.zones.get(&name).copied() else {
            return self.note(directive, "there is no limit_req_zone of this name");
        };
        let mut settings =
            Table::from_iter([("requests".into(), requests.into()), ("per".into(), per.into())]);
        if let Some(burst) = value("burst=").and_then(|burst| burst.parse::<i64>().ok()) {
            settings.insert("burst".into(), burst.into());
        }
        let step = self.draft.step(&name, "rate_limit", settings);
        around.steps.push(step);
    }

    fn proxy_header(&mut self, directive: &Directive, around: &mut Around) {
        let value = directive.arguments().get(1);
        match directive.first().to_ascii_lowercase().as_str() {
            "host" => {
                around.host = match value.map(String::as_str) {
                    Some("$host" | "$http_host") => Some("keep".into()),
                    Some("$proxy_host") | None => None,
                    Some(name) if !name.contains('$') => Some(name.into()),
                    Some(_) => return self.note(directive, "`host` is keep, upstream or a name"),
                }
            }
            // Set by the proxy here anyway.
            "x-real-ip" | "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host"
            | "x-forwarded-port" | "x-forwarded-ssl" | "upgrade" | "connection" | "forwarded"
            | "accept-encoding" => {}
            name => {
                if let Some(value) = self.template(directive, value) {
                    around.request.insert(name.into(), value);
                }
            }
        }
    }

    /// Text with nginx's variables, with ours.
    fn template(&mut self, directive: &Directive, text: Option<&String>) -> Option<String> {
        let text = text?.replace('{', "{{").replace('}', "}}");
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find('$') {
            out += &rest[..at];
            let after = &rest[at + 1..];
            let (braced, after) = match after.strip_prefix("{{") {
                Some(after) => (true, after),
                None => (false, after),
            };
            let length = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            let name = &after[..length];
            let variable = match name {
                "host" | "http_host" | "server_name" => "{host}".into(),
                "request_uri" => "{uri}".into(),
                "uri" | "document_uri" => "{path}".into(),
                "args" | "query_string" => "{query}".into(),
                "scheme" => "{scheme}".into(),
                "remote_addr" | "binary_remote_addr" | "realip_remote_addr" => "{client}".into(),
                "request_id" => "{request_id}".into(),
                "request_method" => "{method}".into(),
                "is_args" => String::new(),
                other => match other.strip_prefix("http_") {
                    Some(field) => format!("{{header.{}}}", field.replace('_', "-")),
                    None => {
                        self.note(directive, &format!("there is no variable like ${other}"));
                        return None;
                    }
                },
            };
            out += &variable;
            rest = &after[length..];
            if braced {
                rest = rest.strip_prefix("}}").unwrap_or(rest);
            }
        }
        Some(out + rest)
    }
}
