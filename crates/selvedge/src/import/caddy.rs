//! Caddyfiles: site blocks become sites, matchers conditions of routes.

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use super::units::{duration_ms, route, set, upstream_url};
use super::words::{Directive, Ending, parse};
use super::{Draft, Note};

/// Snippets inside of snippets that are followed.
const DEPTH_MAX: usize = 16;

/// What has no counterpart because nothing needs to be said.
const SILENT: &[&str] =
    &["encode", "log", "bind", "skip_log", "log_skip", "precompress", "tracing", "metrics"];

/// What answers only where no `handle` does.
const BEHIND_HANDLE: &[&str] = &["abort", "error", "respond", "reverse_proxy", "php_fastcgi", "file_server"];

pub(super) fn import(file: &Path, text: &str) -> Result<Draft, Note> {
    let name = file.display().to_string();
    let mut all = parse(&name, text, Ending::Line)?;
    // One site may do without a block of its own.
    let blocks =
        all.iter().any(|one| one.block.is_some() && !one.words.is_empty() && !is_directive(one.name()));
    if !blocks && all.first().is_some_and(|first| !first.words.is_empty()) {
        let first = all.remove(0);
        all = vec![Directive { block: Some(all), ..first }];
    }
    let mut import = Import::default();
    let mut sites = Vec::new();
    for one in all {
        match one.name().strip_prefix('(').and_then(|name| name.strip_suffix(')')) {
            Some(snippet) => drop(import.snippets.insert(snippet.into(), one.inside().to_vec())),
            None if one.words.is_empty() => import.options(one.inside()),
            None => sites.push(one),
        }
    }
    for site in &sites {
        import.site(site)?;
    }
    Ok(import.draft)
}

fn is_directive(name: &str) -> bool {
    const DIRECTIVES: &[&str] = &[
        "reverse_proxy",
        "file_server",
        "respond",
        "redir",
        "header",
        "handle",
        "handle_path",
        "route",
        "log",
        "tls",
        "basic_auth",
        "basicauth",
        "encode",
        "root",
    ];
    DIRECTIVES.contains(&name)
}

#[derive(Default)]
struct Import {
    draft: Draft,
    snippets: BTreeMap<String, Vec<Directive>>,
}

/// What a block says before something answers.
#[derive(Clone, Debug, Default)]
struct Around {
    root: Option<String>,
    steps: Vec<String>,
    /// What the path of requests loses.
    strip: Option<String>,
    tries: Vec<String>,
    conditions: Table,
    path: Option<String>,
}

type Matchers = BTreeMap<String, Vec<Directive>>;

impl Import {
    fn note(&mut self, directive: &Directive, why: &str) {
        self.draft.notes.push(directive.note(why));
    }

    fn options(&mut self, inside: &[Directive]) {
        for one in inside {
            match one.name() {
                "email" | "admin" | "debug" | "order" | "log" | "storage" | "grace_period" => {}
                "auto_https" | "local_certs" | "acme_ca" | "servers" | "on_demand_tls" => {
                    self.note(one, "say it in [edge.tls] or in a site's `tls`");
                }
                _ => self.note(one, "there is no counterpart"),
            }
        }
    }

    fn site(&mut self, block: &Directive) -> Result<(), Note> {
        let inside = self.expanded(block.inside(), 0)?;
        let mut hosts: Vec<Value> = Vec::new();
        let mut plain = false;
        let addresses = block.words.iter().flat_map(|word| word.split(',')).filter(|word| !word.is_empty());
        for address in addresses {
            let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
            let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
            if !path.is_empty() {
                self.note(block, "a path belongs to a route");
            }
            let (host, port) = match host.rsplit_once(':') {
                Some((host, port)) if !host.ends_with(':') => (host, Some(port)),
                _ => (host, None),
            };
            plain |= scheme == "http" || port == Some("80");
            let port = match (port, scheme) {
                (Some(port), _) => port,
                (None, "http") => "80",
                _ => "443",
            };
            self.listen(port);
            if scheme != "http" && port != "80" {
                self.listen("80");
            }
            hosts.push(if host.is_empty() { "*" } else { host }.into());
        }
        let mut site = Table::from_iter([("hosts".into(), Value::from(hosts))]);
        if plain {
            set(&mut site, "tls", "off");
        }
        let mut routes = Vec::new();
        self.block(&inside, &Around::default(), &mut routes, &mut site);
        site.insert("routes".into(), routes.into());
        self.draft.sites.push(site);
        Ok(())
    }

    fn listen(&mut self, port: &str) {
        let address = format!("0.0.0.0:{port}");
        let value = match port {
            "80" | "8080" => Value::from(address),
            _ => Table::from_iter([("address".into(), Value::from(address)), ("tls".into(), true.into())])
                .into(),
        };
        if !self.draft.listen.contains(&value) {
            self.draft.listen.push(value);
        }
    }

    /// With the directives of snippets in their places.
    fn expanded(&self, inside: &[Directive], depth: usize) -> Result<Vec<Directive>, Note> {
        let mut out = Vec::new();
        for one in inside {
            if one.name() != "import" {
                let block = one.block.as_ref().map(|block| self.expanded(block, depth)).transpose()?;
                out.push(Directive { block, ..one.clone() });
                continue;
            }
            if depth == DEPTH_MAX {
                return Err(one.note("snippets go too deep"));
            }
            match self.snippets.get(one.first()) {
                Some(snippet) => out.extend(self.expanded(snippet, depth + 1)?),
                None => return Err(one.note("there is no snippet of this name; files are not followed")),
            }
        }
        Ok(out)
    }

    fn block(&mut self, inside: &[Directive], around: &Around, routes: &mut Vec<Value>, site: &mut Table) {
        let mut around = around.clone();
        let named = inside.iter().filter_map(|one| {
            let name = one.name().strip_prefix('@')?;
            // A matcher of one line is a block of one directive.
            let inner = match one.block.as_deref() {
                Some(block) => block.to_vec(),
                None => vec![Directive { words: one.arguments().to_vec(), ..one.clone() }],
            };
            Some((name.to_owned(), inner))
        });
        let matchers: Matchers = named.collect();
        for one in inside.iter().filter(|one| !one.name().starts_with('@')) {
            self.setting(one, &matchers, &mut around, site);
        }
        // Caddy sorts what a block says: these come behind `handle`, and one without a matcher takes all.
        let takes_all = inside.iter().any(|one| one.name() == "handle" && one.arguments().is_empty());
        for one in inside.iter().filter(|one| !one.name().starts_with('@')) {
            if takes_all && BEHIND_HANDLE.contains(&one.name()) {
                self.note(one, "it is never reached: Caddy looks at `handle` first, and one takes all");
                continue;
            }
            self.answer(one, &matchers, &around, routes, site);
        }
    }

    /// The conditions of a directive, and its arguments without the matcher.
    fn matched<'d>(
        &mut self,
        one: &'d Directive,
        matchers: &Matchers,
        around: &Around,
    ) -> (Around, &'d [String]) {
        let mut around = around.clone();
        let Some((first, rest)) = one.arguments().split_first() else { return (around, &[]) };
        if first == "*" {
            return (around, rest);
        }
        if first.starts_with('/') {
            around.path = Some(self.path(one, first));
            return (around, rest);
        }
        let Some(name) = first.strip_prefix('@') else { return (around, one.arguments()) };
        match matchers.get(name) {
            Some(conditions) => {
                for condition in conditions.clone() {
                    self.condition(&condition, &mut around);
                }
            }
            None => self.note(one, "there is no matcher of this name"),
        }
        (around, rest)
    }

    fn path(&mut self, one: &Directive, path: &str) -> String {
        match path.strip_suffix('*').unwrap_or(path).contains('*') {
            true => {
                self.note(one, "a * in the middle of a path is an expression here: path = \"~…\"");
                path.to_owned()
            }
            false => path.to_owned(),
        }
    }

    fn condition(&mut self, one: &Directive, around: &mut Around) {
        let list = |words: &[String]| -> Value {
            words.iter().map(|word| Value::from(word.as_str())).collect::<Vec<_>>().into()
        };
        match one.name() {
            "path" if one.arguments().len() == 1 => around.path = Some(self.path(one, one.first())),
            "path" => self.note(one, "a route has one path; make a route of each"),
            "path_regexp" => {
                let expression = one.arguments().last().cloned().unwrap_or_default();
                around.path = Some(format!("~{expression}"));
            }
            "method" => drop(around.conditions.insert("methods".into(), list(one.arguments()))),
            "remote_ip" | "client_ip" => {
                drop(around.conditions.insert("clients".into(), list(one.arguments())))
            }
            "header" | "query" => {
                let (name, value) = match one.name() {
                    "query" => one.first().split_once('=').unwrap_or((one.first(), "*")),
                    _ => (one.first(), one.arguments().get(1).map_or("*", String::as_str)),
                };
                let key = if one.name() == "query" { "query" } else { "headers" };
                let table = around.conditions.entry(key).or_insert_with(|| Table::new().into());
                if let Value::Table(table) = table {
                    table.insert(name.to_lowercase(), value.into());
                }
            }
            _ => self.note(one, "there is no condition like this"),
        }
    }

    /// Directives that change what others do.
    fn setting(&mut self, one: &Directive, matchers: &Matchers, around: &mut Around, site: &mut Table) {
        match one.name() {
            "root" => around.root = one.arguments().last().cloned(),
            "try_files" => around.tries = one.arguments().to_vec(),
            "uri" if one.first() == "strip_prefix" => around.strip = one.arguments().get(1).cloned(),
            "uri" | "rewrite" | "method" | "map" | "vars" | "templates" | "push" | "acme_server"
            | "forward_auth" | "request_body" | "invoke" | "intercept" | "handle_errors" => self
                .note(one, "there is no counterpart that can be written without you: see docs/middleware.md"),
            "tls" => self.tls(one, site),
            "header" | "request_header" => {
                if let Some(step) = self.fields(one, matchers, around) {
                    around.steps.push(step);
                }
            }
            "basic_auth" | "basicauth" => {
                let (matched, _) = self.matched(one, matchers, around);
                if matched.path != around.path {
                    self.note(
                        one,
                        "it is for this route only: put it into `use` of the routes that it concerns",
                    );
                }
                let users = one.inside().iter().map(|user| {
                    Value::from(Table::from_iter([
                        ("name".into(), Value::from(user.name())),
                        ("password".into(), Value::from(user.first())),
                    ]))
                });
                let settings = Table::from_iter([("users".into(), Value::from(users.collect::<Vec<_>>()))]);
                let step = self.draft.step("passwords", "basic", settings);
                around.steps.push(step);
            }
            _ => {}
        }
    }

    fn tls(&mut self, one: &Directive, site: &mut Table) {
        match one.arguments() {
            [word] if word == "internal" => set(site, "tls", "internal"),
            [word] if word.contains('@') => self.note(one, "say the address in [edge.tls.acme]"),
            [certificate, key] => {
                let table = Table::from_iter([
                    ("certificate".into(), Value::from(certificate.as_str())),
                    ("key".into(), Value::from(key.as_str())),
                ]);
                site.insert("tls".into(), table.into());
            }
            [] if one.inside().is_empty() => {}
            _ => self.note(one, "say it in a site's `tls` or in [edge.tls]"),
        }
    }

    fn fields(&mut self, one: &Directive, matchers: &Matchers, around: &Around) -> Option<String> {
        let (matched, rest) = self.matched(one, matchers, around);
        if matched.path != around.path || matched.conditions != around.conditions {
            self.note(one, "fields for some requests only: put the middleware into `use` of their routes");
            return None;
        }
        let (set_key, remove_key) = match one.name() {
            "request_header" => ("request", "remove_request"),
            _ => ("response", "remove_response"),
        };
        let lines: Vec<Vec<String>> = match one.inside() {
            [] => vec![rest.to_vec()],
            inside => inside.iter().map(|line| line.words.clone()).collect(),
        };
        let (mut fields, mut removed) = (Table::new(), Vec::new());
        for line in lines {
            match &line[..] {
                [name] if name.starts_with('-') => {
                    removed.push(Value::from(name.trim_start_matches('-').to_lowercase()))
                }
                [name, value] if !name.starts_with('-') => {
                    let name = name.trim_start_matches(['+', '?', '>']).to_lowercase();
                    match self.template(one, value) {
                        Some(value) => drop(fields.insert(name, value.into())),
                        None => return None,
                    }
                }
                [word] if word == "defer" => {}
                _ => self.note(one, "this line has no counterpart"),
            }
        }
        let mut settings = Table::new();
        if !fields.is_empty() {
            settings.insert(set_key.into(), fields.into());
        }
        if !removed.is_empty() {
            settings.insert(remove_key.into(), removed.into());
        }
        (!settings.is_empty()).then(|| self.draft.step("fields", "headers", settings))
    }

    /// Text with Caddy's placeholders, with ours.
    fn template(&mut self, one: &Directive, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            out += before;
            let (name, after) = after.split_once('}')?;
            out += match name.trim_start_matches("http.request.") {
                "host" | "hostport" => "{host}",
                "uri" | "orig_uri" => "{uri}",
                "path" | "uri.path" => "{path}",
                "query" | "uri.query" => "{query}",
                "scheme" => "{scheme}",
                "method" => "{method}",
                "remote_host" | "remote.host" | "client_ip" => "{client}",
                "uuid" => "{request_id}",
                other => {
                    self.note(one, &format!("there is no variable like {{{other}}}"));
                    return None;
                }
            };
            rest = after;
        }
        Some(out + rest)
    }

    fn answer(
        &mut self,
        one: &Directive,
        matchers: &Matchers,
        around: &Around,
        routes: &mut Vec<Value>,
        site: &mut Table,
    ) {
        let (mut matched, rest) = self.matched(one, matchers, around);
        let answer = match one.name() {
            "handle" | "route" => return self.block(one.inside(), &matched, routes, site),
            "handle_path" => {
                let prefix = matched.path.clone().unwrap_or_default();
                matched.strip = Some(prefix.trim_end_matches(['*', '/']).to_owned());
                return self.block(one.inside(), &matched, routes, site);
            }
            "reverse_proxy" => ("proxy", self.proxy(one, rest, &matched)),
            "file_server" => match self.files(one, rest, &matched) {
                Some(files) => ("files", files),
                None => return,
            },
            "php_fastcgi" => {
                self.note(one, "FastCGI is not spoken here; put an HTTP server in front of PHP");
                // As files they would show their sources.
                matched.path = Some("~\\.php(/|$)".into());
                ("respond", Table::from_iter([("status".into(), Value::from(501))]).into())
            }
            "redir" => {
                let status = match rest.get(1).map(String::as_str) {
                    Some("permanent") => 301,
                    Some(code) => code.parse().unwrap_or(302),
                    None => 302,
                };
                let Some(to) = rest.first().cloned().and_then(|to| self.template(one, &to)) else { return };
                (
                    "redirect",
                    Table::from_iter([("to".into(), to.into()), ("status".into(), Value::from(status))])
                        .into(),
                )
            }
            "respond" | "error" | "abort" => {
                let status = rest
                    .iter()
                    .find_map(|word| word.parse::<i64>().ok().filter(|code| (200..600).contains(code)));
                let text = rest.iter().find(|word| word.parse::<i64>().is_err());
                let default = if one.name() == "respond" { 200 } else { 403 };
                let mut table = Table::from_iter([("status".into(), Value::from(status.unwrap_or(default)))]);
                if let Some(text) = text.cloned().and_then(|text| self.template(one, &text)) {
                    table.insert("body".into(), text.into());
                }
                ("respond", table.into())
            }
            "root" | "try_files" | "uri" | "rewrite" | "method" | "map" | "vars" | "templates" | "push"
            | "acme_server" | "forward_auth" | "request_body" | "invoke" | "intercept" | "handle_errors"
            | "tls" | "header" | "request_header" | "basic_auth" | "basicauth" => return,
            name if SILENT.contains(&name) => return,
            _ => return self.note(one, "there is no counterpart"),
        };
        let path = matched.path.clone().unwrap_or_else(|| "/*".into());
        let mut route = route(&path, answer, &matched.steps);
        if let Value::Table(route) = &mut route {
            route.extend(matched.conditions);
        }
        routes.push(route);
    }

    fn files(&mut self, one: &Directive, rest: &[String], around: &Around) -> Option<Value> {
        let Some(root) = &around.root else {
            self.note(one, "say in `root` which directory it is");
            return None;
        };
        let mut files = Table::from_iter([("root".into(), Value::from(root.as_str()))]);
        let browse = rest.iter().any(|word| word == "browse")
            || one.inside().iter().any(|inner| inner.name() == "browse");
        if browse {
            files.insert("listing".into(), true.into());
        }
        if let Some(strip) = &around.strip {
            set(&mut files, "strip", strip.as_str());
        }
        match &around.tries[..] {
            [] => {}
            [tried @ .., last]
                if last.starts_with('/') && tried.iter().all(|one| one.starts_with("{path}")) =>
            {
                set(&mut files, "fallback", last.as_str());
                let others: Vec<Value> = tried.iter().map(|one| Value::from(one.as_str())).collect();
                if tried.iter().any(|one| one != "{path}" && one != "{path}/") {
                    files.insert("try_files".into(), others.into());
                }
            }
            tries => drop(files.insert(
                "try_files".into(),
                tries.iter().map(|one| Value::from(one.as_str())).collect::<Vec<_>>().into(),
            )),
        }
        Some(files.into())
    }

    fn proxy(&mut self, one: &Directive, rest: &[String], around: &Around) -> Value {
        let mut to: Vec<String> = rest.to_vec();
        let mut table = Table::new();
        let mut health = Table::new();
        for inner in one.inside() {
            match inner.name() {
                "to" => to.extend(inner.arguments().iter().cloned()),
                "lb_policy" => match inner.first() {
                    "round_robin" => {}
                    "least_conn" => set(&mut table, "balance", "least_connections"),
                    "random_choose" | "random" => set(&mut table, "balance", "two_choices"),
                    "ip_hash" | "client_ip_hash" => set(&mut table, "balance", "ip_hash"),
                    "uri_hash" => {
                        set(&mut table, "balance", "consistent_hash");
                        set(&mut table, "hash_by", "path");
                    }
                    "header" | "cookie" => {
                        set(&mut table, "balance", "consistent_hash");
                        let name = inner.arguments().get(1).map_or("lb", String::as_str);
                        set(&mut table, "hash_by", format!("{}:{name}", inner.first()));
                    }
                    _ => self.note(inner, "servers take turns instead"),
                },
                "health_uri" => set(&mut health, "path", inner.first()),
                "health_interval" => {
                    health.insert("interval_ms".into(), duration_ms(inner.first()).unwrap_or(30_000).into());
                }
                "health_timeout" => {
                    health.insert("timeout_ms".into(), duration_ms(inner.first()).unwrap_or(5_000).into());
                }
                "header_up" if inner.first().eq_ignore_ascii_case("host") => {
                    match inner.arguments().get(1).map(String::as_str) {
                        Some("{upstream_hostport}" | "{http.reverse_proxy.upstream.hostport}") => {
                            set(&mut table, "host", "upstream")
                        }
                        Some("{host}" | "{http.request.host}") | None => {}
                        Some(name) => set(&mut table, "host", name),
                    }
                }
                "header_up"
                    if inner.first().to_lowercase().starts_with("x-forwarded")
                        || inner.first().eq_ignore_ascii_case("x-real-ip") => {}
                "flush_interval" | "lb_retries" | "lb_try_duration" | "fail_duration" | "max_fails"
                | "unhealthy_status" => {}
                "trusted_proxies" => self.note(inner, "put them into `trusted_proxies` of [edge]"),
                _ => self.note(inner, "there is no counterpart"),
            }
        }
        let urls = to.iter().map(|server| match server.split_once("://") {
            Some(("unix", path)) => Value::from(upstream_url("http", &format!("unix:{path}"))),
            Some((scheme, rest)) => Value::from(upstream_url(scheme, rest)),
            None if server.starts_with("unix/") => Value::from(format!("unix:{}", &server["unix/".len()..])),
            None if server.starts_with(':') => Value::from(format!("http://127.0.0.1{server}")),
            None => Value::from(upstream_url("http", server)),
        });
        table.insert("to".into(), urls.collect::<Vec<_>>().into());
        if !health.is_empty() {
            table.insert("health".into(), health.into());
        }
        if let Some(strip) = &around.strip {
            set(&mut table, "strip_prefix", strip.as_str());
        }
        table.entry("host").or_insert_with(|| "keep".into());
        table.into()
    }
}
